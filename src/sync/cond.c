// SPDX-License-Identifier: MIT
// Condition variable. Its waiters are in the table of waiters, by its address; it holds only their number, so that signals
// to nobody cost one load.
//
// The waiter queues up before it unlocks the mutex, so a signal given under the mutex cannot be missed. A signal
// claims the waiter it wakes, so a waiter whose scope has ended its wait takes no signal away from the others.
#include <goroutine/sync.h>

#include "sched/fatal.h"
#include "sync/mutex.h"

GO_EXPORT int go_cond_wait(go_cond *c, go_mutex *m)
{
    struct m *mp = section_enter();
    struct g *gp = mp->cur;
    struct sema_waiter w;
    w.gp = gp;
    if (unlikely(!(load_relaxed(atomic_u32(&m->state)) & MUTEX_LOCKED)))
        fatal("sync: unlock of unlocked mutex");
    struct sema_bucket *b = sema_lock(c);
    w.ticket = wait_arm_cancellable(gp, WAIT_COND);
    sema_enqueue_locked(b, &w, c, false);
    store_release(atomic_u32(&c->waiters), c->waiters + 1); /* pairs with the acquire in signal */
    lock_release(&b->lock);

    /* The waiter that gets the mutex, if any, runs next: no need to yield for it. */
    uint32_t left = atomic_fetch_sub_explicit(atomic_u32(&m->state), MUTEX_LOCKED, memory_order_release) -
                    MUTEX_LOCKED;
    if (left != 0)
        mutex_unlock_slow(mp, m, left);

    int r = wait_park(mp, gp);
    mp = m_self();
    if (r < 0) {
        b = sema_lock(c);
        if (w.queued) {
            sema_dequeue_locked(b, &w);
            store_relaxed(atomic_u32(&c->waiters), c->waiters - 1);
        }
        lock_release(&b->lock);
    }
    section_leave(mp);
    mutex_lock(m, WAIT_MUTEX);
    return r;
}

static noinline void wake(go_cond *c, bool all)
{
    struct m *mp = section_enter();
    struct sema_woken woken;
    sema_woken_init(&woken);
    struct sema_bucket *b = sema_lock(c);
    struct sema_waiter *w;
    uint32_t gone = 0;
    while ((w = sema_first_locked(b, c)) != NULL) {
        gone++;
        if (sema_wake_locked(b, w, &woken) && !all)
            break;
    }
    if (gone > 0)
        store_relaxed(atomic_u32(&c->waiters), c->waiters - gone);
    lock_release(&b->lock);
    sema_ready(mp, &woken);
    section_leave(mp);
}

GO_EXPORT void go_cond_signal(go_cond *c)
{
    thread_known();
    if (load_acquire(atomic_u32(&c->waiters)) != 0) /* pairs with the release in wait */
        wake(c, false);
}

GO_EXPORT void go_cond_broadcast(go_cond *c)
{
    thread_known();
    if (load_acquire(atomic_u32(&c->waiters)) != 0)
        wake(c, true);
}
