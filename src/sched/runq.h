// SPDX-License-Identifier: MIT
// The run queue of a P: a ring, and `runnext`, the goroutine that was made ready last and runs next, so
// that two that hand values to each other stay on one P with their data in its cache. All of it is
// for the owner, see "Sections"; the atomics are for those who only look.
#pragma once

#include "sched/p.h"

/* What a goroutine that waits for a descriptor has on its stack down to its own frame. */
#define RUNQ_WARM_STACK 512

/* Usable places in a ring; fewer by debug switch. A power of two is not needed. */
extern uint32_t runq_limit;

/* Moves the older half of pp's ring to the global queue. Owner. */
void runq_overflow(struct p *pp);

/* A guess for those who are not the owner. Without runnext. */
static always_inline uint32_t runq_length(const struct p *pp)
{
    return load_relaxed(&pp->tail) - load_relaxed(&pp->head);
}

static always_inline bool runq_has_room(const struct p *pp)
{
    return likely(runq_length(pp) < runq_limit);
}

/* At the end of the ring, which has room. */
static always_inline void runq_put(struct p *pp, struct g *gp)
{
    uint32_t tail = load_relaxed(&pp->tail);
    pp->ring[tail % RUNQ_SIZE] = gp;
    store_relaxed(&pp->tail, tail + 1);
}

/* At the end of the ring. */
static always_inline void runq_push(struct p *pp, struct g *gp)
{
    if (unlikely(!runq_has_room(pp)))
        runq_overflow(pp);
    runq_put(pp, gp);
}

/*
 * gp has been picked and cannot run here: it goes where the next pick looks first, behind runnext. A fair pick takes from the front.
 * Any other takes the newest that has not begun, from the end. Owner.
 */
static inline void runq_put_back(struct p *pp, struct g *gp)
{
    if (load_relaxed(&gp->status) == G_NEW && load_relaxed(&pp->until_fair) > 0) {
        runq_push(pp, gp);
        return;
    }
    if (unlikely(!runq_has_room(pp)))
        runq_overflow(pp);
    uint32_t head = load_relaxed(&pp->head) - 1;
    pp->ring[head % RUNQ_SIZE] = gp;
    store_relaxed(&pp->head, head);
}

static always_inline struct g *runq_pop(struct p *pp)
{
    uint32_t head = load_relaxed(&pp->head);
    if (head == load_relaxed(&pp->tail))
        return NULL;
    struct g *gp = pp->ring[head % RUNQ_SIZE];
    store_relaxed(&pp->head, head + 1);
    return gp;
}

/* To run next; the one that stood there goes to the ring: true if there was one. */
static always_inline bool runq_push_next(struct p *pp, struct g *gp)
{
    struct g *old = load_relaxed(&pp->runnext);
    store_relaxed(&pp->runnext, gp);
    if (!old)
        return false;
    runq_push(pp, old);
    return true;
}

/* The same where the ring has room. */
static always_inline void runq_put_next(struct p *pp, struct g *gp)
{
    struct g *old = load_relaxed(&pp->runnext);
    store_relaxed(&pp->runnext, gp);
    if (old)
        runq_put(pp, old);
}

static always_inline struct g *runq_pop_next(struct p *pp)
{
    struct g *gp = load_relaxed(&pp->runnext);
    if (gp)
        store_relaxed(&pp->runnext, NULL);
    return gp;
}

/* Several have been made ready one after the other: they run in that order, the last one is not to be the first. */
static always_inline void runq_keep_order(struct p *pp)
{
    struct g *last = runq_pop_next(pp);
    if (last)
        runq_push(pp, last);
}

/* The newest if it has not begun yet; see "Newest first" in fair.c. */
static always_inline struct g *runq_pop_unbegun(struct p *pp)
{
    uint32_t tail = load_relaxed(&pp->tail);
    if (load_relaxed(&pp->head) == tail)
        return NULL;
    struct g *gp = pp->ring[(tail - 1) % RUNQ_SIZE];
    if (load_relaxed(&gp->status) != G_NEW)
        return NULL;
    store_relaxed(&pp->tail, tail - 1);
    return gp;
}

/* What runs next here: runnext; else the newest if it has not begun; else the oldest. */
static always_inline struct g *runq_take(struct p *pp)
{
    struct g *gp = runq_pop_next(pp);
    if (!gp)
        gp = runq_pop_unbegun(pp);
    return gp ? gp : runq_pop(pp);
}

/* As runq_take if there is no runnext, and gp goes to the end; NULL, with nothing done, if the ring is empty. */
static always_inline struct g *runq_take_turns(struct p *pp, struct g *gp)
{
    uint32_t head = load_relaxed(&pp->head), tail = load_relaxed(&pp->tail);
    if (head == tail)
        return NULL;
    struct g **newest = &pp->ring[(tail - 1) % RUNQ_SIZE], *next = *newest;
    if (unlikely(load_relaxed(&next->status) == G_NEW)) {
        *newest = gp;
        return next;
    }
    next = pp->ring[head % RUNQ_SIZE];
    if (!next)
        __builtin_unreachable();
    pp->ring[tail % RUNQ_SIZE] = gp;
    store_relaxed(&pp->head, head + 1);
    store_relaxed(&pp->tail, tail + 1);
    return next;
}

/* Fetches the goroutine that is next but one into the cache: for callers that make system calls between their switches, which have
 * driven it out. The previous call has fetched the next one. Owner. */
static always_inline void runq_warm(const struct p *pp)
{
    uint32_t head = load_relaxed(&pp->head), n = load_relaxed(&pp->tail) - head;
    if (n > 2)
        prefetch(pp->ring[(head + 2) % RUNQ_SIZE], 2 * CACHE_LINE);
    if (n > 1) {
        struct g *gp = pp->ring[(head + 1) % RUNQ_SIZE];
        if (load_relaxed(&gp->status) == G_RUNNABLE && load_acquire(&gp->run.on_cpu) == 0) /* pairs with the release in switch_done */
            prefetch(gp->run.sp, RUNQ_WARM_STACK);
    }
}
