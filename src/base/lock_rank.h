// SPDX-License-Identifier: MIT
// The lock order, as data. A thread that holds a lock takes only locks of a higher rank; locks of one
// rank only where the table says so. Debug builds (GO_DEBUG_LEVEL >= 1) abort on the wrong order.
#pragma once

enum lock_rank {
    RANK_STOP,   /* maxprocs.c: one change of the set of Ps at a time */
    RANK_P,      /* p.lock: who owns a P. Timers of a seized P fire under it, so nearly all else comes after */
    RANK_TIMER,  /* a public timer */
    RANK_SCOPES, /* the tree of scopes */
    RANK_SCOPE,  /* the members of a scope, one at a time */
    RANK_FD,     /* a descriptor's waiters */
    RANK_CHILD,  /* the table of signals; the queue of names to look up; threads kept for children */
    RANK_CHAN,   /* a channel; several at once in the order of their addresses (select) */
    RANK_SEMA,   /* a bucket of the table of waiters */
    RANK_SCHED,  /* sched.lock: global queue, idle lists, counts of threads */
    RANK_G,      /* the central list of free Gs */
    RANK_STACK,  /* a central list of stacks */
    RANK_LOCALS, /* the table of keys for goroutine-local storage */
    RANK_LEAF,   /* anything that takes no other lock */
};

#define RANK_MANY (1u << RANK_CHAN)
