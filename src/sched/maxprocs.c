// SPDX-License-Identifier: MIT
// GOMAXPROCS: making Ps and taking them out of service.
//
// The world is not stopped for it, and while somebody else has stopped it no Ps are made. When the number rises, the new Ps become
// idle ones, and one M is woken to look for what waits. When it falls, those beyond it are marked gone, and whoever next has one of
// them in hand while it runs nothing empties it (p_retire) instead of running it. go_maxprocs sees to it that this happens before
// it returns: it takes them from their owners as sysmon takes a hog's, even with preempt=0. A retired P stays in sched.ps, empty,
// until it is wanted again.
#include <goroutine/go.h>

#include <stdlib.h>

#include "base/options.h"
#include "sched/fair.h"
#include "sched/fatal.h"
#include "sched/global.h"
#include "sched/netpoll.h"
#include "sched/runq.h"
#include "sched/sched.h"
#include "sched/section.h"
#include "sched/world.h"

static struct lock change = LOCK_INIT(RANK_STOP);

struct p *p_new_locked(void)
{
    uint32_t id = load_relaxed(&sched.p_count);
    struct p *pp = aligned_alloc(_Alignof(struct p), sizeof *pp);
    if (!pp)
        return NULL;
    *pp = (struct p){ .id = id, .lock = LOCK_INIT(RANK_P), .random = (uint32_t)os_random(),
                      .until_fair = options.fair_every };
    store_relaxed(&pp->timers.next, TIME_NEVER);
    store_relaxed(&sched.ps[id], pp);
    store_release(&sched.p_count, id + 1); /* pairs with the acquire of those who go through ps */
    return pp;
}

void p_retire(struct p *pp)
{
    struct g *gp;
    if (load_relaxed(&pp->timers.next) != TIME_NEVER)
        timer_evacuate(pp);
    lock_take(&pp->lock); /* a thief may be at its ring, or sysmon at its stacks, for they see that nobody owns it */
    stack_cache_flush(&pp->stacks);
    g_cache_flush(pp);
    chan_cache_flush(pp);
    turn_forget(pp);
    lock_take(&sched.lock);
    while ((gp = runq_pop_next(pp)) || (gp = runq_pop(pp)))
        global_push_locked(gp);
    store_relaxed(&pp->retired, true); /* until this is set pp stays gone: whoever holds `change` waits for it */
    /* Its M was perhaps the one that would have polled next. */
    bool unpolled = netpoll_wanted() && !load_relaxed(&sched.poller);
    struct p *idle = global_size() > 0 || unpolled ? p_idle_pop_locked() : NULL;
    lock_release(&sched.lock);
    lock_release(&pp->lock);
    if (idle)
        m_start(idle, false, NULL);
}

/* True if pp waited for a thread that cannot be made, and is now the caller's. */
static bool take_stranded_locked(struct p *pp)
{
    struct p *before = load_relaxed(&sched.stranded_ps);
    if (before == pp) {
        store_relaxed(&sched.stranded_ps, pp->link);
        return true;
    }
    while (before && before->link != pp)
        before = before->link;
    if (before)
        before->link = pp->link;
    return before != NULL;
}

/* The same if it was idle. */
static bool take_idle_locked(struct p *pp)
{
    if (!pp->idle)
        return false;
    struct p **at = &sched.idle_ps;
    while (*at != pp)
        at = &(*at)->link;
    p_idle_take_locked(at);
    return true;
}

/* Until pp, which is gone, has been retired by somebody. */
static void see_retired(struct p *pp)
{
    while (!load_relaxed(&pp->retired)) {
        lock_take(&sched.lock);
        bool taken = take_idle_locked(pp) || take_stranded_locked(pp);
        lock_release(&sched.lock);
        if (!taken) {
            lock_take(&pp->lock);
            if (load_relaxed(&pp->m) && p_seize(pp)) {
                p_take_away(pp, false);
                taken = true;
            }
            lock_release(&pp->lock);
        }
        if (taken)
            p_retire(pp);
        else
            os_thread_yield();
    }
}

struct change {
    uint32_t n, old;
    bool ok;
};

/* On a system stack and outside of sections: the caller's own P may be among those that go. */
static void set(void *arg)
{
    struct change *c = arg;
    lock_take(&change);
    while (!world_try())
        os_thread_yield(); /* whoever stops it holds the locks of only those Ps that exist when it begins */
    lock_take(&sched.lock);
    uint32_t old = c->old = load_relaxed(&sched.procs);
    c->ok = true;
    for (uint32_t i = old; i < c->n && c->ok; i++) {
        bool known = i < load_relaxed(&sched.p_count);
        struct p *pp = known ? load_relaxed(&sched.ps[i]) : p_new_locked();
        c->ok = pp != NULL;
        if (!pp)
            break;
        store_relaxed(&pp->gone, false);
        store_relaxed(&pp->retired, false);
        store_relaxed(&sched.procs, i + 1);
        p_idle_push_locked(pp);
    }
    if (c->n < old)
        store_relaxed(&sched.procs, c->n);
    for (uint32_t i = c->n; i < old; i++)
        store_relaxed(&load_relaxed(&sched.ps[i])->gone, true);
    lock_release(&sched.lock);
    world_release();
    if (c->n > old)
        wake_spinning(NULL); /* for what waits in rings; and for descriptors, as nobody had to poll while all Ps were busy */
    for (uint32_t i = c->n; i < old; i++)
        see_retired(load_relaxed(&sched.ps[i]));
    lock_release(&change);
}

GO_EXPORT int go_maxprocs(int n)
{
    struct m *mp = section_enter();
    lock_take(&sched.lock); /* a change counts up under it */
    int old = (int)load_relaxed(&sched.procs);
    lock_release(&sched.lock);
    section_leave(mp);
    if (n < 1 || n == old)
        return old;
    struct change c = { .n = n > PROCS_MAX ? PROCS_MAX : (uint32_t)n };
    system_stack_call(set, &c);
    if (!c.ok)
        fatal("out of memory: no room for GOMAXPROCS=%d", n);
    section_pass(); /* if our own P is gone: in line for another one */
    return (int)c.old; /* another thread's change may have come first */
}
