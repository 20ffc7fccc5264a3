// SPDX-License-Identifier: MIT
// Select: one wait for many things.
//
// Invariants
//   - Exactly one case runs, and it is decided either while all the channels are held, or by the one who claims the ticket.
//   - A select is on no queue while it looks, so it cannot serve itself.
//
// The way
//   1. Hold all channels at once and look which cases can run. Of these one is drawn, and run, and that is all.
//   2. Otherwise queue on every channel with the same ticket, leave them, and park. Whoever claims the ticket completes its
//      case. Then take the other entries off their queues, one channel after the other.
//
// All are held at once so that the look is a moment in time: a default case means that no other case could run just then.
// Channels biased to this P are held at no cost. The others are locked, in the order of their addresses, each once; but
// first one that looks ready is tried alone, which mostly saves all the other locks.
//
// By chance
//   - Among those that can run at once: the k-th found replaces the one chosen so far with probability 1/k.
//   - Among cases that wait in the same direction on the same channel: which of them stands first, drawn in the same way.
//   - Descriptors and points in time do not claim for a certain case: after the wake-up the choice is made among all that
//     can run.
//
// A descriptor's readiness is asked of the kernel outside of the section, before 1; if something happens between that and the
// queueing, netpoll_add says so, and the select begins anew.
#include <goroutine/select.h>

#include <errno.h>
#include <stdlib.h>

#include "sched/fatal.h"
#include "sched/netpoll.h"
#include "sync/chan.h"

#define CASES_MOST 65536
#define SMALL_CASES 8 /* up to here all is on the stack */

/* What a select needs beside its cases. The arrays lie on the stack, or in one piece of malloc's. */
struct sel {
    go_case *cases;
    uint32_t n;
    uint32_t channels;            /* cases with a channel */
    uint32_t descriptors;         /* cases with a descriptor */
    int32_t default_case;         /* or -1 */
    bool times;                   /* there are cases with a point in time */
    int64_t start;                /* for case_after; 0: not read yet */
    int64_t until;                /* the earliest of them */
    struct go_channel **locked;   /* [channels]: those whose locks are held, in order */
    uint32_t locked_count;
    struct waiter *waiters;       /* [channels] */
    struct netpoll_waiter *polls; /* [descriptors], in the order of their cases */
    uint32_t polls_added;         /* of these, how many are to be removed again */
    struct waiter *fired;         /* the one that was completed */
};

static always_inline bool is_channel_case(const go_case *k)
{
    return k->kind_ == GO_CASE_SEND_KIND_ || k->kind_ == GO_CASE_RECV_KIND_;
}

static always_inline bool has_channel(const go_case *k)
{
    return is_channel_case(k) && k->chan_;
}

static always_inline bool has_descriptor(const go_case *k)
{
    return k->kind_ == GO_CASE_READABLE_ || k->kind_ == GO_CASE_WRITABLE_;
}

/* Uniform in 0 … n-1. *random is a fraction of 2^32 that is used up, digit by digit; there is enough of it for eight draws
 * with n = 1 … 8, and larger n get a new one each. */
static always_inline uint32_t draw(struct m *mp, uint32_t *random, uint32_t n)
{
    if (unlikely(n > SMALL_CASES))
        *random = chance(mp);
    uint64_t product = (uint64_t)*random * n;
    *random = (uint32_t)product;
    return (uint32_t)(product >> 32);
}

/* --- holding all --- */

static void sort(struct go_channel **a, uint32_t n)
{
    if (n <= 16) {
        for (uint32_t i = 1; i < n; i++) {
            struct go_channel *x = a[i];
            uint32_t j = i;
            for (; j > 0 && a[j - 1] > x; j--)
                a[j] = a[j - 1];
            a[j] = x;
        }
        return;
    }
    /* Heapsort: no recursion, no more memory, no bad cases. */
    for (uint32_t top = n / 2, end = n; end > 1;) {
        struct go_channel *x;
        if (top > 0) {
            x = a[--top];
        } else {
            x = a[--end];
            a[end] = a[0];
        }
        uint32_t i = top;
        for (;;) {
            uint32_t child = 2 * i + 1;
            if (child >= end)
                break;
            if (child + 1 < end && a[child + 1] > a[child])
                child++;
            if (a[child] <= x)
                break;
            a[i] = a[child];
            i = child;
        }
        a[i] = x;
    }
}

static noinline struct m *hold_slow(struct m *mp, struct sel *s)
{
    for (;;) {
        uint32_t n = 0, distinct = 0;
        bool again = false;
        for (uint32_t i = 0; i < s->n && !again; i++) {
            struct go_channel *c = s->cases[i].chan_;
            if (!has_channel(&s->cases[i]))
                continue;
            struct p *bias = load_relaxed(&c->bias);
            if (bias == UNBIASED) {
                s->locked[n++] = c;
            } else if (bias != mp->p) {
                mp = chan_enter_as(mp, c, s->default_case < 0); /* revokes, and may leave the section for it */
                chan_leave(mp, c);
                again = true;
            }
        }
        if (again)
            continue;
        sort(s->locked, n);
        for (uint32_t i = 0; i < n && !again; i++) {
            struct go_channel *c = s->locked[i];
            if (i > 0 && c == s->locked[i - 1])
                continue;
            lock_take(&c->lock);
            s->locked[distinct++] = c;
            /* It may have become somebody's own, perhaps ours, while we waited for the lock. Acquire: pairs with the release in
             * revoke, for its owner before has written without the lock. */
            again = load_acquire(&c->bias) != UNBIASED;
        }
        s->locked_count = distinct;
        if (!again)
            return mp;
        while (distinct > 0)
            lock_release(&s->locked[--distinct]->lock);
    }
}

/* On return all channels are held. `ours`: they are known to be this P's. */
static always_inline struct m *hold(struct m *mp, struct sel *s, bool ours)
{
    s->locked_count = 0;
    for (uint32_t i = 0; i < s->n && (!ours || HAVE_TSAN); i++) {
        if (!has_channel(&s->cases[i]))
            continue;
        if (unlikely(load_relaxed(&s->cases[i].chan_->bias) != mp->p))
            return hold_slow(mp, s);
        __tsan_acquire(s->cases[i].chan_);
    }
    return mp;
}

static always_inline void leave(struct m *mp, struct sel *s)
{
#if HAVE_TSAN
    for (uint32_t i = 0; i < s->n; i++)
        if (has_channel(&s->cases[i]) && load_relaxed(&s->cases[i].chan_->bias) == mp->p)
            __tsan_release(s->cases[i].chan_);
#endif
    while (unlikely(s->locked_count > 0))
        chan_leave(mp, s->locked[--s->locked_count]);
}

/* --- looking; all channels held --- */

/* Somebody waits there who could be served now. */
static always_inline bool queue_waits(struct waiter **queue)
{
    struct waiter *w = *queue;
    if (!w)
        return false;
    do
        if (w->sole || load_relaxed(&w->g->token) == w->ticket)
            return true;
    while ((w = w->next) != *queue);
    return false;
}

static int64_t due(struct sel *s, const go_case *k)
{
    if (k->kind_ == GO_CASE_UNTIL_)
        return k->time_;
    return k->time_ < TIME_NEVER - s->start ? s->start + k->time_ : TIME_NEVER;
}

static always_inline bool channel_can(struct go_channel *c, bool send)
{
    uint32_t count = load_relaxed(&c->count);
    return (send ? count < c->capacity : count > 0) || queue_waits(send ? &c->recvq : &c->sendq) || (c->flags & CHAN_CLOSED);
}

/* The same of a case without a channel; *poll counts the descriptors. */
static noinline bool other_can(struct sel *s, const go_case *k, int64_t now, uint32_t *poll)
{
    switch (k->kind_) {
    case GO_CASE_AFTER_:
    case GO_CASE_UNTIL_: {
        int64_t when = due(s, k);
        if (when < s->until)
            s->until = when;
        return when <= now;
    }
    case GO_CASE_READABLE_:
    case GO_CASE_WRITABLE_:
        return s->polls[(*poll)++].result == NETPOLL_LOOK;
    default:
        return false;
    }
}

/* A case that can run, drawn from all of them; -1 if there is none. */
static always_inline int32_t look(struct m *mp, struct sel *s)
{
    int32_t chosen = -1;
    uint32_t can_run = 0, poll = 0, random = chance(mp);
    int64_t now = 0;
    if (unlikely(s->times)) {
        now = os_now();
        if (s->start == 0)
            s->start = now;
        s->until = TIME_NEVER;
    }
    for (uint32_t i = 0; i < s->n; i++) {
        go_case *k = &s->cases[i];
        struct go_channel *c = k->chan_;
        bool can;
        if (likely(is_channel_case(k)))
            can = c && channel_can(c, k->kind_ == GO_CASE_SEND_KIND_);
        else
            can = other_can(s, k, now, &poll);
        if (can) {
            /* Without a branch, which would be mispredicted as often as not. */
            bool this_one = draw(mp, &random, ++can_run) == 0;
            chosen = this_one ? (int32_t)i : chosen;
        }
    }
    return chosen;
}

/*
 * A case that looks as if it could run, none of the channels being held; drawn from all of them, -1 if there is none. What is
 * read may be out of date and is not followed. Where channels have to be locked, this saves locking more than one.
 */
static noinline int32_t peek(struct m *mp, struct sel *s)
{
    int32_t chosen = -1;
    uint32_t can_run = 0, random = chance(mp);
    for (uint32_t i = 0; i < s->n; i++) {
        go_case *k = &s->cases[i];
        struct go_channel *c = k->chan_;
        if (!has_channel(k))
            continue;
        uint32_t count = load_relaxed(&c->count);
        bool send = k->kind_ == GO_CASE_SEND_KIND_;
        bool can = send ? count < c->capacity : count > 0;
        if (!can)
            can = __atomic_load_n(send ? &c->recvq : &c->sendq, __ATOMIC_RELAXED) ||
                  (__atomic_load_n(&c->flags, __ATOMIC_RELAXED) & CHAN_CLOSED);
        if (can && draw(mp, &random, ++can_run) == 0)
            chosen = (int32_t)i;
    }
    return chosen;
}

static always_inline int finished(go_case *k, uint32_t i, int result)
{
    bool open = k->kind_ == GO_CASE_RECV_KIND_ ? result > 0 : result == 0;
    if (k->ok_)
        *k->ok_ = open;
    else if (unlikely(!open && k->kind_ == GO_CASE_SEND_KIND_))
        return -EPIPE;
    return (int)i;
}

/* --- waiting --- */

/* w stands behind others of the same select: by chance it changes places with the first of them. */
static noinline void draw_first(struct m *mp, struct sel *s, struct waiter *w)
{
    w->own_first = w->prev->own_first;
    w->own_before = (uint16_t)(w->prev->own_before + 1);
    uint32_t random = chance(mp);
    if (draw(mp, &random, w->own_before + 1u) > 0)
        return;
    struct waiter *first = &s->waiters[w->own_first];
    void *value = first->value;
    uint16_t case_no = first->case_no;
    first->value = w->value;
    first->case_no = w->case_no;
    w->value = value;
    w->case_no = case_no;
}

/* All channels held: queues on each, and leaves them. */
static always_inline void queue_all(struct m *mp, struct sel *s)
{
    struct g *gp = mp->cur;
    uint32_t channels = s->channels, n = 0;
    s->fired = NULL;
    uint64_t ticket = wait_arm_cancellable(gp, s->n > 0 ? WAIT_SELECT : WAIT_FOREVER);
    bool sole = channels == 1 && !s->times && !s->descriptors && !gp->scope;
    for (uint32_t i = 0; n < channels; i++) {
        go_case *k = &s->cases[i];
        if (unlikely(!has_channel(k)))
            continue;
        struct waiter *w = &s->waiters[n];
        bool send = k->kind_ == GO_CASE_SEND_KIND_;
        w->g = gp;
        w->ticket = ticket;
        w->value = (void *)(uintptr_t)k->value_;
        w->fired = &s->fired;
        w->sole = sole;
        w->case_no = (uint16_t)i;
        w->own_first = (uint16_t)n++;
        w->own_before = 0;
        queue_push(send ? &k->chan_->sendq : &k->chan_->recvq, w);
        if (unlikely(w->prev != w) && w->prev->g == gp && w->prev->ticket == ticket)
            draw_first(mp, s, w);
    }
    leave(mp, s);
}

static always_inline struct m *withdraw_all(struct m *mp, struct sel *s)
{
    for (uint32_t i = 0; i < s->channels; i++) {
        struct waiter *w = &s->waiters[i];
        if (!load_acquire(&w->queued)) /* whoever claimed w has cleared it before the wake-up */
            continue;
        go_case *k = &s->cases[w->case_no];
        struct go_channel *c = k->chan_;
        struct waiter **queue = k->kind_ == GO_CASE_SEND_KIND_ ? &c->sendq : &c->recvq;
        if (likely(load_relaxed(&c->bias) == mp->p && !(c->flags & CHAN_ORPHAN))) {
            __tsan_acquire(c);
            queue_unlink(queue, w);
            __tsan_release(c);
        } else {
            mp = chan_withdraw(mp, c, queue, w);
        }
    }
    return mp;
}

/* --- descriptors --- */

/* Outside of a section: asks the kernel about each; if `again`, they must be the same files as before. 0, or -EBADF or the like. */
static noinline int polls_check(struct sel *s, bool again)
{
    for (uint32_t i = 0, poll = 0; i < s->n; i++) {
        go_case *k = &s->cases[i];
        if (!has_descriptor(k))
            continue;
        struct netpoll_waiter *w = &s->polls[poll++];
        uint32_t generation = again ? w->generation : 0;
        int r = netpoll_check(k->fd_, k->kind_ == GO_CASE_READABLE_ ? POLL_READ : POLL_WRITE, w);
        if (r < 0)
            return r;
        if (again && w->generation != generation)
            return -EBADF; /* closed, and perhaps another file by now */
        w->result = r > 0 ? NETPOLL_LOOK : NETPOLL_NONE;
        w->queued = false;
    }
    return 0;
}

/* Queues on all; -EAGAIN or -EBADF if one refuses. Makes *until no later than their deadlines. */
static noinline int polls_add(struct sel *s, struct g *gp, uint64_t ticket, int64_t *until)
{
    s->polls_added = 0;
    for (uint32_t i = 0; i < s->descriptors; i++) {
        int64_t limit = netpoll_until(&s->polls[i]);
        if (limit < *until)
            *until = limit;
        int r = netpoll_add(&s->polls[i], gp, ticket);
        if (r < 0)
            return r;
        s->polls_added++;
    }
    return 0;
}

/* The first error among the descriptors; 0 if there is none. */
static noinline int polls_remove(struct sel *s)
{
    int error = 0;
    for (uint32_t i = 0; i < s->descriptors; i++) {
        struct netpoll_waiter *w = &s->polls[i];
        if (i < s->polls_added)
            netpoll_remove(w); /* also where it has been taken off: somebody may still be at it, under the lock */
        if (w->result < 0 && error == 0)
            error = w->result;
    }
    return error;
}

/* --- the whole --- */

/* Runs case i, its channel held: the result of chan_put or chan_take. */
static always_inline int run_case(go_case *k, struct g **wake)
{
    if (k->kind_ == GO_CASE_SEND_KIND_)
        return chan_put(k->chan_, k->value_, wake);
    if (k->kind_ == GO_CASE_RECV_KIND_)
        return chan_take(k->chan_, (void *)(uintptr_t)k->value_, wake);
    return 0;
}

/* Runs one that looks as if it could run, with its channel held alone; -EAGAIN: see all of them, still in the section. */
static always_inline int run_peeked(struct m **mp, struct sel *s)
{
    int32_t i = peek(*mp, s);
    if (i < 0)
        return -EAGAIN;
    go_case *k = &s->cases[i];
    struct g *wake = NULL;
    *mp = chan_enter_as(*mp, k->chan_, s->default_case < 0);
    int r = run_case(k, &wake);
    chan_leave(*mp, k->chan_);
    if (wake)
        ready(*mp, wake);
    if (unlikely(r == -EAGAIN))
        return r;
    section_leave(*mp);
    return finished(k, (uint32_t)i, r);
}

/* All channels held, and no case can run: waits, and leaves the section. Returns a case that others have completed, an error,
 * or, because of a point in time or a descriptor, -EAGAIN: see which cases can run. */
static always_inline int wait_for_one(struct m *mp, struct sel *s)
{
    queue_all(mp, s);
    struct g *gp = mp->cur;
    int64_t until = s->times ? s->until : TIME_NEVER;
    int r = 0, refused = 0;
    if (unlikely(s->descriptors)) {
        uint64_t ticket = load_relaxed(&gp->token) | TOKEN_ARMED; /* it may have been claimed already */
        refused = polls_add(s, gp, ticket, &until);
        if (refused < 0 && !wait_claim(gp, ticket))
            refused = 0; /* somebody was first */
    }
    if (refused < 0)
        store_relaxed(&gp->status, G_RUNNING);
    else
        r = wait_park_until(mp, gp, until);
    mp = withdraw_all(m_self(), s);
    int error = s->descriptors ? polls_remove(s) : 0;
    section_leave(mp);
    if (likely(r == 0 && s->fired)) {
        uint32_t at = s->fired->case_no;
        return finished(&s->cases[at], at, s->fired->result);
    }
    if (r < 0 && r != WAIT_TIME_UP)
        return r;
    if (refused < 0 && refused != -EAGAIN)
        return refused;
    return error < 0 ? error : -EAGAIN;
}

/* In a section, which it leaves. `ours`: all channels are known to be this P's. */
static int run(struct m *mp, struct sel *s, bool ours)
{
    int r;
    bool again = false;

    /* Not for TSan, which could not know that what is read is used as a hint only. */
    if (unlikely(!ours) && !HAVE_TSAN && !s->times && !s->descriptors && (r = run_peeked(&mp, s)) != -EAGAIN)
        return r;
look_again:
    if (unlikely(s->descriptors)) {
        section_leave(mp);
        if ((r = polls_check(s, again)) < 0)
            return r;
        mp = section_enter();
        ours = false;
    }
    mp = hold(mp, s, ours);
    int32_t i;
    while ((i = look(mp, s)) >= 0) {
        go_case *k = &s->cases[i];
        struct g *wake = NULL;
        r = run_case(k, &wake);
        if (unlikely(r == -EAGAIN))
            continue; /* its partner has been woken by something else since */
        leave(mp, s);
        if (wake)
            ready(mp, wake);
        section_leave(mp);
        return finished(k, (uint32_t)i, r);
    }
    if (s->default_case >= 0) {
        leave(mp, s);
        section_leave(mp);
        return s->default_case;
    }
    r = wait_for_one(mp, s);
    if (likely(r != -EAGAIN))
        return r;
    mp = section_enter();
    ours = false;
    again = true;
    goto look_again;
}

static noinline int run_large(struct m *mp, struct sel *s)
{
    size_t channels = s->channels, descriptors = s->descriptors;
    size_t bytes = channels * (sizeof *s->waiters + sizeof *s->locked) + descriptors * sizeof *s->polls + 1;
    void *memory = system_stack_realloc(NULL, bytes);
    if (!memory)
        fatal("out of memory: no room for a select with %u cases", s->n);
    s->waiters = memory;
    s->polls = (void *)(s->waiters + channels);
    s->locked = (void *)(s->polls + descriptors);
    int r = run(mp, s, false);
    system_stack_call(free, memory);
    return r;
}

GO_EXPORT int go_selectv(go_case *cases, size_t n)
{
    if (n > CASES_MOST)
        return -EINVAL;
    struct sel s;
    s.cases = cases;
    s.n = (uint32_t)n;
    s.descriptors = 0;
    s.default_case = -1;
    s.times = false;
    s.start = 0;
    struct m *mp = section_enter();
    bool ours = true;
    uint32_t channels = 0;
    for (uint32_t i = 0; i < n; i++) {
        go_case *k = &cases[i];
        struct go_channel *c = k->chan_;
        if (likely(is_channel_case(k))) {
            if (likely(c != NULL)) {
                channels++;
                ours &= load_relaxed(&c->bias) == mp->p;
            }
            continue;
        }
        switch (k->kind_) {
        case GO_CASE_DEFAULT_:
            if (s.default_case < 0)
                s.default_case = (int32_t)i;
            break;
        case GO_CASE_AFTER_:
        case GO_CASE_UNTIL_:
            s.times = true;
            break;
        case GO_CASE_READABLE_:
        case GO_CASE_WRITABLE_:
            s.descriptors++;
            break;
        default:
            break;
        }
    }
    s.channels = channels;
    if (unlikely(channels + s.descriptors > SMALL_CASES))
        return run_large(mp, &s);
    /* No more than is needed, for stacks may be small. */
    struct waiter waiters[channels + 1];
    struct go_channel *locked[SMALL_CASES];
    s.waiters = waiters;
    s.locked = locked;
    if (likely(s.descriptors == 0)) {
        s.polls = NULL;
        return run(mp, &s, ours);
    }
    struct netpoll_waiter polls[s.descriptors];
    s.polls = polls;
    return run(mp, &s, ours);
}
