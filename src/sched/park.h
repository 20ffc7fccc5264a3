// SPDX-License-Identifier: MIT
//
// "One wake-up"
//
// Every wait in the library has this form, whatever is waited for, and for any number of things at once:
//
//     mp = section_enter();
//     ticket = wait_arm(gp, reason);      from here on gp counts as waiting
//     put (gp, ticket) on the queue of each thing, under that thing's lock
//     wait_park(mp, gp);
//     take (gp, ticket) off the queues that did not wake it
//     section_leave(m_self());
//
// and each waker this one:
//
//     if (wait_claim(gp, ticket)) { tell gp what happened; ready(mp, gp); }
//
// Invariants
//   - For each ticket wait_claim is true once, whoever asks: partner, timer, cancellation, close.
//   - The claimer, and nobody else, calls ready; until then gp stays off the run queues, so what the
//     claimer writes for gp is read by gp after it woke.
//   - A ticket never comes back: the sequence number goes on when the G is used for another
//     goroutine, so a waker that is late by a life claims nothing.
//
// Rejected: a state per kind of wait (a select would need them all); a flag on each queue entry
// (two channels could both hand over a value); undoing the parking when the wake-up comes early (a
// second path, rarely run): here the parker always goes through with it.
//
// The nasty race. gp has made itself known, and before its M has switched to another stack a waker on
// another M claims it, makes it ready, and a third M picks it up: two Ms on one stack. Hence
// run.on_cpu: it is 1 while any M may be on the stack, the M that has left stores 0 (release)
// from the other side of the switch, and the M that picks gp waits for it (acquire). That takes
// tens of nanoseconds, unless the first M lost its processor just there, so the waiting M yields
// its own after a while. A lock of the waited thing can thus be released before the switch.
//
// And its twin: between arming and parking others may be made ready (go_cond_wait unlocks its mutex there). If A thus
// makes B ready while B's M has not left B's stack yet, and that M has picked A, the two Ms would wait for each other.
// So an M waits for a stack only after it has left its own: switch_to goes by way of g0 if the next stack is not free.
#pragma once

#include <errno.h>

#include "base/check.h"
#include "sched/sched.h"

#define TOKEN_ARMED 1u

/* What wait_park_until returns when its time has come; other results are a scope's. */
#define WAIT_TIME_UP (-ETIME)

static inline uint64_t wait_arm_as(struct g *gp, enum wait_reason reason, bool cancellable)
{
    uint64_t ticket = (load_relaxed(&gp->token) | TOKEN_ARMED) + 2;
    gp->wait_reason = (uint8_t)reason;
    gp->run.wait_since = load_relaxed(&sched.coarse_now);
    store_relaxed(&gp->run.wait_result, 0);
    store_relaxed(&gp->run.cancellable, cancellable);
    store_relaxed(&gp->status, G_WAITING);
    /* Release: a stale waker that reads the new token sees the new status. Whoever gets the ticket gets
     * it under the lock of the thing waited for. */
    store_release(&gp->token, ticket);
    return ticket;
}

/* The calling goroutine is about to wait. In a section. */
static inline uint64_t wait_arm(struct g *gp, enum wait_reason reason)
{
    return wait_arm_as(gp, reason, false);
}

/* The same, and its scope may end the wait. */
static inline uint64_t wait_arm_cancellable(struct g *gp, enum wait_reason reason)
{
    return wait_arm_as(gp, reason, true);
}

/* True exactly once for a ticket. Any thread; gp may be anything by now. */
static inline bool wait_claim(struct g *gp, uint64_t ticket)
{
    check(ticket & TOKEN_ARMED);
    if (load_relaxed(&gp->token) != ticket)
        return false;
    return cas_acq_rel(&gp->token, &ticket, ticket & ~(uint64_t)TOKEN_ARMED);
}

/* The armed goroutine need not wait after all, and nobody knows its ticket yet (but its scope). False: the
 * scope has claimed it; then it must park all the same, and wait_park tells why. */
static inline bool wait_disarm(struct g *gp)
{
    uint64_t ticket = load_relaxed(&gp->token);
    if (!(ticket & TOKEN_ARMED) || !wait_claim(gp, ticket))
        return false;
    store_relaxed(&gp->status, G_RUNNING);
    return true;
}

void wait_park_thread(struct g *gp, int64_t when);
cold bool wait_cancelled(struct g *gp);

/*
 * Until somebody has claimed the ticket and called ready. In a section with gp == mp->cur; on return the section
 * is that of m_self(). On a plain thread: blocks the thread. Returns 0, or, when it was the goroutine's scope that ended
 * the wait, -ECANCELED or -ETIMEDOUT: then no partner has.
 */
static inline int wait_park(struct m *mp, struct g *gp)
{
    if (unlikely(gp->scope != NULL) && wait_cancelled(gp))
        return load_relaxed(&gp->run.wait_result);
    if (unlikely(load_relaxed(&gp->flags) & G_THREAD))
        wait_park_thread(gp, TIME_NEVER);
    else
        park(mp, gp);
    return load_relaxed(&gp->run.wait_result);
}

/* The same, and WAIT_TIME_UP when the clock has reached `when` and nobody else has ended the wait. */
int wait_park_until(struct m *mp, struct g *gp, int64_t when);
