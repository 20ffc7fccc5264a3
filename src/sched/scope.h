// SPDX-License-Identifier: MIT
// What the scheduler knows of scopes: whether the waits of a goroutine are to end.
#pragma once

#include "sched/g.h"

struct go_scope {
    _Atomic int cause; /* 0, -ECANCELED or -ETIMEDOUT; the first one stays */
};

/* Why gp, which has just armed a wait, shall not wait: 0, -ECANCELED or -ETIMEDOUT. gp itself. */
int scope_cause_armed(struct g *gp);
