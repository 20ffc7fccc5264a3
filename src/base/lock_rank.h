// SPDX-License-Identifier: MIT
// The lock order, as data. A thread that holds a lock takes only locks of a higher rank; locks of one
// rank only where the table says so. Debug builds (GO_DEBUG_LEVEL >= 1) abort on the wrong order.
#pragma once

enum lock_rank {
    RANK_STOP,   /* maxprocs.c, world.c: one change of the set of Ps, or one stopped world, at a time */
    RANK_SCHED,  /* sched.lock: global queue, idle lists, counts of threads */
    RANK_P,      /* p.lock: who owns a P; several at once in the order of their ids (world_stop) */
    RANK_G,      /* the central list of free Gs */
    RANK_LOCALS, /* the table of keys for goroutine-local storage */
    RANK_COUNT,
};

#define RANK_MANY (1u << RANK_P)
