// SPDX-License-Identifier: MIT
// Waiting for descriptors. The essay is in netpoll.c; what an operating system must supply is in os/poller.h.
//
// A wait for one descriptor:
//
//     struct poll_desc *d;  struct poll_seen seen;
//     r = netpoll_begin(fd, &d);                    -EBADF if fd cannot be a descriptor
//     do {
//         seen = netpoll_see(d, side);              before the attempt
//         attempt the operation without blocking; if it did not answer -EAGAIN: done
//         r = netpoll_wait(d, side, seen, &turn);   turn is zeroed at first
//     } while (r == 0);
//     if (turn.state == TURN_FLIGHT) netpoll_land(d, side, seen);
//
// A wait for several things (select), the descriptor being one of them:
//
//     r = netpoll_check(fd, side, &w);              1 ready · 0 not · -EBADF, -ENOMEM, -EMFILE, -ENFILE; prepares w
//     ticket = wait_arm_cancellable(gp, WAIT_SELECT);
//     r = netpoll_add(&w, gp, ticket);              0 queued · -EAGAIN look again · -EBADF, -ENOMEM, -ENOSPC,
//                                                   -EMFILE: not to be waited for
//     wait_park_until(mp, gp, the earliest of the select's own limits and netpoll_until(&w));
//     netpoll_remove(&w);                           always, for each w that netpoll_add has queued
//     w.result                                      NETPOLL_NONE: not this one · NETPOLL_LOOK: netpoll_check again,
//                                                   it may be ready · -EBADF: closed
//
// netpoll_check makes system calls and is called outside of sections; netpoll_add and netpoll_remove inside, with no lock
// of the rank of descriptors or above held.
#pragma once

#include "base/atomic.h"
#include "base/compiler.h"
#include "base/sanitize.h"
#include "os/lock.h"
#include "os/poller.h"
#include "sched/g.h"

enum poll_side { POLL_READ, POLL_WRITE };

/* What netpoll_waiter.result says beside a negative errno. */
enum { NETPOLL_NONE = 0, NETPOLL_LOOK = 1 };

struct netpoll_waiter {
    struct netpoll_waiter *next, *prev; /* under the descriptor's lock, as all but result */
    struct poll_desc *desc;
    struct g *gp;
    uint64_t ticket;
    uint32_t generation, edge; /* as of netpoll_check; see poll_seen */
    int result;                /* by whoever claims the ticket on behalf of this one; read after the wake-up */
    uint8_t side;              /* enum poll_side */
    bool queued;
    bool looks;                /* need not take what is there: does not use up a wake-up */
    bool urgent;               /* waits for urgent data, too */
    bool flies;                /* as result: it is the one that is on its way; see "One event, many waiters" */
    uint32_t place;            /* in the queue: rises from its head */
};

/* What was known before an attempt: if it is still so at the time of waiting, nothing has been missed. */
struct poll_seen {
    uint32_t generation; /* of the descriptor: goes on at each close */
    uint32_t edge;       /* of the side: goes on at each change to ready */
};

struct poll_queue {
    _Atomic(struct netpoll_waiter *) first; /* under lock; relaxed reads by those who only look */
    struct netpoll_waiter *last;            /* under lock */
    _Atomic uint32_t edge;    /* written under lock; release, pairs with the acquire in netpoll_see */
    _Atomic uint32_t drained; /* the edge as of an operation that took all there was; relaxed, by anyone */
    _Atomic int64_t until;    /* the deadline, 0 if none; written under lock */
    uint32_t places;          /* under lock: handed out so far */
    bool in_flight;           /* under lock: one of several has been woken and has not landed yet */
};

/* How a descriptor is dealt with: a guess, for its number may stand for another file by now. */
enum poll_kind {
    KIND_UNKNOWN,
    KIND_SOCKET, /* MSG_DONTWAIT works */
    KIND_TCP,    /* and a short read means that there was no more */
    KIND_PIPE,   /* pollable, and RWF_NOWAIT works */
    KIND_DEVICE, /* pollable, but RWF_NOWAIT does not work, at least for writes: look first */
    KIND_TERMINAL, /* likewise, and looking first is not enough: it may block all the same */
    KIND_FILE,   /* always ready: its calls are handed off */
};

/*
 * One for each descriptor number, type-stable: made when the number is first used here and never freed.
 */
struct poll_desc {
    struct lock lock;             /* RANK_FD */
    _Atomic uint32_t generation;  /* written under lock; relaxed reads are checked under lock */
    _Atomic uint8_t kind;         /* enum poll_kind; written under lock; relaxed reads */
    _Atomic uint8_t hung_up;      /* the peer has ended its side: no `drained`. Relaxed */
    _Atomic bool registered;      /* with the poller, as far as is known. Written under lock */
    _Atomic bool ours;            /* the library made it, so `registered` is trusted for a while */
    _Atomic uint32_t busy;        /* the generation in which somebody is inside a call that might block, plus 1; see io/op.c */
    bool suspect;                 /* on the list of those to be verified; under lock */
    uint32_t places_seen[2];      /* of each side, when it came on that list; under lock */
    uint32_t urgent;              /* how many in the queues wait for urgent data; under lock */
    int fd;                       /* constant */
    struct poll_desc *suspect_next; /* constant while suspect */
    struct poll_queue side[2];    /* by enum poll_side */
} __attribute__((aligned(CACHE_LINE)));

/*
 * For ThreadSanitizer. As in Go, what was written to a descriptor happens before what is read later from any descriptor: only the
 * kernel knows which of them belong together. netpoll_order_in is called before the system call, netpoll_order_out after.
 */
extern char netpoll_order;

static always_inline void netpoll_order_in(void)
{
    __tsan_release(&netpoll_order);
}

static always_inline void netpoll_order_out(void)
{
    __tsan_acquire(&netpoll_order);
}

/* --- one descriptor --- */

/* The record of fd; -EBADF if it cannot be a descriptor's number, or -ENOMEM. On any stack. */
int netpoll_begin(int fd, struct poll_desc **d);

static always_inline struct poll_seen netpoll_see(struct poll_desc *d, enum poll_side side)
{
    return (struct poll_seen){
        .edge = load_acquire(&d->side[side].edge), /* pairs with the release in edge_locked */
        .generation = load_relaxed(&d->generation),
    };
}

/* An operation on a stream took less than it asked for: until the next edge there is nothing to be had. */
static always_inline void netpoll_drained(struct poll_desc *d, enum poll_side side, struct poll_seen seen)
{
    store_relaxed(&d->side[side].drained, seen.edge);
}

/* True if an attempt would be in vain as far as is known. */
static always_inline bool netpoll_is_drained(struct poll_desc *d, enum poll_side side, struct poll_seen seen)
{
    return load_relaxed(&d->side[side].drained) == seen.edge &&
           load_relaxed(&d->registered) && !load_relaxed(&d->hung_up);
}

/* The deadline of the side has passed. */
bool netpoll_late(struct poll_desc *d, enum poll_side side);

/* How an operation stands in the queue. */
struct poll_turn {
    enum {
        TURN_FIRST,  /* has not waited */
        TURN_AGAIN,  /* has waited: it goes back to its place if it must wait again */
        TURN_FLIGHT, /* the same, and others wait until its attempt is over: it must wait again, or land */
    } state;
    bool urgent; /* it is urgent data that it takes */
    uint32_t place;
};

/*
 * Waits for an edge on the side. Outside of a section. 0: try again, perhaps without success · -EBADF: closed · -EPERM: always
 * ready, that is, a file · -ETIMEDOUT: the deadline · what the scope says · -ENOMEM, -ENOSPC, -EMFILE. May park; any thread.
 */
int netpoll_wait(struct poll_desc *d, enum poll_side side, struct poll_seen seen, struct poll_turn *turn);

/* An operation in flight is done, one way or the other: the next one may try. Outside of a section. */
void netpoll_land(struct poll_desc *d, enum poll_side side, struct poll_seen seen);

/* An operation has succeeded, and there may be more to be had: the next waiter may try. Outside of a section. */
void netpoll_pass_on_slow(struct poll_desc *d, enum poll_side side);

static always_inline void netpoll_pass_on(struct poll_desc *d, enum poll_side side)
{
    if (unlikely(load_relaxed(&d->side[side].first) != NULL))
        netpoll_pass_on_slow(d, side);
}

/* fd is new, and the library has made it: whatever was known of the number is forgotten. Outside of a section. */
void netpoll_fresh(int fd, enum poll_kind kind);

/* fd is about to be closed: wakes all waiters with -EBADF. The caller then closes it, and calls netpoll_closed with what this
 * returned. Outside of a section. */
uint32_t netpoll_closing(int fd);
void netpoll_closed(int fd, uint32_t generation);

/* What d's file has been found to be; nothing if the number has been closed since d->generation was this. Outside of a section. */
void netpoll_set_kind(struct poll_desc *d, uint32_t generation, enum poll_kind kind);

/* Sets the deadlines (0: none) and lets waiters look at them; -EBADF if fd is not open. Outside of a section. */
int netpoll_set_until(int fd, int64_t read_by, int64_t write_by);

/* --- one of several --- */

/* Prepares w alone, without looking. 0, -EBADF, -ENOMEM, or why there is no poller (-EMFILE, -ENFILE). */
int netpoll_prepare(int fd, enum poll_side side, struct netpoll_waiter *w);

/* 1 ready (also: hung up, past its deadline, or a file) · 0 not ready · as netpoll_prepare. */
int netpoll_check(int fd, enum poll_side side, struct netpoll_waiter *w);
int netpoll_add(struct netpoll_waiter *w, struct g *gp, uint64_t ticket);
void netpoll_remove(struct netpoll_waiter *w);

/*
 * Arms, adds, waits and removes, for a caller that waits for these n and nothing else, until `when` or the earliest of their
 * deadlines. 1: has been woken · 0: look again, without having waited · WAIT_TIME_UP · why one of them cannot be waited for, or
 * not any more · what the scope says. Outside of a section. May park; any thread.
 */
int netpoll_wait_any(struct netpoll_waiter *w, int n, int64_t when);

/* The deadline, TIME_NEVER if none. A change of it is an edge (NETPOLL_LOOK). */
int64_t netpoll_until(const struct netpoll_waiter *w);

/* --- for the scheduler --- */

/* How many waits there are: while there are any, somebody must poll. */
extern _Atomic int netpoll_waits;

static always_inline bool netpoll_wanted(void)
{
    return load_acquire(&netpoll_waits) != 0; /* pairs with the release in waits_add: the poller is open */
}

/* When somebody last polled, on os_now's clock. */
extern _Atomic int64_t netpoll_when;

/*
 * Looks without blocking and makes goroutines ready: at the end of the ring of mp's P, or, if mp is NULL or has no P, on the
 * global queue. On a system stack, after netpoll_wanted; in a section if mp is given. Returns how many.
 */
int netpoll_now(struct m *mp);

#define NETPOLL_BATCH 256

struct netpoll_batch {
    int n;
    struct os_event events[NETPOLL_BATCH];
};

/* Sleeps until there are events, netpoll_interrupt, or `when`. For sched.poller, on a system stack, after netpoll_wanted. */
void netpoll_sleep(struct netpoll_batch *batch, int64_t when);

/* Makes those ready who wait for the events; as netpoll_now. */
int netpoll_deliver(struct m *mp, const struct netpoll_batch *batch);

/* The thread in netpoll_sleep comes out of it, or the next one does not stay in it. */
void netpoll_interrupt(void);
