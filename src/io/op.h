// SPDX-License-Identifier: MIT
// The loop of every operation on a descriptor: an attempt that does not block, and a wait for when that was in vain.
//
// Invariants
//   - What was seen of a side (netpoll_see) is read before the attempt, and a wait brings it along: no edge in between is missed.
//   - An operation that has waited in flight lands, however it ends.
//   - A descriptor closed meanwhile is -EBADF, also if its number is another file by now.
//
// "Without O_NONBLOCK"
//
// Problem. A descriptor's blocking mode belongs to the open file, which a shell or a child may share: setting O_NONBLOCK breaks
// others. So each attempt must itself say that it shall not block.
//
// Rejected. Toggling O_NONBLOCK around each call: others see it. Reopening through /proc/self/fd, which makes an open
// file of our own: not for sockets, and not for what has been unlinked or may not be opened by us.
//
// The way depends on what the descriptor is (fd.c) and what is to be done with it (read_write.c, connect.c, copy.c): a flag of
// the call where there is one, or else to look first (op.c).
//
// The loop is inlined into each public function, and the attempt into the loop: a read that finds data makes no call but the
// system's. What is seldom gone through is in op.c.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include "io/io.h"

struct op {
    int fd;
    enum poll_side side;
    bool no_wait;             /* MSG_DONTWAIT: the caller wants -EAGAIN */
    bool foreign;             /* the vector is the caller's: only the kernel may read it first */
    bool goes_on;             /* part is done, of the file that `seen` is about */
    bool looks;               /* the listener has been found in blocking mode */
    struct poll_desc *d;
    struct poll_seen seen;
    const struct iovec *iov;  /* what is left */
    int count;
    int flags;                /* of the system call */
    void *extra;              /* of the attempt */
    void *extra2;
    ssize_t end;              /* the result at the end of what can be read */
};

typedef ssize_t (*attempt_fn)(struct op *);

/* Waiting has ended with r < 0. Returns r; or, if nothing was tried before, the result of one attempt, unless that would wait. */
ssize_t op_not_waited(struct op *op, attempt_fn attempt, int r, bool tried);

/* An attempt was in vain although there was an event: another one, which knows the end. */
ssize_t op_in_vain(struct op *op, attempt_fn attempt);

/* What cannot be waited for said -EAGAIN. 0: try again; or what the scope says. */
int op_not_pollable(struct op *op);

static always_inline ssize_t op_attempt_until(struct op *op, attempt_fn attempt, bool skips, struct poll_turn *turn)
{
    bool tried = false;
    struct poll_desc *d = op->d;
    uint32_t generation = op->goes_on ? op->seen.generation : load_relaxed(&d->generation);
    for (;;) {
        struct poll_seen seen = netpoll_see(d, op->side);
        if (unlikely(seen.generation != generation))
            return -EBADF; /* closed, and perhaps another file by now; op->seen is still about ours */
        op->seen = seen;
        if (unlikely(load_relaxed(&d->side[op->side].until) != 0) && netpoll_late(d, op->side))
            return -ETIMEDOUT;
        if (!skips || op->no_wait || !netpoll_is_drained(d, op->side, op->seen)) {
            tried = true;
            ssize_t n = attempt(op);
            if (n == -EAGAIN && unlikely(turn->state != TURN_FIRST || load_relaxed(&d->hung_up)) && !op->no_wait)
                n = op_in_vain(op, attempt);
            if (likely(n != -EAGAIN)) {
                if (unlikely(n == -EINTR))
                    continue;
                return n;
            }
            if (op->no_wait)
                return n;
        }
        turn->urgent = op->side == POLL_READ && (op->flags & MSG_OOB);
        int r = netpoll_wait(d, op->side, op->seen, turn);
        if (unlikely(r < 0)) {
            if (r == -EPERM && (r = op_not_pollable(op)) == 0)
                continue;
            return op_not_waited(op, attempt, r, tried);
        }
    }
}

/* Attempts until it is not in vain. The attempt is inlined into each of the callers. */
static always_inline ssize_t op_run(struct op *op, attempt_fn attempt, bool skips)
{
    struct poll_turn turn = { .state = TURN_FIRST };
    if (op->side == POLL_WRITE)
        netpoll_order_in();
    ssize_t n = op_attempt_until(op, attempt, skips, &turn);
    if (unlikely(turn.state == TURN_FLIGHT))
        netpoll_land(op->d, op->side, op->seen);
    if (op->side == POLL_READ && n >= 0)
        netpoll_order_out();
    if (!(op->flags & MSG_TRUNC)) /* n is what there was, then */
        sanitize_vector(op->iov, (size_t)op->count, n, op->side == POLL_READ);
    return n;
}

/* For work that only one may do on a file at a time. Returns 0 if somebody else is inside; otherwise what to give to op_leave_alone,
 * after no more than a look, or a call that does not block or is ended after a while. */
uint32_t op_enter_alone(struct poll_desc *d);
void op_leave_alone(struct poll_desc *d, uint32_t us);

static always_inline bool op_looks_first(enum poll_kind kind)
{
    return kind == KIND_DEVICE || kind == KIND_TERMINAL;
}

/* An attempt where no flag keeps it from blocking: looks, and calls readv or, if that is `call`, accept4. */
ssize_t op_look_and_take(struct op *op, long call);

/* A blocking call of the system which comes back when it has blocked for long: with a part, -EAGAIN, or what the scope says. Not
 * if all real-time signals are taken: then it blocks for as long as it likes. */
ssize_t op_call_for_a_while(long call, long a, long b, long c, long d, long e, long f);

/* All of op's vector; how much went out in *done, and the same or -errno as the result. */
ssize_t op_write_all(struct op *op, size_t *done);

/* From a place in a file, outside of the page cache as a blocking call. */
ssize_t op_read_at(int fd, const struct iovec *iov, int count, off_t offset);

/* For calls that take no MSG_NOSIGNAL: SIGPIPE is held back on this thread, and taken away if the call may have raised it, as one
 * that has moved only a part may have, too. No change of threads in between. */
struct sigpipe_guard {
    uint64_t before; /* the kernel's signal mask */
    bool pending;
};

void sigpipe_hold(struct sigpipe_guard *guard);
void sigpipe_release(const struct sigpipe_guard *guard, bool raised);
