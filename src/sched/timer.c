// SPDX-License-Identifier: MIT
// Timers: each P has a queue of its own.
//
// Invariants
//   - An armed timer has an entry with its `when` in one queue (or two: see the nasty race); an entry whose `when` is not its
//     timer's is out of date and means nothing.
//   - queue.next is not later than the first entry's `when`.
//
// A timer is set on the P of whoever sets it, and may be cancelled by anybody: one compare-and-swap on the timer, and the queue
// is left alone. How that keeps its order, and gets rid of what is out of date, is timer_queue.c's matter.
//
// The nasty race: a timer fires while it is cancelled. Both change `when` from the same value to 0, and
// one of them does. A timer that is armed again for the same nanosecond while its old entry is still there has
// two valid entries: whichever comes up first fires it, at the right time, and the other one is out of date.
#include "sched/timer.h"

#include "base/check.h"
#include "sched/runq.h"
#include "sched/sched.h"

static void arm(struct p *pp, struct timer *t, int64_t when, uintptr_t tag)
{
    check(load_relaxed(&t->when) == 0 && when > 0);
    if (when == TIME_NEVER)
        when--; /* an entry at TIME_NEVER would look like none */
    store_relaxed(&t->home, pp->id);
    /* Release: whoever claims it (acquire) sees what it is for. */
    store_release(&t->when, when);
    timer_queue_put(&pp->timers, (struct timer_entry){ when, (uintptr_t)t | tag }, load_relaxed(&sched.coarse_now));
}

void timer_set_on(struct p *pp, struct timer *t, int64_t when)
{
    arm(pp, t, when, 0);
}

void timer_set_wait(struct m *mp, struct timer *t, int64_t when)
{
    arm(mp->p, t, when, TIMER_OF_GOROUTINE);
}

struct p *timer_borrow_p(void)
{
    struct p *pp = load_acquire(&sched.ps[0]); /* never gone */
    for (;;) {
        lock_take(&pp->lock);
        if (p_seize(pp))
            return pp;
        lock_release(&pp->lock);
        os_thread_yield();
    }
}

void timer_return_p(struct p *pp, int64_t when)
{
    p_unseize(pp);
    lock_release(&pp->lock);
    /* An M that becomes idle after this sees the new time; one that is idle already, and would sleep too long, must be
     * woken. */
    struct p *idle = NULL;
    lock_take(&sched.lock);
    if (timekeeper_late_locked(when))
        idle = p_idle_pop_locked();
    lock_release(&sched.lock);
    if (idle)
        m_start(idle, false, NULL);
}

static bool any(void *arg, struct timer_entry x)
{
    (void)arg, (void)x;
    return true;
}

bool timer_pending(const struct p *pp)
{
    return timer_queue_any(&pp->timers, any, NULL);
}

bool timer_cancel(struct timer *t)
{
    int64_t when = load_relaxed(&t->when);
    uint32_t home = load_relaxed(&t->home);
    if (when == 0 || !cas_acq_rel(&t->when, &when, 0))
        return false;
    struct p *pp = load_acquire(&sched.ps[home]);
    if (unlikely(load_relaxed(&pp->retired)))
        pp = load_acquire(&sched.ps[0]); /* where timer_evacuate has put its entries */
    atomic_fetch_add_explicit(&pp->timers.stale, 1, memory_order_relaxed);
    return true;
}

int timer_run_due(struct m *mp, struct p *pp, int64_t now)
{
    struct timer_entry x;
    int fired = 0;
    while (timer_queue_take(&pp->timers, now, &x)) {
        struct timer *t = timer_of(&x);
        if (!cas_acq_rel(&t->when, &x.when, 0)) {
            timer_queue_stale_less(&pp->timers);
            continue;
        }
        if (x.timer & TIMER_OF_GOROUTINE)
            wait_time_up(mp, t, now);
        else
            t->fire(mp, t);
        fired++;
    }
    if (fired > 1)
        runq_keep_order(mp->p); /* that of their times */
    return fired;
}

static bool adopt(void *arg, struct timer_entry x)
{
    struct p *to = arg;
    /* For timer_cancel. Not in a goroutine's own timer: its G may be another one's by now, and this an argument. Public timers and
     * scopes' deadlines stay what they are. */
    if (!(x.timer & TIMER_OF_GOROUTINE))
        store_relaxed(&timer_of(&x)->home, to->id);
    timer_queue_put(&to->timers, x, load_relaxed(&sched.coarse_now));
    return false;
}

void timer_evacuate(struct p *from)
{
    struct timer_queue all;
    lock_take(&from->lock); /* nobody owns it: a thief may be firing some of them */
    timer_queue_move(&from->timers, &all);
    lock_release(&from->lock);
    if (all.near_count + all.far_count > 0) {
        struct p *to = timer_borrow_p();
        timer_queue_any(&all, adopt, to);
        timer_return_p(to, load_relaxed(&to->timers.next));
    }
    timer_queue_free(&all);
}
