// SPDX-License-Identifier: MIT
// Which M sleeps, and who wakes it.
//
// Invariants
//   - sched.spinning is the number of Ms with m->spinning set, and those being woken to spin.
//   - An idle P has an empty ring and no M.
//
// "Worker parking"
//
// Problem. Work appears on a P's ring while other Ps are idle and their Ms asleep. Waking a thread costs tens of
// microseconds on a virtual machine, a thousand times as much as a switch; not waking one wastes a core.
// And no work may be forgotten.
//
// Rejected: waking a thread for each ready goroutine (a storm: a thousand short ones are done before
// the first thread is up); a queue per P without theft (a launcher on one P would keep its core busy and all others
// idle); one global queue (its lock is the scheduler's limit); handing the P over with the goroutine at each
// wake-up (two that talk to each other would bounce between cores).
//
// The way is Go's. An M without work spins for a while: it looks at all Ps and steals. At most half as many
// spin as are busy. Whoever submits work wakes one more only if there is an idle P and nobody spins; the one
// who spins and finds something wakes the next, so a burst of work wakes as many as it needs, one by one.
// A goroutine made ready goes to runnext and wakes nobody: it will run here at once. Only if that kicks
// another one to the ring is there work that waits.
//
// The rule that keeps wake-ups from being lost:
//
//     submitter: put the goroutine on the ring · fence · is a P idle and does nobody spin? wake one
//     idler:     make the P idle · stop spinning · fence · look at all rings again
//
// (If all Ps are idle then, nobody is a submitter, and whoever becomes one takes a P from the list first.)
// Of the two, one sees the other. The fence of the submitter is on the path of every launch, so it is
// the compiler's only, and the idler pays for both with os_fence_others (membarrier), which costs little
// beside the sleep that follows. The global queue needs no such care: it is looked at for the last time under
// sched.lock, in the same critical section that makes the P idle, and whoever pushes a goroutine to it
// that no M is about to run looks for idle Ps under that lock, or after it.
//
// A ring that thieves leave alone for a while ("Thefts that are worth nothing" in steal.c) is left out of the second look; sysmon is the
// net under it. So is runnext: its owner is about to run it, and idlers that saw it would
// never come to rest beside two goroutines that talk to each other. If its owner computes for long instead, a spinning
// M takes it (see steal_next), and if none spins, sysmon sees it at its next look, a millisecond later.
//
// "Wake-ups that find nothing"
//
// A program that launches a goroutine and waits for it, again and again, has an idle P and a launch each
// time, and the thread woken finds that the goroutine has run. So whoever was woken and found nothing says so
// in the waking P's wake_backoff, and after n such failures in a row that P's next 2^n launches wake nobody. A theft that was worth
// it ends that at once (or the next one does, if this one's 0 is overwritten by the P's own count-down), and only halves n: so a
// theft that merely looked worth it, because some thread lost its processor, does not cost n more failures. sysmon ends it, too, after
// a while, or when goroutines run for long there; and it wakes a thread when work does wait, so the loss is bounded by its period.
//
// "Many timers"
//
// An M without work sleeps until the earliest timer of all Ps. Where a million goroutines sleep, some are due in each
// microsecond, and to wake for each handful of them costs more than to run them. So an M that has fired
// many timers since it last slept sleeps for a tenth of a millisecond at least: what becomes due meanwhile is fired together, later by no
// more than that. An M that wakes takes the P whose timers are due, not any other, and leaves timers alone that a P's own M is
// about to come to. What timers make ready counts neither as a success nor as a failure of a wake-up.
#include "sched/global.h"
#include "sched/netpoll.h"
#include "sched/runq.h"
#include "sched/sched.h"

/* "Many timers": an M that has fired this many sleeps at least this long; and this long for timers that a P's own M is about to fire. */
#define MANY_TIMERS 16
#define MANY_SLEEP 100000 /* ns */
#define BUSY_SLEEP 20000  /* ns */

bool wake_spinning(struct p *woken_by)
{
    uint32_t none = 0;
    if (load_relaxed(&sched.idle_p_count) == 0 || !cas_acq_rel(&sched.spinning, &none, 1))
        return false;
    lock_take(&sched.lock);
    struct p *idle = p_idle_pop_locked();
    /* Under the lock: if an M makes its P idle after this, nobody must take us for a spinner that will find that P work. */
    if (!idle)
        atomic_fetch_sub_explicit(&sched.spinning, 1, memory_order_relaxed);
    lock_release(&sched.lock);
    if (!idle)
        return false;
    /* It may be woken_by itself: sysmon's look at that may be out of date, and it has become idle since. */
    return m_start(idle, true, idle == woken_by ? NULL : woken_by);
}

noinline void wake_for_launch(struct p *pp)
{
    uint32_t backoff = load_relaxed(&pp->wake_backoff);
    store_relaxed(&pp->wake_skip, backoff ? 1u << backoff : 0);
    if (!wake_spinning(pp))
        store_relaxed(&pp->wake_skip, 0);
}

void spinning_begin(struct m *mp)
{
    mp->spinning = true;
    atomic_fetch_add_explicit(&sched.spinning, 1, memory_order_relaxed);
}

/* Found something: the next one may be woken. Or found nothing: whoever woke us shall know. */
void spinning_end(struct m *mp, bool found)
{
    struct p *by = mp->woken_by;
    mp->spinning = false;
    mp->woken_by = NULL;
    uint32_t before = atomic_fetch_sub_explicit(&sched.spinning, 1, memory_order_acq_rel);
    check(before > 0);
    if (by && !found)
        woken_in_vain(by);
    if (found && before == 1)
        wake_idle(mp->p);
}

/* See "Many timers". */
int64_t wake_time(struct m *mp, int64_t now)
{
    int64_t when = TIME_NEVER;
    uint32_t count = load_acquire(&sched.p_count);
    for (uint32_t i = 0; i < count; i++) {
        struct p *pp = load_acquire(&sched.ps[i]);
        int64_t next = load_relaxed(&pp->timers.next);
        if (next <= now && p_in_section(pp))
            next = now + BUSY_SLEEP;
        if (next < when)
            when = next;
    }
    if (mp->fired >= MANY_TIMERS && when < now + MANY_SLEEP)
        when = now + MANY_SLEEP;
    mp->fired = 0;
    return when;
}

/* Awake again: takes what there is for mp. Under sched.lock, which it releases. */
static void m_awake_locked(struct m *mp)
{
    if (mp->idle) { /* time is up, or there are events, and nobody has taken us off the list */
        m_unlist_idle_locked(mp);
        if (!mp->locked_g)
            mp->next_p = p_idle_pop_due_locked();
    }
    struct p *pp = mp->next_p;
    mp->next_p = NULL;
    store_relaxed(&mp->wake, 0);
    lock_release(&sched.lock);
    store_relaxed(&sched.coarse_now, os_now());
    if (pp)
        p_attach(mp, pp);
}

/* The same sleep for sched.poller, with room for what it finds. */
static noinline void m_sleep_polling(struct m *mp)
{
    struct netpoll_batch batch;
    netpoll_sleep(&batch, mp->sleeps_until ? mp->sleeps_until : TIME_NEVER);
    lock_take(&sched.lock);
    store_relaxed(&sched.poller, NULL);
    m_awake_locked(mp);
    netpoll_deliver(mp, &batch);
}

void m_sleep(struct m *mp, int64_t when)
{
    lock_take(&sched.lock);
    if (!mp->next_p) {
        struct m *keeper = sched.timekeeper;
        bool keeps = when != TIME_NEVER && !mp->locked_g && (!keeper || keeper->sleeps_until > when);
        /* While all Ps are busy they poll themselves: this M would be woken by each event, and could only pass it on. */
        bool polls = netpoll_wanted() && !mp->locked_g && !load_relaxed(&sched.poller) && load_relaxed(&sched.idle_p_count) > 0;
        mp->sleeps_until = keeps ? when : 0;
        if (keeps)
            sched.timekeeper = mp;
        if (polls)
            store_relaxed(&sched.poller, mp);
        mp->idle = true;
        sched.idle_m_count++;
        if (!mp->locked_g) {
            mp->link = sched.idle_ms;
            sched.idle_ms = mp;
        }
        deadlock_check_locked();
        lock_release(&sched.lock);
        if (polls) {
            m_sleep_polling(mp);
            return;
        }
        while (load_acquire(&mp->wake) == 0) /* pairs with the release in m_wake_locked */
            if (!os_futex_wait(&mp->wake, 0, mp->sleeps_until))
                break;
        lock_take(&sched.lock);
    }
    m_awake_locked(mp);
}

void go_idle(struct m *mp)
{
    if (global_size() > 0)
        return;
    struct p *pp = p_detach(mp); /* before sched.lock: a p.lock is never taken under it */
    lock_take(&sched.lock);
    /* The ring, too: a thread that seized our P while steal made way for it may have put goroutines back (theft_undo). */
    if (global_size() > 0 || runq_length(pp) > 0 || load_relaxed(&pp->gone)) {
        lock_release(&sched.lock);
        p_attach(mp, pp);
        return;
    }
    p_idle_push_locked(pp);
    /* If all are idle, nobody can be putting work on a ring; whoever will takes a P first, under this lock, and sees that we do
     * not spin. */
    bool all_idle = load_relaxed(&sched.idle_p_count) == load_relaxed(&sched.p_count), spun = mp->spinning;
    if (spun && all_idle)
        spinning_end(mp, false);
    lock_release(&sched.lock);
    if (spun && !all_idle)
        spinning_end(mp, false);
    if (all_idle) {
        m_sleep(mp, wake_time(mp, os_now()));
        return;
    }
    /* "Worker parking": the idler's fence, for both sides. */
    if (unlikely(sched.light_fence_missing))
        full_fence();
    else
        os_fence_others();
    uint32_t count = load_acquire(&sched.p_count);
    int64_t now = os_now();
    for (uint32_t i = 0; i < count; i++) {
        struct p *vp = load_acquire(&sched.ps[i]);
        if (runq_length(vp) == 0 || now < load_relaxed(&vp->shy_until))
            continue;
        lock_take(&sched.lock);
        pp = p_idle_pop_locked();
        lock_release(&sched.lock);
        if (!pp)
            break; /* all are busy: it will be seen to */
        p_attach(mp, pp);
        if (spun)
            spinning_begin(mp);
        return;
    }
    m_sleep(mp, wake_time(mp, now));
}
