// SPDX-License-Identifier: MIT
// The clock, and sleeping.
#include <goroutine/time.h>

#include "sched/park.h"
#include "sched/sched.h"
#include "sched/section.h"
#include "sched/timer.h"

GO_EXPORT go_time go_now(void)
{
    thread_calls();
    return os_now();
}

GO_EXPORT int go_sleep(go_duration d)
{
    if (d <= 0) {
        thread_calls();
        return 0;
    }
    struct m *mp = section_enter();
    int64_t now = os_now(), until = d < TIME_NEVER - now ? now + d : TIME_NEVER - 1;
    struct g *gp = mp->cur;
    wait_arm_cancellable(gp, WAIT_SLEEP);
    int r = wait_park_until(mp, gp, until);
    section_leave(m_self());
    return r == WAIT_TIME_UP ? 0 : r;
}
