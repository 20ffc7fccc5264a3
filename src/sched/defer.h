// SPDX-License-Identifier: MIT
// Calls that are made when a goroutine ends.
#pragma once

#include "sched/g.h"

struct deferred {
    struct deferred *next;
    void (*fn)(void *);
    void *arg;
};

/* fn(arg) at the end of gp, the caller; NULL if there is no memory. Outside of a section. */
struct deferred *defer_push(struct g *gp, void (*fn)(void *), void *arg);

/* Or not, after all. */
void defer_remove(struct g *gp, struct deferred *d);
