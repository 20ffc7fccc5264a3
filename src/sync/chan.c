// SPDX-License-Identifier: MIT
// Channels.
//
// Invariants, while nobody holds the channel
//   - A value in the buffer implies that no receiver waits (none that has not been woken by something else and is about
//     to take itself off the queue).
//   - A free place in the buffer implies that no sender waits (likewise).
//   - A closed channel has no waiters (likewise).
//   - Values leave in the order in which they came; waiters are served in the order in which they came.
//
// A value goes from the sender's memory to the receiver's in one copy if the receiver waits, or if the sender waits and the
// channel is unbuffered. Whoever completes another's wait removes it from the queue, claims it ("One wake-up" in park.h),
// moves the value, leaves the channel, and only then makes the other ready.
//
// "Bias"
//
// Problem. Two goroutines that talk to each other run on one P nearly always, for that is where the scheduler keeps
// them. A lock costs them 4 to 11 ns for each operation, by machine, against some 5 ns for all the rest, and protects them from nobody.
// Rejected. Lock-free queues for the waiters: FIFO with withdrawal in the middle, select and close needs several atomic
// operations where the lock needs two. Non-atomic operations while the process has one P: the plain threads would have
// to be stopped when there are more, and two Ps gain nothing.
//
// The way. A channel belongs to the P it was made on: c->bias. An M in a section is the only one to touch what its P owns
// (section.h), so an M that finds bias == its own P has the channel, without any lock, until it leaves the section. Anybody
// else, be it another P or a plain thread, first revokes the bias: it takes that P's lock, seizes the M so that it is known to be
// outside of its section, and stores UNBIASED. From then on all use the channel's lock. When some P has been the only one
// to take the lock for so long that its locks have cost as much as a revocation, the channel becomes its own: whatever
// happens next, the price is at most twice that of knowing it beforehand (ski rental; Karlin, Manasse, Rudolph and
// Sleator, Competitive Snoopy Caching, 1988). A sieve at 2 Ps took a third more time when 128 uses were enough, for
// its channels are used from both sides again and again.
//
// The nasty race. A stale bias. A reads bias == P1, which is not its own, and prepares to revoke it; meanwhile B revokes it and the
// channel, under the lock, becomes C's. Therefore the revoker reads the bias again under P1's lock, and starts over if it differs; and
// whoever has taken the channel's lock looks at the bias again: the previous holder may have given it away. The owner needs no
// second look: while its M is in a section the bias of its own channels does not change.
//
// The other one: two Ms that revoke from each other, each in a section, would wait for each other. The revoker
// leaves its section first, which also lets others seize it; it holds no channel then, so chan_enter comes first in
// every operation, and select begins anew.
//
// Revoking costs both sides several microseconds. A P whose channels get revoked all the time makes unbiased ones for a while. And
// a goroutine that has just been stolen from the channel's P rather goes back there: see "Thefts that are worth nothing" in steal.c.
//
// "The last reference"
//
// A goroutine whose select has been decided elsewhere is still on the queues of its other channels until it runs
// again. To its program that select is over, and the channel may be freed. So the last chan_unref does not free a channel
// that has waiters: whoever takes the last of them off does.
#include "sync/chan.h"

#include <goroutine/chan.h>

#include <errno.h>
#include <stdlib.h>

#include "sched/fatal.h"
#include "sched/switch.h"

#define SMALL_BYTES 128 /* two cache lines: unbuffered ones, and buffers of up to 48 bytes */
#define SLAB_CHANNELS 128
#define ADDRESSES ((size_t)1 << 47) /* that a process has: a channel that needs more is a mistake, not a lack of memory */
#define CACHE_MOST 128 /* small free channels of a P */
#define CACHE_BATCH 64
#define STREAK 2048 /* uses in a row that make an unbiased channel one's own; their locks cost what a revocation does */
#define LUCK_LEAST (-256)
#define LUCK_MOST 64
#define LUCK_REVOKED 16 /* a revocation costs as much as the lock in so many channels' lives */

/* --- bias --- */

static cold void revoke(struct go_channel *c, struct p *pp)
{
    for (;;) {
        lock_take(&pp->lock);
        bool still = load_relaxed(&c->bias) == pp;
        bool seized = still && p_seize(pp);
        if (seized) {
            pp->chan_luck -= LUCK_REVOKED;
            if (pp->chan_luck < LUCK_LEAST)
                pp->chan_luck = LUCK_LEAST;
            /* Release: who reads UNBIASED and takes the lock sees what the owner did. */
            store_release(&c->bias, UNBIASED);
            p_unseize(pp);
        }
        lock_release(&pp->lock);
        if (seized || !still)
            return;
        os_thread_yield(); /* its M has lost its processor inside a section */
    }
}

noinline struct m *chan_enter_slow(struct m *mp, struct go_channel *c, bool may_park)
{
    for (;;) {
        struct p *bias = load_acquire(&c->bias); /* pairs with the release in revoke */
        if (bias == UNBIASED) {
            lock_take(&c->lock);
            /* Acquire: it may have been some P's own again in between, and written without the lock. */
            if (likely(load_acquire(&c->bias) == UNBIASED))
                return mp;
            lock_release(&c->lock);
        } else if (bias == mp->p) {
            __tsan_acquire(c);
            return mp;
        } else if (may_park && theft_undo(mp, bias)) {
            mp = m_self();
        } else {
            struct p *pp = mp->p;
            int64_t began = os_now();
            section_leave(mp);
            revoke(c, bias);
            int64_t ended = os_now();
            mp = section_enter();
            if (pp && mp->p == pp)
                pp->theft_when += ended - began; /* no gain of a theft, but its price */
        }
    }
}

noinline void chan_leave_slow(struct m *mp, struct go_channel *c)
{
    struct p *pp = mp->p;
    if (c->last != pp) {
        c->last = pp;
        c->streak = 0;
    } else if (unlikely(++c->streak >= STREAK) && pp && !(c->kind & CHAN_PINNED)) {
        c->streak = 0;
        __tsan_release(c);
        store_relaxed(&c->bias, pp); /* read under the lock, or by whoever will revoke it */
    }
    lock_release(&c->lock);
}

/* --- memory --- */

static struct {
    struct lock lock;
    struct go_channel *free; /* under lock */
    char *slab;              /* under lock: what is left of the newest */
    uint32_t left;
} central = { .lock = LOCK_INIT(RANK_LEAF) };

struct request {
    size_t bytes;
    void *result;
};

static void allocate(void *arg)
{
    struct request *r = arg;
    r->result = aligned_alloc(CACHE_LINE, r->bytes);
}

static void *allocate_or_die(size_t bytes)
{
    struct request r = { .bytes = bytes };
    system_stack_call(allocate, &r);
    if (!r.result)
        fatal("out of memory: no room for a channel of %zu bytes", bytes);
    return r.result;
}

static struct go_channel **free_link(struct go_channel *c)
{
    return (struct go_channel **)(void *)c;
}

/* One small channel, and, if pp is given, more of them to its cache. */
static noinline struct go_channel *small_refill(struct p *pp)
{
    struct go_channel *list = NULL;
    uint32_t count = 0, wanted = pp ? CACHE_BATCH : 1;
    char *fresh = NULL;
    lock_take(&central.lock);
    while (count < wanted) {
        struct go_channel *c = central.free;
        if (c) {
            central.free = *free_link(c);
        } else if (central.left > 0) {
            c = (void *)central.slab;
            central.slab += SMALL_BYTES;
            central.left--;
        } else if (count > 0) {
            break;
        } else {
            /* Two may do so at once: then what is left of the other one's slab goes to the list. */
            lock_release(&central.lock);
            fresh = allocate_or_die((size_t)SLAB_CHANNELS * SMALL_BYTES);
            lock_take(&central.lock);
            while (central.left > 0) {
                c = (void *)(central.slab + --central.left * SMALL_BYTES);
                *free_link(c) = central.free;
                central.free = c;
            }
            central.slab = fresh;
            central.left = SLAB_CHANNELS;
            continue;
        }
        *free_link(c) = list;
        list = c;
        count++;
    }
    lock_release(&central.lock);
    struct go_channel *c = list;
    if (pp) {
        pp->chan_free = *free_link(c);
        pp->chan_free_count = count - 1;
    }
    return c;
}

/* pp's oldest to the central list until `keep` are left. */
static noinline void small_give_back(struct p *pp, uint32_t keep)
{
    struct go_channel **at = &pp->chan_free, *first;
    for (uint32_t i = 0; i < keep && *at; i++)
        at = free_link(*at);
    if (!(first = *at))
        return;
    struct go_channel *last = first;
    while (*free_link(last))
        last = *free_link(last);
    *at = NULL;
    pp->chan_free_count = keep;
    lock_take(&central.lock);
    *free_link(last) = central.free;
    central.free = first;
    lock_release(&central.lock);
}

void chan_cache_flush(struct p *pp)
{
    small_give_back(pp, 0);
}

static void small_free(struct p *pp, struct go_channel *c)
{
    if (unlikely(!pp)) {
        lock_take(&central.lock);
        *free_link(c) = central.free;
        central.free = c;
        lock_release(&central.lock);
        return;
    }
    *free_link(c) = pp->chan_free;
    pp->chan_free = c;
    if (unlikely(++pp->chan_free_count >= CACHE_MOST))
        small_give_back(pp, CACHE_MOST - CACHE_BATCH);
}

/* In a section; nobody else knows c. */
static void chan_free(struct m *mp, struct go_channel *c)
{
    struct p *pp = mp->p;
    if (pp && load_relaxed(&c->bias) == pp && pp->chan_luck < LUCK_MOST)
        pp->chan_luck++;
    if (likely(c->kind & CHAN_SMALL))
        small_free(pp, c);
    else
        system_stack_call(free, c);
}

struct go_channel *chan_new(struct m *mp, size_t size, size_t capacity, unsigned kind)
{
    size_t bytes;
    struct p *pp = mp->p;
    struct go_channel *c;
    if (size > UINT32_MAX || capacity > UINT32_MAX || __builtin_mul_overflow(size, capacity, &bytes) ||
        bytes > ADDRESSES)
        return NULL;
    bytes += offsetof(struct go_channel, buffer);
    /* AddressSanitizer finds the use of freed channels only in what was malloc's. */
    if (bytes <= SMALL_BYTES && !HAVE_ASAN) {
        kind |= CHAN_SMALL;
        c = likely(pp != NULL) ? pp->chan_free : NULL;
        if (likely(c != NULL)) {
            pp->chan_free = *free_link(c);
            pp->chan_free_count--;
        } else {
            c = small_refill(pp);
        }
    } else {
        c = allocate_or_die((bytes + CACHE_LINE - 1) & ~(size_t)(CACHE_LINE - 1));
    }
    struct p *bias = UNBIASED;
    if (likely(pp && !(kind & CHAN_PINNED))) {
        if (likely(pp->chan_luck >= 0))
            bias = pp;
        else
            pp->chan_luck++;
    }
    store_relaxed(&c->bias, bias);
    c->lock = (struct lock)LOCK_INIT(RANK_CHAN);
    c->recvq = c->sendq = NULL;
    store_relaxed(&c->count, 0);
    c->capacity = (uint32_t)capacity;
    c->head = c->tail = 0;
    c->size = (uint32_t)size;
    c->flags = 0;
    c->kind = (uint8_t)kind;
    c->streak = 0;
    c->last = NULL;
    store_relaxed(&c->refs, 1);
    c->after = NULL;
    return c;
}

GO_EXPORT struct go_channel *go_chan_make_(size_t size, size_t capacity)
{
    struct m *mp = section_enter();
    struct go_channel *c = chan_new(mp, size, capacity, 0);
    section_leave(mp);
    return c;
}

GO_EXPORT struct go_channel *go_chan_ref_(struct go_channel *c)
{
    thread_calls();
    if (c)
        atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

/* Gives a reference back; true if it was the last one. */
static bool last_unref(struct go_channel *c)
{
    uint32_t refs = load_acquire(&c->refs);
    if (unlikely(c->after != NULL)) {
        /* If only the timer's is left, nobody waits for it. By compare-and-swap: of two that give theirs back, one must see that. */
        while (refs > 2)
            if (cas_acq_rel(&c->refs, &refs, refs - 1))
                return false;
        if (refs == 2)
            after_abandon(c->after, c);
        refs = load_acquire(&c->refs);
    }
    /* If it is the only one there is nobody else who could make it two: no atomic operation is needed. Acquire: pairs
     * with the release of those who have given back theirs. */
    return refs == 1 || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1;
}

GO_EXPORT void go_chan_unref_(struct go_channel *c)
{
    thread_calls();
    if (!c || !last_unref(c))
        return;
    struct m *mp = chan_enter(section_enter(), c);
    bool orphan = c->recvq || c->sendq;
    if (unlikely(orphan))
        c->flags |= CHAN_ORPHAN;
    chan_leave(mp, c);
    if (likely(!orphan))
        chan_free(mp, c);
    section_leave(mp);
}

/* --- waiting --- */

noinline struct m *chan_withdraw(struct m *mp, struct go_channel *c, struct waiter **queue,
                                 struct waiter *w)
{
    mp = chan_enter(mp, c);
    queue_unlink(queue, w);
    bool abandoned = unlikely(c->flags & CHAN_ORPHAN) && !c->recvq && !c->sendq;
    chan_leave(mp, c);
    if (abandoned)
        chan_free(mp, c);
    return mp;
}

/* Holding c: waits on *queue, leaves c and the section. */
static noinline int chan_wait(struct m *mp, struct go_channel *c, struct waiter **queue, void *value,
                              enum wait_reason reason)
{
    struct g *gp = mp->cur;
    struct waiter w = { .g = gp, .value = value, .sole = gp->scope == NULL };
    w.ticket = wait_arm_cancellable(gp, reason);
    queue_push(queue, &w);
    chan_leave(mp, c);
    int r = wait_park_inline(mp, gp);
    mp = m_self();
    if (likely(r == 0))
        r = w.result;
    else
        mp = chan_withdraw(mp, c, queue, &w);
    section_leave(mp);
    return r;
}

/* On a NULL channel. */
static noinline int wait_for_ever(struct m *mp, enum wait_reason reason)
{
    struct g *gp = mp->cur;
    wait_arm_cancellable(gp, reason);
    int r = wait_park(mp, gp);
    section_leave(m_self());
    return r;
}

static always_inline int send(struct go_channel *c, const void *value, bool wait)
{
    struct m *mp = section_enter();
    if (unlikely(!c)) {
        if (wait)
            return wait_for_ever(mp, WAIT_CHAN_SEND_NULL);
        section_leave(mp);
        return -EAGAIN;
    }
    struct g *wake = NULL;
    mp = chan_enter_as(mp, c, wait);
    int r = chan_put(c, value, &wake);
    if (wait && r == -EAGAIN)
        return chan_wait(mp, c, &c->sendq, (void *)(uintptr_t)value, WAIT_CHAN_SEND);
    chan_leave(mp, c);
    if (wake)
        ready(mp, wake);
    section_leave(mp);
    return r;
}

static always_inline int receive(struct go_channel *c, void *out, bool wait)
{
    struct m *mp = section_enter();
    if (unlikely(!c)) {
        if (wait)
            return wait_for_ever(mp, WAIT_CHAN_RECEIVE_NULL);
        section_leave(mp);
        return -EAGAIN;
    }
    struct g *wake = NULL;
    mp = chan_enter_as(mp, c, wait);
    int r = chan_take(c, out, &wake);
    if (wait && r == -EAGAIN)
        return chan_wait(mp, c, &c->recvq, out, WAIT_CHAN_RECEIVE);
    chan_leave(mp, c);
    if (wake)
        ready(mp, wake);
    section_leave(mp);
    return r;
}

GO_EXPORT int go_chan_send_(struct go_channel *c, const void *value)
{
    return send(c, value, true);
}

GO_EXPORT int go_chan_try_send_(struct go_channel *c, const void *value)
{
    return send(c, value, false);
}

GO_EXPORT int go_chan_recv_(struct go_channel *c, void *out)
{
    return receive(c, out, true);
}

GO_EXPORT int go_chan_try_recv_(struct go_channel *c, void *out)
{
    return receive(c, out, false);
}

/* Claims and tells all waiters on a queue of the closed channel; appends them to the list that ends at `end`; returns its new end. */
static struct waiter **claim_all(struct go_channel *c, struct waiter **queue, struct waiter **end)
{
    struct waiter *w;
    while ((w = queue_claim(queue))) {
        if (queue == &c->recvq && w->value)
            memset(w->value, 0, c->size);
        waiter_done(w, queue == &c->recvq ? 0 : -EPIPE);
        w->next = NULL;
        *end = w;
        end = &w->next;
    }
    return end;
}

GO_EXPORT int go_chan_close_(struct go_channel *c)
{
    if (!c)
        fatal("close of nil channel");
    struct m *mp = chan_enter(section_enter(), c);
    if (c->flags & CHAN_CLOSED) {
        chan_leave(mp, c);
        section_leave(mp);
        return -EPIPE;
    }
    c->flags |= CHAN_CLOSED;
    /* A select may wait in both directions. */
    bool senders_first = chance(mp) % 2 == 0;
    struct waiter *list = NULL, **end = &list, *w;
    if (senders_first)
        end = claim_all(c, &c->sendq, end);
    end = claim_all(c, &c->recvq, end);
    if (!senders_first)
        claim_all(c, &c->sendq, end);
    chan_leave(mp, c);
    uint32_t n = 0; /* not plain threads: they are on no queue */
    while ((w = list)) {
        list = w->next; /* after ready w is gone */
        n += (load_relaxed(&w->g->flags) & G_THREAD) == 0;
        ready(mp, w->g);
    }
    if (n > 1 && mp->p)
        runq_keep_order(mp->p);
    section_leave(mp);
    return 0;
}

GO_EXPORT size_t go_chan_len_(const struct go_channel *c)
{
    thread_calls();
    return c && !(c->kind & CHAN_TIMER) ? load_relaxed(&c->count) : 0;
}

GO_EXPORT size_t go_chan_cap_(const struct go_channel *c)
{
    thread_calls();
    return c && !(c->kind & CHAN_TIMER) ? c->capacity : 0;
}

/* --- for timers and signals --- */

int chan_try_put(struct m *mp, struct go_channel *c, const void *value)
{
    struct g *wake = NULL;
    check(load_relaxed(&c->bias) == UNBIASED);
    mp = chan_enter(mp, c);
    int r = chan_put(c, value, &wake);
    chan_leave(mp, c);
    if (wake)
        ready(mp, wake);
    return r;
}

uint32_t chan_drain(struct m *mp, struct go_channel *c)
{
    check(load_relaxed(&c->bias) == UNBIASED);
    mp = chan_enter(mp, c);
    uint32_t count = load_relaxed(&c->count);
    store_relaxed(&c->count, 0);
    c->head = c->tail;
    chan_leave(mp, c);
    return count;
}
