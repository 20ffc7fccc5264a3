// SPDX-License-Identifier: MIT
// All goroutines are asleep.
//
// "Strangers"
//
// A plain thread counts once it has called the library. But a program that has just made its first thread, and waits for what the
// thread will send, has not done anything wrong. So while the process has threads that the library does not know (it knows its Ms, sysmon,
// and what deadlock_helper_add counts), a deadlock is not
// reported at once: sysmon looks again and again, and reports it when they have ended, or have not called for a long while.
//
// A deadlock is known for certain when no M runs, for everything that could still wake a goroutine is
// counted: an M that runs or blocks (go_block_enter) is not idle; a timer is in a queue; a plain thread that has
// called the library is in sched.foreign until it ends, as is the process's first thread before it is
// goroutine 1. A P that sysmon has taken from an M, and the P's queue with it, is in nobody's hand but sysmon's for
// a moment: so all Ps must be idle, too.
#include "sched/fatal.h"
#include "sched/global.h"
#include "sched/netpoll.h"
#include "sched/sched.h"

#define STRANGERS_WAIT 3000000000 /* ns */

static _Atomic int deadlock_wakers;
static _Atomic int deadlock_helpers;

void deadlock_waker_add(int n)
{
    atomic_fetch_add_explicit(&deadlock_wakers, n, memory_order_relaxed);
}

void deadlock_helper_add(int n)
{
    atomic_fetch_add_explicit(&deadlock_helpers, n, memory_order_relaxed);
}

static bool timers_pending(void)
{
    uint32_t count = load_relaxed(&sched.p_count);
    for (uint32_t i = 0; i < count; i++)
        if (timer_pending(load_relaxed(&sched.ps[i])))
            return true;
    return false;
}

static bool all_asleep_locked(void)
{
    return sched.idle_m_count == sched.m_count &&
           load_relaxed(&sched.idle_p_count) == load_relaxed(&sched.procs) && sched.foreign == 0 &&
           global_size() == 0 && load_relaxed(&deadlock_wakers) == 0 && !netpoll_wanted() &&
           !load_relaxed(&sched.stranded_ps) && !sched.retrying && !timers_pending();
}

static cold void report_locked(void)
{
    bool main_ended = sched.main_ended;
    lock_release(&sched.lock);
    fatal("all goroutines are asleep - deadlock!%s",
          main_ended ? " (main has ended by go_exit)" : "");
}

/* True if there are threads that are neither the library's nor ThreadSanitizer's own, or, without /proc, if there may be. */
static bool strangers(void)
{
    int n = os_thread_count();
    return n == 0 || n > (int)sched.m_count + sched.first_resting + load_relaxed(&deadlock_helpers) + 1 + HAVE_TSAN;
}

void deadlock_check_locked(void)
{
    if (!all_asleep_locked())
        return;
    if (!strangers())
        report_locked();
    sched.deadlock_since = os_now();
    sysmon_kick();
}

bool deadlock_suspected_locked(int64_t now)
{
    if (sched.deadlock_since == 0)
        return false;
    if (!all_asleep_locked())
        sched.deadlock_since = 0;
    else if (now - sched.deadlock_since >= STRANGERS_WAIT || !strangers())
        report_locked();
    return sched.deadlock_since != 0;
}
