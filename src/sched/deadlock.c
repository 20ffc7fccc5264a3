// SPDX-License-Identifier: MIT
// All goroutines are asleep. Known for certain when no M runs, for whatever could still wake one of them is
// counted: an M that runs or blocks (go_block_enter) is not idle; a timer is in a heap; a plain thread that has
// called the library is in sched.foreign until it ends, as is the process's first thread before it is
// goroutine 1. A P that sysmon has taken from somebody, and its queue with it, is in nobody's hand but sysmon's for
// a moment: so all Ps must be idle, too.
#include "sched/fatal.h"
#include "sched/netpoll.h"
#include "sched/sched.h"

static _Atomic int deadlock_wakers;

void deadlock_waker_add(int n)
{
    atomic_fetch_add_explicit(&deadlock_wakers, n, memory_order_relaxed);
}

static bool timers_pending(void)
{
    uint32_t count = load_relaxed(&sched.p_count);
    for (uint32_t i = 0; i < count; i++)
        if (timer_pending(load_relaxed(&sched.ps[i])))
            return true;
    return false;
}

void deadlock_check_locked(void)
{
    if (sched.idle_m_count < sched.m_count ||
        load_relaxed(&sched.idle_p_count) < load_relaxed(&sched.procs) || sched.foreign > 0 ||
        sched.global.length > 0 || load_relaxed(&deadlock_wakers) > 0 || netpoll_wanted() ||
        sched.stranded_ps || sched.retrying || timers_pending())
        return;
    bool main_ended = sched.main_ended;
    lock_release(&sched.lock);
    fatal("all goroutines are asleep - deadlock!%s",
          main_ended ? " (main has ended by go_exit)" : "");
}
