// SPDX-License-Identifier: MIT
// Weighted semaphore, first come, first served.
//
// Invariants
//   - state is twice what is available, plus 1 while somebody waits. The 1 changes under the bucket's lock only.
//   - While it is set, what is available becomes less only under that lock: newcomers queue up, even if what they want is
//     there.
//   - While it is set and the lock is free, less is available than the first waiter wants, or a release is on its way to
//     the lock.
//
// A release adds and learns in the same step whether somebody waits; if nobody does it touches the semaphore no more.
#include <goroutine/sync.h>

#include "sched/fatal.h"
#include "sync/sema.h"

#define WAITING 1
#define MOST (INT64_MAX / 2)

static inline _Atomic int64_t *state_of(go_sem *s)
{
    return (_Atomic int64_t *)(void *)&s->state;
}

GO_EXPORT void go_sem_init(go_sem *s, int64_t n)
{
    if (unlikely(n < 0))
        fatal("sync: negative semaphore count");
    store_relaxed(state_of(s), (n > MOST ? MOST : n) * 2);
}

/* Serves those that can be, in order. Under the lock, WAITING set, somebody queued. */
static void serve(go_sem *s, struct sema_bucket *b, struct sema_woken *woken)
{
    struct sema_waiter *w;
    while ((w = sema_first_locked(b, s)) != NULL) {
        int64_t n = w->n; /* acquire: pairs with the release that made it available */
        if (load_acquire(state_of(s)) / 2 < n)
            return;
        if (sema_wake_locked(b, w, woken))
            atomic_fetch_sub_explicit(state_of(s), n * 2, memory_order_acq_rel);
    }
    atomic_fetch_and_explicit(state_of(s), ~(int64_t)WAITING, memory_order_release);
}

static noinline int acquire_slow(go_sem *s, int64_t n)
{
    struct m *mp = section_enter();
    struct g *gp = mp->cur;
    struct sema_woken woken;
    sema_woken_init(&woken);
    struct sema_bucket *b = sema_lock(s);
    int64_t state = load_relaxed(state_of(s));
    for (;;) {
        bool take = !(state & WAITING) && state / 2 >= n;
        if (atomic_compare_exchange_weak_explicit(state_of(s), &state, take ? state - n * 2 : state | WAITING,
                                                  memory_order_acq_rel, memory_order_acquire)) {
            if (!take)
                break;
            lock_release(&b->lock);
            section_leave(mp);
            return 0;
        }
    }
    struct sema_waiter w;
    w.gp = gp;
    w.n = n;
    w.ticket = wait_arm_cancellable(gp, WAIT_SEM);
    sema_enqueue_locked(b, &w, s, false);
    lock_release(&b->lock);
    int r = wait_park(mp, gp);
    mp = m_self();
    if (r < 0) {
        b = sema_lock(s);
        if (w.queued) {
            sema_dequeue_locked(b, &w);
            serve(s, b, &woken); /* those behind may want less */
        }
        lock_release(&b->lock);
        sema_ready(mp, &woken);
    }
    section_leave(mp);
    return r;
}

GO_EXPORT bool go_sem_try_acquire(go_sem *s, int64_t n)
{
    thread_known();
    if (unlikely(n < 0))
        fatal("sync: negative semaphore count");
    int64_t state = load_relaxed(state_of(s));
    while (!(state & WAITING) && state / 2 >= n)
        /* Acquire: pairs with the release in release. */
        if (atomic_compare_exchange_weak_explicit(state_of(s), &state, state - n * 2, memory_order_acquire,
                                                  memory_order_relaxed))
            return true;
    return false;
}

GO_EXPORT int go_sem_acquire(go_sem *s, int64_t n)
{
    return likely(go_sem_try_acquire(s, n)) ? 0 : acquire_slow(s, n);
}

static noinline void release_slow(go_sem *s)
{
    struct m *mp = section_enter();
    struct sema_woken woken;
    sema_woken_init(&woken);
    struct sema_bucket *b = sema_lock(s);
    if (sema_first_locked(b, s))
        serve(s, b, &woken);
    lock_release(&b->lock);
    sema_ready(mp, &woken);
    section_leave(mp);
}

GO_EXPORT void go_sem_release(go_sem *s, int64_t n)
{
    thread_known();
    if (unlikely(n < 0))
        fatal("sync: negative semaphore count");
    int64_t state = load_relaxed(state_of(s));
    do
        if (unlikely(n > MOST - state / 2))
            fatal("sync: semaphore count overflow");
    /* Release: pairs with the acquire of whoever takes it. */
    while (!atomic_compare_exchange_weak_explicit(state_of(s), &state, state + n * 2, memory_order_acq_rel,
                                                  memory_order_relaxed));
    if (unlikely(state & WAITING))
        release_slow(s);
}
