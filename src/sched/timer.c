// SPDX-License-Identifier: MIT
// Timers: a four-ary heap for each P.
//
// Invariants
//   - An armed timer has an entry with its `when` in exactly one heap; an entry whose `when` is not its
//     timer's is out of date and means nothing.
//   - heap.next is the `when` of the first entry, or TIME_NEVER.
//
// Problem. A million sleepers, and time limits that are nearly always cancelled: set and cancel must be cheap
// and local, also when the canceller is on another P.
//
// Rejected. A timing wheel: its ticks wake an idle process or round the times. Heap positions kept in the timers:
// each sift writes to as many timers as it moves entries, a cache miss each, and a cancel must own the
// heap. A red-black tree: the same misses. One heap for all: one lock for all.
//
// The way. The heap holds pairs (when, timer): sifting compares and moves within the array only, and four
// children share a cache line. Cancelling is one compare-and-swap on the timer; the entry
// stays, out of date, until it comes to the top, or until half of the heap is out of date: then
// the owner sweeps it. So the heap is never more than twice as large as what it holds.
//
// The nasty race: a timer fires while it is cancelled. Both change `when` from the same value to 0, and
// one of them does. A timer that is armed again for the same nanosecond while its old entry is still there has
// two valid entries: whichever comes up first fires it, at the right time, and the other one is out of date.
#include "sched/timer.h"

#include <stdlib.h>
#include <string.h>

#include "sched/fatal.h"
#include "sched/runq.h"
#include "sched/sched.h"

#define ARITY 4
#define CAPACITY_FIRST 64
#define SWEEP_MIN 64

static void sift_up(struct timer_entry *e, uint32_t i, struct timer_entry x)
{
    while (i > 0) {
        uint32_t up = (i - 1) / ARITY;
        if (e[up].when <= x.when)
            break;
        e[i] = e[up];
        i = up;
    }
    e[i] = x;
}

static void sift_down(struct timer_entry *e, uint32_t length, uint32_t i, struct timer_entry x)
{
    for (;;) {
        uint32_t child = i * ARITY + 1, least = child;
        if (child >= length)
            break;
        uint32_t end = child + ARITY < length ? child + ARITY : length;
        while (++child < end)
            if (e[child].when < e[least].when)
                least = child;
        if (e[least].when >= x.when)
            break;
        e[i] = e[least];
        i = least;
    }
    e[i] = x;
}

static void publish_next(struct timer_heap *heap)
{
    store_relaxed(&heap->next, heap->length > 0 ? heap->entries[0].when : TIME_NEVER);
}

static void pop(struct timer_heap *heap)
{
    struct timer_entry last = heap->entries[--heap->length];
    if (heap->length > 0)
        sift_down(heap->entries, heap->length, 0, last);
}

#define OF_GOROUTINE ((uintptr_t)1)

static struct timer *timer_of(const struct timer_entry *e)
{
    return (struct timer *)(e->timer & ~OF_GOROUTINE);
}

static bool up_to_date(const struct timer_entry *e)
{
    return load_relaxed(&timer_of(e)->when) == e->when;
}

/* Drops every entry that is out of date. */
static void sweep(struct timer_heap *heap)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < heap->length; i++)
        if (up_to_date(&heap->entries[i]))
            heap->entries[n++] = heap->entries[i];
    heap->length = n;
    for (uint32_t i = n / ARITY + 1; i-- > 0;)
        if (i < n)
            sift_down(heap->entries, n, i, heap->entries[i]);
    store_relaxed(&heap->stale, 0);
}

/* On a system stack. */
static void grow(void *arg)
{
    struct timer_heap *heap = arg;
    uint32_t capacity = heap->capacity ? heap->capacity * 2 : CAPACITY_FIRST;
    struct timer_entry *entries = realloc(heap->entries, capacity * sizeof *entries);
    if (!entries)
        fatal("out of memory: no room for %u timers", capacity);
    heap->entries = entries;
    heap->capacity = capacity;
}

static void insert(struct timer_heap *heap, struct timer_entry x)
{
    uint32_t stale = load_relaxed(&heap->stale);
    if (unlikely(stale > SWEEP_MIN && stale > heap->length / 2))
        sweep(heap);
    if (unlikely(heap->length == heap->capacity))
        system_stack_call(grow, heap);
    sift_up(heap->entries, heap->length++, x);
    publish_next(heap);
}

static void arm(struct p *pp, struct timer *t, int64_t when, uintptr_t tag)
{
    check(load_relaxed(&t->when) == 0 && when > 0);
    if (when == TIME_NEVER)
        when--; /* an entry at TIME_NEVER would look like none */
    store_relaxed(&t->home, pp->id);
    /* Release: whoever claims it (acquire) sees what it is for. */
    store_release(&t->when, when);
    insert(&pp->timers, (struct timer_entry){ when, (uintptr_t)t | tag });
}

void timer_set(struct m *mp, struct timer *t, int64_t when)
{
    arm(mp->p, t, when, 0);
}

void timer_set_on(struct p *pp, struct timer *t, int64_t when)
{
    arm(pp, t, when, 0);
}

void timer_set_wait(struct m *mp, struct timer *t, int64_t when)
{
    arm(mp->p, t, when, OF_GOROUTINE);
}

struct p *timer_borrow_p(void)
{
    struct p *pp = load_acquire(&sched.ps[0]); /* never gone */
    for (;;) {
        lock_take(&pp->lock);
        if (p_seize(pp))
            return pp;
        lock_release(&pp->lock);
        os_thread_yield();
    }
}

void timer_return_p(struct p *pp, int64_t when)
{
    p_unseize(pp);
    lock_release(&pp->lock);
    /* Whoever becomes idle after this sees the new time; who is idle already, and would sleep too long, must be
     * woken. */
    struct p *idle = NULL;
    lock_take(&sched.lock);
    if (!sched.timekeeper || sched.timekeeper->sleeps_until > when)
        idle = p_idle_pop_locked();
    lock_release(&sched.lock);
    if (idle)
        m_start(idle, false, NULL);
}

bool timer_pending(const struct p *pp)
{
    for (uint32_t i = 0; i < pp->timers.length; i++)
        if (up_to_date(&pp->timers.entries[i]))
            return true;
    return false;
}

bool timer_cancel(struct timer *t)
{
    int64_t when = load_relaxed(&t->when);
    uint32_t home = load_relaxed(&t->home);
    if (when == 0 || !cas_acq_rel(&t->when, &when, 0))
        return false;
    atomic_fetch_add_explicit(&load_acquire(&sched.ps[home])->timers.stale, 1,
                              memory_order_relaxed);
    return true;
}

int timer_run_due(struct m *mp, struct p *pp, int64_t now)
{
    struct timer_heap *heap = &pp->timers;
    int fired = 0;
    while (heap->length > 0) {
        struct timer_entry top = heap->entries[0];
        bool valid = up_to_date(&top);
        if (valid && top.when > now)
            break;
        pop(heap);
        struct timer *t = timer_of(&top);
        if (valid && cas_acq_rel(&t->when, &top.when, 0)) {
            if (top.timer & OF_GOROUTINE)
                wait_time_up(mp, t);
            else
                t->fire(mp, t);
            fired++;
        } else if (load_relaxed(&heap->stale) > 0) {
            atomic_fetch_sub_explicit(&heap->stale, 1, memory_order_relaxed);
        }
    }
    publish_next(heap);
    /* Those that were late together run in the order of their times: the last one made ready is not to be the first. */
    struct g *last = fired > 1 ? runq_pop_next(mp->p) : NULL;
    if (last)
        runq_push(mp->p, last);
    return fired;
}

void timer_evacuate(struct p *from)
{
    struct timer_heap *heap = &from->timers;
    lock_take(&from->lock); /* nobody owns it: a thief may be firing some of them */
    struct timer_entry *entries = heap->entries;
    uint32_t n = heap->length;
    heap->entries = NULL;
    heap->length = heap->capacity = 0;
    store_relaxed(&heap->stale, 0);
    publish_next(heap);
    lock_release(&from->lock);
    if (n > 0) {
        struct p *to = timer_borrow_p();
        for (uint32_t i = 0; i < n; i++)
            if (up_to_date(&entries[i]))
                insert(&to->timers, entries[i]); /* `home` stays: in a G it may be an argument by now, and it is a hint */
        timer_return_p(to, load_relaxed(&to->timers.next));
    }
    free(entries);
}
