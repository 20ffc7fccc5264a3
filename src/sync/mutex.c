// SPDX-License-Identifier: MIT
// Mutex: fast when alone, fair enough when not.
//
// Invariants
//   - state is LOCKED, WOKEN and STARVING, and above them the number of those that wait or are about to.
//   - LOCKED is set while somebody holds the lock. In starvation mode only the one that the lock is handed to may set it.
//   - WOKEN is set while somebody is awake and on its way to take the lock, so that unlock need not wake another.
//   - STARVING implies that somebody waits.
//
// Problem. A waiter that is woken and finds that somebody else, who was running already, has taken the lock, has been woken in
// vain; so handing the lock to it directly seems right. But then the lock stays idle while the waiter gets under way,
// and those who use it often would switch at every use. On the other hand, without handing over a waiter can lose for ever.
//
// Rejected. Always first come, first served: a tenth of the speed when two Ps contend. Never: a goroutine that locks and
// unlocks in a loop shuts out all others of its P. An unlock without an atomic operation, by a plain store of a byte; its fence
// is run on all processors by the kernel, at the request of whoever is about to wait: 2.5 ns instead of 4.2 when alone, but such a fence
// takes 7 µs on a virtual machine, and with eight contenders on two Ps one use of the lock in 400 waits, at 13 ns each.
//
// The way is Go's. In normal mode the lock is free after an unlock, one waiter is woken, and competes; if it loses it waits
// again, in front. When a waiter has lost for a millisecond it switches the mutex to starvation mode: now the unlock hands
// the lock to the first waiter, and newcomers queue up without trying. The waiter that is the last, or has waited for
// less than that, switches back.
//
// A newcomer spins for a moment first if the holder can be expected to run at the same time: with several Ps busy, and
// nothing else to do here.
#include "sync/mutex.h"

#include "sched/fatal.h"
#include "sched/runq.h"

#include <goroutine/go.h>

#define LOCKED MUTEX_LOCKED
#define WOKEN 2u
#define STARVING MUTEX_STARVING
#define WAITER 8u
#define WAITERS(state) ((state) / WAITER)

#define STARVES_AFTER 1000000 /* ns: Go's millisecond; longer makes the tail longer, shorter costs throughput */
#define SPIN_ROUNDS 4
#define SPIN_PAUSES 60

static bool worth_spinning(int rounds)
{
    uint32_t procs = load_relaxed(&sched.procs);
    if (rounds >= SPIN_ROUNDS || procs == 1)
        return false;
    struct m *mp = section_enter();
    struct p *pp = mp->p;
    bool worth = !pp || (load_relaxed(&sched.idle_p_count) + load_relaxed(&sched.spinning) + 1 < procs &&
                         runq_length(pp) == 0 && !load_relaxed(&pp->runnext));
    section_leave(mp);
    return worth;
}

static inline bool change(go_mutex *m, uint32_t *old, uint32_t new)
{
    /* Acquire: it may take the lock; pairs with the release of the unlock. */
    return cas_acquire(atomic_u32(&m->state), old, new);
}

noinline void mutex_lock_slow(go_mutex *m, enum wait_reason reason)
{
    int64_t since = 0;
    bool starving = false, woken = false;
    int spins = 0;
    uint32_t old = load_relaxed(atomic_u32(&m->state));
    for (;;) {
        if ((old & (LOCKED | STARVING)) == LOCKED && worth_spinning(spins)) {
            /* Say that we are awake, so that unlock wakes nobody else. */
            if (!woken && !(old & WOKEN) && WAITERS(old) > 0 && change(m, &old, old | WOKEN))
                woken = true;
            for (int i = 0; i < SPIN_PAUSES; i++)
                arch_pause();
            spins++;
            old = load_relaxed(atomic_u32(&m->state));
            continue;
        }
        uint32_t new = old;
        if (old & (LOCKED | STARVING))
            new += WAITER;
        if (!(old & STARVING))
            new |= LOCKED;
        if (starving && (old & LOCKED))
            new |= STARVING;
        if (woken) {
            check(new & WOKEN);
            new &= ~WOKEN; /* we have the lock, or go back to sleep */
        }
        if (!change(m, &old, new))
            continue;
        if (!(old & (LOCKED | STARVING)))
            return;
        bool again = since != 0;
        if (!again)
            since = os_now();
        sema_acquire(&m->waiters, again, reason);
        starving = starving || os_now() - since > STARVES_AFTER;
        old = load_relaxed(atomic_u32(&m->state));
        if (old & STARVING) {
            /* Handed to us: LOCKED is not set, and we are still counted as waiting. */
            check(!(old & (LOCKED | WOKEN)) && WAITERS(old) > 0);
            uint32_t delta = LOCKED - WAITER;
            if (!starving || WAITERS(old) == 1)
                delta -= STARVING;
            atomic_fetch_add_explicit(atomic_u32(&m->state), delta, memory_order_acquire);
            return;
        }
        woken = true;
        spins = 0;
    }
}

/* In normal mode, after an unlock, unless there is nobody to wake, or somebody is awake and will see to the rest. */
static void wake_one(struct m *mp, go_mutex *m, uint32_t state)
{
    while (WAITERS(state) > 0 && !(state & (LOCKED | WOKEN | STARVING)))
        if (atomic_compare_exchange_strong_explicit(atomic_u32(&m->state), &state, (state - WAITER) | WOKEN,
                                                    memory_order_relaxed, memory_order_relaxed)) {
            sema_release(mp, &m->waiters, 1);
            return;
        }
}

static _Noreturn void unlocked_already(void)
{
    fatal("sync: unlock of unlocked mutex");
}

noinline bool mutex_unlock_slow(struct m *mp, go_mutex *m, uint32_t left)
{
    if (((left + LOCKED) & LOCKED) == 0)
        unlocked_already();
    if (left & STARVING) {
        sema_release(mp, &m->waiters, 1);
        return true; /* it is handed over: the sooner its new owner runs the better */
    }
    wake_one(mp, m, left);
    return false;
}

GO_EXPORT void go_mutex_lock(go_mutex *m)
{
    thread_known();
    mutex_lock(m, WAIT_MUTEX);
}

GO_EXPORT bool go_mutex_trylock(go_mutex *m)
{
    thread_known();
    return mutex_trylock(m);
}

noinline void mutex_unlock_waited(go_mutex *m, uint32_t left)
{
    struct m *mp = section_enter();
    bool yield = mutex_unlock_slow(mp, m, left) && mp->p;
    section_leave(mp);
    if (yield)
        go_yield();
}

/* Somebody has come to wait since the unlock saw that nobody did. The mutex was not in starvation mode, nor could it get there
 * before the unlock: only one that has waited before can switch it, and none was awake. */
static noinline void unlock_beside_newcomer(go_mutex *m)
{
    uint32_t state = load_relaxed(atomic_u32(&m->state));
    if (WAITERS(state) > WAITERS(UINT32_MAX) / 2)
        unlocked_already(); /* and the count is below 0 */
    struct m *mp = section_enter();
    wake_one(mp, m, state);
    section_leave(mp);
}

GO_EXPORT void go_mutex_unlock(go_mutex *m)
{
    /* Release, both: pairs with the acquire of the next lock. A subtraction of which only zero matters is quicker than one whose
     * result is kept. */
    if (likely(load_relaxed(atomic_u32(&m->state)) == LOCKED)) {
        if (unlikely(atomic_fetch_sub_explicit(atomic_u32(&m->state), LOCKED, memory_order_release) != LOCKED))
            unlock_beside_newcomer(m);
        return;
    }
    uint32_t left = atomic_fetch_sub_explicit(atomic_u32(&m->state), LOCKED, memory_order_release) - LOCKED;
    if (unlikely(left != 0))
        mutex_unlock_waited(m, left);
}
