// SPDX-License-Identifier: MIT
// Figures. All counters are kept by whoever is the owner of what they count; here they are only added up.
#include <goroutine/debug.h>

#include <errno.h>
#include <string.h>

#include "debug/events.h"
#include "sched/debug_hooks.h"
#include "sched/runq.h"
#include "sched/sched.h"
#include "sched/section.h"

_Static_assert(WAIT_REASON_COUNT <= GO_STATS_WAITS, "each reason has its counter");

static void count_state(struct g *gp, void *arg)
{
    go_statistics *s = arg;
    uint8_t status = load_relaxed(&gp->status);
    if (status == G_DEAD || (load_relaxed(&gp->flags) & (G_SYSTEM | G_THREAD)))
        return;
    if (status == G_WAITING)
        s->waiting++;
    else if (status == G_RUNNING)
        s->running++;
    else
        s->runnable++;
}

static void fill(void *arg)
{
    go_statistics *s = arg;
    lock_take(&sched.lock);
    s->gomaxprocs = (int)load_relaxed(&sched.procs);
    s->idle_procs = (int)load_relaxed(&sched.idle_p_count);
    s->threads = (int)sched.m_count;
    s->idle_threads = (int)sched.idle_m_count;
    s->foreign_threads = (int)sched.foreign;
    lock_release(&sched.lock);
    g_for_each(count_state, s);
    s->goroutines = (uint64_t)g_count(); /* after the states: who had ended there has mostly ended here, too */
    s->hand_offs = load_relaxed(&sched.hand_offs);
    uint32_t count = load_acquire(&sched.p_count);
    for (uint32_t i = 0; i < count; i++) /* first, and for all: as in g_count */
        s->ends += load_acquire(&load_acquire(&sched.ps[i])->ended);
    count = load_acquire(&sched.p_count);
    for (uint32_t i = 0; i < count; i++) {
        struct p *pp = load_acquire(&sched.ps[i]);
        s->launches += load_relaxed(&pp->launched);
        s->switches += load_relaxed(&pp->tick);
        s->steals += load_relaxed(&pp->steals);
        struct proc_events *e = __atomic_load_n(&pp->events, __ATOMIC_ACQUIRE);
        for (int j = 0; e && j < GO_STATS_WAITS; j++)
            s->parks[j] += load_relaxed(&e->parks[j]);
        for (int j = 0; e && j < GO_STATS_STEPS; j++)
            s->wake_latency[j] += load_relaxed(&e->wake_latency[j]);
    }
    struct stack_stats stacks = stack_stats();
    s->stack_bytes = stacks.reserved;
    s->stacks_made = stacks.made;
    s->stacks_idle = stacks.idle;
    s->stacks_given_back = stacks.given_back;
}

GO_EXPORT void go_stats(go_statistics *stats)
{
    section_pass(); /* may be the first call */
    memset(stats, 0, sizeof *stats);
    system_stack_call(fill, stats);
}

GO_EXPORT int go_stats_proc(int i, go_proc_statistics *stats)
{
    section_pass();
    if (i < 0 || (uint32_t)i >= load_relaxed(&sched.procs))
        return -EINVAL;
    struct p *pp = load_acquire(&sched.ps[i]);
    *stats = (go_proc_statistics){
        .running = load_relaxed(&pp->m) != NULL,
        .queue = runq_length(pp) + (load_relaxed(&pp->runnext) ? 1 : 0),
        .switches = load_relaxed(&pp->tick),
        .launches = load_relaxed(&pp->launched),
        .ends = load_relaxed(&pp->ended),
        .steals = load_relaxed(&pp->steals),
        .next_timer = load_relaxed(&pp->timers.next),
    };
    return 0;
}

GO_EXPORT int go_stats_detail(int on)
{
    section_pass();
    uint8_t before;
    if (on == 1)
        before = or_seq(&debug_hooks, HOOK_STATS);
    else if (on == 0)
        before = and_release(&debug_hooks, (uint8_t)~HOOK_STATS);
    else
        before = load_relaxed(&debug_hooks);
    return before & HOOK_STATS ? 1 : 0;
}

GO_EXPORT const char *go_stats_wait(int i)
{
    return i > 0 && i < WAIT_REASON_COUNT ? wait_reason_text((enum wait_reason)i) : NULL;
}
