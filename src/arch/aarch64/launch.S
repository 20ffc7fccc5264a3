// SPDX-License-Identifier: MIT
// The two ends of a go statement on AArch64: capturing the call, and making it. See arch.h.
#include "sched/g_offsets.h"

// struct arch_args: registers 0 and 1, and those from 2 on.
#define FIRST_INTEGER 0
#define FIRST_VECTOR 16
#define INTEGER(n) (32 + 8 * (n))
#define VECTOR(n) (64 + 16 * (n))
#define ARGS_SIZE 192

#define BTI_C hint 34			// bti c, for assemblers and processors of any age

	.text

// x18: struct go_launch *; arguments in x0 to x7, v0 to v7, and from the stack pointer upwards. All are stored: asking
// which are in use costs as much as the stores.
	.globl	go_newproc_capture
	.type	go_newproc_capture, %function
	.balign	16
go_newproc_capture:
	.cfi_startproc
	BTI_C
	stp	x29, x30, [sp, #-(ARGS_SIZE + 16)]!
	.cfi_adjust_cfa_offset ARGS_SIZE + 16
	.cfi_rel_offset x29, 0
	.cfi_rel_offset x30, 8
	mov	x29, sp
	stp	x0, x1, [sp, #16 + FIRST_INTEGER]
	stp	x2, x3, [sp, #16 + INTEGER(2)]
	stp	x4, x5, [sp, #16 + INTEGER(4)]
	stp	x6, x7, [sp, #16 + INTEGER(6)]
	stp	q0, q1, [sp, #16 + FIRST_VECTOR]
	stp	q2, q3, [sp, #16 + VECTOR(2)]
	stp	q4, q5, [sp, #16 + VECTOR(4)]
	stp	q6, q7, [sp, #16 + VECTOR(6)]
	mov	x0, x18
	add	x1, sp, #16
	add	x2, sp, #(ARGS_SIZE + 16)
	bl	newproc
	ldp	x29, x30, [sp], #(ARGS_SIZE + 16)
	.cfi_adjust_cfa_offset -(ARGS_SIZE + 16)
	.cfi_restore x29
	.cfi_restore x30
	ret
	.cfi_endproc
	.size	go_newproc_capture, . - go_newproc_capture

// x19: struct g *; sp: the top of its stack, a multiple of 16.
	.globl	goroutine_entry
	.hidden	goroutine_entry
	.type	goroutine_entry, %function
	.balign	16
goroutine_entry:
	.cfi_startproc
	.cfi_undefined x30
	hint	36				// bti j
	mov	x29, xzr			// for those who walk frame pointers
	mov	x30, xzr
	ldr	w9, [x19, #G_STACK_ARGS]
	sub	sp, sp, x9			// room for the stack arguments
	mov	x20, sp
	sub	sp, sp, #ARGS_SIZE
	mov	x0, x19
	mov	x1, sp
	mov	x2, x20
	bl	newproc_begin
	mov	x16, x0
	ldp	x0, x1, [sp, #FIRST_INTEGER]
	ldp	x2, x3, [sp, #INTEGER(2)]
	ldp	x4, x5, [sp, #INTEGER(4)]
	ldp	x6, x7, [sp, #INTEGER(6)]
	ldp	q0, q1, [sp, #FIRST_VECTOR]
	ldp	q2, q3, [sp, #VECTOR(2)]
	ldp	q4, q5, [sp, #VECTOR(4)]
	ldp	q6, q7, [sp, #VECTOR(6)]
	mov	sp, x20
	blr	x16
	bl	goroutine_return
	brk	#0
	.cfi_endproc
	.size	goroutine_entry, . - goroutine_entry

	.section .note.GNU-stack, "", %progbits
