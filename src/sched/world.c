// SPDX-License-Identifier: MIT
// The stopped world: somebody wants to read the stacks of parked goroutines.
//
// Invariants, between world_stop and world_start
//   - Every P's lock is held here, and the M of each that had one is outside of its section or waits at the next one: so no
//     P is attached, stolen from, or switched.
//   - A goroutine whose on_cpu reads 0 stays where it is: nobody but an M with a P picks it up.
//   - User code goes on. A goroutine that runs does so until its next call into the library.
//
// Rejected: a flag that every switch looks at (a load on the hottest path, for something that is asked for once an hour);
// signals to all threads (they interrupt system calls that have nothing to do with it).
//
// The nasty race. An M in its section may wait for its own P's lock, to give the P away, while the lock is held here and
// the section is waited for: neither would go on. So a P that cannot be seized is let go of and tried again. For the
// lock of a P that is not its own an M waits only when it has none (p_attach), and such an M is not waited for here.
// A dying process gives up after its `patience`, for somebody may have died inside a section. Others wait for as long as it takes an
// M to leave its section, which on a loaded machine has been more than a second.
#include "sched/world.h"

#include "arch/arch.h"
#include "sched/sched.h"
#include "sched/section.h"

#define FOR_EVER (INT64_MAX / 2)

static _Atomic uint32_t busy;          /* 1: somebody stops the world */
static bool held[PROCS_MAX];           /* P's lock is held by world_stop; by whoever has `busy` */
static bool seized[PROCS_MAX];         /* and its M has been seized; the same */

bool world_try(void)
{
    uint32_t none = 0;
    return cas_acq_rel(&busy, &none, 1);
}

void world_release(void)
{
    store_release(&busy, 0); /* pairs with the acquire in world_try */
}

bool world_stop(struct m *mp, int64_t patience)
{
    int64_t until = os_now() + patience;
    bool all = true;
    for (uint32_t i = 0; i < load_acquire(&sched.p_count); i++) {
        struct p *pp = load_acquire(&sched.ps[i]);
        held[i] = seized[i] = false;
        if (mp && mp->p == pp)
            continue;
        while ((held[i] = lock_take_for_report(&pp->lock, until)) && !(seized[i] = p_seize(pp))) {
            lock_release_for_report(&pp->lock);
            held[i] = false;
            if (os_now() >= until)
                break;
            os_thread_yield();
        }
        all &= seized[i];
    }
    return all;
}

static void world_start(void)
{
    uint32_t count = load_acquire(&sched.p_count);
    for (uint32_t i = 0; i < count; i++) {
        struct p *pp = load_acquire(&sched.ps[i]);
        if (seized[i])
            p_unseize(pp);
        if (held[i])
            lock_release_for_report(&pp->lock);
        held[i] = seized[i] = false;
    }
}

struct call {
    void (*fn)(struct m *, void *);
    void *arg;
    struct m *mp;
};

static void call(void *arg)
{
    struct call *c = arg;
    world_stop(c->mp, FOR_EVER);
    c->fn(c->mp, c->arg);
    world_start();
}

void world_call(void (*fn)(struct m *, void *), void *arg)
{
    struct call c = { fn, arg, NULL };
    for (;;) {
        c.mp = section_enter(); /* so that our own P stays with us */
        if (world_try())
            break;
        section_leave(c.mp);
        os_thread_yield();
    }
    system_stack_call(call, &c);
    world_release();
    section_leave(c.mp);
}

/* An M without a P goes on: what is read of it may be out of date. ThreadSanitizer is not to mind. */
__attribute__((no_sanitize("thread"))) struct m *world_find_m(struct g *gp, int *tid)
{
    struct m *found = NULL;
    bool locked = lock_take_for_report(&sched.lock, os_now() + 10000000);
    for (struct m *mp = sched.all_ms; mp && !found; mp = mp->all)
        if (mp->cur == gp) {
            found = mp;
            *tid = mp->tid;
        }
    if (locked)
        lock_release_for_report(&sched.lock);
    return found;
}
