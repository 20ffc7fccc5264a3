// SPDX-License-Identifier: MIT
// A lock for the inside of the scheduler: short critical sections, never held across a switch of
// goroutines, no allocation, a few dozen bytes of stack. After Drepper's "Futexes are tricky", mutex 2:
// 0 free, 1 held, 2 held with perhaps somebody asleep.
#pragma once

#include "base/atomic.h"
#include "base/check.h"
#include "base/compiler.h"
#include "base/lock_rank.h"

struct lock {
    _Atomic uint32_t state;
    uint32_t rank;
};

#define LOCK_INIT(r)                                                                               \
    {                                                                                              \
        .rank = (r)                                                                                \
    }

void lock_slow(struct lock *l);
void lock_wake(struct lock *l);

#if GO_DEBUG_LEVEL >= 1
void lock_note_taken(struct lock *l);
void lock_note_released(struct lock *l);
#else
static inline void lock_note_taken(struct lock *l)
{
    (void)l;
}
static inline void lock_note_released(struct lock *l)
{
    (void)l;
}
#endif

/* True when it was free. Never sleeps. */
static inline bool lock_try(struct lock *l)
{
    uint32_t free = 0;
    if (!cas_acquire(&l->state, &free, 1))
        return false;
    lock_note_taken(l);
    return true;
}

static inline void lock_take(struct lock *l)
{
    uint32_t free = 0;
    if (unlikely(!cas_acquire(&l->state, &free, 1)))
        lock_slow(l);
    lock_note_taken(l);
}

/* For a report, which may begin with any lock held, even this one: the check of the lock order is not told, and the result is false
 * when the clock has reached `until`. */
bool lock_take_for_report(struct lock *l, int64_t until);

static inline void lock_release_for_report(struct lock *l)
{
    /* Release: pairs with the acquire of whoever takes it next. */
    if (unlikely(atomic_exchange_explicit(&l->state, 0, memory_order_release) == 2))
        lock_wake(l);
}

static inline void lock_release(struct lock *l)
{
    lock_note_released(l);
    lock_release_for_report(l);
}
