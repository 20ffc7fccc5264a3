// SPDX-License-Identifier: MIT
// Switching stacks on AArch64. A saved context, from its pointer upwards:
//
//	  0  fpcr  16  x19 x20  32  x21 x22  48  x23 x24  64  x25 x26  80  x27 x28  96  x29 x30
//	112  d8 d9  128  d10 d11  144  d12 d13  160  d14 d15
//
// fpcr is loaded only where it differs from the present one: writing it waits for all the arithmetic in flight.
// The status bits are in fpsr, which is nobody's to keep.

#define CONTEXT 176
#define BTI_C hint 34			// bti c, for assemblers and processors of any age

	.text

// Leaves fpcr in x9.
	.macro	SAVE
	mrs	x9, fpcr
	sub	sp, sp, #CONTEXT
	.cfi_adjust_cfa_offset CONTEXT
	str	x9, [sp]
	stp	x19, x20, [sp, #16]
	stp	x21, x22, [sp, #32]
	stp	x23, x24, [sp, #48]
	stp	x25, x26, [sp, #64]
	stp	x27, x28, [sp, #80]
	stp	x29, x30, [sp, #96]
	stp	d8, d9, [sp, #112]
	stp	d10, d11, [sp, #128]
	stp	d12, d13, [sp, #144]
	stp	d14, d15, [sp, #160]
	SAVED_AT
	.endm

// Where the caller's registers are, the CFA being the end of the context.
	.macro	SAVED_AT
	.cfi_offset x19, -160
	.cfi_offset x20, -152
	.cfi_offset x21, -144
	.cfi_offset x22, -136
	.cfi_offset x23, -128
	.cfi_offset x24, -120
	.cfi_offset x25, -112
	.cfi_offset x26, -104
	.cfi_offset x27, -96
	.cfi_offset x28, -88
	.cfi_offset x29, -80
	.cfi_offset x30, -72
	.cfi_offset d8, -64
	.cfi_offset d9, -56
	.cfi_offset d10, -48
	.cfi_offset d11, -40
	.cfi_offset d12, -32
	.cfi_offset d13, -24
	.cfi_offset d14, -16
	.cfi_offset d15, -8
	.endm

// x0: void **save, x1: the context to continue.
	.globl	arch_switch
	.hidden	arch_switch
	.type	arch_switch, %function
	.balign	16
arch_switch:
	.cfi_startproc
	BTI_C
	SAVE
	mov	x10, sp
	str	x10, [x0]
	mov	sp, x1
	ldr	x10, [sp]
	cmp	x9, x10
	b.ne	2f
1:	ldp	x19, x20, [sp, #16]
	ldp	x21, x22, [sp, #32]
	ldp	x23, x24, [sp, #48]
	ldp	x25, x26, [sp, #64]
	ldp	x27, x28, [sp, #80]
	ldp	x29, x30, [sp, #96]
	ldp	d8, d9, [sp, #112]
	ldp	d10, d11, [sp, #128]
	ldp	d12, d13, [sp, #144]
	ldp	d14, d15, [sp, #160]
	.cfi_remember_state
	add	sp, sp, #CONTEXT
	.cfi_def_cfa sp, 0
	.irp	r, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30
	.cfi_restore x\r
	.endr
	.irp	r, 8, 9, 10, 11, 12, 13, 14, 15
	.cfi_restore d\r
	.endr
	ret
	.cfi_restore_state
2:	msr	fpcr, x10
	b	1b
	.cfi_endproc
	.size	arch_switch, . - arch_switch

// x0: void **save, x1: top of the new stack, x2: struct g *.
	.globl	arch_start
	.hidden	arch_start
	.type	arch_start, %function
	.balign	16
arch_start:
	.cfi_startproc
	BTI_C
	SAVE
	mov	x10, sp
	str	x10, [x0]
	mov	x0, x1
	mov	x1, x2
	b	arch_enter
	.cfi_endproc
	.size	arch_start, . - arch_start

// x0: top of the new stack, x1: struct g *.
	.globl	arch_enter
	.hidden	arch_enter
	.globl	arch_enter_here
	.hidden	arch_enter_here
	.type	arch_enter, %function
	.balign	16
arch_enter:
arch_enter_here:
	.cfi_startproc
	.cfi_undefined x30
	BTI_C
	mrs	x9, fpcr
	cbnz	x9, 2f				// the ABI's initial state is 0: nearest, nothing trapped or flushed
1:	mov	sp, x0
	mov	x19, x1
	b	goroutine_entry
2:	msr	fpcr, xzr
	b	1b
	.cfi_endproc
	.size	arch_enter, . - arch_enter

// x0: top, x1: fn, x2: arg.
	.globl	arch_call_on_stack
	.hidden	arch_call_on_stack
	.type	arch_call_on_stack, %function
	.balign	16
arch_call_on_stack:
	.cfi_startproc
	BTI_C
	stp	x29, x30, [sp, #-16]!
	.cfi_adjust_cfa_offset 16
	.cfi_rel_offset x29, 0
	.cfi_rel_offset x30, 8
	mov	x29, sp
	.cfi_def_cfa_register x29
	mov	sp, x0
	mov	x0, x2
	blr	x1
	mov	sp, x29
	.cfi_def_cfa_register sp
	ldp	x29, x30, [sp], #16
	.cfi_adjust_cfa_offset -16
	.cfi_restore x29
	.cfi_restore x30
	ret
	.cfi_endproc
	.size	arch_call_on_stack, . - arch_call_on_stack

// x0: a saved context, x1: fn, x2: arg. While fn runs, x19 points to the context, and the rules say that the
// caller's registers are there.
	.globl	arch_unwind_at
	.hidden	arch_unwind_at
	.globl	arch_unwind_from
	.hidden	arch_unwind_from
	.type	arch_unwind_from, %function
	.balign	16
arch_unwind_from:
	.cfi_startproc
	BTI_C
	stp	x19, x30, [sp, #-16]!
	.cfi_adjust_cfa_offset 16
	.cfi_rel_offset x19, 0
	.cfi_rel_offset x30, 8
	mov	x19, x0
	mov	x0, x2
	.cfi_remember_state
	.cfi_def_cfa x19, CONTEXT
	SAVED_AT
	blr	x1
arch_unwind_at:				// for tools/gdb, which unwinds from here with x19 set
	nop
	.cfi_restore_state
	ldp	x19, x30, [sp], #16
	.cfi_adjust_cfa_offset -16
	.cfi_restore x19
	.cfi_restore x30
	ret
	.cfi_endproc
	.size	arch_unwind_from, . - arch_unwind_from

	.section .note.GNU-stack, "", %progbits
