// SPDX-License-Identifier: MIT
// Readers-writer mutex: a counter of readers, which a writer makes negative to keep new ones out.
//
// Invariants
//   - readers is the number of those that read or want to, minus WRITER while a writer holds the lock or waits for it.
//   - `writers` is held by the writer that waits or writes: so there is one at a time.
//   - departing is, while a writer waits, how many readers it still waits for. It may be below 0 for a
//     moment, when readers leave between the two steps in which the writer announces itself. It is HELD while a writer
//     has the lock, so that an unlock of what is not locked in that way is found out, whoever else waits; otherwise 0.
//
// A writer that announces itself lets the readers finish that are there already; readers that come
// later wait until it is done. At its unlock all of these go on before the next writer is let in: neither side starves.
#include <goroutine/sync.h>

#include <goroutine/go.h>

#include "sched/fatal.h"
#include "sync/mutex.h"

#define WRITER (1 << 30)
#define HELD (1 << 30)

GO_EXPORT void go_rwmutex_rlock(go_rwmutex *rw)
{
    thread_known();
    /* Acquire: pairs with the writer's release in unlock. */
    if (unlikely(atomic_fetch_add_explicit(atomic_i32(&rw->readers), 1, memory_order_acquire) + 1 < 0))
        sema_acquire(&rw->readers_wait, false, WAIT_RWMUTEX_RLOCK);
}

GO_EXPORT bool go_rwmutex_tryrlock(go_rwmutex *rw)
{
    thread_known();
    int32_t n = load_relaxed(atomic_i32(&rw->readers));
    while (n >= 0)
        if (atomic_compare_exchange_weak_explicit(atomic_i32(&rw->readers), &n, n + 1, memory_order_acquire,
                                                  memory_order_relaxed))
            return true;
    return false;
}

static noinline void runlock_slow(go_rwmutex *rw, int32_t left)
{
    if (left + 1 == 0 || left + 1 == -WRITER)
        fatal("sync: RUnlock of unlocked RWMutex");
    /* Release: what was read is read before the writer writes; acquire: likewise for the last one, who wakes it. */
    int32_t departing = atomic_fetch_sub_explicit(atomic_i32(&rw->departing), 1, memory_order_acq_rel) - 1;
    if (unlikely(departing > HELD / 2))
        fatal("sync: RUnlock of unlocked RWMutex");
    if (departing == 0) {
        struct m *mp = section_enter();
        sema_release(mp, &rw->writer_waits, 1);
        section_leave(mp);
    }
}

GO_EXPORT void go_rwmutex_runlock(go_rwmutex *rw)
{
    /* Release: pairs with the writer's acquire in lock. */
    int32_t left = atomic_fetch_sub_explicit(atomic_i32(&rw->readers), 1, memory_order_release) - 1;
    if (unlikely(left < 0))
        runlock_slow(rw, left);
}

GO_EXPORT void go_rwmutex_lock(go_rwmutex *rw)
{
    thread_known();
    mutex_lock(&rw->writers, WAIT_RWMUTEX_LOCK);
    int32_t there = atomic_fetch_sub_explicit(atomic_i32(&rw->readers), WRITER, memory_order_acq_rel);
    if (there != 0 &&
        atomic_fetch_add_explicit(atomic_i32(&rw->departing), there, memory_order_acq_rel) + there != 0)
        sema_acquire(&rw->writer_waits, false, WAIT_RWMUTEX_LOCK);
    store_relaxed(atomic_i32(&rw->departing), HELD); /* nobody else touches it now */
}

static void unlock_writers(go_rwmutex *rw)
{
    uint32_t *state = &rw->writers.state;
    uint32_t left = atomic_fetch_sub_explicit(atomic_u32(state), MUTEX_LOCKED, memory_order_release) -
                    MUTEX_LOCKED;
    if (unlikely(left != 0))
        mutex_unlock_waited(&rw->writers, left);
}

GO_EXPORT bool go_rwmutex_trylock(go_rwmutex *rw)
{
    thread_known();
    if (!mutex_trylock(&rw->writers))
        return false;
    int32_t none = 0;
    if (cas_acquire(atomic_i32(&rw->readers), &none, -WRITER)) {
        store_relaxed(atomic_i32(&rw->departing), HELD);
        return true;
    }
    unlock_writers(rw);
    return false;
}

GO_EXPORT void go_rwmutex_unlock(go_rwmutex *rw)
{
    if (unlikely(load_relaxed(atomic_i32(&rw->departing)) != HELD))
        fatal("sync: Unlock of unlocked RWMutex");
    store_relaxed(atomic_i32(&rw->departing), 0);
    /* Release: pairs with the acquire of readers and writers. */
    int32_t waiting = atomic_fetch_add_explicit(atomic_i32(&rw->readers), WRITER, memory_order_release) + WRITER;
    if (unlikely(waiting >= WRITER || waiting < 0))
        fatal("sync: Unlock of unlocked RWMutex");
    if (waiting > 0) {
        struct m *mp = section_enter();
        sema_release(mp, &rw->readers_wait, (uint32_t)waiting);
        section_leave(mp);
    }
    unlock_writers(rw);
}
