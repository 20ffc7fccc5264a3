// SPDX-License-Identifier: MIT
#pragma once

struct arch_args {
    uint64_t first_integer[2];
    struct arch_vector {
        uint64_t half[2];
    } first_vector[2];
    uint64_t integer[4];
    struct arch_vector vector[6];
};
_Static_assert(sizeof(struct arch_args) == 176, "launch.S");

/* What is in a signal handler's third argument, a ucontext_t *. */
#define ARCH_SIGNAL_SP(context) ((void *)((ucontext_t *)(context))->uc_mcontext.gregs[REG_RSP])
#define ARCH_SIGNAL_PC(context) ((void *)((ucontext_t *)(context))->uc_mcontext.gregs[REG_RIP])

/* A counter that grows at a constant rate; see arch.h. */
static always_inline uint64_t arch_ticks(void)
{
    return __builtin_ia32_rdtsc();
}

static always_inline void arch_pause(void)
{
    __builtin_ia32_pause();
}

/* volatile and not a C access to m_tls: the compiler takes the address of a thread-local for a constant of
 * the function, and a goroutine that parks in it may go on in another thread. */
static always_inline struct m *m_self(void)
{
    struct m *mp;
    __asm__ volatile("movq m_tls@GOTTPOFF(%%rip), %0\n\t"
                     "movq %%fs:(%0), %0"
                     : "=r"(mp));
    return mp;
}

#ifdef __AVX512F__
#define ARCH_AVX512_REGISTERS \
    , "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26", "xmm27", \
        "xmm28", "xmm29", "xmm30", "xmm31", "k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7"
#else
#define ARCH_AVX512_REGISTERS
#endif
#ifdef __APX_F__
#define ARCH_APX_REGISTERS \
    , "r16", "r17", "r18", "r19", "r20", "r21", "r22", "r23", "r24", "r25", "r26", "r27", "r28", "r29", "r30", "r31"
#else
#define ARCH_APX_REGISTERS
#endif

/* Beside what the operands name. */
#define ARCH_OTHER_REGISTERS \
    "rax", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "xmm0", "xmm1", "xmm2", "xmm3", \
        "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "st", \
        "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)", "cc", \
        "memory" ARCH_AVX512_REGISTERS ARCH_APX_REGISTERS

/*
 * A saved context, from its pointer upwards: mxcsr (4 bytes), x87 control word (2), 8: rbp, 16: where to go on, and then the frame
 * of the function that has left it. That function itself has saved all other registers, for the compiler is told that they are
 * overwritten here. So a register is saved once; a function for the switch would save it again after its callers.
 *
 * The stack pointer stays where it is, and the context is put below it: at each instruction the frame is what the compiler's
 * unwinding rules say, also to a profiler's signal. Hence the library is compiled without a red zone. From where the other
 * context is loaded on its rules are in force, as in switch.S.
 *
 * mxcsr is loaded without a look at what is there: storing it takes ten times as long as loading it on some processors, and
 * a comparison would wait for what was stored. So its status bits, which any inexact result sets, are each goroutine's
 * own, too; those of the x87 unit are nobody's. The x87 word is the other way round: loaded only where it differs, and
 * compared with the very size it was stored with, for a longer load behind two shorter stores waits for both.
 */
#ifdef __GCC_HAVE_DWARF2_CFI_ASM
#define ARCH_RULES_OF_CONTEXT \
    ".cfi_remember_state\n\t" \
    ".cfi_def_cfa rsi, 24\n\t" \
    ".cfi_undefined rbx\n\t" \
    ".cfi_undefined r12\n\t" \
    ".cfi_undefined r13\n\t" \
    ".cfi_undefined r14\n\t" \
    ".cfi_undefined r15\n\t" \
    ".cfi_offset rbp, -16\n\t" \
    ".cfi_offset rip, -8\n\t"
#define ARCH_RULES_OF_FRAME ".cfi_restore_state\n\t"
#else
#define ARCH_RULES_OF_CONTEXT
#define ARCH_RULES_OF_FRAME
#endif
#define ARCH_SAVE \
    "leaq 1f(%%rip), %%rax\n\t" \
    "leaq -24(%%rsp), %%rdx\n\t" \
    "movq %%rax, -8(%%rsp)\n\t" \
    "movq %%rbp, -16(%%rsp)\n\t" \
    "stmxcsr -24(%%rsp)\n\t" \
    "fnstcw -20(%%rsp)\n\t" \
    "movq %%rdx, (%[save])\n\t"

static always_inline void arch_switch(void **save, void *to)
{
    __asm__ volatile(ARCH_SAVE
                     "movzwl -20(%%rsp), %%ecx\n\t"
                     ARCH_RULES_OF_CONTEXT
                     "ldmxcsr (%[to])\n\t"
                     "movq 8(%[to]), %%rbp\n\t"
                     "leaq 24(%[to]), %%rsp\n\t"
                     "cmpw 4(%[to]), %%cx\n\t"
                     "jne 3f\n"
                     "2:\tjmpq *16(%[to])\n"
                     "3:\tfldcw 4(%[to])\n\t"
                     "jmp 2b\n\t"
                     ARCH_RULES_OF_FRAME
                     "nop\n" /* unwinders look one before where it goes on */
                     "1:\tendbr64"
                     : [save] "+D"(save), [to] "+S"(to)
                     :
                     : "rbx", ARCH_OTHER_REGISTERS);
}

/* No call: that would write to a stack which is nobody's any more, and perhaps used up. */
_Noreturn static always_inline void arch_enter(void *top, struct g *gp)
{
    __asm__ volatile("jmp arch_enter_here" : : "S"(top), "b"(gp) : "memory");
    __builtin_unreachable();
}

static always_inline void arch_start(void **save, void *top, struct g *gp)
{
    __asm__ volatile(ARCH_SAVE
                     "jmp arch_enter_here\n"
                     "1:\tendbr64"
                     : [save] "+D"(save), "+S"(top), "+b"(gp)
                     :
                     : ARCH_OTHER_REGISTERS);
}
