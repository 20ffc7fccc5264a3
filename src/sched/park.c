// SPDX-License-Identifier: MIT
// The less frequent ways to wait: as a plain thread, until a point in time, in a scope. The protocol is in park.h.
#include "sched/park.h"

#include "sched/scope.h"
#include "sched/timer.h"

#define PARKED_FRAMES (4 * CACHE_LINE) /* of park, and of whoever called it */

/* ready() stores 1 in run.wake. */
void wait_park_thread(struct g *gp, int64_t when)
{
    while (load_acquire(&gp->run.wake) == 0) { /* pairs with the release in ready */
        if (os_futex_wait(&gp->run.wake, 0, when == TIME_NEVER ? 0 : when))
            continue;
        uint64_t ticket = load_relaxed(&gp->token);
        if ((ticket & TOKEN_ARMED) && wait_claim(gp, ticket)) {
            store_relaxed(&gp->run.wait_result, WAIT_TIME_UP);
            store_relaxed(&gp->status, G_RUNNING);
            return;
        }
        when = TIME_NEVER; /* somebody was first, and ready is on its way */
    }
    store_relaxed(&gp->run.wake, 0);
}

bool wait_cancelled(struct g *gp)
{
    if (!load_relaxed(&gp->run.cancellable))
        return false;
    int cause = scope_cause_armed(gp);
    uint64_t ticket = load_relaxed(&gp->token);
    if (cause == 0 || !(ticket & TOKEN_ARMED) || !wait_claim(gp, ticket))
        return false;
    store_relaxed(&gp->run.wait_result, cause);
    store_relaxed(&gp->status, G_RUNNING);
    return true;
}

/*
 * The nasty race: this call has been under way for so long that gp was woken by somebody else and waits again, with the
 * same timer and a new ticket. So the ticket counts only with its own time, which was written before it; and if that
 * has come too, this call is as good as the right one.
 *
 * Out of TSan's sight: if this call is late by a life, launch arguments may be written to these bytes just now. Even an argument that
 * looks like the ticket claims nothing: it must equal the token read before, and a later life's token is a different one.
 */
#if HAVE_TSAN
__attribute__((no_sanitize("thread")))
#endif
static noinline bool
ticket_due(struct g *gp, int64_t now, uint64_t *ticket)
{
    uint64_t token = load_acquire(&gp->token); /* first: pairs with the release in wait_arm_as */
    *ticket = load_acquire(&gp->run.timer.ticket); /* pairs with the release in wait_park_until */
    return *ticket == token && (token & TOKEN_ARMED) && now >= load_relaxed(&gp->run.wait_until);
}

/* Out of TSan's sight: if somebody else wakes it just now, what is fetched is of no use, and does no harm. */
#if HAVE_TSAN
__attribute__((no_sanitize("thread")))
#endif
void
wait_warm(struct timer *t)
{
    struct g *gp = container_of(t, struct g, run.timer);
    prefetch(gp, CACHE_LINE);
    prefetch(&gp->run.wait_until, sizeof gp->run.wait_until);
    prefetch(*(void *volatile *)&gp->run.stack, sizeof *gp->run.stack); /* it may be about to end */
    prefetch(*(void *volatile *)&gp->run.sp, PARKED_FRAMES); /* Clang shows TSan the atomic ones all the same */
}

void wait_time_up(struct m *mp, struct timer *t, int64_t now)
{
    struct g *gp = container_of(t, struct g, run.timer);
    uint64_t ticket;
    if (!ticket_due(gp, now, &ticket) || !wait_claim(gp, ticket))
        return;
    store_relaxed(&gp->run.wait_result, WAIT_TIME_UP);
    ready(mp, gp);
}

int wait_park_until(struct m *mp, struct g *gp, int64_t when)
{
    if (when == TIME_NEVER)
        return wait_park(mp, gp);
    if (unlikely(gp->scope != NULL) && wait_cancelled(gp))
        return load_relaxed(&gp->run.wait_result);
    if (unlikely(load_relaxed(&gp->flags) & G_THREAD)) {
        wait_park_thread(gp, when);
        return load_relaxed(&gp->run.wait_result);
    }
    struct timer *t = &gp->run.timer;
    store_relaxed(&gp->run.wait_until, when);
    /* The wait may have been ended already. Release: pairs with the acquire in ticket_due. */
    store_release(&t->ticket, load_relaxed(&gp->token) | TOKEN_ARMED);
    timer_set_wait(mp, t, when);
    park(mp, gp);
    timer_cancel(t);
    return load_relaxed(&gp->run.wait_result);
}
