// SPDX-License-Identifier: MIT
// Calls that are made when a goroutine ends.
#pragma once

#include "sched/g.h"

struct deferred {
    struct deferred *next;
    void (*fn)(void *);
    void *arg;
    bool on_stack; /* of the goroutine itself: not to be freed */
};

/* The calling goroutine. A frame that pushes one of its own removes it before it returns. */
static inline void defer_push(struct g *gp, struct deferred *d)
{
    g_untidy(gp);
    d->next = gp->run.defers;
    gp->run.defers = d;
}

static inline void defer_remove(struct g *gp, struct deferred *d)
{
    struct deferred **at = &gp->run.defers;
    while (*at != d)
        at = &(*at)->next;
    *at = d->next;
}
