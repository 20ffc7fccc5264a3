// SPDX-License-Identifier: MIT
// The global queue; see global.c.
#pragma once

#include "sched/sched.h"

/* How many wait there: all but the hogs; and all. */
static inline uint32_t global_others(void)
{
    return load_relaxed(&sched.global.length) + load_relaxed(&sched.unbegun.length);
}

static inline uint32_t global_size(void)
{
    return global_others() + load_relaxed(&sched.hogs.length);
}

/* Puts gp, which is ready, on the global queue; an idle P, if there is one, is started for it. Any thread, sched.lock not held. */
void global_submit(struct g *gp);

/* The same for one that has had much time. */
void global_submit_hog(struct g *gp);

/* Under sched.lock: one, or all of a list, at the end of what has been made ready. */
void global_push_locked(struct g *gp);
void global_append_locked(const struct g_list *list);

/* A hog, likewise. */
void global_push_hog_locked(struct g *gp);

/* Puts one that yields to those waiting there behind all of them, except hogs. sched.lock not held, as for all that follow. */
void global_push_yielded(struct g *gp);

/* A fair share, `most` at most, for pp's ring; returns the first, NULL if there is none. No hogs. Owner. */
struct g *global_take(struct p *pp, uint32_t most);

/* Takes one that has not begun, or else one that was made ready; with `false`, the other way round. No hog. NULL if there is none. */
struct g *global_take_one(bool unbegun);

/* The hog that has waited longest; NULL if there is none. */
struct g *global_take_hog(void);
