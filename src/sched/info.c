// SPDX-License-Identifier: MIT
// What a goroutine can ask about itself and the others.
#include <goroutine/go.h>

#include <errno.h>

#include "sched/sched.h"
#include "sched/section.h"

GO_EXPORT uint64_t go_id(void)
{
    struct m *mp = section_enter();
    uint64_t id = mp->cur->id;
    section_leave(mp);
    return id;
}

GO_EXPORT int go_count(void)
{
    section_pass(); /* main counts from its first call on, and this may be it */
    return (int)g_count();
}

/* Through a function that is not const, so that no address is kept across a switch of threads: see
 * include/goroutine/errno.h. */
GO_EXPORT int *go_errno_location(void)
{
    return &errno;
}
