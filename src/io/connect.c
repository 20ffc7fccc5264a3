// SPDX-License-Identifier: MIT
// Connections: accepting and making them.
//
// Invariants
//   - An accepted descriptor is new: nothing that was known of its number is left (netpoll_fresh).
//   - A connection that has gone again before it was accepted is not the caller's business.
//   - A socket's blocking mode is after go_connect what it was before.
//
// "Connect has no flag"
//
// Problem. There is no MSG_DONTWAIT for connect: without O_NONBLOCK it blocks its thread, for minutes if the peer is silent.
//
// Rejected: a blocking call. It cannot be ended by a deadline or a scope, and each costs a thread.
//
// The way. O_NONBLOCK is set for the moment of the call, and cleared after it, through a duplicate of the descriptor, for by then the
// number may belong to another file, whose flags must not change. The socket is not connected yet, so hardly anybody shares it. After
// that, writable means that it is decided, and the same call again tells how. (SO_ERROR would, too, but leaves a socket that was refused
// in a state in which the next connect fails in any case.)
//
// The nasty case: a Unix socket whose listener is behind answers EAGAIN, and nothing tells when it has caught up. It is asked again
// after pauses that grow from half a millisecond to some ten.
#include <goroutine/go.h>
#include <goroutine/io.h>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include "io/op.h"
#include "os/os.h"

#define PAUSE_FIRST 500000 /* ns */
#define PAUSE_MOST 10000000

static ssize_t attempt_accept(struct op *op)
{
    bool first = false;
    if (!op->looks) {
        int nonblocking = io_nonblocking(op->fd);
        if (nonblocking < 0)
            return nonblocking;
        op->looks = first = !nonblocking;
    }
    ssize_t n;
    do {
        n = op->looks ? op_look_and_take(op, SYS_accept4)
                      : SYSCALL4(SYS_accept4, op->fd, op->extra, op->extra2, SOCK_CLOEXEC);
    } while (n == -ECONNABORTED || n == -EPROTO); /* that one has gone again */
    if (n == -EAGAIN && first) {
        int listens = 0;
        socklen_t size = sizeof listens;
        SYSCALL6(SYS_getsockopt, op->fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size, 0);
        /* On a socket that does not listen the call does not wait, and returns the reason. */
        n = listens ? -EAGAIN : SYSCALL4(SYS_accept4, op->fd, op->extra, op->extra2, SOCK_CLOEXEC);
    }
    return n;
}

static int accept_with(struct op *op)
{
    enum poll_kind kind = (enum poll_kind)load_relaxed(&op->d->kind);
    if (kind != KIND_TCP && kind != KIND_SOCKET)
        io_classify(op->fd, op->d);
    ssize_t n = op_run(op, attempt_accept, false);
    if (n >= 0)
        netpoll_fresh((int)n, io_kind((int)n)); /* the listener's is a guess */
    netpoll_pass_on(op->d, POLL_READ);
    return (int)n;
}

GO_EXPORT int go_accept(int fd, struct sockaddr *address, socklen_t *size)
{
    struct op op = { .fd = fd, .side = POLL_READ, .extra = address, .extra2 = size, .end = -EINVAL };
    io_enter();
    int r = netpoll_begin(fd, &op.d);
    return r < 0 ? r : accept_with(&op);
}

int io_accept(struct poll_desc *d, uint32_t generation)
{
    struct op op = { .fd = d->fd, .side = POLL_READ, .end = -EINVAL, .d = d, .goes_on = true };
    op.seen.generation = generation;
    io_enter();
    return accept_with(&op);
}

/* What attempt_connected needs. */
struct connect {
    const struct sockaddr *address;
    socklen_t size;
};

static bool is_another_file(const struct op *op)
{
    return load_relaxed(&op->d->generation) != op->seen.generation;
}

static int connect_by(int fd, const struct connect *c)
{
    int r;
    do {
        r = (int)SYSCALL3(SYS_connect, fd, c->address, c->size);
    } while (r == -EINTR);
    return r;
}

/* A socket with these flags, which block. */
static int connect_blocking(struct op *op, long flags)
{
    int own = (int)SYSCALL3(SYS_fcntl, op->fd, F_DUPFD_CLOEXEC, 3), r = -EBADF;
    int fd = own < 0 ? op->fd : own; /* no descriptor is left: use the number, as long as it is this file's */
    if (!is_another_file(op)) {
        SYSCALL3(SYS_fcntl, fd, F_SETFL, flags | O_NONBLOCK);
        r = connect_by(fd, op->extra);
        if (own >= 0 || !is_another_file(op))
            SYSCALL3(SYS_fcntl, fd, F_SETFL, flags);
    }
    if (own >= 0)
        SYSCALL1(SYS_close, own);
    return r;
}

/* One at a time, or one would take the other's mode for the program's, or restore the program's before the other's call. */
static int connect_once(struct op *op)
{
    uint32_t us;
    while (!(us = op_enter_alone(op->d))) {
        go_yield();
        os_thread_yield();
    }
    int r = is_another_file(op) ? -EBADF : (int)SYSCALL2(SYS_fcntl, op->fd, F_GETFL);
    if (r >= 0)
        r = r & O_NONBLOCK ? connect_by(op->fd, op->extra) : connect_blocking(op, r);
    op_leave_alone(op->d, us);
    netpoll_pass_on_slow(op->d, POLL_READ); /* as in op_look_and_take, which may have found us inside */
    return r;
}

/* The outcome of a connect that was going on: -EAGAIN if it still is. */
static ssize_t attempt_connected(struct op *op)
{
    int r = os_poll(op->fd, POLLOUT);
    if (r <= 0)
        return r < 0 ? r : -EAGAIN;
    r = connect_once(op);
    return r == -EINPROGRESS || r == -EALREADY ? -EAGAIN : r == -EISCONN ? 0 : r;
}

/* A pause, but not beyond the deadline. 0, or why to try no more. */
static int pause_before_again(struct op *op, int64_t pause)
{
    int64_t until = load_relaxed(&op->d->side[POLL_WRITE].until), left = until ? until - os_now() : pause;
    if (left <= 0)
        return -ETIMEDOUT;
    int r = go_sleep(left < pause ? left : pause);
    return r < 0 ? r : is_another_file(op) ? -EBADF : 0;
}

GO_EXPORT int go_connect(int fd, const struct sockaddr *address, socklen_t size)
{
    struct connect c = { .address = address, .size = size };
    struct op op = { .fd = fd, .side = POLL_WRITE, .extra = &c, .goes_on = true };
    io_enter();
    int r = netpoll_begin(fd, &op.d);
    if (r < 0)
        return r;
    op.seen = netpoll_see(op.d, POLL_WRITE); /* all that follows is for this file */
    if (netpoll_late(op.d, POLL_WRITE))
        return -ETIMEDOUT;
    netpoll_order_in();
    for (int64_t pause = PAUSE_FIRST; (r = connect_once(&op)) == -EAGAIN; pause = pause < PAUSE_MOST ? pause * 2 : pause)
        if ((r = pause_before_again(&op, pause)) < 0)
            return r;
    /* -EALREADY: an earlier call, which was ended, has begun the attempt. */
    return r == -EINPROGRESS || r == -EALREADY ? (int)op_run(&op, attempt_connected, false) : r;
}
