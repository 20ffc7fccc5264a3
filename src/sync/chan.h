// SPDX-License-Identifier: MIT
// What a channel is made of, for those who work with channels without their types: chan.c, select.c, timers and
// signals. The essays are in chan.c.
#pragma once

#include <errno.h>
#include <string.h>

#include "base/atomic.h"
#include "base/check.h"
#include "base/compiler.h"
#include "base/sanitize.h"
#include "os/lock.h"
#include "os/os.h"
#include "sched/park.h"
#include "sched/section.h"

/* go_channel.bias of a channel that is used under its lock. Never equal to an M's p, which may be NULL. */
#define UNBIASED ((struct p *)1)

/*
 * Somebody who waits: a parked goroutine, or one of a select's cases. It lies on the waiter's stack or in a select's
 * memory, and is on its queue until whoever takes it off has set `queued` to false; then it belongs to the waiter again.
 */
struct waiter {
    struct waiter *next, *prev; /* a ring, in order of arrival */
    struct g *g;
    uint64_t ticket;
    void *value;            /* to send from, or to receive into; NULL: nobody wants it. Constant while it is queued */
    struct waiter **fired;  /* select: where to say which case it was; else NULL */
    int result;             /* by whoever claims the ticket; read after the wake-up */
    bool sole;              /* the ticket is known on this queue only: who holds the channel has it, without a claim */
    _Atomic bool queued;    /* cleared by who claims it, before the wake-up, or by its owner */
    /* select's own notes */
    uint16_t case_no;       /* which of its cases this is */
    uint16_t own_first;     /* of its waiters that stand in a row on one queue: the number of the first */
    uint16_t own_before;    /* and how many are before this one */
};

enum chan_flags {
    CHAN_CLOSED = 1 << 0,
    CHAN_ORPHAN = 1 << 1, /* no reference is left: the last waiter to leave frees it */
};

enum chan_kind {
    CHAN_PINNED = 1 << 0, /* never biased: used where no bias can be revoked */
    CHAN_SMALL = 1 << 1,  /* from the caches, not from malloc */
    CHAN_TIMER = 1 << 2,  /* a timer's; its one place is an implementation detail: len and cap are 0 */
};

/*
 * "Held" means: by an M in a section with bias == its P, or, if bias is UNBIASED, by whoever holds the lock. The first cache
 * line is all that an operation touches besides the value.
 */
struct go_channel {
    _Atomic(struct p *) bias; /* a P, or UNBIASED; see "Bias". From a P to UNBIASED: by who holds
                                 that P's lock and has seized its M. From UNBIASED to a P: lock held, by its M */
    struct lock lock;
    struct waiter *recvq;     /* held: the first, NULL if there is none */
    struct waiter *sendq;     /* held */
    _Atomic uint32_t count;   /* written held: values in the buffer */
    uint32_t capacity;        /* constant */
    uint32_t head, tail;      /* held: places to take from and to put to next */
    uint32_t size;            /* constant: bytes of a value */
    uint8_t flags;            /* held: enum chan_flags */
    uint8_t kind;             /* constant: enum chan_kind */
    uint16_t streak;          /* lock held: uses in a row by `last` */
    struct p *last;           /* lock held */

    _Atomic uint32_t refs;
    struct go_timer *after;   /* constant: go_after's, which holds one of the references; else NULL */
    char buffer[] __attribute__((aligned(16)));
} __attribute__((aligned(CACHE_LINE)));

_Static_assert(offsetof(struct go_channel, refs) == CACHE_LINE, "what is held makes one cache line");

struct m *chan_enter_slow(struct m *mp, struct go_channel *c, bool may_park);
void chan_leave_slow(struct m *mp, struct go_channel *c);

/* Takes hold of c. In a section; the section on return may be another M's. May revoke a bias, for which the section is left:
 * where that cannot be, c must be CHAN_PINNED. `may_park`: the goroutine may also go back to the P it was stolen from. */
static always_inline struct m *chan_enter_as(struct m *mp, struct go_channel *c, bool may_park)
{
    if (likely(load_relaxed(&c->bias) == mp->p))
        __tsan_acquire(c);
    else
        mp = chan_enter_slow(mp, c, may_park);
    return mp;
}

static always_inline struct m *chan_enter(struct m *mp, struct go_channel *c)
{
    return chan_enter_as(mp, c, false);
}

static always_inline void chan_leave(struct m *mp, struct go_channel *c)
{
    if (likely(load_relaxed(&c->bias) == mp->p))
        __tsan_release(c);
    else
        chan_leave_slow(mp, c);
}

/* Values of the sizes of numbers and pointers are moved by one instruction. */
static always_inline void value_copy(void *to, const void *from, size_t size)
{
    if (size == 8)
        memcpy(to, from, 8);
    else if (size == 4)
        memcpy(to, from, 4);
    else
        memcpy(to, from, size);
}

static always_inline char *chan_place(struct go_channel *c, uint32_t i)
{
    return c->buffer + (size_t)i * c->size;
}

static always_inline uint32_t chan_next(struct go_channel *c, uint32_t i)
{
    return i + 1 == c->capacity ? 0 : i + 1;
}

/* Random bits, of the P or of the plain thread. In a section. */
static always_inline uint32_t chance(struct m *mp)
{
    static __thread uint32_t own __attribute__((tls_model("initial-exec")));
    uint32_t *state = mp->p ? &mp->p->random : &own;
    if (unlikely(*state == 0))
        *state = (uint32_t)os_random(); /* a thread's first: they are not all to choose alike */
    uint32_t x = *state = *state * 1664525 + 1013904223; /* Numerical Recipes' generator */
    x ^= x >> 16;                                        /* its low bits are poor: mix, by Wellons */
    x *= 0x7feb352du;
    x ^= x >> 15;
    return x;
}

/* --- queues; the channel held --- */

static always_inline void queue_push(struct waiter **queue, struct waiter *w)
{
    struct waiter *first = *queue;
    if (!first) {
        w->next = w->prev = w;
        *queue = w;
    } else {
        w->next = first;
        w->prev = first->prev;
        first->prev->next = w;
        first->prev = w;
    }
    store_relaxed(&w->queued, true);
}

/* w->queued stays as it is: see the user. */
static always_inline void queue_unlink(struct waiter **queue, struct waiter *w)
{
    if (w->next == w) {
        *queue = NULL;
        return;
    }
    w->prev->next = w->next;
    w->next->prev = w->prev;
    if (*queue == w)
        *queue = w->next;
}

/*
 * The first that has not been woken by something else, off the queue and claimed; NULL if there is none. The others stay:
 * only while its waiter is queued does a select that was decided elsewhere keep the channel ("The last reference").
 */
static always_inline struct waiter *queue_claim(struct waiter **queue)
{
    struct waiter *w = *queue;
    if (!w)
        return NULL;
    do {
        if (likely(w->sole))
            store_relaxed(&w->g->token, w->ticket & ~(uint64_t)TOKEN_ARMED);
        else if (unlikely(!wait_claim(w->g, w->ticket)))
            continue;
        queue_unlink(queue, w);
        store_relaxed(&w->queued, false);
        return w;
    } while ((w = w->next) != *queue);
    return NULL;
}

static always_inline struct g *waiter_done(struct waiter *w, int result)
{
    w->result = result;
    if (w->fired)
        *w->fired = w;
    return w->g;
}

/* --- moving one value; the channel held. *wake must be made ready after it has been left --- */

/* 0, -EPIPE closed, -EAGAIN: would have to wait. */
static always_inline int chan_put(struct go_channel *c, const void *value, struct g **wake)
{
    struct waiter *w;
    if (unlikely(c->flags & CHAN_CLOSED))
        return -EPIPE;
    if (c->recvq && likely((w = queue_claim(&c->recvq)) != NULL)) {
        check(load_relaxed(&c->count) == 0); /* a buffered value implies no waiting receiver */
        if (likely(w->value != NULL))
            value_copy(w->value, value, c->size);
        *wake = waiter_done(w, 1);
        return 0;
    }
    uint32_t count = load_relaxed(&c->count);
    if (count == c->capacity)
        return -EAGAIN;
    value_copy(chan_place(c, c->tail), value, c->size);
    c->tail = chan_next(c, c->tail);
    store_relaxed(&c->count, count + 1);
    return 0;
}

/* 1 received; 0 closed and drained, *out zeroed; -EAGAIN: would have to wait. out may be NULL. */
static always_inline int chan_take(struct go_channel *c, void *out, struct g **wake)
{
    struct waiter *w;
    uint32_t count = load_relaxed(&c->count);
    if (count > 0) {
        if (likely(out != NULL))
            value_copy(out, chan_place(c, c->head), c->size);
        c->head = chan_next(c, c->head);
        if (c->sendq && (w = queue_claim(&c->sendq)) != NULL) {
            value_copy(chan_place(c, c->tail), w->value, c->size);
            c->tail = chan_next(c, c->tail);
            *wake = waiter_done(w, 0);
        } else {
            store_relaxed(&c->count, count - 1);
        }
        return 1;
    }
    if (c->sendq && likely((w = queue_claim(&c->sendq)) != NULL)) {
        if (likely(out != NULL))
            value_copy(out, w->value, c->size);
        *wake = waiter_done(w, 0);
        return 1;
    }
    if (unlikely(c->flags & CHAN_CLOSED)) {
        if (out)
            memset(out, 0, c->size);
        return 0;
    }
    return -EAGAIN;
}

/* --- for select, timers, signals --- */

/* A new channel with one reference, `kind` of CHAN_PINNED and CHAN_TIMER; NULL when the size overflows. In a section, on
 * any stack. */
struct go_channel *chan_new(struct m *mp, size_t size, size_t capacity, unsigned kind);

/* Sends without waiting: 0, -EPIPE, -EAGAIN. In a section, mp->p may be NULL; no lock of RANK_CHAN or above held. c must be
 * CHAN_PINNED. */
int chan_try_put(struct m *mp, struct go_channel *c, const void *value);

/* Drops what is in the buffer and returns how many values that were. Same conditions; nobody may wait to send. */
uint32_t chan_drain(struct m *mp, struct go_channel *c);

/* The owner of w, which is still queued on *queue of c, has been woken by something else: nobody can claim w any more. In a section;
 * returns the M. */
struct m *chan_withdraw(struct m *mp, struct go_channel *c, struct waiter **queue, struct waiter *w);

/* Of c only t's reference and the caller's are left: t is stopped and gives its own back, if it still has it. time.c supplies this.
 * Outside of a section. */
void after_abandon(struct go_timer *t, struct go_channel *c);

/* For library code: references without the macros. Outside of a section. */
struct go_channel *go_chan_ref_(struct go_channel *c);
void go_chan_unref_(struct go_channel *c);
