// SPDX-License-Identifier: MIT
// The scheduler: which goroutine runs next on this M, and which M sleeps.
//
// Invariants
//   - A G with status G_NEW or G_RUNNABLE is on exactly one queue: a ring, a runnext, the global
//     queue, or in the hand of one M.
//   - An M runs a goroutine only while it has a P; at most GOMAXPROCS do.
//   - A P is owned by an M, or in the hand of one thread that is giving it to an M, or idle. An idle P has
//     an empty ring.
//   - sched.spinning is the number of Ms with m->spinning set, and those being woken to spin.
//
// "Switching"
//
// A goroutine that parks picks its successor itself, on its own stack, and switches to it directly. Only
// what needs room or may sleep is done on g0, the M's own stack: looking at timers and other Ps,
// mapping a stack, going idle. In both cases the M leaves `prev` behind for the other side, which lets
// go of it: on_cpu = 0 (see "One wake-up"), or, if it has ended, its stack and G go to the caches.
//
// "Fairness"
//
// runnext goes before the ring, and the ring before the global queue. Two goroutines that hand a
// value to each other would starve the ring, and the ring the global queue. So every 61st pick (a prime, as in
// Go: no pattern of a program stays in step with it) is a fair one: made on g0, which looks at the
// timers, takes from the global queue first and from the ring before runnext.
//
// "Time"
//
// Picks are counted, not timed. That is even-handed as long as picks last about as long. But who computes until his P is taken
// has had 10 ms for one pick; and of two pairs that hand values to each other, one that computes for a millisecond each time would
// have a thousand times as much of the P as the other. The time of each pick would be the fair measure, and the clock
// costs two switches. So time is looked at only where somebody may have had much of it while others waited: at a fair
// pick, of the turn that ends there, which is the picks since the last one. sysmon ends one that has gone on for a slice.
//
// Two are hogs, and go to a queue of their own: he from whom a P was taken, and the next of a pair that has had all of a turn of a
// fiftieth of a slice or more. (It is a pair's, or a chain's, if nobody was taken from the ring, nobody but one went there, and
// he with whom the turn began is he who has just run, or is next. Not if it was one or two picks: who has merely been woken by
// one that computed has had no time.) Of a pair that is a hog the turn goes on for about a slice, as that of one who computes. Hogs
// wait until the others have had their share, or have nothing to do. The share is the time the last hog had, times as many as the
// others are, over as many hogs as there are, but no more than a slice: where many poll and one computes, he shall not wait for
// each of them. A hog is due at once when somebody yields: perhaps it is the hog that he waits for. And the share may be shorter than it
// takes to wake an M: so of two fair picks one at least is for the others.
//
// "Newest first"
//
// Of goroutines that have not begun yet the newest runs first; those that have been made ready run in their order.
// A tree of goroutines is so walked depth first: what its launcher has in the cache is used at once, and of
// a million only some dozens are begun and wait. In their order, each level of the tree would be begun, and its
// stacks touched, before the next (skynet: 100,000 stacks, four times the time). Thieves and the overflow take the
// oldest, which are the largest parts of such a tree. A chain of goroutines that each launch the next
// would starve the others: so every 10 ms, Go's slice, there is a round in which those run that wait at its beginning:
// up to 64 of the global queue, and all of the ring, runnext included. (More of them, and such a tree would be walked level
// by level after all.) The 10 ms count from the end of the last round, so that what becomes ready meanwhile has its turn
// however long the rounds are. Who is the last in a round goes on for 60 picks after it, if he and another hand values to each other:
// that is not who had the picks before it, but the one behind.
//
// "Worker parking"
//
// Problem. Work appears on a P's ring while other Ps are idle and their Ms asleep. Waking a thread costs tens of
// microseconds on a virtual machine, a thousand times as much as a switch; not waking one wastes a core.
// And no work may be forgotten.
//
// Rejected: waking a thread for each ready goroutine (a storm: a thousand short ones are done before
// the first thread is up); a queue per P without theft (a launcher on one P would keep its core busy and all others
// idle); one global queue (its lock is the scheduler's limit); handing the P over with the goroutine at each
// wake-up (two that talk to each other would bounce between cores).
//
// The way is Go's. An M without work spins for a while: it looks at all Ps and steals. At most half as many
// spin as are busy. Whoever submits work wakes one more only if there is an idle P and nobody spins; the one
// who spins and finds something wakes the next, so a burst of work wakes as many as it needs, one by one.
// A goroutine made ready goes to runnext and wakes nobody: it will run here at once. Only if that kicks
// another one to the ring is there work that waits.
//
// The rule that keeps wake-ups from being lost:
//
//     submitter: put the goroutine on the ring · fence · is a P idle and does nobody spin? wake one
//     idler:     make the P idle · stop spinning · fence · look at all rings again
//
// (If all Ps are idle then, nobody is a submitter, and whoever becomes one takes a P from the list first.)
// Of the two, one sees the other. The fence of the submitter is on the path of every launch, so it is
// the compiler's only, and the idler pays for both with os_fence_others (membarrier), which costs little
// beside the sleep that follows. The global queue needs no such care: it is looked at for the last time under
// sched.lock, in the same critical section that makes the P idle, and those who push to it what no M is about to run look for idle Ps
// under that lock, or after it.
//
// A ring that thieves leave alone for a while ("Thefts that are worth nothing" in steal.c) is left out of the second look; sysmon is the
// net under it. So is runnext: its owner is about to run it, and idlers that saw it would
// never come to rest beside two goroutines that talk to each other. If its owner computes for long instead, a spinning
// M takes it (see steal_next), and if none spins, sysmon sees it at its next look, a millisecond later.
//
// "Wake-ups that find nothing"
//
// A program that launches a goroutine and waits for it, again and again, has an idle P and a launch each
// time, and the thread woken finds that the goroutine has run. So whoever was woken and found nothing says so
// in the waking P's wake_backoff, and after n such failures in a row that P's next 2^n launches wake nobody. A theft that was worth
// it ends that, at once (or the next one does, if this one's 0 is lost beside the P's own counting down), and halves n: one that
// only looked so, because some thread lost its processor, does not cost n failures more. sysmon ends it, too, after a while, or
// when goroutines run for long there; and it wakes a thread when work does wait, so that the loss is bounded by its period.
//
// "Many timers"
//
// An M without work sleeps until the earliest timer of all Ps. Where a million goroutines sleep, some are due in each
// microsecond, and to wake for each handful of them costs more than to run them. So an M that has fired
// many timers since it last slept sleeps for a tenth of a millisecond at least: what becomes due meanwhile is fired together, later by no
// more than that. Who wakes takes the P whose timers are due, not any other; leaves those alone which a P's own M is about to come
// to; and what timers make ready neither counts as success nor as failure of a wake-up.
#include "sched/sched.h"

#include "base/options.h"
#include "sched/debug_hooks.h"
#include "sched/fatal.h"
#include "sched/fiber.h"
#include "sched/g_cache.h"
#include "sched/netpoll.h"
#include "sched/park.h"
#include "sched/runq.h"
#include "sched/section.h"
#include "sched/switch.h"

/* Descriptors are looked at when nothing else is ready; beside goroutines that always are, this often. */
#define POLL_EVERY 200000 /* ns */
/* "Many timers": who has fired so many sleeps for so long at least, and so long for those of a P that its M is about to fire. */
#define MANY_TIMERS 16
#define MANY_SLEEP 100000 /* ns */
#define BUSY_SLEEP 20000  /* ns */
#define POLL_BEHIND_EVERY 2000000 /* ns */
#define ROUND_EVERY 10000000 /* ns; see "Newest first" */
#define ROUND_MOST 64
#define HOG_TURN (options.slice / 50) /* ns; "Time" */
#define PAIR_PICKS 3

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

/* --- the global queue --- */

static void queue_append_locked(struct g_queue *q, const struct g_list *list)
{
    if (list->length == 0)
        return;
    if (q->tail)
        q->tail->link = list->first;
    else
        store_relaxed(&q->head, list->first);
    q->tail = list->last;
    bump_owner(&q->length, list->length);
}

static void queue_push_locked(struct g_queue *q, struct g *gp)
{
    struct g_list one = { 0 };
    g_list_add(&one, gp);
    queue_append_locked(q, &one);
}

void global_push_locked(struct g *gp)
{
    queue_push_locked(&sched.global, gp);
}

void global_append_locked(const struct g_list *list)
{
    queue_append_locked(&sched.global, list);
}

void global_push_hog_locked(struct g *gp)
{
    queue_push_locked(&sched.hogs, gp);
}

/* Without hogs. */
static uint32_t global_others(void)
{
    return load_relaxed(&sched.global.length) + load_relaxed(&sched.unbegun.length);
}

static struct g *queue_pop_locked(struct g_queue *q)
{
    struct g *gp = load_relaxed(&q->head);
    if (!gp)
        return NULL;
    store_relaxed(&q->head, gp->link);
    if (!gp->link)
        q->tail = NULL;
    bump_owner(&q->length, -1u);
    return gp;
}

/* Up to n from q: the first of all to *first, if that is NULL, the others to pp's ring, which has room. How many. */
static uint32_t queue_take_locked(struct g_queue *q, struct p *pp, uint32_t n, struct g **first)
{
    struct g *gp = load_relaxed(&q->head);
    uint32_t taken = 0, tail = load_relaxed(&pp->tail);
    for (; gp && taken < n; taken++) {
        struct g *next = gp->link;
        prefetch(next, 2 * CACHE_LINE);
        if (*first)
            pp->ring[tail++ % RUNQ_SIZE] = gp;
        else
            *first = gp;
        gp = next;
    }
    store_relaxed(&pp->tail, tail);
    store_relaxed(&q->head, gp);
    if (!gp)
        q->tail = NULL;
    bump_owner(&q->length, -taken);
    return taken;
}

/* The first of its two parts, or of the second if there is any. */
static struct g *global_take_one(bool unbegun)
{
    if (global_others() == 0)
        return NULL;
    lock_take(&sched.lock);
    struct g *gp = queue_pop_locked(unbegun ? &sched.unbegun : &sched.global);
    if (!gp)
        gp = queue_pop_locked(unbegun ? &sched.global : &sched.unbegun);
    lock_release(&sched.lock);
    return gp;
}

void runq_overflow(struct p *pp)
{
    struct g_list begun = { 0 }, unbegun = { 0 };
    for (uint32_t n = runq_length(pp) / 2 + 1; n > 0; n--) {
        struct g *gp = runq_pop(pp);
        g_list_add(load_relaxed(&gp->status) == G_NEW ? &unbegun : &begun, gp);
    }
    lock_take(&sched.lock);
    queue_append_locked(&sched.unbegun, &unbegun);
    queue_append_locked(&sched.global, &begun);
    lock_release(&sched.lock);
}

void global_submit(struct g *gp)
{
    lock_take(&sched.lock);
    global_push_locked(gp);
    struct p *pp = p_idle_pop_locked();
    lock_release(&sched.lock);
    if (pp)
        m_start(pp, false, NULL);
}

/* A fair share of the global queue for pp's ring; returns the first, NULL if there is none. */
static struct g *global_take(struct p *pp, uint32_t most)
{
    if (global_others() == 0)
        return NULL;
    struct g *first = NULL;
    lock_take(&sched.lock);
    uint32_t n = global_others() / load_relaxed(&sched.procs) + 1;
    uint32_t room = runq_limit - runq_length(pp);
    if (n > most)
        n = most;
    if (n > room / 2 + 1)
        n = room / 2 + 1;
    n -= queue_take_locked(&sched.global, pp, n, &first);
    queue_take_locked(&sched.unbegun, pp, n, &first);
    lock_release(&sched.lock);
    return first;
}

/* --- waking --- */

bool wake_spinning(struct p *woken_by)
{
    uint32_t none = 0;
    if (load_relaxed(&sched.idle_p_count) == 0 || !cas_acq_rel(&sched.spinning, &none, 1))
        return false;
    lock_take(&sched.lock);
    struct p *idle = p_idle_pop_locked();
    /* Under the lock: of who makes his P idle after this, others must not think that he is looked after. */
    if (!idle)
        atomic_fetch_sub_explicit(&sched.spinning, 1, memory_order_relaxed);
    lock_release(&sched.lock);
    if (!idle)
        return false;
    /* For sysmon, whose look may be out of date, it can be woken_by's own, which has become idle. */
    return m_start(idle, true, idle == woken_by ? NULL : woken_by);
}

noinline void wake_for_launch(struct p *pp)
{
    uint32_t backoff = load_relaxed(&pp->wake_backoff);
    store_relaxed(&pp->wake_skip, backoff ? 1u << backoff : 0);
    if (!wake_spinning(pp))
        store_relaxed(&pp->wake_skip, 0);
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

/* gp, which runs here, has no guard: is it beyond its stack's end, or has it been? A canary alone would be missed by frames
 * whose locals are mostly untouched. */
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

/* Behind those that wait in the global queue, or the ring's next would be gp again, sixty times; and behind runnext, for a fair pick
 * takes from the ring first. A hog is due. */
static noinline void yield_to_others(struct p *pp, struct g *gp)
{
    if (load_relaxed(&sched.hogs.length) > 0) {
        store_relaxed(&pp->until_fair, 0);
        pp->hog_due = 0;
        pp->after_hog = false;
        turn_forget(pp);
    }
    if (global_others() == 0) {
        struct g *next = runq_pop_next(pp);
        if (next)
            runq_push(pp, next);
        runq_push(pp, gp);
        return;
    }
    lock_take(&sched.lock);
    queue_push_locked(load_relaxed(&sched.unbegun.head) ? &sched.unbegun : &sched.global, gp);
    lock_release(&sched.lock);
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
    mp->last_id = mp->prev ? mp->prev->id : 0;
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

static void spinning_begin(struct m *mp)
{
    mp->spinning = true;
    atomic_fetch_add_explicit(&sched.spinning, 1, memory_order_relaxed);
}

/* Found something: the next one may be woken. Or found nothing: whoever woke us shall know. */
static void spinning_end(struct m *mp, bool found)
{
    struct p *by = mp->woken_by;
    mp->spinning = false;
    mp->woken_by = NULL;
    uint32_t before = atomic_fetch_sub_explicit(&sched.spinning, 1, memory_order_acq_rel);
    check(before > 0);
    if (by && !found)
        woken_in_vain(by);
    if (found && before == 1)
        wake_idle(mp->p);
}

/* When mp, which falls asleep now, has to wake for the timers of any P; see "Many timers". */
static int64_t wake_time(struct m *mp, int64_t now)
{
    int64_t when = TIME_NEVER;
    uint32_t count = load_acquire(&sched.p_count);
    for (uint32_t i = 0; i < count; i++) {
        struct p *pp = load_acquire(&sched.ps[i]);
        int64_t next = load_relaxed(&pp->timers.next);
        if (next <= now && p_in_section(pp))
            next = now + BUSY_SLEEP;
        if (next < when)
            when = next;
    }
    if (mp->fired >= MANY_TIMERS && when < now + MANY_SLEEP)
        when = now + MANY_SLEEP;
    mp->fired = 0;
    return when;
}

/* Awake again: takes what there is for mp. Under sched.lock, which it releases. */
static void m_awake(struct m *mp)
{
    if (mp->idle) { /* time is up, or there are events, and nobody has taken us off the list */
        m_unlist_idle_locked(mp);
        if (!mp->locked_g)
            mp->next_p = p_idle_pop_due_locked();
    }
    struct p *pp = mp->next_p;
    mp->next_p = NULL;
    store_relaxed(&mp->wake, 0);
    lock_release(&sched.lock);
    store_relaxed(&sched.coarse_now, os_now());
    if (pp)
        p_attach(mp, pp);
}

/* The same sleep for sched.poller, with room for what it finds. */
static noinline void m_sleep_polling(struct m *mp)
{
    struct netpoll_batch batch;
    netpoll_sleep(&batch, mp->sleeps_until ? mp->sleeps_until : TIME_NEVER);
    lock_take(&sched.lock);
    store_relaxed(&sched.poller, NULL);
    m_awake(mp);
    netpoll_deliver(mp, &batch);
}

/* Until somebody hands mp a P, or, if it is to keep the time or to poll, until there is something to do. In either
 * case mp->p tells. */
static void m_sleep(struct m *mp, int64_t when)
{
    lock_take(&sched.lock);
    if (!mp->next_p) {
        struct m *keeper = sched.timekeeper;
        bool keeps = when != TIME_NEVER && !mp->locked_g && (!keeper || keeper->sleeps_until > when);
        /* Beside busy Ps, which poll themselves, it would be woken by each event, and could only pass it on. */
        bool polls = netpoll_wanted() && !mp->locked_g && !load_relaxed(&sched.poller) && load_relaxed(&sched.idle_p_count) > 0;
        mp->sleeps_until = keeps ? when : 0;
        if (keeps)
            sched.timekeeper = mp;
        if (polls)
            store_relaxed(&sched.poller, mp);
        mp->idle = true;
        sched.idle_m_count++;
        if (!mp->locked_g) {
            mp->link = sched.idle_ms;
            sched.idle_ms = mp;
        }
        deadlock_check_locked();
        lock_release(&sched.lock);
        if (polls) {
            m_sleep_polling(mp);
            return;
        }
        while (load_acquire(&mp->wake) == 0) /* pairs with the release in m_wake_locked */
            if (!os_futex_wait(&mp->wake, 0, mp->sleeps_until))
                break;
        lock_take(&sched.lock);
    }
    m_awake(mp);
}

/* Gives up mp's P and sleeps. On return there may be a P again, or not. */
static void go_idle(struct m *mp)
{
    if (global_size() > 0)
        return;
    struct p *pp = p_detach(mp); /* before sched.lock: a p.lock is never taken under it */
    lock_take(&sched.lock);
    /* The ring, too: while steal let somebody else have his turn he may have been one who gives back (theft_undo). */
    if (global_size() > 0 || runq_length(pp) > 0 || load_relaxed(&pp->gone)) {
        lock_release(&sched.lock);
        p_attach(mp, pp);
        return;
    }
    p_idle_push_locked(pp);
    /* Nobody can be putting work on a ring then, and who will takes a P first, under this lock, and sees that we do not spin. */
    bool all_idle = load_relaxed(&sched.idle_p_count) == load_relaxed(&sched.p_count), spun = mp->spinning;
    if (spun && all_idle)
        spinning_end(mp, false);
    lock_release(&sched.lock);
    if (spun && !all_idle)
        spinning_end(mp, false);
    if (all_idle) {
        m_sleep(mp, wake_time(mp, os_now()));
        return;
    }
    /* "Worker parking": the idler's fence, for both sides. */
    if (unlikely(sched.light_fence_missing))
        full_fence();
    else
        os_fence_others();
    uint32_t count = load_acquire(&sched.p_count);
    int64_t now = os_now();
    for (uint32_t i = 0; i < count; i++) {
        struct p *vp = load_acquire(&sched.ps[i]);
        if (runq_length(vp) == 0 || now < load_relaxed(&vp->shy_until))
            continue;
        lock_take(&sched.lock);
        pp = p_idle_pop_locked();
        lock_release(&sched.lock);
        if (!pp)
            break; /* all are busy: it will be seen to */
        p_attach(mp, pp);
        if (spun)
            spinning_begin(mp);
        return;
    }
    m_sleep(mp, wake_time(mp, now));
}

static bool in_round(const struct p *pp)
{
    return (pp->round_global | pp->round_ring) != 0;
}

/* A round of "Newest first" begins: so many of the global queue, and all of the ring. */
static void round_begin(struct p *pp)
{
    uint32_t share = global_others() / load_relaxed(&sched.procs) + 1;
    struct g *next = runq_pop_next(pp);
    if (next) {
        runq_push(pp, next);
        runq_push(pp, runq_pop(pp));
    }
    pp->round_global = share < ROUND_MOST ? share : ROUND_MOST;
    pp->round_ring = runq_length(pp);
}

static struct g *round_pick(struct p *pp)
{
    struct g *gp = NULL;
    if (pp->round_global > 0) {
        /* In turn one that has not begun, which comes last otherwise, and one that was ready. */
        gp = global_take_one(pp->round_global % 2 == 1);
        pp->round_global = gp ? pp->round_global - 1 : 0;
    }
    if (!gp && pp->round_ring > 0) {
        gp = runq_pop(pp);
        pp->round_ring = gp ? pp->round_ring - 1 : 0;
    }
    if (in_round(pp))
        store_relaxed(&pp->until_fair, 0); /* the next pick is one of these, too */
    else
        pp->round_when = load_relaxed(&sched.coarse_now); /* however long it took, others come between it and the next */
    return gp;
}

void hog_charge(struct p *pp, int64_t now, int64_t had)
{
    int64_t others = runq_length(pp) + (load_relaxed(&pp->runnext) ? 1 : 0) + global_others() / load_relaxed(&sched.procs);
    int64_t hogs = load_relaxed(&sched.hogs.length);
    if (!pp->turn_of_hog && hogs > 0 && now >= pp->hog_due)
        return; /* one is due already, and not put off by another that was none until now */
    /* With this one, who is not there yet. */
    int64_t share = (had < options.slice ? had : options.slice) * (others ? others : 1) / (hogs + 1);
    pp->hog_due = now + (share < options.slice ? share : options.slice);
}

/* A hog, if there is one, for whom a turn begins. */
static struct g *hog_take(struct p *pp)
{
    if (load_relaxed(&sched.hogs.length) == 0)
        return NULL;
    lock_take(&sched.lock);
    struct g *gp = queue_pop_locked(&sched.hogs);
    lock_release(&sched.lock);
    if (gp) {
        pp->turn_from = os_now();
        pp->turn_of_hog = true;
        pp->after_hog = true;
    }
    return gp;
}

/* A fair pick comes, if the turn ends here, and that is true: who has had it? Before anything else is made ready. */
static bool turn_ends(struct m *mp, struct p *pp)
{
    struct g *next = load_relaxed(&pp->runnext);
    if (!(next && runq_length(pp) > 0) && !pp->turn_of_hog && global_size() == 0) {
        turn_forget(pp);
        return true;
    }
    int64_t now = os_now(), had = pp->turn_from ? now - pp->turn_from : 0;
    /* The first of a pair may have driven another one from runnext to the ring. */
    bool pair = next && (next->id == pp->turn_id || mp->last_id == pp->turn_id) && load_relaxed(&pp->head) == pp->turn_head &&
                load_relaxed(&pp->tail) - pp->turn_tail <= 1 &&
                load_relaxed(&pp->tick) - load_relaxed(&pp->turn_tick) >= PAIR_PICKS;
    if (pair && pp->turn_of_hog && had < TURN_LEAST)
        return false;
    bool next_is_hog = pair && had >= HOG_TURN && load_relaxed(&sched.idle_p_count) == 0;
    if (had > 0 && (pp->turn_of_hog || next_is_hog))
        hog_charge(pp, now, had);
    pp->turn_from = now;
    pp->turn_of_hog = false;
    if (!next_is_hog)
        return true;
    runq_pop_next(pp);
    lock_take(&sched.lock);
    global_push_hog_locked(next);
    struct p *idle = p_idle_pop_locked(); /* by now */
    lock_release(&sched.lock);
    if (idle)
        m_start(idle, false, NULL);
    return true;
}

/* See "Fairness", "Time", and "Newest first". */
static struct g *fair_pick(struct p *pp)
{
    struct g *gp = NULL;
    if (!pp->after_hog && load_relaxed(&sched.hogs.length) > 0 && os_now() >= pp->hog_due && (gp = hog_take(pp)))
        return gp;
    pp->after_hog = false;
    if (!in_round(pp) && load_relaxed(&sched.coarse_now) - pp->round_when >= ROUND_EVERY)
        round_begin(pp);
    if (in_round(pp))
        gp = round_pick(pp);
    if (!gp && load_relaxed(&sched.global.length) > 0)
        gp = global_take(pp, 1);
    if (!gp)
        gp = runq_pop_unbegun(pp);
    if (!gp)
        gp = global_take(pp, 1);
    return gp ? gp : runq_pop(pp);
}

/* Beside goroutines that are ready. While others are ready behind the ring, what comes of it goes behind those: who has just been
 * served would be again before them. */
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

/* What to run next; sleeps until there is something. Returns NULL when the caller must look again at what
 * mp is. In a section, on g0. */
static struct g *find_runnable(struct m *mp)
{
    for (;;) {
        section_poll(mp);
        struct p *pp = mp->p;
        if (!pp) {
            /* The P was taken from an M that looked for work. A new M that shall spin finds its P in m_sleep. */
            if (mp->spinning && !mp->next_p)
                spinning_end(mp, false);
            /* If all Ps are busy, so are those who see to the timers. */
            bool idle = load_relaxed(&sched.idle_p_count) > 0;
            m_sleep(mp, idle ? wake_time(mp, os_now()) : TIME_NEVER);
            continue;
        }
        if (unlikely(load_relaxed(&pp->gone))) {
            p_retire(p_detach(mp));
            continue;
        }
        store_relaxed(&pp->poll, false);
        bool fair = load_relaxed(&pp->until_fair) == 0;
        if (fair) {
            store_relaxed(&pp->until_fair, options.fair_every);
            fair = turn_ends(mp, pp);
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
        if (!gp && !options.steal_always && !(gp = runq_pop_next(pp)))
            gp = runq_pop_local(pp);
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
        if (!gp && options.steal_always && !(gp = runq_pop_next(pp)))
            gp = runq_pop_local(pp);
        if (gp) {
            if (mp->spinning)
                spinning_end(mp, true);
            if (fair || hog) {
                pp->turn_id = gp->id;
                pp->turn_head = load_relaxed(&pp->head);
                pp->turn_tail = load_relaxed(&pp->tail);
                store_relaxed(&pp->turn_tick, load_relaxed(&pp->tick));
            }
            return gp;
        }
        go_idle(mp);
    }
}

/* gp runs on another M only: that one gets our P. */
static void hand_to_locked(struct m *mp, struct g *gp)
{
    struct m *owner = gp->run.locked_m;
    struct p *pp = p_detach(mp);
    m_wake(owner, pp);
}

/* mp runs one goroutine only, which has parked: others may have the P until hand_to_locked gives us one,
 * and with it the goroutine. */
static void wait_for_locked(struct m *mp)
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
            wait_for_locked(mp);
            gp = mp->locked_g;
        }
        if (!gp)
            gp = find_runnable(mp);
        if (unlikely(load_relaxed(&gp->flags) & G_LOCKED) && gp->run.locked_m != mp) {
            hand_to_locked(mp, gp);
            continue;
        }
        run(mp, gp);
    }
}
