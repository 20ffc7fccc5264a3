// SPDX-License-Identifier: MIT
// P: the right to run goroutines, and what its owner can touch without asking anyone.
#pragma once

#include "base/atomic.h"
#include "base/compiler.h"
#include "os/lock.h"
#include "sched/g.h"
#include "sched/stack.h"
#include "sched/timer.h"

/* Go's size. A debug switch makes less of it usable, so that overflow happens all the time. */
#define RUNQ_SIZE 256

/* The picks since the last fair one, or since a hog was taken because nobody else was ready; see "Time" in fair.c. */
struct turn {
    bool of_hog;           /* it began with a hog */
    uint32_t head, tail;   /* the ring's, when it began */
    _Atomic uint64_t tick; /* p->tick then; read by sysmon */
    int64_t from;          /* when it began; 0 if nobody looked at the clock */
};

/*
 * "Owner": the M with m->p == p while it is in a section, or a thread that holds p->lock and has found
 * p->m NULL or has seized p->m; see "Sections" in section.h. Fields say `owner` for that. Others may
 * read the atomic ones for a guess.
 */
struct p {
    /* The run queue. */
    _Atomic uint32_t head, tail;        /* owner */
    _Atomic(struct g *) runnext;        /* owner */
    /* owner: picks left until the fair one; see pick_by_g0. sysmon stores 1 to bring it about; that may overwrite a newer value, and
     * a fair pick comes too early, or one pick late. */
    _Atomic uint32_t until_fair;
    _Atomic uint64_t tick;              /* owner: counts switches; sysmon and thieves compare */
    struct g *gfree;                    /* owner: free Gs, hot first */
    uint32_t gfree_count;               /* owner */
    uint32_t id_left;                   /* owner: ids not yet given out of this batch */
    uint64_t id_next;                   /* owner */
    _Atomic uint64_t launched, ended;   /* owner, read by g_count */
    int64_t round_when;                 /* owner: when the last round of "Newest first" in fair.c ended */
    uint32_t round_global, round_ring;  /* owner: picks left in it */
    struct turn turn;                   /* owner */
    int64_t hog_due;                    /* owner: no hog is picked before, if anybody else is ready */
    bool after_hog;                     /* owner: the last fair pick was a hog */
    _Atomic bool poll;                  /* sysmon: look at timers at the next pick */
    struct timer_queue timers;          /* owner */
    struct stack_cache stacks;          /* owner */
    void *args_free;                    /* owner: records of ARGS_RECORD bytes */
    uint32_t args_free_count;           /* owner */
    uint32_t random;                    /* owner */
    struct go_channel *chan_free;       /* owner: free small channels */
    uint32_t chan_free_count;           /* owner */
    int32_t chan_luck;                  /* owner: below 0, new channels are made unbiased; see "Bias" in chan.c */

    /* Waking others; see "Wake-ups that find nothing" in idle.c. */
    _Atomic uint32_t wake_skip;         /* relaxed, by its owner and by who ends it: launches left that wake nobody */
    _Atomic uint32_t wake_backoff;      /* relaxed, by the thread that was woken in vain or not */

    /* "Thefts that are worth nothing" in steal.c. */
    _Atomic uint32_t shy;               /* relaxed, by thieves, as the next one */
    _Atomic int64_t shy_until;          /* no theft from the ring before; sysmon may end it, too */
    struct p *theft_by;                 /* owner: whose work it got last, until that is judged; NULL if none */
    int64_t theft_when;                 /* owner */
    uint64_t theft_tick;                /* owner */

    _Atomic(struct m *) m __attribute__((aligned(CACHE_LINE))); /* under lock */
    struct lock lock;
    struct p *link;      /* idle list, under sched.lock */
    bool idle;           /* under sched.lock */
    _Atomic bool gone;   /* beyond GOMAXPROCS; written under sched.lock */
    _Atomic bool retired; /* gone and empty; written under sched.lock */
    uint32_t id;         /* constant */

    _Atomic uint64_t steals; /* owner: times it took from another; read by go_stats */
    struct proc_events *events; /* owner: src/debug's, or NULL */

    /* sysmon's own notes. */
    uint64_t seen_tick;
    bool seen_waiting; /* the ring was not empty */
    bool seen_blocking; /* its M was in go_block_enter */
    int64_t seen_when; /* 0: it was idle, or has been taken away */
    int64_t seen_waking; /* when wake_skip was last 0 */
    uint64_t seen_turn_tick; /* "Time" in fair.c: which turn it was, and when that was seen first */
    int64_t seen_turn_when; /* 0: not yet */

    struct g *ring[RUNQ_SIZE] __attribute__((aligned(CACHE_LINE))); /* owner */
} __attribute__((aligned(CACHE_LINE)));
