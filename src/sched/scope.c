// SPDX-License-Identifier: MIT
#include "sched/scope.h"

#include "sched/sched.h"

int scope_cause_armed(struct g *gp)
{
    /* The waiter: arm, fence, read the cause. The canceller: store the cause, fence, look for who is armed. The
     * canceller's fence is os_fence_others, which makes a compiler barrier enough here. */
    if (unlikely(sched.light_fence_missing))
        full_fence();
    else
        compiler_barrier();
    return load_relaxed(&gp->run.shield) > 0 ? 0 : load_acquire(&gp->scope->cause);
}
