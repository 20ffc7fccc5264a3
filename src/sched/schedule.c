// SPDX-License-Identifier: MIT
// The scheduler: which goroutine runs next on this M, and how it gets there.
//
// Invariants
//   - A G with status G_NEW or G_RUNNABLE is on exactly one queue: a ring, a runnext, the global
//     queue, or in the hand of one M.
//   - An M runs a goroutine only while it has a P; at most GOMAXPROCS do.
//   - A P is owned by an M, or in the hand of one thread that is giving it to an M, or idle.
//
// "Switching"
//
// A goroutine that parks picks its successor itself, on its own stack, and switches to it directly. Only
// what needs room or may sleep is done on g0, the M's own stack: looking at timers and other Ps,
// mapping a stack, going idle. In both cases the M leaves `prev` behind for the other side, which lets
// go of it: on_cpu = 0 (see "One wake-up"), or, if it has ended, its stack and G go to the caches.
//
// Which goroutine is next is decided in runq.h (the P's own queue), global.c (the global queue) and fair.c (every 61st pick, and
// time); which M sleeps, and who wakes it, in idle.c; what an M takes from other Ps, in steal.c.
#include "sched/sched.h"

#include "base/options.h"
#include "sched/debug_hooks.h"
#include "sched/fair.h"
#include "sched/fatal.h"
#include "sched/fiber.h"
#include "sched/g_cache.h"
#include "sched/global.h"
#include "sched/netpoll.h"
#include "sched/park.h"
#include "sched/runq.h"
#include "sched/section.h"
#include "sched/switch.h"

/* Descriptors are looked at when nothing else is ready; while something always is, this often (BEHIND: others wait in the global queue). */
#define POLL_EVERY 200000 /* ns */
#define POLL_BEHIND_EVERY 2000000 /* ns */

struct sched sched = { .lock = LOCK_INIT(RANK_SCHED) };
uint32_t runq_limit = RUNQ_SIZE;

const char *wait_reason_text(enum wait_reason reason)
{
    static const char *const texts[] = {
#define _(name, text) text,
        WAIT_REASONS(_)
#undef _
    };
    return reason < array_length(texts) ? texts[reason] : "?";
}

void ready(struct m *mp, struct g *gp)
{
    if (unlikely(load_relaxed(&gp->flags) & G_THREAD)) {
        store_relaxed(&gp->status, G_RUNNING);
        store_release(&gp->run.wake, 1); /* pairs with the acquire in wait_park_thread */
        os_futex_wake(&gp->run.wake, 1);
        return;
    }
    if (unlikely(load_relaxed(&debug_hooks)))
        hook_ready(mp, gp);
    store_relaxed(&gp->status, G_RUNNABLE);
    struct p *pp = mp->p;
    if (unlikely(!pp)) {
        global_submit(gp);
        return;
    }
    if (runq_push_next(pp, gp))
        wake_idle(pp);
}

/* --- switching --- */

/* gp, which runs here, has no guard: fatal if it is beyond its stack's end, or has been. The canary alone is not enough: a frame
 * whose locals are mostly untouched can leave it intact. */
noinline void check_canary(struct g *gp)
{
    struct stack *s = gp->run.stack;
    if (!stack_canary_ok(s) || (const char *)__builtin_frame_address(0) < s->lo)
        fatal_stack_overflow(gp);
}

void switch_done_slow(struct m *mp, struct g *prev)
{
    if (load_relaxed(&debug_hooks))
        hook_switch(mp, prev);
    if (!prev)
        return;
    mp->prev = NULL;
    if (load_relaxed(&prev->status) != G_DEAD) {
        store_release(&prev->run.on_cpu, 0); /* as in switch_done */
        return;
    }
    if (load_relaxed(&prev->flags) & G_MAIN)
        return; /* the process's stack, and a G that others know */
    fiber_free(prev->run.fiber);
    stack_put(&mp->p->stacks, prev->run.stack);
    g_free(mp->p, prev);
}

noinline void switch_to_g0(struct m *mp, struct g *gp)
{
    uint8_t flags = load_relaxed(&gp->flags);
    if (unlikely(flags & (G_CANARY | G_BLOCKING))) {
        if (flags & G_CANARY)
            check_canary(gp);
        if (flags & G_BLOCKING)
            store_relaxed(&mp->blocking, false); /* whoever runs here next does not block */
    }
    mp->prev = gp;
    mp->cur = NULL;
    mp->on_g0 = true;
    fiber_to_g0(fiber_save(gp), mp);
    arch_switch(&gp->run.sp, mp->g0_sp);
    fiber_here(gp->run.fake_stack);
}

void park(struct m *mp, struct g *gp)
{
    park_inline(mp, gp);
}

void park_on_g0(struct m *mp, struct g *gp)
{
    switch_to_g0(mp, gp);
    switch_done(m_self());
}

_Noreturn void park_for_ever(struct m *mp, struct g *gp)
{
    struct p *pp = mp->p;
    if (unlikely(load_relaxed(&debug_hooks)))
        hook_end(mp, gp);
    store_relaxed(&gp->status, G_DEAD);
    struct g *next = pick_next(pp);
    if (next)
        switch_to(mp, pp, gp, next);
    else
        switch_to_g0(mp, gp);
    check_failed(__FILE__, __LINE__, "a dead goroutine runs");
}

/* If others wait in the global queue, gp goes behind them: on the ring it would be picked again at once, sixty times. Otherwise it
 * goes to the ring, behind the goroutine that is in runnext: a fair pick takes from the ring first, and would take gp. */
static noinline void yield_to_others(struct p *pp, struct g *gp)
{
    if (global_others() > 0) {
        global_push_yielded(gp);
        return;
    }
    if (load_relaxed(&sched.hogs.length) > 0 && runq_length(pp) == 0 && !load_relaxed(&pp->runnext))
        turn_of_hog_begins(pp);
    runq_keep_order(pp);
    runq_push(pp, gp);
}

/* Not to be inlined into a program by link-time optimisation: there may be more registers than ARCH_OTHER_REGISTERS says. */
GO_EXPORT noinline void go_yield(void)
{
    struct m *mp = section_enter();
    struct p *pp = mp->p;
    if (unlikely(!pp)) {
        section_leave(mp);
        os_thread_yield();
        return;
    }
    struct g *gp = mp->cur, *next = NULL;
    if (likely(!pick_by_g0(pp))) {
        next = runq_pop_next(pp);
        if (unlikely(next != NULL))
            runq_push(pp, gp); /* thieves keep off until the section ends, on the other side */
        else
            next = runq_take_turns(pp, gp);
    }
    if (next) {
        store_relaxed(&gp->status, G_RUNNABLE);
        switch_to(mp, pp, gp, next);
        mp = m_self();
        switch_done(mp);
    } else if (load_relaxed(&pp->until_fair) == 0 || global_size() > 0 ||
               load_relaxed(&pp->timers.next) != TIME_NEVER) {
        store_relaxed(&gp->status, G_RUNNABLE);
        yield_to_others(pp, gp);
        switch_to_g0(mp, gp);
        mp = m_self();
        switch_done(mp);
    } else if (unlikely(load_relaxed(&gp->flags) & G_CANARY)) {
        check_canary(gp);
    }
    section_leave(mp);
}

/* --- the scheduler proper, on g0 --- */

/* From g0 to gp. Comes back when a goroutine leaves for g0. */
static void run(struct m *mp, struct g *gp)
{
    struct p *pp = mp->p;
    check(pp && !mp->cur);
    if (load_relaxed(&gp->status) == G_NEW) {
        struct stack *s = stack_get(&pp->stacks, gp->stack_class);
        if (!s)
            fatal("out of memory: no stack of %zu bytes for the new " FATAL_WHO FATAL_ORIGIN, stack_class_size(gp->stack_class),
                  FATAL_WHO_OF(gp), FATAL_ORIGIN_OF(gp->site));
        bump_owner(&pp->tick, 1);
        mp->cur = gp;
        mp->starting = s;
        mp->on_g0 = false;
        fiber_to_new(&mp->fake_stack, mp, s);
        arch_start(&mp->g0_sp, s->hi, gp);
    } else {
        claim_stack(gp);
        bump_owner(&pp->tick, 1);
        if (unlikely(load_relaxed(&gp->flags) & G_BLOCKING))
            store_relaxed(&mp->blocking, true);
        mp->cur = gp;
        mp->on_g0 = false;
        fiber_to_g(&mp->fake_stack, gp);
        arch_switch(&mp->g0_sp, gp->run.sp);
    }
    fiber_here(mp->fake_stack);
    check(mp == m_self() && mp->on_g0 && !mp->cur);
    switch_done(mp);
}

void section_poll(struct m *mp)
{
    uint32_t attention = load_acquire(&mp->attention);
    if (likely((attention & (ATTN_SEIZED | ATTN_DETACHED | ATTN_YIELD)) == 0))
        return;
    if (attention & ATTN_SEIZED) {
        section_leave(mp);
        section_wait(mp);
        store_relaxed(&mp->in, 1);
        full_fence();
        section_poll(mp);
        return;
    }
    /* DETACHED: mp->p is NULL, the caller sees that. YIELD: we do. */
    and_release(&mp->attention, ~(uint32_t)(ATTN_DETACHED | ATTN_YIELD));
}

/* Looks at descriptors though goroutines are ready. While others wait in the global queue, it looks less often and puts what becomes
 * ready behind those: on the ring it would be served again before them. */
static void poll_now_and_then(struct m *mp)
{
    if (!netpoll_wanted() || load_relaxed(&sched.poller))
        return;
    int64_t since = os_now() - load_relaxed(&netpoll_when);
    if (load_relaxed(&sched.global.length) == 0) {
        if (since > POLL_EVERY)
            netpoll_now(mp);
    } else if (since > POLL_BEHIND_EVERY) {
        netpoll_now(NULL);
    }
}

/* Whoever is on the ring is ready. */
static bool runq_ok(const struct p *pp)
{
    for (uint32_t i = load_relaxed(&pp->head); i != load_relaxed(&pp->tail); i++) {
        uint8_t status = load_relaxed(&pp->ring[i % RUNQ_SIZE]->status);
        if (status != G_NEW && status != G_RUNNABLE)
            return false;
    }
    return runq_length(pp) <= RUNQ_SIZE;
}

/* What to run next, never NULL; sleeps until there is something. In a section, on g0. */
static struct g *find_runnable(struct m *mp)
{
    for (;;) {
        section_poll(mp);
        struct p *pp = mp->p;
        if (!pp) {
            /* The P was taken from an M that looked for work. A new M that shall spin finds its P in m_sleep. */
            if (mp->spinning && !mp->next_p)
                spinning_end(mp, false);
            /* If all Ps are busy, their Ms see to the timers. */
            bool idle = load_relaxed(&sched.idle_p_count) > 0;
            m_sleep(mp, idle ? wake_time(mp, os_now()) : TIME_NEVER);
            continue;
        }
        if (unlikely(load_relaxed(&pp->gone))) {
            p_retire(p_detach(mp));
            continue;
        }
        store_relaxed(&pp->poll, false);
        check_deep(runq_ok(pp));
        bool fair = load_relaxed(&pp->until_fair) == 0;
        if (fair) {
            store_relaxed(&pp->until_fair, options.fair_every);
            fair = turn_ends(pp);
        }
        if (load_relaxed(&pp->timers.next) != TIME_NEVER) {
            int64_t now = os_now();
            if (now >= load_relaxed(&pp->timers.next))
                mp->fired += timer_run_due(mp, pp, now);
        }
        struct g *gp = NULL;
        if (fair) {
            poll_now_and_then(mp);
            gp = fair_pick(pp);
        }
        if (!gp && !options.steal_always)
            gp = runq_take(pp);
        if (!gp && pp->theft_by)
            theft_judge(pp);
        if (!gp && (gp = global_take(pp, RUNQ_SIZE / 2)) && mp->woken_by)
            theft_begin(pp, mp->woken_by);
        if (!gp && netpoll_wanted() && !load_relaxed(&sched.poller) && netpoll_now(mp) > 0)
            gp = runq_pop(pp);
        bool hog = !gp && (gp = hog_take(pp));
        uint32_t busy = load_relaxed(&sched.procs) - load_relaxed(&sched.idle_p_count);
        if (!gp && (mp->spinning || 2 * load_relaxed(&sched.spinning) < busy)) {
            if (!mp->spinning)
                spinning_begin(mp);
            gp = steal(mp, pp);
            if (!mp->p) {
                check(!gp);
                spinning_end(mp, false);
                continue;
            }
        }
        if (!gp && options.steal_always)
            gp = runq_take(pp);
        if (gp) {
            if (mp->spinning)
                spinning_end(mp, true);
            if (fair || hog)
                turn_begins(pp);
            return gp;
        }
        go_idle(mp);
    }
}

/* gp runs on another M only: that one gets our P. */
static void hand_to_its_m(struct m *mp, struct g *gp)
{
    struct m *owner = gp->run.locked_m;
    struct p *pp = p_detach(mp);
    m_wake(owner, pp);
}

/* mp runs one goroutine only, which has parked: others may have the P until hand_to_its_m gives us one,
 * and with it the goroutine. */
static void wait_for_its_g(struct m *mp)
{
    if (mp->p)
        p_hand_off(p_detach(mp));
    while (!mp->p)
        m_sleep(mp, TIME_NEVER);
}

void schedule(struct m *mp)
{
    mp->on_g0 = true;
    store_relaxed(&mp->in, 1);
    full_fence();
    section_poll(mp); /* main's first M has a P already */
    for (;;) {
        struct g *gp = mp->picked;
        mp->picked = NULL;
        if (unlikely(gp && !mp->p)) {
            global_submit(gp);
            gp = NULL;
        }
        if (unlikely(mp->ends)) {
            /* A goroutine that ends while it is locked takes its thread along: nobody knows what it has
             * done to it. */
            if (gp)
                runq_put_back(mp->p, gp);
            if (mp->p)
                p_hand_off(p_detach(mp));
            return;
        }
        if (unlikely(mp->locked_g)) {
            if (gp)
                runq_put_back(mp->p, gp);
            wait_for_its_g(mp);
            gp = mp->locked_g;
        }
        if (!gp)
            gp = find_runnable(mp);
        if (unlikely(load_relaxed(&gp->flags) & G_LOCKED) && gp->run.locked_m != mp) {
            hand_to_its_m(mp, gp);
            continue;
        }
        run(mp, gp);
    }
}
