// SPDX-License-Identifier: MIT
// Fair picks, and the turns between them; see fair.c. All but the macro is for the owner of pp.
#pragma once

#include "sched/sched.h"

/* ns. The turn of a heavy pair that is a hog goes on until it has lasted this long. sysmon, which looks twice in a slice, ends one
 * that has. */
#define TURN_LEAST (options.slice * 3 / 4)

/* It is time for a fair pick: charges whoever has had the turn that ends here. False if the turn goes on. Called before timers and
 * descriptors make others ready. On g0. */
bool turn_ends(struct p *pp);

/* The pick itself. NULL if nobody is ready but runnext, and hogs that are not due. On g0. */
struct g *fair_pick(struct p *pp);

/* Takes a hog off its queue, if there is one, and notes that a hog's turn begins. */
struct g *hog_take(struct p *pp);

/* After a fair pick, whatever it gave, or after hog_take: a turn begins with the goroutine that runs next. */
void turn_begins(struct p *pp);

/* The caller's goroutine yields, and apart from it only hogs are ready: the next pick is a fair one, and takes a hog. */
void turn_of_hog_begins(struct p *pp);

/* Nobody is charged for the time until now: pp changes hands, or nobody waited. */
static inline void turn_forget(struct p *pp)
{
    pp->turn.from = 0;
    pp->turn.of_hog = false;
}

/* A goroutine of pp's has had `had` ns at a stretch: the others get their share before the next hog. */
void hog_charge(struct p *pp, int64_t now, int64_t had);
