// SPDX-License-Identifier: MIT
// Fairness: which of the ready goroutines run sooner than the order of the queues says.
//
// Invariants
//   - Everybody on a ring or on the global queue is picked after a bounded time.
//   - Of two fair picks in a row, at most one is a hog, unless nobody else is ready, or only a goroutine that yields.
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
// Problem. Picks are counted, not timed. That is fair while all picks last about as long. But a goroutine that computes until
// its P is taken has had 10 ms for one pick; and of two pairs that hand values to each other, one that computes for a
// millisecond in between gets a thousand times as much of the P as the other.
//
// Rejected: to time each pick. It would be the fair measure, and reading the clock costs two switches.
//
// The way. Time is looked at where somebody may have had much of it while others waited: at a fair pick, for the turn that
// ends there. A turn is all the picks since the last fair one, or since a hog was taken because nobody else was ready. sysmon ends
// a turn that has lasted for about a slice.
//
// There are two kinds of hogs, and they go to a queue of their own: a goroutine whose P was taken away because it computed, and
// the next one of a pair whose turn took a fiftieth of a slice or more. A turn was a pair's (or a chain's) if nobody was
// taken from the ring's front meanwhile and the ring is longer by one at most: each was made ready by the one before it. There
// must have been some picks, too: a goroutine that was merely woken by one that computed has had no time itself. The turn of a pair
// that is a hog goes on for about a slice, like that of a goroutine that computes, unless its first picks take little time: then it was
// taken for a hog by mistake, perhaps because its thread had lost its processor, and is one no longer.
//
// Hogs wait until the others have had their share, or have nothing to do. The share is the time that the last hog had, times the number of
// others, divided by the number of hogs, each as this P's part; but it is a slice at most: where many poll and one computes,
// it does not wait for each of them. If a goroutine yields and only hogs are ready, one of them is due at once: it may be the one
// that the goroutine waits for. And because a share may be shorter than the time it takes to wake a thread, the fair pick after a
// hog's is always for the others, and so are those of a round ("Newest first"), which come one after the other.
//
// "Newest first"
//
// Of goroutines that have not begun yet the newest runs first; those that have been made ready run in their order.
// Thus a tree of goroutines is walked depth first: what a launcher has in the cache is used at once, and of
// a million only some dozens are begun and wait. In the order of launches each level of the tree would be begun, and its
// stacks touched, before the next (skynet: 100,000 stacks, four times the time). Thieves and the overflow take the
// oldest, which are the largest parts of such a tree.
//
// A chain of goroutines that each launch the next would starve the others. So every 10 ms, Go's slice, there is a round, in which
// those run that wait when it begins: up to 64 of the global queue, and all of the ring, runnext included. (More of
// them, and such a tree would be walked level by level after all.) The 10 ms count from the end of the last round, so that
// what becomes ready meanwhile has its turn however long the rounds are. The last goroutine of a round may be half of a pair, and
// that pair then has the 60 picks after the round: so the last is one that has waited, not half of the pair that had them before.
#include "sched/fair.h"

#include "base/options.h"
#include "sched/global.h"
#include "sched/runq.h"

#define ROUND_EVERY 10000000 /* ns; "Newest first" */
#define ROUND_MOST 64
#define HOG_TURN (options.slice / 50) /* ns; "Time" */
#define PAIR_PICKS 3

static bool in_round(const struct p *pp)
{
    return (pp->round_global | pp->round_ring) != 0;
}

/* A round of "Newest first" begins: so many of the global queue, and all of the ring. */
static void round_begin(struct p *pp)
{
    uint32_t share = global_others() / load_relaxed(&sched.procs) + 1;
    struct g *next = runq_pop_next(pp);
    if (next) { /* to the end, and the ring's first behind it: the last of the round shall be one that has waited */
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
        /* Alternately one that has not begun (those come last otherwise) and one that was made ready. */
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
    if (!pp->turn.of_hog && hogs > 0 && now >= pp->hog_due)
        return; /* a hog is due already, and is not put off because somebody else becomes one */
    /* This P's part of them, with this one, which is not there yet. */
    int64_t share = (had < options.slice ? had : options.slice) * (others ? others : 1) / (hogs / load_relaxed(&sched.procs) + 1);
    pp->hog_due = now + (share < options.slice ? share : options.slice);
}

struct g *hog_take(struct p *pp)
{
    struct g *gp = global_take_hog();
    if (gp) {
        pp->turn.from = os_now();
        pp->turn.of_hog = true;
        pp->after_hog = true;
    }
    return gp;
}

bool turn_ends(struct p *pp)
{
    struct g *next = load_relaxed(&pp->runnext);
    if (!(next && runq_length(pp) > 0) && !pp->turn.of_hog && global_size() == 0) {
        turn_forget(pp);
        return true;
    }
    int64_t now = os_now(), had = pp->turn.from ? now - pp->turn.from : 0;
    /* The first of a pair may have driven another one from runnext to the ring. */
    bool pair = next && load_relaxed(&pp->head) == pp->turn.head && load_relaxed(&pp->tail) - pp->turn.tail <= 1 &&
                load_relaxed(&pp->tick) - load_relaxed(&pp->turn.tick) >= PAIR_PICKS;
    bool heavy = pair && had >= HOG_TURN;
    if (heavy && pp->turn.of_hog && had < TURN_LEAST)
        return false;
    bool next_is_hog = heavy && load_relaxed(&sched.idle_p_count) == 0;
    if (next_is_hog)
        runq_pop_next(pp);
    if (had > 0 && (pp->turn.of_hog || next_is_hog))
        hog_charge(pp, now, had);
    pp->turn.from = now;
    pp->turn.of_hog = false;
    if (next_is_hog)
        global_submit_hog(next);
    return true;
}

struct g *fair_pick(struct p *pp)
{
    struct g *gp = NULL;
    if (!pp->after_hog && !in_round(pp) && load_relaxed(&sched.hogs.length) > 0 && os_now() >= pp->hog_due && (gp = hog_take(pp)))
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

void turn_begins(struct p *pp)
{
    pp->turn.head = load_relaxed(&pp->head);
    pp->turn.tail = load_relaxed(&pp->tail);
    store_relaxed(&pp->turn.tick, load_relaxed(&pp->tick));
}

void turn_of_hog_begins(struct p *pp)
{
    store_relaxed(&pp->until_fair, 0);
    pp->hog_due = 0;
    pp->after_hog = false;
    turn_forget(pp);
}
