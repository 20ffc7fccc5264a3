// SPDX-License-Identifier: MIT
// Wait group: the counter in the upper half of a word, the number of those that wait in the lower half, so that
// a done that is not the last is one atomic addition and touches the group no more.
#include <goroutine/sync.h>

#include "sched/fatal.h"
#include "sync/sema.h"

static inline _Atomic uint64_t *state_of(go_waitgroup *wg)
{
    return (_Atomic uint64_t *)(void *)&wg->state;
}

/* Adding n has made the word `state`, and this is not the commonest case: it is misuse, or the last one is done. */
static noinline void counted(go_waitgroup *wg, int n, uint64_t state)
{
    int32_t count = (int32_t)(state >> 32);
    uint32_t waiters = (uint32_t)state;
    if (count < 0)
        fatal("sync: negative WaitGroup counter");
    if (waiters != 0 && n > 0 && count == n)
        fatal("sync: WaitGroup misuse: Add called concurrently with Wait");
    if (waiters == 0 || n == 0) /* an addition of 0 is nobody's end */
        return;
    /* They all wait for this, and nobody may add now: the word is ours. */
    if (unlikely(load_relaxed(state_of(wg)) != state))
        fatal("sync: WaitGroup misuse: Add called concurrently with Wait");
    store_relaxed(state_of(wg), 0);
    struct m *mp = section_enter();
    sema_release(mp, &wg->waiters, waiters);
    section_leave(mp);
}

/* Any call is the last thing this does, as in go_waitgroup_add: so a done that is not the last one saves no registers. */
static always_inline void add(go_waitgroup *wg, int n)
{
    uint64_t delta = (uint64_t)(uint32_t)n << 32;
    /* Release: pairs with the acquire of wait; acquire: the last one passes on what the others have released. */
    uint64_t state = atomic_fetch_add_explicit(state_of(wg), delta, memory_order_acq_rel) + delta;
    int32_t count = (int32_t)(state >> 32);
    if (likely(count > 0) && likely((uint32_t)state == 0 || count != n))
        return;
    counted(wg, n, state);
}

static noinline void add_slow(go_waitgroup *wg, int n)
{
    thread_known();
    add(wg, n);
}

GO_EXPORT void go_waitgroup_add(go_waitgroup *wg, int n)
{
    if (likely(thread_is_known()))
        add(wg, n);
    else
        add_slow(wg, n);
}

GO_EXPORT void go_waitgroup_done(go_waitgroup *wg)
{
    go_waitgroup_add(wg, -1);
}

GO_EXPORT void go_waitgroup_wait(go_waitgroup *wg)
{
    thread_known();
    uint64_t state = load_acquire(state_of(wg)); /* pairs with the release of the last done */
    do
        if ((int32_t)(state >> 32) == 0)
            return;
    while (!atomic_compare_exchange_weak_explicit(state_of(wg), &state, state + 1, memory_order_acquire,
                                                  memory_order_acquire));
    sema_acquire(&wg->waiters, false, WAIT_WAITGROUP);
    if (unlikely(load_acquire(state_of(wg)) != 0))
        fatal("sync: WaitGroup is reused before previous Wait has returned");
}
