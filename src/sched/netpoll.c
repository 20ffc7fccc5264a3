// SPDX-License-Identifier: MIT
// The netpoller: goroutines that wait for descriptors, and who wakes them.
//
// Invariants
//   - A waiter is on the queue of its descriptor's side from netpoll_add to the claim of its ticket by an edge or a
//     close, or to netpoll_remove.
//   - `edge` of a side goes on whenever that side may have become ready, before the waiters are woken.
//   - While netpoll_waits > 0 and a P is idle, some M sleeps in the poller (sched.poller), or looks for work and will then sleep there,
//     or has just come from there with what it runs first: if that computes for a millisecond, sysmon wakes another M to poll.
//
// "Try, then wait"
//
// Problem. Events are edge-triggered: one for each change to ready, and none if it has been ready all the time. An
// edge between the attempt that found nothing and the waiting must not be lost.
//
// Rejected: level-triggered events, which need a system call for each wait and each end of one; a flag `ready` that the reader
// clears before its attempt (two readers clear each other's).
//
// The way. Edges are counted. A goroutine reads the count before it tries, and waits only if the count, under the descriptor's
// lock, is still the same. Otherwise it tries again.
//
// "Drained"
//
// A TCP read that returns less than was asked for has emptied the socket. The next read need not try: it would cost a system call
// to hear -EAGAIN. So the count of edges before that read is kept as `drained`, and while it is the present count, a read waits at
// once. What comes in between, be it data or the end, is an edge. The one exception is an end that came
// before the read: its event says so (EPOLLRDHUP), and from then on nothing is taken for drained. When a scope, by its
// cancellation or its deadline, ends a wait that no attempt preceded, an attempt is made then.
//
// "One event, many waiters"
//
// An edge wakes the first in the queue, not all of them: on a listening socket a thousand goroutines would come for one
// connection. But an edge may stand for many connections. So a goroutine that has had success and leaves something behind
// passes the event on: it wakes the next one. One that comes in vain goes back to its place in the queue: that is the head, except where
// all were woken because a deadline was set. Those that only look (select) use up nothing and do not count.
// To keep the order among several, only one of them at a time is in flight, that is, between its wake-up and the end of its attempt.
// An edge that comes meanwhile wakes nobody else, for the one in flight sees it, or wakes the next when it lands. It always does that,
// even if it has taken all there was, for the same event may have told of the end, or of an error.
//
// "The same number, another file"
//
// Numbers are reused. go_close tells us; so does every function of the library that makes a descriptor, but for one that receives
// it in a message. But programs also call close, socket and dup2, which tell nobody, and the kernel drops the registration of a
// file that is closed. Asking epoll at each wait whether the registration stands (EPOLL_CTL_MOD, which also reports what is ready
// now) costs a system call, 0.25 µs of the 7 µs that a small request takes. So that is done for descriptors the library did not
// make. For its own the registration is trusted at first; a wait that lasts longer than a period or two is verified once by whoever
// polls. If the file is another one, it is registered, and the number is not trusted any more: the delay happens once. The period
// is 20 ms, and doubles up to 640 ms while nothing is found: with a thousand connections that are each asked ten times a second, a
// shorter one would verify every wait.
//
// The nasty race. A goroutine that is late by a life wants to wait for number 7, which has been closed and opened by another.
// The record has a generation, which goes on at each close; the waiter brings the one it began with, and finds -EBADF.
#include "sched/netpoll.h"

#include <errno.h>
#include <poll.h>

#include "base/options.h"
#include "os/vm.h"
#include "sched/debug_hooks.h"
#include "sched/global.h"
#include "sched/park.h"
#include "sched/runq.h"
#include "sched/section.h"

#define PAGE_BITS 10
#define PAGES (1u << 15)
#define PAGE_RECORDS (1u << PAGE_BITS)
#define SUSPECT_PERIOD 20000000       /* ns */
#define SUSPECT_PERIOD_MOST 640000000 /* ns */
#define INTEREST_ALL (OS_EVENT_READ | OS_EVENT_WRITE | OS_EVENT_URGENT)

_Atomic int netpoll_waits;
_Atomic int64_t netpoll_when;
char netpoll_order;

static _Atomic(struct poll_desc *) pages[PAGES];
static struct lock open_lock = LOCK_INIT(RANK_LEAF);
static _Atomic bool opened; /* written under open_lock */

static struct {
    struct lock lock;
    _Atomic(struct poll_desc *) first; /* under lock; relaxed reads by those who only look */
    _Atomic int64_t due;               /* when to verify; written under lock */
    int64_t period;                    /* under lock: longer while nothing is found */
} suspects = { .lock = LOCK_INIT(RANK_LEAF), .period = SUSPECT_PERIOD };

/* --- records --- */

struct make_page {
    unsigned index;
    bool made;
};

/* On a system stack. */
static void make_page(void *arg)
{
    struct make_page *m = arg;
    size_t size = PAGE_RECORDS * sizeof(struct poll_desc);
    struct poll_desc *page = vm_map(size, 0), *none = NULL;
    if (!page)
        return;
    m->made = true;
    for (unsigned i = 0; i < PAGE_RECORDS; i++) {
        page[i].lock.rank = RANK_FD;
        page[i].side[POLL_READ].edge = page[i].side[POLL_WRITE].edge = 1; /* nothing has been drained yet */
        page[i].fd = (int)(m->index << PAGE_BITS | i);
    }
    /* Release: whoever finds the page finds it set up. */
    if (!cas_acq_rel(&pages[m->index], &none, page))
        vm_unmap(page, size);
}

static always_inline struct poll_desc *find(int fd)
{
    struct poll_desc *page = load_acquire(&pages[(unsigned)fd >> PAGE_BITS]);
    return page ? &page[(unsigned)fd % PAGE_RECORDS] : NULL;
}

static noinline int begin_slow(int fd, struct poll_desc **d)
{
    if (fd < 0 || (unsigned)fd >> PAGE_BITS >= PAGES)
        return -EBADF;
    struct make_page m = { .index = (unsigned)fd >> PAGE_BITS };
    system_stack_call(make_page, &m);
    if (!m.made)
        return -ENOMEM;
    *d = find(fd);
    return 0;
}

int netpoll_begin(int fd, struct poll_desc **d)
{
    if (likely((unsigned)fd >> PAGE_BITS < PAGES) && likely((*d = find(fd)) != NULL))
        return 0;
    return begin_slow(fd, d);
}

static always_inline uint64_t key_of(int fd, uint32_t generation)
{
    return (uint64_t)generation << 32 | (uint32_t)fd;
}

/* --- waking --- */

static void unlink_locked(struct netpoll_waiter *w)
{
    struct poll_queue *q = &w->desc->side[w->side];
    w->desc->urgent -= w->urgent;
    if (w->prev)
        w->prev->next = w->next;
    else
        store_relaxed(&q->first, w->next);
    if (w->next)
        w->next->prev = w->prev;
    else
        q->last = w->prev;
    w->queued = false;
}

/* True if w's goroutine is now ours to wake. w is its own again after that. */
static bool claim_locked(struct netpoll_waiter *w, int result, struct g_list *woken)
{
    struct g *gp = w->gp;
    unlink_locked(w);
    /* Written before the claim: once it is claimed by somebody else, w may be gone with its stack as soon as the lock is
     * released, not before, for its owner takes the lock to leave the queue. */
    int before = w->result;
    w->result = result;
    if (!wait_claim(gp, w->ticket)) {
        w->result = before;
        return false;
    }
    g_list_add(woken, gp);
    return true;
}

/* The side may be ready: wakes the first waiter that takes something (`all`: everyone, to think again), and all that only look. */
static void edge_locked(struct poll_desc *d, enum poll_side side, bool all, struct g_list *woken)
{
    struct poll_queue *q = &d->side[side];
    store_release(&q->edge, load_relaxed(&q->edge) + 1); /* pairs with the acquire in netpoll_see */
    if (all)
        q->in_flight = false;
    bool taken = q->in_flight;
    struct netpoll_waiter *next;
    for (struct netpoll_waiter *w = load_relaxed(&q->first); w; w = next) {
        next = w->next;
        if (w->looks || all) {
            claim_locked(w, NETPOLL_LOOK, woken);
        } else if (!taken) {
            w->flies = next != NULL;
            taken = claim_locked(w, NETPOLL_LOOK, woken);
            if (taken)
                q->in_flight = next != NULL;
        }
    }
}

static void refuse_locked(struct poll_desc *d, struct g_list *woken)
{
    for (int side = 0; side < 2; side++) {
        struct poll_queue *q = &d->side[side];
        store_release(&q->edge, load_relaxed(&q->edge) + 1);
        q->in_flight = false;
        struct netpoll_waiter *w;
        while ((w = load_relaxed(&q->first)))
            claim_locked(w, -EBADF, woken);
    }
}

/* From anywhere outside of the scheduler: as if each had been woken by itself. In a section. */
static void wake_each(struct m *mp, struct g_list *woken)
{
    struct g *next;
    for (struct g *gp = woken->first; gp; gp = next) {
        next = gp->link;
        ready(mp, gp);
    }
}

/* For the scheduler: in their order at the end of the queue. */
static void wake_batch(struct m *mp, struct g_list *woken)
{
    struct p *pp = mp ? mp->p : NULL;
    struct g_list others = { 0 };
    int own = 0;
    struct g *next;
    for (struct g *gp = woken->first; gp; gp = next) {
        next = gp->link;
        if (load_relaxed(&gp->flags) & G_THREAD) {
            ready(mp, gp);
            continue;
        }
        if (unlikely(load_relaxed(&debug_hooks)))
            hook_ready(m_self(), gp); /* it may have a P though mp is NULL */
        store_relaxed(&gp->status, G_RUNNABLE);
        if (pp) {
            runq_push(pp, gp);
            own++;
            continue;
        }
        g_list_add(&others, gp);
    }
    if (own > 1)
        wake_idle(pp);
    if (others.length == 0)
        return;
    lock_take(&sched.lock);
    global_append_locked(&others);
    struct p *idle = p_idle_pop_locked();
    lock_release(&sched.lock);
    if (idle)
        m_start(idle, false, NULL);
}

/* --- registration --- */

/* On a system stack. */
static void open_poller(void *arg)
{
    int *error = arg;
    lock_take(&open_lock);
    if (!load_relaxed(&opened)) {
        *error = os_poller_open(options.epoll_pwait2);
        store_release(&opened, *error == 0); /* pairs with the acquire in poller_ready */
    }
    lock_release(&open_lock);
}

/* What a descriptor is registered for: everything, if that is done once; otherwise only what somebody waits for, because each time
 * reports what is ready now, and a socket is always writable, and urgent data may stay for long. */
static uint32_t interest_locked(struct poll_desc *d, enum poll_side side, bool urgent)
{
    if (load_relaxed(&d->ours))
        return INTEREST_ALL;
    uint32_t what = side == POLL_READ ? OS_EVENT_READ : OS_EVENT_WRITE;
    if (load_relaxed(&d->side[POLL_READ].first))
        what |= OS_EVENT_READ;
    if (load_relaxed(&d->side[POLL_WRITE].first))
        what |= OS_EVENT_WRITE;
    if (urgent || d->urgent > 0)
        what |= OS_EVENT_URGENT;
    return what;
}

/* Sees to it that the file behind the number reports its edges. */
static int enlist_locked(struct poll_desc *d, enum poll_side side, bool urgent)
{
    uint64_t key = key_of(d->fd, load_relaxed(&d->generation));
    bool registered = load_relaxed(&d->registered);
    if (registered && load_relaxed(&d->ours))
        return 0;
    uint32_t what = interest_locked(d, side, urgent);
    int r = registered ? os_poller_again(d->fd, what, key) : -ENOENT;
    if (r == -ENOENT)
        r = os_poller_add(d->fd, what, key);
    if (r == -EEXIST) /* by an earlier generation */
        r = os_poller_again(d->fd, what, key);
    store_relaxed(&d->registered, r == 0);
    return r;
}

static int poller_ready(void)
{
    int r = 0;
    if (unlikely(!load_acquire(&opened))) /* pairs with the release in open_poller */
        system_stack_call(open_poller, &r);
    return r;
}

/* d has been waited for in trust. Under d's lock. */
static void suspect_locked(struct poll_desc *d)
{
    if (d->suspect)
        return;
    lock_take(&suspects.lock);
    struct poll_desc *first = load_relaxed(&suspects.first);
    d->suspect = true;
    for (int side = 0; side < 2; side++)
        d->places_seen[side] = d->side[side].places;
    d->suspect_next = first;
    store_relaxed(&suspects.first, d);
    if (!first)
        store_relaxed(&suspects.due, load_relaxed(&sched.coarse_now) + suspects.period);
    lock_release(&suspects.lock);
    if (!first) {
        full_fence(); /* suspects.first before sched.poller; netpoll_sleep looks the other way round */
        if (load_relaxed(&sched.poller))
            netpoll_interrupt(); /* it may sleep for longer than until `due` */
    }
}

/* Has waited since d came on the list: others who have come and gone in between do not hide it. */
static bool waits_long(struct poll_desc *d, enum poll_side side)
{
    struct netpoll_waiter *first = load_relaxed(&d->side[side].first);
    return first && (int32_t)(first->place - d->places_seen[side]) < 0;
}

/* Verifies that the files that are waited for are registered; see "The same number, another file". */
static noinline void verify(int64_t now, struct g_list *woken)
{
    lock_take(&suspects.lock);
    struct poll_desc *d = load_relaxed(&suspects.first), *next;
    store_relaxed(&suspects.first, NULL);
    lock_release(&suspects.lock);
    bool found = false;
    for (; d; d = next) {
        lock_take(&d->lock);
        next = d->suspect_next;
        d->suspect = false;
        if (waits_long(d, POLL_READ) || waits_long(d, POLL_WRITE)) {
            uint64_t key = key_of(d->fd, load_relaxed(&d->generation));
            int r = os_poller_again(d->fd, INTEREST_ALL, key);
            if (r == -ENOENT) {
                found = true;
                store_relaxed(&d->ours, false);
                r = os_poller_add(d->fd, INTEREST_ALL, key);
            }
            if (r < 0) {
                found = true;
                /* Closed behind our back, or not to be waited for any more: their next attempt will tell them. */
                store_relaxed(&d->ours, false);
                store_relaxed(&d->registered, false);
                edge_locked(d, POLL_READ, true, woken);
                edge_locked(d, POLL_WRITE, true, woken);
            }
        } else if (load_relaxed(&d->side[POLL_READ].first) || load_relaxed(&d->side[POLL_WRITE].first)) {
            suspect_locked(d);
        }
        lock_release(&d->lock);
    }
    lock_take(&suspects.lock);
    suspects.period = found                                    ? SUSPECT_PERIOD
                      : suspects.period < SUSPECT_PERIOD_MOST ? suspects.period * 2
                                                              : SUSPECT_PERIOD_MOST;
    store_relaxed(&suspects.due, now + suspects.period);
    lock_release(&suspects.lock);
}

/* --- waiting --- */

static bool is_before(const struct netpoll_waiter *a, const struct netpoll_waiter *b)
{
    return (int32_t)(a->place - b->place) < 0;
}

/* Queues w at its place: the end if it is new, else usually the head; where all were woken, near the end for most. */
static void enqueue_locked(struct netpoll_waiter *w)
{
    struct poll_desc *d = w->desc;
    struct poll_queue *q = &d->side[w->side];
    struct netpoll_waiter *first = load_relaxed(&q->first), *before = q->last;
    if (!first || is_before(w, first))
        before = NULL;
    while (before && is_before(w, before))
        before = before->prev;
    w->prev = before;
    w->next = before ? before->next : first;
    if (before)
        before->next = w;
    else
        store_relaxed(&q->first, w);
    if (w->next)
        w->next->prev = w;
    else
        q->last = w;
    w->queued = true;
    w->result = NETPOLL_NONE;
    d->urgent += w->urgent;
    if (load_relaxed(&d->ours))
        suspect_locked(d);
}

static void waits_add(void)
{
    atomic_fetch_add_explicit(&netpoll_waits, 1, memory_order_release); /* pairs with the acquire in netpoll_wanted */
}

/* A plain thread waits, and no M may be there to poll. In a section. */
static noinline void see_that_one_polls(void)
{
    full_fence(); /* our netpoll_waits before sched.poller; an M that goes to sleep looks the other way round */
    if (!load_relaxed(&sched.poller))
        wake_spinning(NULL);
}

bool netpoll_late(struct poll_desc *d, enum poll_side side)
{
    int64_t until = load_relaxed(&d->side[side].until);
    return until != 0 && os_now() >= until;
}

int netpoll_wait(struct poll_desc *d, enum poll_side side, struct poll_seen seen, struct poll_turn *turn)
{
    int r = poller_ready();
    if (unlikely(r < 0))
        return r;
    struct m *mp = section_enter();
    struct g *gp = mp->cur;
    struct poll_queue *q = &d->side[side];
    bool again = false;
    lock_take(&d->lock);
    if (load_relaxed(&d->generation) != seen.generation)
        r = -EBADF;
    else if (load_relaxed(&q->edge) != seen.edge)
        again = true;
    else
        r = enlist_locked(d, side, turn->urgent);
    if (r < 0 || again) {
        lock_release(&d->lock);
        section_leave(mp);
        return r;
    }
    int64_t until = load_relaxed(&q->until);
    if (turn->state == TURN_FIRST)
        turn->place = q->places++;
    struct netpoll_waiter w = { .desc = d,
                                .gp = gp,
                                .side = (uint8_t)side,
                                .place = turn->place,
                                .urgent = turn->urgent,
                                .looks = turn->urgent }; /* it leaves to others what they wait for */
    waits_add();
    w.ticket = wait_arm_cancellable(gp, WAIT_IO);
    enqueue_locked(&w);
    if (turn->state == TURN_FLIGHT)
        q->in_flight = false; /* in vain: the next edge wakes the head again */
    lock_release(&d->lock);
    turn->state = TURN_AGAIN;
    if (unlikely(!mp->p))
        see_that_one_polls();
    else
        runq_warm(mp->p);
    r = until ? wait_park_until(mp, gp, until) : wait_park(mp, gp);
    mp = m_self();
    if (unlikely(r < 0)) {
        lock_take(&d->lock);
        if (w.queued)
            unlink_locked(&w);
        lock_release(&d->lock);
        if (r == WAIT_TIME_UP)
            r = -ETIMEDOUT;
    } else if (w.result < 0) {
        r = w.result;
    } else if (w.flies) {
        turn->state = TURN_FLIGHT;
    }
    add_relaxed(&netpoll_waits, -1);
    section_leave(mp);
    return r;
}

noinline void netpoll_pass_on_slow(struct poll_desc *d, enum poll_side side)
{
    struct g_list woken = { 0 };
    struct m *mp = section_enter();
    lock_take(&d->lock);
    edge_locked(d, side, false, &woken);
    lock_release(&d->lock);
    wake_each(mp, &woken);
    section_leave(mp);
}

noinline void netpoll_land(struct poll_desc *d, enum poll_side side, struct poll_seen seen)
{
    struct poll_queue *q = &d->side[side];
    struct g_list woken = { 0 };
    struct m *mp = section_enter();
    lock_take(&d->lock);
    if (load_relaxed(&d->generation) == seen.generation) {
        q->in_flight = false;
        if (load_relaxed(&q->first))
            edge_locked(d, side, false, &woken);
    }
    lock_release(&d->lock);
    wake_each(mp, &woken);
    section_leave(mp);
}

/* Forgets what was known of the number. */
static void renew_locked(struct poll_desc *d, struct g_list *woken)
{
    store_relaxed(&d->generation, load_relaxed(&d->generation) + 1);
    store_relaxed(&d->registered, false);
    store_relaxed(&d->hung_up, 0);
    store_relaxed(&d->busy, 0);
    store_relaxed(&d->side[POLL_READ].until, 0);
    store_relaxed(&d->side[POLL_WRITE].until, 0);
    refuse_locked(d, woken);
}

void netpoll_fresh(int fd, enum poll_kind kind)
{
    struct poll_desc *d;
    if (netpoll_begin(fd, &d) < 0)
        return;
    struct g_list woken = { 0 };
    struct m *mp = section_enter();
    lock_take(&d->lock);
    renew_locked(d, &woken);
    store_relaxed(&d->kind, (uint8_t)kind);
    store_relaxed(&d->ours, kind != KIND_UNKNOWN);
    lock_release(&d->lock);
    wake_each(mp, &woken);
    section_leave(mp);
}

uint32_t netpoll_closing(int fd)
{
    struct poll_desc *d = (unsigned)fd >> PAGE_BITS < PAGES ? find(fd) : NULL;
    if (!d)
        return 0;
    struct g_list woken = { 0 };
    struct m *mp = section_enter();
    lock_take(&d->lock);
    bool registered = load_relaxed(&d->registered);
    renew_locked(d, &woken);
    store_relaxed(&d->kind, KIND_UNKNOWN);
    store_relaxed(&d->ours, false);
    uint32_t generation = load_relaxed(&d->generation);
    lock_release(&d->lock);
    wake_each(mp, &woken);
    section_leave(mp);
    /* Closing does that too, but not while the file has another descriptor, perhaps in a child. */
    if (registered)
        os_poller_remove(fd);
    return generation;
}

static bool has_deadline(const struct poll_desc *d)
{
    return load_relaxed(&d->side[POLL_READ].until) != 0 || load_relaxed(&d->side[POLL_WRITE].until) != 0;
}

/* Between netpoll_closing and the close somebody may have begun to wait, set a deadline or found out a kind, for a file that is no more. */
void netpoll_closed(int fd, uint32_t generation)
{
    struct poll_desc *d = (unsigned)fd >> PAGE_BITS < PAGES ? find(fd) : NULL;
    if (!d)
        return;
    struct g_list woken = { 0 };
    struct m *mp = section_enter();
    lock_take(&d->lock);
    if (load_relaxed(&d->generation) == generation) {
        store_relaxed(&d->registered, false);
        store_relaxed(&d->kind, KIND_UNKNOWN);
        if (has_deadline(d) && !os_is_open(fd)) { /* or it is the next file's, while this one lingers */
            store_relaxed(&d->side[POLL_READ].until, 0);
            store_relaxed(&d->side[POLL_WRITE].until, 0);
        }
        edge_locked(d, POLL_READ, true, &woken);
        edge_locked(d, POLL_WRITE, true, &woken);
    }
    lock_release(&d->lock);
    wake_each(mp, &woken);
    section_leave(mp);
}

void netpoll_set_kind(struct poll_desc *d, uint32_t generation, enum poll_kind kind)
{
    struct m *mp = section_enter();
    lock_take(&d->lock);
    if (load_relaxed(&d->generation) == generation)
        store_relaxed(&d->kind, (uint8_t)kind);
    lock_release(&d->lock);
    section_leave(mp);
}

static void set_until_locked(struct poll_desc *d, enum poll_side side, int64_t until, struct g_list *woken)
{
    struct poll_queue *q = &d->side[side];
    if (load_relaxed(&q->until) == until)
        return;
    bool drained = load_relaxed(&q->drained) == load_relaxed(&q->edge);
    store_relaxed(&q->until, until);
    edge_locked(d, side, true, woken);
    if (drained)
        store_relaxed(&q->drained, load_relaxed(&q->edge));
}

int netpoll_set_until(int fd, int64_t read_by, int64_t write_by)
{
    struct poll_desc *d = (unsigned)fd >> PAGE_BITS < PAGES ? find(fd) : NULL;
    if (!d) {
        int r = os_is_open(fd) ? netpoll_begin(fd, &d) : -EBADF;
        if (r < 0)
            return r;
    }
    /* One past time is as good as another, and the calls that wait take none below 0. */
    if (read_by < 0)
        read_by = 1;
    if (write_by < 0)
        write_by = 1;
    struct g_list woken = { 0 };
    struct m *mp = section_enter();
    lock_take(&d->lock);
    set_until_locked(d, POLL_READ, read_by, &woken);
    set_until_locked(d, POLL_WRITE, write_by, &woken);
    /* Asked afterwards: if it is open now, whoever closes it comes by when that is done (netpoll_closed), and finds the deadline. */
    bool closed = !os_is_open(fd);
    if (closed) {
        set_until_locked(d, POLL_READ, 0, &woken);
        set_until_locked(d, POLL_WRITE, 0, &woken);
    }
    lock_release(&d->lock);
    wake_each(mp, &woken);
    section_leave(mp);
    return closed ? -EBADF : 0;
}

/* --- one of several --- */

int netpoll_prepare(int fd, enum poll_side side, struct netpoll_waiter *w)
{
    struct poll_desc *d;
    int r = netpoll_begin(fd, &d);
    if (r < 0)
        return r;
    struct poll_seen seen = netpoll_see(d, side);
    *w = (struct netpoll_waiter){ .desc = d,
                                  .generation = seen.generation,
                                  .edge = seen.edge,
                                  .side = (uint8_t)side,
                                  .looks = true };
    return poller_ready();
}

int netpoll_check(int fd, enum poll_side side, struct netpoll_waiter *w)
{
    int r = netpoll_prepare(fd, side, w);
    if (r < 0)
        return r;
    r = os_poll(fd, side == POLL_READ ? POLLIN | POLLRDHUP : POLLOUT);
    if (r > 0)
        netpoll_order_out();
    if (r != 0)
        return r < 0 ? r : 1;
    return netpoll_late(w->desc, side) ? 1 : 0;
}

int netpoll_add(struct netpoll_waiter *w, struct g *gp, uint64_t ticket)
{
    struct poll_desc *d = w->desc;
    struct poll_queue *q = &d->side[w->side];
    w->gp = gp;
    w->ticket = ticket;
    lock_take(&d->lock);
    int r = load_relaxed(&d->generation) != w->generation ? -EBADF
            : load_relaxed(&q->edge) != w->edge           ? -EAGAIN
                                                          : enlist_locked(d, w->side, w->urgent);
    if (r == 0) {
        waits_add();
        w->place = q->places++;
        enqueue_locked(w);
    }
    lock_release(&d->lock);
    if (r == 0 && unlikely(load_relaxed(&gp->flags) & G_THREAD))
        see_that_one_polls();
    return r;
}

void netpoll_remove(struct netpoll_waiter *w)
{
    lock_take(&w->desc->lock);
    if (w->queued)
        unlink_locked(w);
    lock_release(&w->desc->lock);
    add_relaxed(&netpoll_waits, -1);
}

int64_t netpoll_until(const struct netpoll_waiter *w)
{
    int64_t until = load_relaxed(&w->desc->side[w->side].until);
    return until ? until : TIME_NEVER;
}

int netpoll_wait_any(struct netpoll_waiter *w, int n, int64_t when)
{
    struct m *mp = section_enter();
    struct g *gp = mp->cur;
    int added = 0, r = 0;
    uint64_t ticket = wait_arm_cancellable(gp, WAIT_IO);
    for (; added < n && r == 0; added += r == 0) {
        int64_t until = netpoll_until(&w[added]);
        if (until < when)
            when = until;
        r = netpoll_add(&w[added], gp, ticket);
    }
    if (r < 0) {
        /* If somebody has claimed us meanwhile, we will be woken, too. */
        if (wait_claim(gp, ticket))
            store_relaxed(&gp->status, G_RUNNING);
        else
            wait_park(mp, gp);
        if (r == -EAGAIN)
            r = 0;
    } else {
        r = wait_park_until(mp, gp, when);
        if (r == 0)
            r = 1;
    }
    mp = m_self();
    for (int i = 0; i < added; i++) {
        netpoll_remove(&w[i]);
        if (w[i].result < 0)
            r = w[i].result;
    }
    section_leave(mp);
    return r;
}

/* --- for the scheduler --- */

static struct poll_desc *event_desc(const struct os_event *event)
{
    return find((int)(uint32_t)event->key);
}

/* Fetches into the cache what deliver will touch: a thousand records, and the waiters on as many stacks, have gone from there. */
static always_inline void deliver_warm(const struct os_event *events, int n, int i)
{
    if (i + 6 < n)
        prefetch(event_desc(&events[i + 6]), sizeof(struct poll_desc));
    if (i + 3 < n)
        prefetch(load_relaxed(&event_desc(&events[i + 3])->side[POLL_READ].first), sizeof(struct netpoll_waiter));
}

static void deliver(const struct os_event *events, int n, struct g_list *woken)
{
    for (int i = 0; i < n; i++) {
        struct poll_desc *d = event_desc(&events[i]);
        deliver_warm(events, n, i);
        uint32_t what = events[i].what;
        lock_take(&d->lock);
        if (likely(load_relaxed(&d->generation) == events[i].key >> 32)) {
            if (what & OS_EVENT_HUNG_UP)
                store_relaxed(&d->hung_up, 1);
            if (what & OS_EVENT_READ)
                edge_locked(d, POLL_READ, false, woken);
            if (what & OS_EVENT_WRITE)
                edge_locked(d, POLL_WRITE, false, woken);
        }
        lock_release(&d->lock);
    }
}

static bool verify_due(int64_t now)
{
    return load_relaxed(&suspects.first) && now >= load_relaxed(&suspects.due);
}

int netpoll_now(struct m *mp)
{
    struct netpoll_batch batch;
    batch.n = os_poller_wait(batch.events, NETPOLL_BATCH, 0);
    return netpoll_deliver(mp, &batch);
}

void netpoll_sleep(struct netpoll_batch *batch, int64_t when)
{
    int64_t until = when;
    full_fence(); /* sched.poller before suspects.first: see suspect_locked */
    if (load_relaxed(&suspects.first) && load_relaxed(&suspects.due) < until)
        until = load_relaxed(&suspects.due);
    batch->n = os_poller_wait(batch->events, NETPOLL_BATCH, until > 0 ? until : 1);
}

int netpoll_deliver(struct m *mp, const struct netpoll_batch *batch)
{
    struct g_list woken = { 0 };
    int64_t now = os_now();
    store_relaxed(&netpoll_when, now);
    deliver(batch->events, batch->n, &woken);
    if (unlikely(verify_due(now)))
        verify(now, &woken);
    if (woken.length > 0)
        wake_batch(mp, &woken);
    return (int)woken.length;
}

void netpoll_interrupt(void)
{
    os_poller_wake();
}
