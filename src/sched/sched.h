// SPDX-License-Identifier: MIT
// What the scheduler's files share. Each function says who calls it and with what in hand; the
// stories are told in the files named.
#pragma once

#include "base/atomic.h"
#include "base/check.h"
#include "base/compiler.h"
#include "os/lock.h"
#include "os/os.h"
#include "sched/debug_hooks.h"
#include "sched/g.h"
#include "sched/m.h"
#include "sched/p.h"

#define PROCS_MAX 4096

/* A list that is one thread's own, linked by g->link; the last one's link is NULL. */
struct g_list {
    struct g *first, *last;
    uint32_t length;
};

static inline void g_list_add(struct g_list *list, struct g *gp)
{
    gp->link = NULL;
    if (list->last)
        list->last->link = gp;
    else
        list->first = gp;
    list->last = gp;
    list->length++;
}

/* All written under sched.lock, and what is atomic is for those who only look. */
struct g_queue {
    _Atomic(struct g *) head;
    struct g *tail;
    _Atomic uint32_t length;
};

struct sched {
    struct lock lock;

    struct g_queue global;  /* under lock: those made ready */
    struct g_queue unbegun; /* under lock, the global queue's second part, to be taken after the first: those that have not begun and
                               were too many for a ring ("Newest first" in fair.c), and those that have yielded to them */
    struct g_queue hogs;    /* under lock, its last part: those that have had much time; "Time" in fair.c */

    struct p *idle_ps;            /* under lock */
    _Atomic uint32_t idle_p_count; /* written under lock */
    _Atomic uint32_t spinning;     /* Ms looking for work; "Worker parking" in idle.c */

    struct m *idle_ms;   /* under lock: asleep without a P */
    uint32_t idle_m_count; /* under lock: these, and those that wait for their locked goroutine */
    uint32_t m_count;    /* under lock: threads that run goroutines */
    struct m *all_ms;    /* under lock */
    struct m *free_ms;   /* under lock */
    struct m *timekeeper; /* under lock: the idle M that sleeps until the earliest timer */
    _Atomic(struct m *) poller; /* written under lock: the M in netpoll_sleep, until it has come out of it */

    _Atomic(struct p *) stranded_ps; /* written under lock: have work, and no thread could be made for them */
    bool retrying;         /* under lock: sysmon has one of them in hand */
    int thread_error;      /* under lock: why */

    uint32_t foreign;      /* under lock: plain threads that could still wake somebody */
    bool main_ended;       /* under lock: go_exit in main */
    bool first_resting;    /* under lock: the process's first thread is no M any more, and must not end */
    int64_t deadlock_since; /* under lock: since when it looks like one, though strangers may call; 0 if not */
    _Atomic bool dying;    /* a fatal error is being reported */
    _Atomic bool forked;   /* this is the child of a fork */

    _Atomic uint32_t procs;   /* GOMAXPROCS; written under lock */
    _Atomic uint32_t p_count; /* Ps in ps[], gone ones included; grows only, under lock */
    _Atomic(struct p *) ps[PROCS_MAX];

    _Atomic uint64_t hand_offs; /* Ps taken away; read by go_stats */
    _Atomic int64_t coarse_now; /* roughly the clock: set by sysmon's looks and by Ms that wake; for "waiting since", rounds, and timers */
    int64_t start_time;
    _Atomic uint64_t id_batches; /* goroutine ids are handed out to Ps sixteen at a time */
    bool light_fence_missing;    /* constant after init: no membarrier */
};

extern struct sched sched;
extern struct g main_g; /* goroutine 1; of no slab */

/* Ids 1 … 15 make the first batch, of which main takes the first. */
#define ID_BATCH 16

/* --- init.c --- */

/* Makes the calling thread known: main as goroutine 1, another as a plain thread. */
struct m *thread_adopt(void);

/* --- thread.c --- */

/* A new M's struct, listed; NULL when there is no memory. */
struct m *m_new(void);
/* Starts the thread of mp, whose next_p is set; 0 or -errno. On a system stack. */
int m_start_thread(struct m *mp);

/* --- system_stack.c --- */

/* Calls fn(arg) where there is room: on the M's own stack if this is a goroutine's. Does not park. */
void system_stack_call(void (*fn)(void *), void *arg);

/* realloc in that way; free needs no more than system_stack_call(free, p). */
void *system_stack_realloc(void *old, size_t size);

/* --- schedule.c --- */

/* The life of an M, on g0. Returns when the thread shall end. */
void schedule(struct m *mp);

/* Puts the calling goroutine to sleep: it has been made known to its waker (or to a queue). In a
 * section; returns in a section, perhaps on another M. */
void park(struct m *mp, struct g *gp);

/* The goroutine's end: frees gp and runs others. In a section, on gp's stack. */
_Noreturn void park_for_ever(struct m *mp, struct g *gp);

/* As park, for a goroutine that is on a queue already, and whose M may have no P: by way of g0. */
void park_on_g0(struct m *mp, struct g *gp);

void switch_done_slow(struct m *mp, struct g *prev);

/* When nobody wants to hear of it, and the goroutine that was left has not ended. */
static always_inline void switch_done_plain(struct m *mp)
{
    struct g *prev = mp->prev;
    if (!prev)
        return;
    mp->prev = NULL;
    /* Pairs with the acquires in claim_stack and switch_to: the context is saved and nobody is on the stack. */
    store_release(&prev->run.on_cpu, 0);
}

/* After each switch, on the new stack. */
static always_inline void switch_done(struct m *mp)
{
    struct g *prev = mp->prev;
    bool hooked = load_relaxed(&debug_hooks) != 0;
    if (!prev && likely(!hooked))
        return;
    if (unlikely(hooked || load_relaxed(&prev->status) == G_DEAD)) {
        switch_done_slow(mp, prev);
        return;
    }
    switch_done_plain(mp);
}

/* gp's wait is over; the caller has claimed its token, or gp has never run. In a section; mp->p may be
 * NULL. gp must not be touched afterwards. */
void ready(struct m *mp, struct g *gp);

/* Makes way for a seizer, which may take the P away: on g0 an M stays in one section for as long as it looks for work. */
void section_poll(struct m *mp);

/* --- idle.c --- */

/* Wakes one more M to look for work, if a P is idle and nobody looks already; false if not. If that M finds nothing,
 * woken_by (the P for whose work it was woken, or NULL) is told. */
bool wake_spinning(struct p *woken_by);

/* What wake_idle calls when a wake-up is due. */
void wake_for_launch(struct p *pp);

/* Work that others could do has just been put on pp's ring: true if wake_for_launch is to be called for it. In a section. */
static always_inline bool wake_is_due(struct p *pp)
{
    if (unlikely(sched.light_fence_missing))
        full_fence(); /* pairs with the idler's fence in go_idle */
    else
        compiler_barrier(); /* pairs with the idler's os_fence_others */
    if (load_relaxed(&sched.idle_p_count) == 0 || load_relaxed(&sched.spinning) != 0)
        return false;
    uint32_t skip = load_relaxed(&pp->wake_skip);
    if (unlikely(skip == 0))
        return true;
    store_relaxed(&pp->wake_skip, skip - 1); /* of what was read: it may be 0 by now */
    return false;
}

/* The same, and calls it. */
static always_inline void wake_idle(struct p *pp)
{
    if (wake_is_due(pp))
        wake_for_launch(pp);
}

/* Counts mp among those that look for work; and no longer: `found` says whether it found some. In a section, on g0. */
void spinning_begin(struct m *mp);
void spinning_end(struct m *mp, bool found);

/* When mp, which falls asleep now, has to wake for the timers of any P. */
int64_t wake_time(struct m *mp, int64_t now);

/* Sleeps until somebody hands mp a P, or, if it is to keep the time or to poll, until there is something to do. On return
 * mp->p says which. Called without a P, in a section, on g0. */
void m_sleep(struct m *mp, int64_t when);

/* Gives up mp's P and sleeps. On return there may be a P again, or not. In a section, on g0. */
void go_idle(struct m *mp);

/* --- steal.c --- */

/* Takes work of another P for pp, which is mp's: looks at all Ps in turn, beginning at a random one; the last round also takes what
 * owners are about to use. NULL if there is none, or if mp's own P was taken away meanwhile. In a section, on g0. */
struct g *steal(struct m *mp, struct p *pp);

/* "Thefts that are worth nothing". theft_begin: pp has got work from by's ring, or because by has woken its M. theft_judge: pp
 * has nothing left of it. */
void theft_begin(struct p *pp, struct p *by);
void theft_judge(struct p *pp);

/* The goroutine that runs on mp wants a channel that is biased to `owner`. If it has just been stolen from that P it goes back, with
 * all that were stolen with it, and this returns true when it runs again, in the section of m_self(). */
bool theft_undo(struct m *mp, struct p *owner);

/* An M was woken for by's work and found nothing; see "Wake-ups that find nothing" in idle.c. */
void woken_in_vain(struct p *by);

/* --- handoff.c --- */

/* Gives pp to mp; takes mp's P from it. Both take p->lock themselves. */
void p_attach(struct m *mp, struct p *pp);
struct p *p_detach(struct m *mp);
/* The list of idle Ps; under sched.lock. Each takes one off, NULL if there is none: the first; the one whose timers are due first; the
 * one at this place of the list. */
struct p *p_idle_pop_locked(void);
struct p *p_idle_pop_due_locked(void);
struct p *p_idle_take_locked(struct p **at);
void p_idle_push_locked(struct p *pp);
/* Takes vp from whoever has it, or fails. vp->lock held; on true others keep off until p_unseize. */
bool p_seize(struct p *vp);
void p_unseize(struct p *vp);
/* A guess: pp's M is in the library just now, and comes to its timers by itself. */
static inline bool p_in_section(const struct p *pp)
{
    const struct m *mp = load_acquire(&pp->m); /* pairs with the release in p_attach: mp may be new. Its memory stays an M's */
    return mp && load_relaxed(&mp->in) != 0;
}
/* Takes the P away from pp->m, which the caller has seized, as from a hog or for another reason. The caller must hand the P on. */
void p_take_away(struct p *pp, bool hog);
/* Gives a P that nobody has to an M, or makes it idle. May make a thread: on a system stack. */
void p_hand_off(struct p *pp);
/* Runs pp on an idle or a new M; false when there is no thread to be had. On any stack. */
bool m_start(struct p *pp, bool spinning, struct p *woken_by);
/* Hands pp to an M that sleeps, or is about to: sched.lock not held. */
void m_wake(struct m *mp, struct p *pp);
/* No idle M wakes by itself before `when`. Under sched.lock. */
static inline bool timekeeper_late_locked(int64_t when)
{
    return !sched.timekeeper || sched.timekeeper->sleeps_until > when;
}
/* Takes an idle M off the list. Under sched.lock. */
void m_unlist_idle_locked(struct m *mp);

/* --- newproc.c --- */

/* Launches fn(arg) for the library, outside every scope. `site`, whose integer_regs is 1 if fn looks at its argument,
 * is what tracebacks give as its origin. flags:
 * 0, or G_SYSTEM. In a section; mp->p may be NULL. */
void newproc_internal(struct m *mp, void (*fn)(void *), void *arg, const struct go_site *site,
                      unsigned flags);

/* --- deadlock.c --- */

/* Something outside will wake a goroutine: a look-up of a name that is under way. (Waits for descriptors, and so those for
 * children and signals, are counted by netpoll.) +1 and -1; any thread. A -1 that may leave everybody asleep comes from a
 * goroutine or thread that is awake. */
void deadlock_waker_add(int n);

/* By a thread of the library that is neither an M nor sysmon: +1 when it begins, -1 when it ends. It wakes only goroutines whose waits
 * are counted elsewhere (deadlock_waker_add, netpoll). */
void deadlock_helper_add(int n);

/* Under sched.lock, when an M has become idle or a plain thread has ended. */
void deadlock_check_locked(void);

/* sysmon's part in it ("Strangers" in deadlock.c): true if it shall look again soon. Under sched.lock. */
bool deadlock_suspected_locked(int64_t now);

/* --- sysmon.c --- */
void sysmon_start(void);
/* A P leaves the idle list, or a deadlock is suspected. Under sched.lock. */
void sysmon_kick(void);
/* A thread is about to block and others wait for its P. */
void sysmon_hurry(void);

/* --- supplied by src/sync --- */
/* pp's free channels go where others find them. Owner; on a system stack. */
void chan_cache_flush(struct p *pp);

/* --- maxprocs.c --- */
/* Makes a P with the next id; NULL if there is no memory. */
struct p *p_new_locked(void);
/* Empties a P beyond GOMAXPROCS that is in nobody's hand but the caller's: others get what it has. Takes p->lock and sched.lock,
 * so no lock above RANK_STOP may be held. On a system stack. */
void p_retire(struct p *pp);
