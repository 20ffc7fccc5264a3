// SPDX-License-Identifier: MIT
// Switching stacks on x86-64. A saved context, from its pointer upwards:
//
//	 0  mxcsr (4 bytes), x87 control word (2)
//	 8  r15  16  r14  24  r13  32  r12  40  rbx  48  rbp  56  return address
//
// The control words are loaded only where they differ from the present ones: loading costs ten times as much as
// comparing. The status bits of mxcsr, which any inexact result sets, are nobody's to keep. They are compared
// with the very sizes they were stored with, for a longer load behind two shorter stores
// waits for both (8.5 ns a switch instead of 4.5).

	.text

	.macro	SAVE
	pushq	%rbp
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset rbp, 0
	pushq	%rbx
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset rbx, 0
	pushq	%r12
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset r12, 0
	pushq	%r13
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset r13, 0
	pushq	%r14
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset r14, 0
	pushq	%r15
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset r15, 0
	subq	$8, %rsp
	.cfi_adjust_cfa_offset 8
	stmxcsr	(%rsp)
	fnstcw	4(%rsp)
	.endm

// rdi: void **save, rsi: the context to continue.
	.globl	arch_switch
	.hidden	arch_switch
	.type	arch_switch, @function
	.balign	16
arch_switch:
	.cfi_startproc
	SAVE
	movl	(%rsp), %eax
	movzwl	4(%rsp), %ecx
	movq	%rsp, (%rdi)
	movq	%rsi, %rsp
	xorl	(%rsp), %eax
	testl	$0xffc0, %eax
	jne	2f
1:	cmpw	4(%rsp), %cx
	jne	3f
4:	addq	$8, %rsp
	.cfi_remember_state
	.cfi_adjust_cfa_offset -8
	popq	%r15
	.cfi_adjust_cfa_offset -8
	.cfi_restore r15
	popq	%r14
	.cfi_adjust_cfa_offset -8
	.cfi_restore r14
	popq	%r13
	.cfi_adjust_cfa_offset -8
	.cfi_restore r13
	popq	%r12
	.cfi_adjust_cfa_offset -8
	.cfi_restore r12
	popq	%rbx
	.cfi_adjust_cfa_offset -8
	.cfi_restore rbx
	popq	%rbp
	.cfi_adjust_cfa_offset -8
	.cfi_restore rbp
	ret
	.cfi_restore_state
2:	ldmxcsr	(%rsp)
	jmp	1b
3:	fldcw	4(%rsp)
	jmp	4b
	.cfi_endproc
	.size	arch_switch, . - arch_switch

// rdi: void **save or NULL, rsi: top of the new stack, rdx: struct g *.
	.globl	arch_start
	.hidden	arch_start
	.type	arch_start, @function
	.balign	16
arch_start:
	.cfi_startproc
	testq	%rdi, %rdi
	jz	6f
	SAVE
	movq	%rsp, (%rdi)
1:	movl	(%rsp), %eax
	xorl	$0x1f80, %eax			// the ABI's initial state: nearest, all exceptions masked
	testl	$0xffc0, %eax
	jne	3f
2:	cmpw	$0x37f, 4(%rsp)
	jne	4f
5:	movq	%rsi, %rsp
	movq	%rdx, %rbx
	jmp	goroutine_entry
3:	ldmxcsr	initial_mxcsr(%rip)
	jmp	2b
4:	fldcw	initial_fcw(%rip)
	jmp	5b
6:	subq	$8, %rsp			// nobody comes back here
	stmxcsr	(%rsp)
	fnstcw	4(%rsp)
	jmp	1b
	.cfi_endproc
	.size	arch_start, . - arch_start

// rdi: top, rsi: fn, rdx: arg.
	.globl	arch_call_on_stack
	.hidden	arch_call_on_stack
	.type	arch_call_on_stack, @function
	.balign	16
arch_call_on_stack:
	.cfi_startproc
	pushq	%rbp
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset rbp, 0
	movq	%rsp, %rbp
	.cfi_def_cfa_register rbp
	movq	%rdi, %rsp
	movq	%rdx, %rdi
	call	*%rsi
	movq	%rbp, %rsp
	.cfi_def_cfa_register rsp
	popq	%rbp
	.cfi_adjust_cfa_offset -8
	.cfi_restore rbp
	ret
	.cfi_endproc
	.size	arch_call_on_stack, . - arch_call_on_stack

// rdi: a saved context, rsi: fn, rdx: arg. While fn runs, rbx points to the context, and the rules say that the
// caller's registers are there.
	.globl	arch_unwind_at
	.hidden	arch_unwind_at
	.globl	arch_unwind_from
	.hidden	arch_unwind_from
	.type	arch_unwind_from, @function
	.balign	16
arch_unwind_from:
	.cfi_startproc
	pushq	%rbx
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset rbx, 0
	movq	%rdi, %rbx
	movq	%rdx, %rdi
	.cfi_remember_state
	.cfi_def_cfa rbx, 64
	.cfi_offset r15, -56
	.cfi_offset r14, -48
	.cfi_offset r13, -40
	.cfi_offset r12, -32
	.cfi_offset rbx, -24
	.cfi_offset rbp, -16
	.cfi_offset rip, -8
	call	*%rsi
arch_unwind_at:				// for tools/gdb, which unwinds from here with rbx set
	nop
	.cfi_restore_state
	popq	%rbx
	.cfi_adjust_cfa_offset -8
	.cfi_restore rbx
	ret
	.cfi_endproc
	.size	arch_unwind_from, . - arch_unwind_from

	.section .rodata
	.balign	4
initial_mxcsr:
	.long	0x1f80
initial_fcw:
	.short	0x37f

	.section .note.GNU-stack, "", @progbits
