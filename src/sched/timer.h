// SPDX-License-Identifier: MIT
// Timers: each P has its own. The essays are in timer.c and timer_queue.c.
#pragma once

#include "base/atomic.h"
#include "base/compiler.h"
#include "sched/timer_queue.h"

struct m;
struct p;

/*
 * A timer is armed while `when` is not 0. Whoever changes `when` from its value to 0 has claimed it: the
 * P that runs it, or timer_cancel; so it fires at most once for each time it is set. Its memory must stay
 * readable for ever (it is part of a G, or of another type-stable object), for a queue may hold entries
 * that are out of date.
 */
struct timer {
    _Atomic int64_t when;                    /* on os_now's clock; 0: not armed */
    void (*fire)(struct m *, struct timer *); /* in a section with a P; must not park */
    _Atomic uint64_t ticket;                 /* fire's own */
    _Atomic uint32_t home;                   /* id of the P whose queue has the entry; a hint, which may be out of date */
};

/* Arms t, which must not be armed, on a P that the caller owns or has borrowed. In a section; may run on a goroutine's stack. */
void timer_set_on(struct p *pp, struct timer *t, int64_t when);

/*
 * The same for the timer in the calling goroutine's G, on mp's P. wait_time_up is called when it fires, and `fire` is neither
 * written nor read: between the claim and the call the goroutine may have been woken and have ended, and its G may be
 * another goroutine's, whose function stands in that place.
 */
void timer_set_wait(struct m *mp, struct timer *t, int64_t when);

/* park.c supplies this. `now`: the time by which t is due. */
void wait_time_up(struct m *mp, struct timer *t, int64_t now);

/* This, too: t will fire soon, and what its goroutine then needs shall be in the cache. */
void wait_warm(struct timer *t);

/* For those who have no P: one to set timers on, with its lock held, so that only locks of a higher rank may be
 * taken meanwhile; and back. `when` is the earliest time it was given. In a section. */
struct p *timer_borrow_p(void);
void timer_return_p(struct p *pp, int64_t when);

/* Something in pp's queue will still fire. Nobody may own pp. */
bool timer_pending(const struct p *pp);

/* True when t was armed and now will not fire; false when it has fired, fires now, or was not armed.
 * Any thread. */
bool timer_cancel(struct timer *t);

/* Fires what is due in pp's queue. On a system stack, by pp's owner, in a section; or by a thief that
 * has seized pp: then the goroutines become ready on mp's P. Returns how many fired. */
int timer_run_due(struct m *mp, struct p *pp, int64_t now);

/* Moves every timer of `from`, which is in nobody's hand but the caller's, to P 0. On a system stack. */
void timer_evacuate(struct p *from);
