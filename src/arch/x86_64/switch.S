// SPDX-License-Identifier: MIT
// Switching stacks on x86-64. A saved context, from its pointer upwards:
//
//	 0  mxcsr (4 bytes), x87 control word (2)
//	 8  r15  16  r14  24  r13  32  r12  40  rbx  48  rbp  56  return address
//
// mxcsr is loaded without a look at what is there: storing it takes ten times as long as loading it on some processors, and
// a comparison would wait for what was stored. So its status bits, which any inexact result sets, are each goroutine's
// own, too; those of the x87 unit are nobody's. The x87 word is the other way round: loaded only where it differs, and
// compared with the very size it was stored with, for a longer load behind two shorter stores waits for both.

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
	movzwl	4(%rsp), %ecx
	movq	%rsp, (%rdi)
	movq	%rsi, %rsp
	ldmxcsr	(%rsp)
	cmpw	4(%rsp), %cx
	jne	2f
1:	addq	$8, %rsp
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
2:	fldcw	4(%rsp)
	jmp	1b
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
	jz	1f				// nobody comes back here
	SAVE
	movq	%rsp, (%rdi)
1:	ldmxcsr	initial_mxcsr(%rip)
	fldcw	initial_fcw(%rip)
	movq	%rsi, %rsp
	movq	%rdx, %rbx
	jmp	goroutine_entry
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
