// SPDX-License-Identifier: MIT
// Stopping the world: no goroutine is switched in or out while somebody looks. The essay is in world.c.
#pragma once

#include "base/compiler.h"
#include "sched/m.h"

/* One stopped world at a time. Try it outside of a section, and yield the thread when it fails: whoever waits for it inside
 * a section holds up the thread that has it. False: taken. */
bool world_try(void);
void world_release(void);

/* Seizes every P but mp's own, which is safe as long as mp stays in its section; mp may have none. Tries for `patience`
 * nanoseconds; false when some M did not leave its section in that time: then some goroutines may still be
 * switched. After world_try. For a process that dies: nothing starts the world again. */
bool world_stop(struct m *mp, int64_t patience);

/* All of it for an ordinary function: stops the world, calls fn(mp, arg) on a system stack, and starts it again. Outside
 * of a section, with any stack; does not park. Waits for as long as some M is in a section. */
void world_call(void (*fn)(struct m *mp, void *arg), void *arg);

/* The M that runs gp, its thread's id in *tid; NULL if none does. In a stopped world. */
struct m *world_find_m(struct g *gp, int *tid);
