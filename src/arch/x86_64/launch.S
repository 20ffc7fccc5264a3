// SPDX-License-Identifier: MIT
// The two ends of a go statement on x86-64: capturing the call, and making it. See arch.h.
#include "sched/g_offsets.h"

// struct arch_args: registers 0 and 1, and those from 2 on.
#define FIRST_INTEGER(n) (8 * (n))
#define FIRST_VECTOR(n) (16 + 16 * (n))
#define INTEGER(n) (32 + 8 * (n))
#define VECTOR(n) (48 + 16 * (n))
#define ARGS_SIZE 176

	.text

// r10: struct go_launch *; arguments in rdi rsi rdx rcx r8 r9, xmm0 to xmm7, and above the return address.
// What one argument can use is always stored; the rest is stored, and loaded below, only if there may be more.
	.globl	go_newproc_capture
	.type	go_newproc_capture, @function
	.balign	16
go_newproc_capture:
	.cfi_startproc
	endbr64
	subq	$(ARGS_SIZE + 8), %rsp		// with the return address a multiple of 16
	.cfi_adjust_cfa_offset ARGS_SIZE + 8
	movq	%rdi, FIRST_INTEGER(0)(%rsp)
	movq	%rsi, FIRST_INTEGER(1)(%rsp)
	movaps	%xmm0, FIRST_VECTOR(0)(%rsp)
	movaps	%xmm1, FIRST_VECTOR(1)(%rsp)
	movq	LAUNCH_SITE(%r10), %rax
	cmpb	$2, SITE_INTEGER_REGS(%rax)
	jbe	1f
	movq	%rdx, INTEGER(2)(%rsp)
	movq	%rcx, INTEGER(3)(%rsp)
	movq	%r8, INTEGER(4)(%rsp)
	movq	%r9, INTEGER(5)(%rsp)
	movaps	%xmm2, VECTOR(2)(%rsp)
	movaps	%xmm3, VECTOR(3)(%rsp)
	movaps	%xmm4, VECTOR(4)(%rsp)
	movaps	%xmm5, VECTOR(5)(%rsp)
	movaps	%xmm6, VECTOR(6)(%rsp)
	movaps	%xmm7, VECTOR(7)(%rsp)
	cmpb	$0, SITE_X87_RESULTS(%rax)
	jne	2f
1:	movq	%r10, %rdi
	movq	%rsp, %rsi
	leaq	(ARGS_SIZE + 16)(%rsp), %rdx
	call	newproc
	addq	$(ARGS_SIZE + 8), %rsp
	.cfi_remember_state
	.cfi_adjust_cfa_offset -(ARGS_SIZE + 8)
	ret
	.cfi_restore_state
// The caller takes a result off the x87's stack.
2:	movq	%rax, ARGS_SIZE(%rsp)
	movq	%r10, %rdi
	movq	%rsp, %rsi
	leaq	(ARGS_SIZE + 16)(%rsp), %rdx
	call	newproc
	movq	ARGS_SIZE(%rsp), %rax
	fldz
	cmpb	$2, SITE_X87_RESULTS(%rax)
	jne	3f
	fldz
3:	addq	$(ARGS_SIZE + 8), %rsp
	.cfi_adjust_cfa_offset -(ARGS_SIZE + 8)
	ret
	.cfi_endproc
	.size	go_newproc_capture, . - go_newproc_capture

// rbx: struct g *; rsp: the top of its stack, a multiple of 16.
	.globl	goroutine_entry
	.hidden	goroutine_entry
	.type	goroutine_entry, @function
	.balign	16
goroutine_entry:
	.cfi_startproc
	.cfi_undefined rip
	endbr64
	movl	G_STACK_ARGS(%rbx), %eax
	subq	%rax, %rsp			// room for the stack arguments
	movq	%rsp, %rdx
	subq	$ARGS_SIZE, %rsp
	movq	%rsp, %rsi
	movq	%rbx, %rdi
	movq	%rdx, %rbp
	call	newproc_begin
	movq	%rax, %r11
	movq	FIRST_INTEGER(0)(%rsp), %rdi
	movq	FIRST_INTEGER(1)(%rsp), %rsi
	movaps	FIRST_VECTOR(0)(%rsp), %xmm0
	movaps	FIRST_VECTOR(1)(%rsp), %xmm1
	movq	G_SITE(%rbx), %rax
	cmpb	$2, SITE_INTEGER_REGS(%rax)
	jbe	1f
	movq	INTEGER(2)(%rsp), %rdx
	movq	INTEGER(3)(%rsp), %rcx
	movq	INTEGER(4)(%rsp), %r8
	movq	INTEGER(5)(%rsp), %r9
	movaps	VECTOR(2)(%rsp), %xmm2
	movaps	VECTOR(3)(%rsp), %xmm3
	movaps	VECTOR(4)(%rsp), %xmm4
	movaps	VECTOR(5)(%rsp), %xmm5
	movaps	VECTOR(6)(%rsp), %xmm6
	movaps	VECTOR(7)(%rsp), %xmm7
	cmpb	$0, SITE_X87_RESULTS(%rax)
	jne	2f
1:	movq	%rbp, %rsp
	xorl	%ebp, %ebp			// for those who walk frame pointers
	movl	$8, %eax			// a variadic function saves the vector registers
	call	*%r11
	call	goroutine_return
	ud2
// Its result would stay on the x87's stack, which has room for eight.
2:	movq	%rbp, %rsp
	xorl	%ebp, %ebp
	movl	$8, %eax
	call	*%r11
	fstp	%st(0)
	movq	G_SITE(%rbx), %rax
	cmpb	$2, SITE_X87_RESULTS(%rax)
	jne	3f
	fstp	%st(0)
3:	call	goroutine_return
	ud2
	.cfi_endproc
	.size	goroutine_entry, . - goroutine_entry

	.section .note.GNU-stack, "", @progbits
