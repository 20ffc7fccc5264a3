// SPDX-License-Identifier: MIT
#pragma once

struct arch_args {
    uint64_t first_integer[2];
    struct arch_vector {
        uint64_t half[2];
    } first_vector[2];
    uint64_t integer[6];
    struct arch_vector vector[6];
};
_Static_assert(sizeof(struct arch_args) == 192, "launch.S");

/* What is in a signal handler's third argument, a ucontext_t *. */
#define ARCH_SIGNAL_SP(context) ((void *)((ucontext_t *)(context))->uc_mcontext.sp)
#define ARCH_SIGNAL_PC(context) ((void *)((ucontext_t *)(context))->uc_mcontext.pc)

/* A counter that grows at a constant rate; see arch.h. */
static always_inline uint64_t arch_ticks(void)
{
    uint64_t n;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(n));
    return n;
}

static always_inline void arch_pause(void)
{
    __asm__ volatile("isb" ::: "memory"); /* yield is a no-op on most; isb waits some 10 ns */
}

/* volatile and not a C access to m_tls: the compiler takes the address of a thread-local for a constant of
 * the function, and a goroutine that parks in it may go on in another thread. */
static always_inline struct m *m_self(void)
{
    struct m *mp;
    uintptr_t offset;
    __asm__ volatile("adrp %1, :gottprel:m_tls\n\t"
                     "mrs %0, tpidr_el0\n\t"
                     "ldr %1, [%1, :gottprel_lo12:m_tls]\n\t"
                     "ldr %0, [%0, %1]"
                     : "=&r"(mp), "=&r"(offset));
    return mp;
}

/* In switch.S. */
void arch_switch(void **save, void *to);
void arch_start(void **save, void *top, struct g *gp);
_Noreturn void arch_enter(void *top, struct g *gp);
