// SPDX-License-Identifier: MIT
// sysmon: a thread without a P that looks at all others from time to time. It takes Ps from hogs and from blocked
// threads, and it is the net under every rule that saves a wake-up: work or a timer that waits beside an idle P
// waits for two of its periods at most.
//
// "How often"
//
// Its period is 20 µs after it has had to act, and doubles while there is nothing to do, up to 1 ms while some P is
// idle (whose work would be late) and 5 ms while none is: two looks within a slice of 10 ms. When all Ps are idle
// it looks every 100 ms for as long as there are stacks to be given back, and then sleeps: an idle process uses no CPU. It
// is woken from these long rests when a P is taken from the idle list; otherwise a hog that begins there would keep its P until the
// rest is over. The next rest is then a short one whatever it sees, so that a process with little to do wakes it at most once in
// 5 ms.
//
// "A hog"
//
// A P whose tick has not changed since an earlier look has run one goroutine all the time; if that was in go_block_enter meanwhile, its
// time counts from the first look after it. After a slice, if
// something waits that this P would run, there are two cases. If some P is idle, an M is woken for it and steals
// what waits: a P in user code can be seized. If none is, the P is taken away, see "Taking a P away".
// A thread in go_block_enter loses its P at the next look if something waits, and after a slice in any case, so
// that the process can come to rest while it blocks. GODEBUG=preempt=0 keeps hogs on their Ps;
// they are asked to yield at their next call into the library.
#include <stdio.h>

#include "base/options.h"
#include "sched/debug_hooks.h"
#include "sched/fair.h"
#include "sched/fatal.h"
#include "sched/global.h"
#include "sched/netpoll.h"
#include "sched/runq.h"
#include "sched/sched.h"
#include "sched/stack.h"

#define MICROSECOND 1000ll
#define MILLISECOND 1000000ll
#define PERIOD_LEAST (20 * MICROSECOND)
#define PERIOD_SOME_IDLE (1 * MILLISECOND)
#define PERIOD_ALL_BUSY (5 * MILLISECOND)
#define PERIOD_ALL_IDLE (100 * MILLISECOND)
#define POLL_EVERY (10 * MILLISECOND)
#define SCAVENGE_EVERY (100 * MILLISECOND)
#define SCAVENGE_FOR (1 * MILLISECOND)
#define RESTS 100 /* goroutines resumed since the last time: fewer, and the process does next to nothing */
#define GIVE_UP_THREADS (1000 * MILLISECOND)
#define TIMER_LATE (200 * MICROSECOND) /* more than an M that sleeps for a timer oversleeps: "Many timers" in idle.c */
#define SYSMON_STACK (128u << 10) /* it may have to print a report */
#define SILENCE_MOST (50 * MILLISECOND)
#define SHY_MOST (200 * MICROSECOND)
#define LONG_RUN (2 * MICROSECOND)

static _Atomic uint32_t word;    /* futex: changes when sysmon shall look */
static _Atomic bool dozing;      /* in a long rest, or for ever, all Ps idle; under sched.lock */
static _Atomic int64_t period;   /* its present sleep; 0 while it looks */

/* Under sched.lock: a P leaves the idle list, or there is something to suspect. */
void sysmon_kick(void)
{
    if (likely(!load_relaxed(&dozing)))
        return;
    store_relaxed(&dozing, false);
    atomic_fetch_add_explicit(&word, 1, memory_order_release);
    os_futex_wake(&word, 1);
}

void sysmon_hurry(void)
{
    full_fence();
    if (load_relaxed(&period) <= 4 * PERIOD_LEAST)
        return;
    store_relaxed(&period, 0);
    atomic_fetch_add_explicit(&word, 1, memory_order_release);
    os_futex_wake(&word, 1);
}

/* What pp would run if its M came to it. */
static bool work_waits(struct p *pp, int64_t now)
{
    return runq_length(pp) > 0 || load_relaxed(&pp->runnext) ||
           load_relaxed(&pp->timers.next) <= now || global_size() > 0;
}

static bool take_from(struct p *pp, struct m *seen, bool hog, int64_t now)
{
    bool taken = false;
    if (!lock_try(&pp->lock))
        return false;
    if (load_relaxed(&pp->m) == seen && load_relaxed(&pp->tick) == pp->seen_tick &&
        p_seize(pp)) {
        if (load_relaxed(&pp->tick) == pp->seen_tick) {
            if (hog) {
                hog_charge(pp, now, now - pp->seen_when);
                store_relaxed(&pp->until_fair, 0);
            }
            p_take_away(pp, hog);
            pp->seen_when = 0; /* it may come back before the next look, with the same tick */
            taken = true;
        } else {
            p_unseize(pp);
        }
    }
    lock_release(&pp->lock);
    if (taken)
        p_hand_off(pp);
    return taken;
}

/* The goroutine that has waited longest in the global queue is the same as at the last look. */
static bool global_stuck(void)
{
    static struct g *seen;
    struct g *first = load_relaxed(&sched.global.head);
    if (!first)
        first = load_relaxed(&sched.unbegun.head);
    if (!first)
        first = load_relaxed(&sched.hogs.head);
    bool stuck = first && first == seen;
    seen = first;
    return stuck;
}

/*
 * That pp's launches wake others in vain, and that thefts from it are worth nothing, is not true for ever. The first is tried
 * again after a while; and neither is true when its goroutines now run for long, judged by how many have run since the last look.
 */
static void see_silence(struct p *pp, uint64_t tick, int64_t now)
{
    int64_t runs = (int64_t)(tick - pp->seen_tick), since = now - pp->seen_when;
    bool silent = load_relaxed(&pp->wake_skip) > 0;
    bool runs_long = pp->seen_when != 0 && runq_length(pp) > 0 && since > SHY_MOST && since > runs * LONG_RUN;
    bool ends = runs_long || now - pp->seen_waking > SILENCE_MOST;
    if (runs_long)
        store_relaxed(&pp->shy_until, 0);
    if (silent && ends)
        store_relaxed(&pp->wake_skip, 0);
    if (!silent || ends)
        pp->seen_waking = now;
}

/* "Time" in fair.c: a fair pick, if there has been none for about a slice while others wait. */
static void see_turn(struct p *pp, int64_t now)
{
    uint64_t turn = load_relaxed(&pp->turn.tick);
    if (turn != pp->seen_turn_tick || pp->seen_turn_when == 0 || (runq_length(pp) == 0 && global_size() == 0)) {
        pp->seen_turn_tick = turn;
        pp->seen_turn_when = now;
    } else if (now - pp->seen_turn_when >= TURN_LEAST && load_relaxed(&pp->until_fair) > 1) {
        /* TURN_LEAST is less than a slice: the turn began before it was first seen. */
        store_relaxed(&pp->until_fair, 1); /* not the very next pick, which has perhaps been prepared: runq_put_back */
    }
}

/* True if it had to act, or will have to at the next look. */
static bool look_at(struct p *pp, int64_t now)
{
    struct m *mp = load_acquire(&pp->m);
    uint64_t tick = load_relaxed(&pp->tick);
    if (load_relaxed(&pp->timers.next) <= now)
        store_relaxed(&pp->poll, true);
    if (!mp) {
        pp->seen_waiting = false;
        pp->seen_when = pp->seen_turn_when = 0;
        return false;
    }
    see_silence(pp, tick, now);
    see_turn(pp, now);
    /* A queue that is there at two looks will not be gone soon, however fast this P switches; but it may be that
     * thieves do not help ("Thefts that are worth nothing" in steal.c). */
    bool shy = now < load_relaxed(&pp->shy_until);
    bool waiting = runq_length(pp) > 0 && !shy;
    if (waiting && pp->seen_waiting)
        wake_spinning(pp);
    pp->seen_waiting = waiting;
    bool blocking = load_relaxed(&mp->blocking), unblocked = pp->seen_blocking && !blocking;
    pp->seen_blocking = blocking;
    if (tick != pp->seen_tick || pp->seen_when == 0 || unblocked) { /* to block is not to compute */
        pp->seen_tick = tick;
        pp->seen_when = now;
        return blocking && work_waits(pp, now); /* the next look comes soon then */
    }
    bool waits = work_waits(pp, now);
    bool slice_over = now - pp->seen_when >= options.slice;
    if (blocking && (waits || slice_over))
        return take_from(pp, mp, false, now);
    if (!waits || (shy && now - pp->seen_when < SHY_MOST))
        return false;
    if (wake_spinning(NULL))
        return true;
    if (!slice_over || load_relaxed(&sched.idle_p_count) > 0)
        return false;
    if (!options.preempt) {
        or_seq(&mp->attention, ATTN_YIELD);
        return false;
    }
    return take_from(pp, mp, true, now);
}

/* It is due, and of the Ms that sleep none is about to wake for it. */
static bool timer_missed(int64_t when, int64_t now)
{
    bool expected = false;
    if (when > now)
        return false;
    if (now - when < TIMER_LATE) {
        lock_take(&sched.lock);
        for (struct m *mp = sched.idle_ms; mp && !expected; mp = mp->link)
            expected = mp->sleeps_until != 0 && mp->sleeps_until - when < TIMER_LATE;
        lock_release(&sched.lock);
    }
    return !expected;
}

/* Ps with work for which no thread could be made. */
static void retry_stranded(int64_t now)
{
    static int64_t since;
    struct p *pp = load_relaxed(&sched.stranded_ps);
    if (likely(!pp)) {
        since = 0;
        return;
    }
    lock_take(&sched.lock);
    pp = load_relaxed(&sched.stranded_ps);
    if (!pp) { /* see_retired */
        lock_release(&sched.lock);
        return;
    }
    store_relaxed(&sched.stranded_ps, pp->link);
    uint32_t without = load_relaxed(&sched.idle_p_count) + 1;
    for (struct p *other = pp->link; other; other = other->link)
        without += !load_relaxed(&other->gone);
    bool hopeless = without >= load_relaxed(&sched.procs);
    int error = sched.thread_error;
    sched.retrying = true;
    lock_release(&sched.lock);
    bool started = m_start(pp, false, NULL);
    lock_take(&sched.lock);
    sched.retrying = false;
    lock_release(&sched.lock);
    if (started || !hopeless)
        since = 0;
    else if (since == 0)
        since = now;
    else if (now - since > GIVE_UP_THREADS)
        fatal("out of threads: cannot create another one (errno %d)", -error);
}

static void schedtrace(int64_t now)
{
    char line[1024];
    uint32_t count = load_acquire(&sched.p_count);
    lock_take(&sched.lock);
    int n = snprintf(line, sizeof line,
                     "SCHED %lldms: gomaxprocs=%u idleprocs=%u threads=%u spinningthreads=%u "
                     "idlethreads=%u runqueue=%u [",
                     (long long)((now - sched.start_time) / MILLISECOND),
                     load_relaxed(&sched.procs), load_relaxed(&sched.idle_p_count), sched.m_count,
                     load_relaxed(&sched.spinning), sched.idle_m_count, global_size());
    lock_release(&sched.lock);
    for (uint32_t i = 0; i < count && n < (int)sizeof line - 32; i++) {
        struct p *pp = load_acquire(&sched.ps[i]);
        if (!load_relaxed(&pp->gone))
            n += snprintf(line + n, sizeof line - (size_t)n, "%s%u", i ? " " : "",
                          runq_length(pp) + (load_relaxed(&pp->runnext) ? 1 : 0));
    }
    n += snprintf(line + n, sizeof line - (size_t)n, "]\n");
    os_write(2, line, (size_t)n);
    for (uint32_t i = 0; options.scheddetail && i < count; i++) {
        struct p *pp = load_acquire(&sched.ps[i]);
        struct m *mp = load_acquire(&pp->m);
        n = snprintf(line, sizeof line, "  P%u: status=%s schedtick=%llu m=%s runqsize=%u timers=%s\n",
                     i, load_relaxed(&pp->gone) ? "gone" : mp ? "running" : "idle",
                     (unsigned long long)load_relaxed(&pp->tick), mp ? "yes" : "nil", runq_length(pp),
                     load_relaxed(&pp->timers.next) == TIME_NEVER ? "no" : "yes");
        os_write(2, line, (size_t)n);
    }
}

/* Sleeps; returns after `ns`, or when hurried. */
static void rest(int64_t ns)
{
    uint32_t seen = load_relaxed(&word);
    store_relaxed(&period, ns);
    os_futex_wait(&word, seen, os_now() + ns);
    store_relaxed(&period, 0);
}

static bool timers_set(void)
{
    uint32_t count = load_acquire(&sched.p_count);
    for (uint32_t i = 0; i < count; i++)
        if (load_relaxed(&load_acquire(&sched.ps[i])->timers.next) != TIME_NEVER)
            return true;
    return false;
}

/* As rest, while all Ps are idle; false if one is not, at once or after a kick. for_ever: not only for `ns`. */
static bool doze(int64_t ns, bool for_ever)
{
    lock_take(&sched.lock);
    bool all_idle = load_relaxed(&sched.idle_p_count) == load_relaxed(&sched.procs);
    /* Only sysmon sees to a timer without a timekeeper, or to a descriptor without a poller: it looks again. */
    for_ever = !deadlock_suspected_locked(os_now()) && for_ever && (sched.timekeeper || !timers_set()) &&
               (load_relaxed(&sched.poller) || !netpoll_wanted());
    store_relaxed(&dozing, all_idle);
    uint32_t seen = load_relaxed(&word);
    lock_release(&sched.lock);
    if (!all_idle)
        return false;
    store_relaxed(&period, ns);
    full_fence(); /* pairs with the one in sysmon_hurry: either sees the other */
    if (!load_relaxed(&debug_pending))
        os_futex_wait(&word, seen, for_ever ? 0 : os_now() + ns);
    store_relaxed(&period, 0);
    lock_take(&sched.lock);
    all_idle = load_relaxed(&dozing); /* a kick says no */
    store_relaxed(&dozing, false);
    lock_release(&sched.lock);
    return all_idle;
}

/* "Giving back" in stack.c: for a while, and of a process that rests until something runs. True if stacks are still idle. */
static bool scavenge(void)
{
    static uint64_t seen;
    uint64_t ticks = 0;
    enum scavenged result;
    bool idle = load_relaxed(&sched.idle_p_count) == load_relaxed(&sched.procs);
    uint32_t count = load_acquire(&sched.p_count);
    for (uint32_t i = 0; i < count; i++) {
        struct p *pp = load_acquire(&sched.ps[i]);
        ticks += load_relaxed(&pp->tick);
        if (!idle || !lock_try(&pp->lock))
            continue;
        if (!load_relaxed(&pp->m)) /* then who holds its lock owns it */
            stack_cache_flush(&pp->stacks);
        lock_release(&pp->lock);
    }
    bool rests = ticks - seen < RESTS;
    seen = ticks;
    do
        result = stack_scavenge(os_now() + SCAVENGE_FOR);
    while (result == SCAVENGED_CUT_SHORT && rests && load_relaxed(&sched.idle_p_count) == load_relaxed(&sched.procs) &&
           !load_relaxed(&debug_pending));
    return result != SCAVENGED_ALL;
}

/* At all Ps, and at what nobody sees to. True if it had to act. */
static bool look_around(int64_t now)
{
    bool acted = false;
    uint32_t count = load_acquire(&sched.p_count);
    for (uint32_t i = 0; i < count; i++)
        acted |= look_at(load_acquire(&sched.ps[i]), now);
    /* Backstop for the work and the timers of Ps that nobody runs. */
    bool due = global_stuck();
    for (uint32_t i = 0; i < count && !due; i++)
        due = timer_missed(load_relaxed(&load_acquire(&sched.ps[i])->timers.next), now);
    if (due && load_relaxed(&sched.idle_p_count) > 0)
        acted |= wake_spinning(NULL);
    /* Who comes from the poller first runs what he has found there, and meanwhile nobody polls. */
    int64_t poll_after = load_relaxed(&sched.idle_p_count) > 0 ? PERIOD_SOME_IDLE : POLL_EVERY;
    if (netpoll_wanted() && !load_relaxed(&sched.poller) && now - load_relaxed(&netpoll_when) >= poll_after)
        acted |= wake_spinning(NULL) || netpoll_now(NULL) > 0;
    retry_stranded(now);
    return acted;
}

static void *sysmon(void *arg)
{
    (void)arg;
    int64_t delay = PERIOD_LEAST, scavenged = os_now(), traced = sched.start_time;
    int quiet = 0;
    bool kicked = false, dozed = false, stacks_idle = false;
    for (;;) {
        uint32_t idle = load_relaxed(&sched.idle_p_count), procs = load_relaxed(&sched.procs);
        bool all_idle = idle == procs;
        bool dozes = all_idle && !kicked;
        int64_t most = dozes                   ? PERIOD_ALL_IDLE
                       : idle > 0 && !all_idle ? PERIOD_SOME_IDLE
                                               : PERIOD_ALL_BUSY;
        if (options.schedtrace && most > options.schedtrace * MILLISECOND)
            most = options.schedtrace * MILLISECOND;
        kicked = dozes && !doze(most, dozed && !stacks_idle && !options.schedtrace);
        dozed = dozes;
        if (!dozes)
            rest(all_idle || delay > most ? most : delay);

        int64_t now = os_now();
        store_relaxed(&sched.coarse_now, now);
        bool acted = look_around(now);
        if (unlikely(load_acquire(&debug_pending))) /* pairs with the release of whoever set it */
            debug_work();
        if (now - scavenged >= SCAVENGE_EVERY) {
            stacks_idle = scavenge();
            scavenged = now;
        }
        if (!dozes || kicked)
            stacks_idle = true; /* for all we know: there may be more by the time it rests */
        if (options.schedtrace && now - traced >= options.schedtrace * MILLISECOND) {
            schedtrace(now);
            traced = now;
        }
        /* Ten quiet looks, then twice as long each time. */
        quiet = acted ? 0 : quiet + 1;
        if (acted)
            delay = PERIOD_LEAST;
        else if (quiet > 10 && delay < PERIOD_ALL_BUSY)
            delay *= 2;
        if (all_idle)
            delay = PERIOD_SOME_IDLE;
    }
    return NULL;
}

void sysmon_start(void)
{
    int error = os_thread_start(sysmon, NULL, SYSMON_STACK);
    if (error)
        fatal("out of threads: cannot create the first one (errno %d)", -error);
}
