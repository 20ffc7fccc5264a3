// SPDX-License-Identifier: MIT
#include "os/lock.h"

#include "arch/arch.h"
#include "os/os.h"

/* Critical sections last some hundred nanoseconds and a sleep costs tens of microseconds, so it is
 * worth spinning for a few of them first. */
#define SPINS 100

void lock_slow(struct lock *l)
{
    for (int i = 0; i < SPINS; i++) {
        uint32_t free = 0;
        if (load_relaxed(&l->state) == 0 && cas_acquire(&l->state, &free, 1))
            return;
        arch_pause();
    }
    while (atomic_exchange_explicit(&l->state, 2, memory_order_acquire) != 0)
        os_futex_wait(&l->state, 2, 0);
}

void lock_wake(struct lock *l)
{
    os_futex_wake(&l->state, 1);
}

bool lock_take_for_report(struct lock *l, int64_t until)
{
    for (int i = 1;; i++) {
        uint32_t free = 0;
        if (cas_acquire(&l->state, &free, 1))
            return true;
        if (i % 64 == 0) {
            if (os_now() >= until)
                return false;
            os_thread_yield();
        }
        arch_pause();
    }
}

#if GO_DEBUG_LEVEL >= 1
/* Bit r: this thread holds a lock of rank r. Correct across switches, for no lock is held then. */
static __thread uint32_t held;

noinline void lock_note_taken(struct lock *l)
{
    uint32_t bit = 1u << l->rank;
    check((held & ~(bit - 1) & ~(bit & RANK_MANY)) == 0);
    held |= bit;
}

/* Of a rank that may be held many times the first release clears the bit: the check may miss an error then, and never reports a
 * false one. */
noinline void lock_note_released(struct lock *l)
{
    held &= ~(1u << l->rank);
}
#endif
