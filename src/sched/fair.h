// SPDX-License-Identifier: MIT
// Fair picks, and the turns between them; see fair.c. For the owner of pp, but for the macro.
#pragma once

#include "sched/sched.h"

/* ns; a turn of a pair that is a hog lasts at least so long, and sysmon, which looks twice in a slice, ends one that has. */
#define TURN_LEAST (options.slice * 3 / 4)

/* It is time for a fair pick: who has had the turn that ends here? False if it goes on. Called before timers and descriptors make
 * others ready. On g0. */
bool turn_ends(struct p *pp);

/* The pick itself; NULL if nobody is ready, but for runnext. On g0. */
struct g *fair_pick(struct p *pp);

/* A hog, if there is one. */
struct g *hog_take(struct p *pp);

/* It is one from these two that runs next. */
void turn_begins(struct p *pp);

/* Somebody yields, and none but hogs are ready: one of them is next. */
void turn_of_hog_begins(struct p *pp);

/* pp changes hands: the time until now is not the next one's. */
static inline void turn_forget(struct p *pp)
{
    pp->turn.from = 0;
    pp->turn.of_hog = false;
}

/* A goroutine of pp's has had so many ns at a stretch: the others get their share before the next hog. */
void hog_charge(struct p *pp, int64_t now, int64_t had);
