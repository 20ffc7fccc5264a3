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
#pragma once

#include "base/check.h"
#include "sched/sched.h"

#define TOKEN_ARMED 1u

/* The calling goroutine is about to wait. In a section. */
static inline uint64_t wait_arm(struct g *gp, enum wait_reason reason)
{
    uint64_t ticket = (load_relaxed(&gp->token) | TOKEN_ARMED) + 2;
    gp->wait_reason = (uint8_t)reason;
    gp->run.wait_since = load_relaxed(&sched.coarse_now);
    store_relaxed(&gp->status, G_WAITING);
    /* Release: a stale waker that reads the new token sees the new status. Whoever gets the ticket gets
     * it under the lock of the thing waited for. */
    store_release(&gp->token, ticket);
    return ticket;
}

/* True exactly once for a ticket. Any thread; gp may be anything by now. */
static inline bool wait_claim(struct g *gp, uint64_t ticket)
{
    check(ticket & TOKEN_ARMED);
    if (load_relaxed(&gp->token) != ticket)
        return false;
    return cas_acq_rel(&gp->token, &ticket, ticket & ~(uint64_t)TOKEN_ARMED);
}

/* Until somebody has claimed the ticket and called ready. In a section with gp == mp->cur; on return
 * the section is that of m_self(). On a plain thread: blocks the thread. */
static inline void wait_park(struct m *mp, struct g *gp)
{
    if (unlikely(load_relaxed(&gp->flags) & G_THREAD)) {
        while (load_acquire(&gp->run.wake) == 0) /* pairs with the release in ready */
            os_futex_wait(&gp->run.wake, 0, 0);
        store_relaxed(&gp->run.wake, 0);
        return;
    }
    park(mp, gp);
}
