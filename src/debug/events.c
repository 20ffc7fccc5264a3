// SPDX-License-Identifier: MIT
// The hooks. Each is called by the P's owner, in a section, or by whoever has seized the P. So only the owner writes: no atomic
// operation and no lock is needed, and a reader stops the world for the moment of copying.
//
// "One event a switch"
//
// A switch tells two things, who left and why, and who runs now. One event says both, so the recorder writes 16 bytes a switch;
// the slices of the timeline are put together by the reader. Times are the processor's counter, which costs a third of
// reading the clock; they are turned into nanoseconds by comparing both at the beginning and at the end.
#include "debug/events.h"

#include "arch/arch.h"
#include "os/os.h"
#include "os/vm.h"
#include "sched/debug_hooks.h"
#include "sched/sched.h"

_Atomic uint8_t debug_hooks __attribute__((aligned(CACHE_LINE))); /* beside what is hardly ever written */
_Atomic uint64_t events_size;

#define BIRTHS_PER_EVENT 4 /* one birth for so many events */

static void make_events(void *arg)
{
    struct p *pp = arg;
    struct proc_events *e = pp->events;
    if (!e && (e = vm_map(sizeof *e, 0)))
        __atomic_store_n(&pp->events, e, __ATOMIC_RELEASE); /* pairs with the acquire in go_stats */
    uint64_t size = load_relaxed(&events_size);
    if (e && size > 0 && !e->ring) {
        struct event *ring = vm_map(size * sizeof *ring, 0);
        struct birth *births = ring ? vm_map(size / BIRTHS_PER_EVENT * sizeof *births, 0) : NULL;
        if (births) {
            e->ring = ring;
            e->births = births;
            e->ring_mask = size - 1;
            e->birth_mask = size / BIRTHS_PER_EVENT - 1;
        } else if (ring) {
            vm_unmap(ring, size * sizeof *ring);
        }
    }
}

/* The notes of mp's P; NULL if it has none, or there is no memory for them. Made when first needed, and kept. */
static inline struct proc_events *events_of(struct m *mp)
{
    struct p *pp = mp ? mp->p : NULL;
    if (unlikely(!pp || !mp->g0_sp)) /* no system stack: g0 itself is being made */
        return NULL;
    struct proc_events *e = pp->events;
    if (unlikely(!e || (!e->ring && load_relaxed(&events_size) > 0))) {
        system_stack_call(make_events, pp);
        e = pp->events;
    }
    return e;
}

static inline void put(struct proc_events *e, uint64_t id, enum event_type type, uint8_t detail)
{
    struct event *at = &e->ring[e->next++ & e->ring_mask];
    at->when = arch_ticks();
    at->what = id << 16 | (uint64_t)type << 8 | detail;
}

static inline bool tracing(const struct proc_events *e)
{
    return (load_relaxed(&debug_hooks) & HOOK_TRACE) && e->ring;
}

void events_note_running(struct p *pp)
{
    make_events(pp);
    struct m *mp = load_relaxed(&pp->m);
    struct g *gp = mp ? mp->cur : NULL;
    if (pp->events && pp->events->ring && gp)
        put(pp->events, gp->id, EVENT_RUN, LEFT_NONE);
}

/* A wait's beginning, or, while the goroutine is ready, minus the time when it became so. Others may read it. */
static inline int64_t since_get(struct g *gp)
{
    return __atomic_load_n(&gp->run.wait_since, __ATOMIC_RELAXED);
}

static inline void since_set(struct g *gp, int64_t since)
{
    __atomic_store_n(&gp->run.wait_since, since, __ATOMIC_RELAXED);
}

static _Atomic bool births_lost; /* some have been overwritten */
/* With one P. Goroutines with this number or a higher one were launched since the ring of notes last came to its middle or its end:
 * half a ring at least is to be written before their notes are overwritten. */
static _Atomic uint64_t births_young;

static void note_birth(struct proc_events *e, struct g *gp, void (*fn)(void), const char *name)
{
    if (unlikely(e->next_birth == e->birth_mask + 1))
        store_relaxed(&births_lost, true);
    if (unlikely((e->next_birth & (e->birth_mask >> 1)) == 0))
        store_relaxed(&births_young, load_relaxed(&sched.id_batches) * ID_BATCH);
    struct birth *b = &e->births[e->next_birth++ & e->birth_mask];
    b->id = gp->id;
    b->site = gp->site;
    b->fn = fn;
    name_copy(b->name, name);
    store_relaxed(&gp->flags, load_relaxed(&gp->flags) | G_NOTED);
}

cold void hook_launch(struct m *mp, struct g *gp)
{
    struct proc_events *e = events_of(mp);
    if (!e || !tracing(e))
        return;
    note_birth(e, gp, gp->start.fn, gp->name);
    put(e, gp->id, EVENT_LAUNCH, 0);
}

cold void hook_ready(struct m *mp, struct g *gp)
{
    if (load_relaxed(&debug_hooks) & HOOK_STATS)
        since_set(gp, -os_now());
    struct proc_events *e = events_of(mp);
    if (e && tracing(e))
        put(e, gp->id, EVENT_READY, 0);
}

/* True if gp is to be noted again at its end, as its note may soon be overwritten, or has been. With one P its number tells, so that
 * brief ones are noted once: twice would halve what the ring holds. With several the note may be in another P's ring, which goes
 * round faster than the one where gp ends. */
static bool may_be_overwritten(const struct g *gp)
{
    return load_relaxed(&sched.procs) > 1 ? load_relaxed(&births_lost) : gp->id < load_relaxed(&births_young);
}

cold void hook_end(struct m *mp, struct g *gp)
{
    struct proc_events *e = events_of(mp);
    if (!e || !tracing(e))
        return;
    /* No note: a plain thread launched it, or it is older than the recording; or the note may be overwritten. Its name may be gone. */
    if (!(load_relaxed(&gp->flags) & G_NOTED) || may_be_overwritten(gp))
        note_birth(e, gp, NULL, NULL);
    put(e, gp->id, EVENT_END, 0);
}

cold void hook_taken(struct p *pp)
{
    struct proc_events *e = pp->events;
    struct g *gp = load_relaxed(&pp->m)->cur;
    if (e && gp && tracing(e))
        put(e, gp->id, EVENT_IDLE, LEFT_READY);
}

cold void hook_regained(struct m *mp)
{
    struct proc_events *e = events_of(mp);
    if (e && tracing(e))
        put(e, mp->cur->id, EVENT_RUN, LEFT_NONE);
}

static void count(struct proc_events *e, struct g *prev, struct g *cur)
{
    if (prev && load_relaxed(&prev->status) != G_DEAD &&
        (load_relaxed(&prev->status) == G_WAITING || since_get(prev) < 0))
        bump_owner(&e->parks[prev->wait_reason % GO_STATS_WAITS], 1);
    int64_t since = cur ? since_get(cur) : 0;
    if (since < 0) {
        uint64_t took = (uint64_t)(os_now() + since) | 1;
        unsigned step = 63 - (unsigned)__builtin_clzll(took);
        bump_owner(&e->wake_latency[step < GO_STATS_STEPS ? step : GO_STATS_STEPS - 1], 1);
        since_set(cur, 0);
    }
}

cold void hook_switch(struct m *mp, struct g *prev)
{
    struct g *cur = mp->cur;
    struct proc_events *e = events_of(mp);
    if (!e)
        return;
    if (load_relaxed(&debug_hooks) & HOOK_STATS)
        count(e, prev, cur);
    if (!tracing(e))
        return;
    uint8_t left = LEFT_NONE;
    if (prev) {
        uint8_t status = load_relaxed(&prev->status);
        left = status == G_WAITING ? prev->wait_reason : status == G_DEAD ? LEFT_ENDED : LEFT_READY;
    }
    put(e, cur ? cur->id : prev ? prev->id : 0, cur ? EVENT_RUN : EVENT_IDLE, left);
}
