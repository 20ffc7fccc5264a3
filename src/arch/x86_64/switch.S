// SPDX-License-Identifier: MIT
// Switching stacks on x86-64; the other half, and what a saved context is, in arch_cpu.h.
//
// mxcsr is loaded without a look at what is there: storing it takes ten times as long as loading it on some processors, and
// a comparison would wait for what was stored. So its status bits, which any inexact result sets, are each goroutine's
// own, too; those of the x87 unit are nobody's. The x87 word is the other way round: loaded only where it differs, and
// compared with the very size it was stored with, for a longer load behind two shorter stores waits for both.

	.text

// A context's rules: the caller's registers are there, and the others in its frame.
	.macro	CONTEXT_AT register
	.cfi_def_cfa \register, 24
	.irp	r, rbx, r12, r13, r14, r15
	.cfi_undefined \r
	.endr
	.cfi_offset rbp, -16
	.cfi_offset rip, -8
	.endm


// rsi: the context to continue, cx: the present x87 control word. To an unwinder this is the resumed goroutine already.
	.globl	arch_resume
	.hidden	arch_resume
	.type	arch_resume, @function
	.balign	32
arch_resume:
	.cfi_startproc
	CONTEXT_AT rsi
	ldmxcsr	(%rsi)
	movq	8(%rsi), %rbp
	leaq	24(%rsi), %rsp
	cmpw	4(%rsi), %cx
	jne	1f
	jmpq	*16(%rsi)
1:	fldcw	4(%rsi)
	jmpq	*16(%rsi)
	.cfi_endproc
	.size	arch_resume, . - arch_resume

// rdi: top of the new stack, rsi: struct g *.
	.globl	arch_enter
	.hidden	arch_enter
	.globl	arch_enter_here
	.hidden	arch_enter_here
	.type	arch_enter, @function
	.balign	32
arch_enter:
	.cfi_startproc
	.cfi_undefined rip
	movq	%rsi, %rbx
	movq	%rdi, %rsi
arch_enter_here:			// for arch_start. rsi: top, rbx: struct g *
	movq	%rsi, %rsp
	ldmxcsr	initial_mxcsr(%rip)
	fldcw	initial_fcw(%rip)
	jmp	goroutine_entry
	.cfi_endproc
	.size	arch_enter, . - arch_enter

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
	CONTEXT_AT rbx
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
