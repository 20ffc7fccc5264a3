// SPDX-License-Identifier: MIT
// The clock, and sleeping.
#include <goroutine/time.h>

#include "sched/park.h"
#include "sched/sched.h"
#include "sched/section.h"
#include "sched/timer.h"

GO_EXPORT go_time go_now(void)
{
    return os_now();
}

static void wake_sleeper(struct m *mp, struct timer *t)
{
    struct g *gp = container_of(t, struct g, run.timer);
    if (wait_claim(gp, t->ticket))
        ready(mp, gp);
}

/* A plain thread sleeps as one. */
static noinline void thread_sleep(struct m *mp, int64_t until)
{
    struct g *gp = mp->cur;
    wait_arm(gp, WAIT_SLEEP);
    section_leave(mp);
    while (os_futex_wait(&gp->run.wake, 0, until))
        ;
    store_relaxed(&gp->status, G_RUNNING);
}

GO_EXPORT int go_sleep(go_duration d)
{
    if (d <= 0)
        return 0;
    struct m *mp = section_enter();
    int64_t now = os_now(), until = d < TIME_NEVER - now ? now + d : TIME_NEVER;
    if (unlikely(!mp->p)) {
        thread_sleep(mp, until);
        return 0;
    }
    struct g *gp = mp->cur;
    struct timer *t = &gp->run.timer;
    t->ticket = wait_arm(gp, WAIT_SLEEP);
    t->fire = wake_sleeper;
    timer_set(mp, t, until);
    wait_park(mp, gp);
    section_leave(m_self());
    return 0;
}
