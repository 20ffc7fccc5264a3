// SPDX-License-Identifier: MIT
// Who owns a P: idle lists, attaching, taking away, handing on. The rules are in section.h.
//
// "Taking a P away"
//
// sysmon takes the P of an M whose goroutine has computed for long while others wait, or sits in a blocking call
// (go_block_enter), and hands it to another M. Nothing is done to the first M: its goroutine goes on as the
// code of an ordinary thread. At its next call into the library it finds ATTN_DETACHED, and either takes an
// idle P or puts its goroutine on the global queue, in the hogs' part of it if it has computed, and goes to sleep itself.
//
// The nasty race: the M enters a section just as its P is taken. p_seize decides it: if the
// M was first, the P is taken after the end of its section, or not at all; if the M was second, it waits
// for ATTN_SEIZED to go and then sees ATTN_DETACHED, which was set before that.
#include <errno.h>

#include "arch/arch.h"
#include "sched/fair.h"
#include "sched/fatal.h"
#include "sched/global.h"
#include "sched/netpoll.h"
#include "sched/runq.h"
#include "sched/sched.h"
#include "sched/section.h"

/* Sections last well below a microsecond. One that lasts longer is on g0 or has lost its processor. */
#define SEIZE_SPINS 500

bool p_seize(struct p *vp)
{
    struct m *vm = load_relaxed(&vp->m);
    if (!vm)
        return true;
    or_seq(&vm->attention, ATTN_SEIZED);
    if (unlikely(sched.light_fence_missing))
        full_fence(); /* pairs with the one in section_enter */
    else
        os_fence_others(); /* pairs with the compiler barrier there */
    for (int i = 0; i < SEIZE_SPINS; i++) {
        if (load_acquire(&vm->in) == 0) /* pairs with the release in section_leave */
            return true;
        arch_pause();
    }
    p_unseize(vp);
    return false;
}

void p_unseize(struct p *vp)
{
    struct m *vm = load_relaxed(&vp->m);
    if (vm)
        and_release(&vm->attention, ~(uint32_t)ATTN_SEIZED);
}

void p_take_away(struct p *pp, bool hog)
{
    struct m *vm = load_relaxed(&pp->m);
    if (!vm)
        return;
    add_relaxed(&sched.hand_offs, 1);
    if (unlikely(load_relaxed(&debug_hooks)))
        hook_taken(pp);
    vm->p = NULL;
    turn_forget(pp);
    vm->hog = hog;
    store_relaxed(&pp->m, NULL);
    or_seq(&vm->attention, ATTN_DETACHED);
    and_release(&vm->attention, ~(uint32_t)ATTN_SEIZED);
}

void section_wait(struct m *mp)
{
    for (int i = 0; i < SEIZE_SPINS; i++) {
        if ((load_acquire(&mp->attention) & ATTN_SEIZED) == 0)
            return;
        arch_pause();
    }
    /* The seizer has lost its processor, or prints a traceback. Nobody wakes us: a short sleep. */
    uint32_t attention;
    while ((attention = load_acquire(&mp->attention)) & ATTN_SEIZED)
        os_futex_wait(&mp->attention, attention, os_now() + 50000);
}

/* The P was taken away: get another, or get in line. Returns in a section of m_self(). */
static void regain(struct m *mp)
{
    struct g *gp = mp->cur;
    and_release(&mp->attention, ~(uint32_t)ATTN_DETACHED);
    check(gp && !mp->p);
    lock_take(&sched.lock);
    struct p *pp = p_idle_pop_locked();
    if (!pp) {
        store_relaxed(&gp->status, G_RUNNABLE);
        if (mp->hog)
            global_push_hog_locked(gp);
        else
            global_push_locked(gp);
    }
    lock_release(&sched.lock);
    if (!pp) {
        park_on_g0(mp, gp);
        return;
    }
    p_attach(mp, pp);
    if (unlikely(load_relaxed(&debug_hooks)))
        hook_regained(mp);
}

noinline struct m *section_enter_slow(void)
{
    for (;;) {
        struct m *mp = m_self();
        store_relaxed(&mp->in, 1);
        full_fence(); /* for an M with ATTN_FENCE this is the owner's half of the Dekker pair */
        uint32_t attention = load_acquire(&mp->attention);
        if (unlikely(load_relaxed(&sched.forked)))
            fatal_forked();
        if (attention & ATTN_STRANGER) {
            thread_adopt();
        } else if (attention & ATTN_SEIZED) {
            section_leave(mp);
            section_wait(mp);
        } else if (attention & ATTN_DETACHED) {
            regain(mp);
        } else if ((attention & ATTN_YIELD) && mp->cur && mp->p) {
            and_release(&mp->attention, ~(uint32_t)ATTN_YIELD);
            struct g *gp = mp->cur;
            store_relaxed(&gp->status, G_RUNNABLE);
            runq_push(mp->p, gp);
            store_relaxed(&mp->p->until_fair, 0);
            park_on_g0(mp, gp);
        } else {
            return mp;
        }
    }
}

void p_attach(struct m *mp, struct p *pp)
{
    lock_take(&pp->lock);
    check(!load_relaxed(&pp->m) && !mp->p && load_relaxed(&mp->in) == 1);
    store_release(&pp->m, mp); /* pairs with the acquire in sysmon's look_at: mp may be new */
    mp->p = pp;
    lock_release(&pp->lock);
}

struct p *p_detach(struct m *mp)
{
    struct p *pp = mp->p;
    lock_take(&pp->lock);
    check(load_relaxed(&pp->m) == mp);
    store_relaxed(&pp->m, NULL);
    mp->p = NULL;
    lock_release(&pp->lock);
    return pp;
}

struct p *p_idle_take_locked(struct p **at)
{
    struct p *pp = *at;
    if (pp) {
        *at = pp->link;
        pp->idle = false;
        store_relaxed(&sched.idle_p_count, load_relaxed(&sched.idle_p_count) - 1);
        sysmon_kick();
    }
    return pp;
}

struct p *p_idle_pop_locked(void)
{
    return p_idle_take_locked(&sched.idle_ps);
}

struct p *p_idle_pop_due_locked(void)
{
    struct p **first = &sched.idle_ps;
    for (struct p **at = first; *at; at = &(*at)->link)
        if (load_relaxed(&(*at)->timers.next) < load_relaxed(&(*first)->timers.next))
            first = at;
    return p_idle_take_locked(first);
}

void p_idle_push_locked(struct p *pp)
{
    check(!pp->idle && runq_length(pp) == 0 && !load_relaxed(&pp->runnext));
    check(!load_relaxed(&pp->retired));
    pp->theft_by = NULL; /* or the time it is idle would count as work */
    turn_forget(pp);     /* or as somebody's turn */
    pp->idle = true;
    pp->link = sched.idle_ps;
    sched.idle_ps = pp;
    store_relaxed(&sched.idle_p_count, load_relaxed(&sched.idle_p_count) + 1);
}

void m_unlist_idle_locked(struct m *mp)
{
    mp->idle = false;
    sched.idle_m_count--;
    if (sched.timekeeper == mp)
        sched.timekeeper = NULL;
    for (struct m **at = &sched.idle_ms; *at; at = &(*at)->link)
        if (*at == mp) {
            *at = mp->link;
            break;
        }
}

/* Under sched.lock. The caller then wakes mp, by m_rouse, with the result. */
static bool m_wake_locked(struct m *mp, struct p *pp)
{
    check(!mp->next_p);
    mp->next_p = pp;
    if (mp->idle)
        m_unlist_idle_locked(mp);
    store_release(&mp->wake, 1); /* pairs with the acquire in m_sleep */
    return load_relaxed(&sched.poller) == mp;
}

static void m_rouse(struct m *mp, bool polls)
{
    if (polls)
        netpoll_interrupt();
    else
        os_futex_wake(&mp->wake, 1);
}

void m_wake(struct m *mp, struct p *pp)
{
    lock_take(&sched.lock);
    bool polls = m_wake_locked(mp, pp);
    lock_release(&sched.lock);
    m_rouse(mp, polls);
}

struct start {
    struct p *p;
    bool spinning;
    struct p *woken_by;
    int error;
};

/* On a system stack: makes a new M for start->p. */
static void start_new(void *arg)
{
    struct start *start = arg;
    struct m *mp = m_new();
    start->error = -ENOMEM;
    if (!mp)
        return;
    mp->next_p = start->p;
    mp->spinning = start->spinning;
    mp->woken_by = start->woken_by;
    start->error = m_start_thread(mp);
}

/* Under sched.lock, which it releases if it is true: an idle M, if there is one, gets pp. */
static bool m_start_idle_locked(struct p *pp, bool spinning, struct p *woken_by)
{
    struct m *mp = sched.idle_ms;
    if (!mp)
        return false;
    /* Not the timekeeper or the poller if there is another. */
    for (struct m *other = mp; other; other = other->link)
        if (other != sched.timekeeper && other != load_relaxed(&sched.poller)) {
            mp = other;
            break;
        }
    mp->spinning = spinning;
    mp->woken_by = woken_by;
    bool polls = m_wake_locked(mp, pp);
    lock_release(&sched.lock);
    m_rouse(mp, polls);
    return true;
}

bool m_start(struct p *pp, bool spinning, struct p *woken_by)
{
    lock_take(&sched.lock);
    if (m_start_idle_locked(pp, spinning, woken_by))
        return true;
    lock_release(&sched.lock);
    struct start start = { .p = pp, .spinning = spinning, .woken_by = woken_by };
    system_stack_call(start_new, &start);
    if (start.error == 0)
        return true;
    /* No thread to be had. Those there are go on; sysmon tries again while work waits, and gives up
     * with a message when none of them has run for a second. */
    bool due = false;
    int64_t now = os_now();
    for (uint32_t i = 0, count = load_acquire(&sched.p_count); i < count && !due; i++)
        due = load_relaxed(&load_acquire(&sched.ps[i])->timers.next) <= now;
    lock_take(&sched.lock);
    /* An M that has fallen asleep meanwhile did not see this P as idle, and perhaps does not poll for that reason. */
    if (m_start_idle_locked(pp, spinning, woken_by))
        return true;
    if (spinning)
        atomic_fetch_sub_explicit(&sched.spinning, 1, memory_order_relaxed);
    sched.thread_error = start.error;
    if (runq_length(pp) == 0 && !load_relaxed(&pp->runnext) && global_size() == 0 && !due)
        p_idle_push_locked(pp);
    else {
        pp->link = load_relaxed(&sched.stranded_ps);
        store_relaxed(&sched.stranded_ps, pp);
    }
    lock_release(&sched.lock);
    return false;
}

void p_hand_off(struct p *pp)
{
    if (unlikely(load_relaxed(&pp->gone))) {
        p_retire(pp);
        return;
    }
    int64_t next = load_relaxed(&pp->timers.next);
    lock_take(&sched.lock);
    /* An idle P's timers need an M that sleeps no longer than until the first: whoever gets this P becomes that M. So do the timers
     * of the other idle Ps: the M that kept their time may be the one that blocks now. */
    for (struct p *idle = sched.idle_ps; idle; idle = idle->link)
        if (load_relaxed(&idle->timers.next) < next)
            next = load_relaxed(&idle->timers.next);
    if (runq_length(pp) > 0 || load_relaxed(&pp->runnext) || global_size() > 0 ||
        (next != TIME_NEVER && timekeeper_late_locked(next))) {
        lock_release(&sched.lock);
        m_start(pp, false, NULL);
        return;
    }
    /* Nobody looks for work, and all other Ps are busy: somebody should. */
    if (load_relaxed(&sched.spinning) == 0 && load_relaxed(&sched.idle_p_count) == 0) {
        uint32_t none = 0;
        if (cas_acq_rel(&sched.spinning, &none, 1)) {
            lock_release(&sched.lock);
            m_start(pp, true, NULL);
            return;
        }
    }
    p_idle_push_locked(pp);
    deadlock_check_locked(); /* it was not true while we had the P */
    lock_release(&sched.lock);
    full_fence(); /* the idle P before netpoll_waits; see_that_one_polls looks the other way round */
    if (netpoll_wanted() && !load_relaxed(&sched.poller))
        wake_spinning(NULL);
}
