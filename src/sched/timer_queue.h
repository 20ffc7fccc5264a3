// SPDX-License-Identifier: MIT
// The timers of one P, in the order of their times. The essay is in timer_queue.c. Nothing here knows a P.
#pragma once

#include "base/atomic.h"
#include "base/compiler.h"

#define TIME_NEVER INT64_MAX

struct timer;

struct timer_entry {
    int64_t when;
    uintptr_t timer; /* a struct timer *, with TIMER_OF_GOROUTINE or not */
};

#define TIMER_OF_GOROUTINE ((uintptr_t)1) /* a goroutine's own: see timer_set_wait */

static inline struct timer *timer_of(const struct timer_entry *e)
{
    return (struct timer *)(e->timer & ~TIMER_OF_GOROUTINE);
}

/* Zero is ready, but for `next`. */
struct timer_queue {
    struct timer_entry *near;   /* a heap; owner of the queue only, as everything here but the atomics */
    uint32_t near_count, near_capacity;
    uint32_t far_count;
    int64_t horizon;            /* far is what comes HORIZON_STEP or more later; a multiple of that */
    struct timer_far *far;      /* NULL until it is needed */
    _Atomic int64_t next;       /* the least `when`, TIME_NEVER if there is none; others read it */
    _Atomic uint32_t stale;     /* about how many entries are out of date; others add to it */
};

/* One that was out of date has gone. */
static inline void timer_queue_stale_less(struct timer_queue *q)
{
    if (load_relaxed(&q->stale) > 0)
        atomic_fetch_sub_explicit(&q->stale, 1, memory_order_relaxed);
}

/* `now`: roughly, or earlier. */
void timer_queue_put(struct timer_queue *q, struct timer_entry x, int64_t now);

/* Takes the first one out if it is due and not out of date. If not, false, and `next` is right again. On a system stack. */
bool timer_queue_take(struct timer_queue *q, int64_t now, struct timer_entry *out);

/* Calls visit for each that is not out of date, in no order, until it returns true; whether it did. */
bool timer_queue_any(const struct timer_queue *q, bool (*visit)(void *arg, struct timer_entry), void *arg);

/* q is empty from here on, and *all is what it was. */
void timer_queue_move(struct timer_queue *q, struct timer_queue *all);

/* Forgets all there are. On a system stack. */
void timer_queue_free(struct timer_queue *q);
