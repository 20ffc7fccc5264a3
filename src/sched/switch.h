// SPDX-License-Identifier: MIT
// From one goroutine to the next. The story is told in schedule.c, "Switching".
#pragma once

#include "sched/debug_hooks.h"
#include "sched/fiber.h"
#include "sched/g_cache.h"
#include "sched/park.h"
#include "sched/runq.h"

/* Timers are due at switches; the clock costs as much as two switches, so only every eighth looks. */
#define TIMER_LOOK 8

/* Fatal if gp, which runs here without a guard, has overrun its stack. */
void check_canary(struct g *gp);

/* Leaves gp for g0. */
void switch_to_g0(struct m *mp, struct g *gp);

/* Whether it is time for g0 to look at what there is beside pp's run queue. */
static always_inline bool pick_by_g0(struct p *pp)
{
    uint32_t left = load_relaxed(&pp->until_fair);
    if (unlikely(left == 0))
        return true;
    store_relaxed(&pp->until_fair, left - 1);
    int64_t due = load_relaxed(&pp->timers.next);
    return unlikely(due != TIME_NEVER) &&
           (load_relaxed(&pp->poll) || (load_relaxed(&pp->tick) % TIMER_LOOK == 0 && os_now() >= due));
}

/* The next goroutine for this P if it is easy to find; otherwise NULL, and g0 looks. */
static always_inline struct g *pick_next(struct p *pp)
{
    return pick_by_g0(pp) ? NULL : runq_take(pp);
}

/*
 * gp, which runs here, has ended. In by far the commonest case a new goroutine takes over its stack while that is hot, and this does
 * not return; otherwise it returns with nothing done. No call is made before the last line, so a caller that needs none of its
 * registers saved does not save any.
 */
static always_inline void end_into_new(struct m *mp, struct g *gp)
{
    struct p *pp = mp->p;
    struct stack *s = gp->run.stack;
    uint32_t left = load_relaxed(&pp->until_fair);
    if (HAVE_TSAN || HAVE_ASAN || unlikely(load_relaxed(&debug_hooks)) || unlikely(left == 0) ||
        unlikely(pp->gfree_count >= G_CACHE_MOST - 1) || unlikely(load_relaxed(&gp->flags) & (G_LOCKED | G_CANARY | G_MAIN)))
        return;
    if (load_relaxed(&pp->timers.next) != TIME_NEVER &&
        (load_relaxed(&pp->poll) || load_relaxed(&pp->tick) % TIMER_LOOK == 0))
        return;
    uint32_t tail = load_relaxed(&pp->tail);
    struct g *next = load_relaxed(&pp->runnext);
    bool first = next != NULL;
    if (!first && likely(load_relaxed(&pp->head) != tail))
        next = pp->ring[--tail % RUNQ_SIZE];
    if (unlikely(!next) || load_relaxed(&next->status) != G_NEW || unlikely(s->class != next->stack_class))
        return;
    if (first)
        store_relaxed(&pp->runnext, NULL);
    else
        store_relaxed(&pp->tail, tail);
    prefetch(pp->ring[(tail - 1) % RUNQ_SIZE], 2 * CACHE_LINE); /* probably the one after it */
    store_relaxed(&pp->until_fair, left - 1);
    bump_owner(&pp->tick, 1);
    g_free_hot(pp, gp);
    mp->prev = NULL;
    mp->cur = next;
    mp->starting = s;
    arch_enter(s->hi, next);
}

/* gp, whose stack nobody is on, runs here from now on. */
static always_inline void take_stack(struct g *gp)
{
    store_relaxed(&gp->run.on_cpu, 1);
    store_relaxed(&gp->status, G_RUNNING);
}

/* The same, once the M that parked gp has left its stack; see "One wake-up". */
static always_inline void claim_stack(struct g *gp)
{
    int spins = 0;
    while (unlikely(load_acquire(&gp->run.on_cpu) != 0)) {
        if (++spins % 128 == 0)
            os_thread_yield();
        arch_pause();
    }
    take_stack(gp);
}

/* Leaves gp for next, which the caller has picked; by way of g0 if need be. Comes back when gp is resumed. */
static always_inline void switch_to(struct m *mp, struct p *pp, struct g *gp, struct g *next)
{
    uint8_t flags = load_relaxed(&gp->flags) | load_relaxed(&next->flags);
    if (unlikely(flags & (G_LOCKED | G_CANARY | G_BLOCKING))) {
        if (load_relaxed(&gp->flags) & G_CANARY)
            check_canary(gp);
        if (flags & (G_LOCKED | G_BLOCKING))
            goto by_g0;
    }
    if (load_relaxed(&next->status) == G_NEW) {
        struct stack *s = stack_get_hot(&pp->stacks, next->stack_class);
        if (unlikely(!s))
            goto by_g0;
        bump_owner(&pp->tick, 1);
        mp->prev = gp;
        mp->cur = next;
        mp->starting = s;
        fiber_to_new(fiber_save(gp), mp, s);
        arch_start(&gp->run.sp, s->hi, next);
    } else {
        /* If next was made ready between arming and parking (cond.c), its M may be about to wait for our stack: leave it
         * before waiting for another's. */
        if (unlikely(load_acquire(&next->run.on_cpu) != 0))
            goto by_g0;
        take_stack(next);
        bump_owner(&pp->tick, 1);
        mp->prev = gp;
        mp->cur = next;
        fiber_to_g(fiber_save(gp), next);
        arch_switch(&gp->run.sp, next->run.sp);
    }
    fiber_here(gp->run.fake_stack);
    return;

by_g0:
    mp->picked = next;
    switch_to_g0(mp, gp);
}

/* park, for callers where one more frame costs: in memory, when thousands of goroutines run in turn. */
static always_inline void park_inline(struct m *mp, struct g *gp)
{
    struct p *pp = mp->p;
    check(mp->cur == gp && pp && !mp->on_g0);
    struct g *next = pick_next(pp);
    if (unlikely(next == gp)) {
        /* Woken already, by somebody who put us where we would look first. */
        store_relaxed(&gp->status, G_RUNNING);
        return;
    }
    if (likely(next))
        switch_to(mp, pp, gp, next);
    else
        switch_to_g0(mp, gp);
    switch_done(m_self());
}

/* wait_park, with the usual case in line. */
static always_inline int wait_park_inline(struct m *mp, struct g *gp)
{
    if (unlikely(gp->scope != NULL) || unlikely(load_relaxed(&gp->flags) & G_THREAD))
        return wait_park(mp, gp);
    park_inline(mp, gp);
    return load_relaxed(&gp->run.wait_result);
}
