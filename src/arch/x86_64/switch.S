// SPDX-License-Identifier: MIT
// Switching stacks on x86-64; the other half, and what a saved context is, in arch_cpu.h.

	.text

// rsi: top of the new stack, rbx: struct g *.
	.globl	arch_enter_here
	.hidden	arch_enter_here
	.type	arch_enter_here, @function
	.balign	32
arch_enter_here:
	.cfi_startproc
	.cfi_undefined rip
	movq	%rsi, %rsp
	ldmxcsr	initial_mxcsr(%rip)
	fldcw	initial_fcw(%rip)
	jmp	goroutine_entry
	.cfi_endproc
	.size	arch_enter_here, . - arch_enter_here

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

// rdi: a saved context, rsi: fn, rdx: arg. While fn runs, rbx points to the context, whose rules are in force.
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
	.cfi_def_cfa rbx, 24
	.irp	r, rbx, r12, r13, r14, r15
	.cfi_undefined \r
	.endr
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
