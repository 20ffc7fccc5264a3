// SPDX-License-Identifier: MIT
// Stealing: an M whose P has nothing to do looks at the others.
//
// A thief owns the victim's P while it takes (p_seize), so it moves half of the ring as the owner would, and runs timers that are
// due. What the owner is about to use itself, timers and runnext, comes last.
//
// "Thefts that are worth nothing"
//
// Where goroutines run for some tens of nanoseconds and then wait for each other, a queue is always there, and a thief
// always finds something: it pays some microseconds for the theft, and for each line of memory that its goroutines
// and their channels bring along from the other core, and saves the victim tens of nanoseconds. Nobody can see beforehand
// how long a goroutine will run, so it is seen afterwards: when the thief's P has nothing more to do, the theft is judged
// by how long it lasted. One that was worth nothing is a failure as in "Wake-ups that find nothing" (idle.c), and
// for a while, twice as long each time, nobody touches that P's ring, nor is kept awake by it. If goroutines run for long there
// meanwhile, sysmon ends the while.
//
// Sometimes it is seen at once: the stolen goroutine's first deed is to use a channel that is biased to the P it comes from
// ("Bias" in chan.c). Revoking the bias would leave a channel that both Ps use under its lock from then on, and with it
// goroutines on both sides that each take several times as long for an item as they all did on one P; and since both Ps are
// busy then, no theft is judged. So the theft is undone: the goroutine goes back, with all that were stolen with it. Not if they
// are many, for then each P will soon have enough to do with channels of its own; nor if the other P does not switch, for then what
// runs there has other things to do, and the goroutine would have to wait for it. The nasty race: the other P's M has nothing more to
// run and is about to go idle. So an M that has made way for a seizer looks at its own ring once more before it sleeps (go_idle in idle.c).
#include "base/options.h"
#include "sched/runq.h"
#include "sched/sched.h"

/* How long a runnext must have stood on a P that does not switch before a thief takes it. A switch takes
 * 10 ns, waking the thief took thousands: the owner must be busy with something else. */
#define RUNNEXT_GRACE 20000 /* ns */
#define STEAL_ROUNDS 4
/* "Thefts that are worth nothing". One was worth it if it lasted this long; or only this long, with goroutines that ran this long each. */
#define WORTH_IN_ANY_CASE 500000 /* ns */
#define WORTH_LEAST 10000        /* ns */
#define WORTH_EACH 500           /* ns */
/* A theft is undone only this soon after it, only if it was of few, and only if the other P switches within this time. */
#define UNDO_BEFORE 1000 /* ns */
#define UNDO_MOST 8
#define UNDO_WAIT 2000   /* ns */
#define SHY_FIRST 50000          /* ns */
#define SHY_SHIFTS 10
#define SHY_UNSEIZED 500000 /* ns */
#define BACKOFF_MAX 20

/* Half of vp's ring to pp's; returns the last one. The caller owns both. */
static struct g *steal_half(struct p *pp, struct p *vp)
{
    uint32_t n = runq_length(vp);
    n -= n / 2;
    if (n > runq_limit)
        n = runq_limit;
    struct g *gp = NULL;
    while (n-- > 0) {
        gp = runq_pop(vp);
        if (n > 0)
            runq_push(pp, gp);
    }
    return gp;
}

void theft_begin(struct p *pp, struct p *by)
{
    pp->theft_by = by;
    pp->theft_when = os_now();
    pp->theft_tick = load_relaxed(&pp->tick);
}

void woken_in_vain(struct p *by)
{
    uint32_t backoff = load_relaxed(&by->wake_backoff);
    store_relaxed(&by->wake_backoff, backoff < BACKOFF_MAX ? backoff + 1 : BACKOFF_MAX);
}

/* by's wake-ups are worth it. */
static void wake_again(struct p *by)
{
    store_relaxed(&by->wake_backoff, load_relaxed(&by->wake_backoff) / 2);
    store_relaxed(&by->wake_skip, 0);
}

static void be_shy_of(struct p *vp, int64_t now)
{
    uint32_t shy = load_relaxed(&vp->shy);
    store_relaxed(&vp->shy_until, now + ((int64_t)SHY_FIRST << shy));
    if (shy < SHY_SHIFTS)
        store_relaxed(&vp->shy, shy + 1);
}

/* The theft that pp's M has made. */
static void worth_nothing(struct p *pp, int64_t now)
{
    struct p *by = pp->theft_by;
    pp->theft_by = NULL;
    woken_in_vain(by);
    be_shy_of(by, now);
}

void theft_judge(struct p *pp)
{
    struct p *by = pp->theft_by;
    int64_t now = os_now(), lasted = now - pp->theft_when;
    int64_t runs = (int64_t)(load_relaxed(&pp->tick) - pp->theft_tick);
    /* TSan sees only races between Ps: under it all thefts are worth it. */
    if (HAVE_TSAN || lasted >= WORTH_IN_ANY_CASE || (lasted >= WORTH_LEAST && lasted >= runs * WORTH_EACH)) {
        pp->theft_by = NULL;
        wake_again(by);
        store_relaxed(&by->shy, 0);
    } else {
        worth_nothing(pp, now);
    }
}

bool theft_undo(struct m *mp, struct p *owner)
{
    struct p *pp = mp->p;
    struct g *gp = mp->cur, *other;
    if (!pp || pp->theft_by != owner || mp->on_g0 || runq_length(pp) >= UNDO_MOST ||
        (load_relaxed(&gp->flags) & (G_LOCKED | G_BLOCKING)) || (HAVE_TSAN && !options.steal_always))
        return false;
    uint64_t tick = load_relaxed(&owner->tick);
    int64_t now = os_now(), until = now + UNDO_WAIT;
    if (now - pp->theft_when >= UNDO_BEFORE)
        return false;
    while (load_relaxed(&owner->tick) == tick) {
        arch_pause();
        if (os_now() >= until)
            return false;
    }
    if (!lock_try(&owner->lock))
        return false;
    /* Without an M it may be idle, and nobody would look at its ring. */
    bool seized = load_relaxed(&owner->m) && p_seize(owner);
    if (seized) {
        if ((other = runq_pop_next(pp)))
            runq_push(owner, other);
        while ((other = runq_pop(pp)))
            runq_push(owner, other);
        store_relaxed(&gp->status, G_RUNNABLE);
        runq_push(owner, gp); /* whoever picks it waits until our M has left its stack */
        p_unseize(owner);
    }
    lock_release(&owner->lock);
    if (!seized)
        return false;
    worth_nothing(pp, now);
    park_on_g0(mp, gp);
    return true;
}

/* Fires vp's timers that are due, unless its own M is about to; returns a goroutine that they have made ready, if any. */
static struct g *steal_timers(struct m *mp, struct p *pp, struct p *vp, int64_t now)
{
    if (load_relaxed(&vp->timers.next) > now || p_in_section(vp) || !lock_try(&vp->lock))
        return NULL;
    if (p_seize(vp)) {
        mp->fired += timer_run_due(mp, vp, now);
        p_unseize(vp);
    }
    lock_release(&vp->lock);
    struct g *gp = runq_pop_next(pp);
    return gp ? gp : runq_pop(pp);
}

/* The last one of half of vp's ring, which is pp's now. */
static struct g *steal_ring(struct p *pp, struct p *vp, int64_t now)
{
    struct g *gp = NULL;
    if (runq_length(vp) == 0 || now < load_relaxed(&vp->shy_until) || !lock_try(&vp->lock))
        return NULL;
    if (p_seize(vp)) {
        gp = steal_half(pp, vp);
        p_unseize(vp);
    } else {
        /* It is in sections all the time: it switches fast, or faults, or has no processor. */
        store_relaxed(&vp->shy_until, now + SHY_UNSEIZED);
    }
    lock_release(&vp->lock);
    if (gp) {
        bump_owner(&pp->steals, 1);
        theft_begin(pp, vp);
    }
    return gp;
}

/* vp's runnext, if vp does not look like running it soon. */
static struct g *steal_next(struct p *vp)
{
    struct g *next = load_relaxed(&vp->runnext);
    uint64_t tick = load_relaxed(&vp->tick);
    int64_t until = os_now() + RUNNEXT_GRACE;
    bool in_section = true;
    if (!next)
        return NULL;
    if (load_relaxed(&vp->m)) {
        do {
            for (int i = 0; i < 32; i++)
                arch_pause();
            if (load_relaxed(&vp->tick) != tick || load_relaxed(&vp->runnext) != next)
                return NULL;
            in_section &= p_in_section(vp);
        } while (os_now() < until);
        /* In a section all the time: it has lost its processor in the middle of one, perhaps to us. */
        if (in_section)
            return NULL;
    }
    struct g *gp = NULL;
    if (lock_try(&vp->lock)) {
        if (p_seize(vp)) {
            if (load_relaxed(&vp->tick) == tick)
                gp = runq_pop_next(vp);
            p_unseize(vp);
            if (gp)
                wake_again(vp); /* a hog runs there: it is good to wake others */
        }
        lock_release(&vp->lock);
    }
    return gp;
}

struct g *steal(struct m *mp, struct p *pp)
{
    uint32_t count = load_acquire(&sched.p_count); /* pairs with the release in p_new_locked */
    for (int round = 0; round < STEAL_ROUNDS; round++) {
        bool last = round == STEAL_ROUNDS - 1;
        int64_t now = os_now();
        pp->random = pp->random * 1664525 + 1013904223; /* Numerical Recipes' generator */
        uint32_t start = (pp->random >> 8) % count;
        for (uint32_t i = 0; i < count; i++) {
            struct p *vp = load_acquire(&sched.ps[(start + i) % count]);
            if (vp == pp)
                continue;
            struct g *gp = last ? steal_timers(mp, pp, vp, now) : NULL;
            if (!gp)
                gp = steal_ring(pp, vp, now);
            if (!gp && last && load_relaxed(&vp->runnext))
                gp = steal_next(vp);
            if (gp)
                return gp;
        }
        section_poll(mp);
        if (!mp->p)
            return NULL;
    }
    return NULL;
}
