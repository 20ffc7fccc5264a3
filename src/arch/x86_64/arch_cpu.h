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

/* The stack pointer in a signal handler's third argument, a ucontext_t *. */
#define ARCH_SIGNAL_SP(context) ((void *)((ucontext_t *)(context))->uc_mcontext.gregs[REG_RSP])

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
