// SPDX-License-Identifier: MIT
// Reading and writing descriptors of every kind.
//
// "Without O_NONBLOCK"
//
// Problem. A descriptor's blocking mode belongs to the open file, which a shell or a child may share: setting O_NONBLOCK breaks
// others. So each attempt must itself say that it shall not block.
//
//   sockets              MSG_DONTWAIT, and MSG_NOSIGNAL
//   pipes, eventfds …    preadv2, pwritev2 with RWF_NOWAIT, and RWF_NOSIGNAL from Linux 6.18 on; before, SIGPIPE is held back
//   what cannot do that  (terminals, pipes before 6.5) poll(2) first. Between it and the call another process may take what
//                        there was; then the call blocks. Hence it is made as a blocking call, so that others get the P. Of this
//                        process one goroutine at a time is between the two (`busy`)
//   files                always "ready", and may block for a disk. Reads are tried with RWF_NOWAIT, which takes what is in the page
//                        cache; the rest are blocking calls
//
// Rejected. Toggling O_NONBLOCK around each call: others see it. Reopening through /proc/self/fd, which makes an open
// file of our own: not for sockets, and not for what has been unlinked or may not be opened by us. io_uring for files: see
// docs/io.md for the measurement.
//
// What a descriptor is, is remembered with its number, as a guess: the number may have been reused. Each attempt is made so that a
// wrong guess either does no harm or shows itself by an error (ENOTSOCK, EOPNOTSUPP).
#include <goroutine/io.h>

#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "io/io.h"
#include "sched/park.h"
#include "sched/section.h"

#ifndef RWF_NOSIGNAL
#define RWF_NOSIGNAL 0x100 /* Linux 6.18 */
#endif
/* One write of this size into a pipe that poll calls writable does not block. */
#define PIPE_STEP 4096

static _Atomic bool no_nosignal; /* this kernel does not know RWF_NOSIGNAL */

void io_enter(void)
{
    section_leave(section_enter());
}

int io_nonblocking(int fd)
{
    long flags = SYSCALL2(SYS_fcntl, fd, F_GETFL);
    return flags < 0 ? (int)flags : (flags & O_NONBLOCK) != 0;
}

noinline enum poll_kind io_classify(int fd, struct poll_desc *d)
{
    enum poll_kind kind = KIND_UNKNOWN;
    int type = 0, protocol = 0;
    socklen_t size = sizeof type;
    struct stat st;
    if (SYSCALL6(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, &type, &size, 0) == 0) {
        size = sizeof protocol;
        SYSCALL6(SYS_getsockopt, fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size, 0);
        kind = type == SOCK_STREAM && protocol == IPPROTO_TCP ? KIND_TCP : KIND_SOCKET;
    } else if (SYSCALL2(SYS_fstat, fd, &st) == 0) {
        kind = S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || S_ISBLK(st.st_mode) ? KIND_FILE : KIND_PIPE;
    }
    store_relaxed(&d->kind, (uint8_t)kind);
    return kind;
}

#define SIGNAL_BIT(n) (1ull << ((n)-1))

void sigpipe_hold(struct sigpipe_guard *guard)
{
    uint64_t set = SIGNAL_BIT(SIGPIPE), pending = 0;
    SYSCALL4(SYS_rt_sigprocmask, SIG_BLOCK, &set, &guard->before, sizeof set);
    /* Only if the program blocks it itself can one have been there before. */
    if (guard->before & set)
        SYSCALL2(SYS_rt_sigpending, &pending, sizeof pending);
    guard->pending = (pending & set) != 0;
}

void sigpipe_release(const struct sigpipe_guard *guard, bool raised)
{
    uint64_t set = SIGNAL_BIT(SIGPIPE);
    struct timespec zero = { 0, 0 };
    /* It was raised for this thread, and a thread's own signals are taken before the process's. */
    if (raised && !guard->pending)
        SYSCALL4(SYS_rt_sigtimedwait, &set, NULL, &zero, sizeof set);
    SYSCALL4(SYS_rt_sigprocmask, SIG_SETMASK, &guard->before, NULL, sizeof set);
}

/* --- the loop of every operation --- */

struct op {
    int fd;
    enum poll_side side;
    bool no_wait;             /* MSG_DONTWAIT: the caller wants -EAGAIN */
    struct poll_desc *d;
    struct poll_seen seen;
    const struct iovec *iov;  /* what is left */
    int count;
    int flags;                /* of the system call; for files see `offset` */
    void *extra;              /* of the attempt */
    void *extra2;
};

typedef ssize_t (*attempt_fn)(struct op *);

static noinline ssize_t not_waited(struct op *op, attempt_fn attempt, int r, bool tried)
{
    /* A scope that is cancelled ends waits, not what can be done at once. */
    if (tried || r == -EBADF || netpoll_late(op->d, op->side))
        return r;
    ssize_t n = attempt(op);
    return n == -EAGAIN || n == -EINTR ? r : n;
}

static always_inline ssize_t attempt_until(struct op *op, attempt_fn attempt, bool skips, enum poll_turn *turn)
{
    bool tried = false;
    struct poll_desc *d = op->d;
    uint32_t generation = load_relaxed(&d->generation);
    for (;;) {
        op->seen = netpoll_see(d, op->side);
        if (unlikely(op->seen.generation != generation))
            return -EBADF; /* closed, and perhaps another file by now */
        if (unlikely(load_relaxed(&d->side[op->side].until) != 0) && netpoll_late(d, op->side))
            return -ETIMEDOUT;
        if (!skips || op->no_wait || !netpoll_is_drained(d, op->side, op->seen)) {
            tried = true;
            ssize_t n = attempt(op);
            if (likely(n != -EAGAIN)) {
                if (unlikely(n == -EINTR))
                    continue;
                return n;
            }
            if (op->no_wait)
                return n;
        }
        int r = netpoll_wait(d, op->side, op->seen, turn);
        if (unlikely(r < 0)) {
            if (r == -EPERM && load_relaxed(&d->kind) != KIND_DEVICE) {
                /* Not pollable, and yet it said -EAGAIN: it is to be asked in the blocking way. */
                store_relaxed(&d->kind, KIND_DEVICE);
                continue;
            }
            return not_waited(op, attempt, r, tried);
        }
    }
}

/* Attempts until it is not in vain. The attempt is inlined into each of the callers. */
static always_inline ssize_t run(struct op *op, attempt_fn attempt, bool skips)
{
    enum poll_turn turn = TURN_FIRST;
    ssize_t n = attempt_until(op, attempt, skips, &turn);
    if (unlikely(turn == TURN_FLIGHT))
        netpoll_land(op->d, op->side, op->seen);
    return n;
}

/* --- reading --- */

/* All that a socket can be asked for at once, with the address and so on. */
static always_inline ssize_t attempt_recvmsg(struct op *op)
{
    return SYSCALL3(SYS_recvmsg, op->fd, op->extra, op->flags | MSG_DONTWAIT);
}

static always_inline ssize_t attempt_recvfrom(struct op *op)
{
    ssize_t n = SYSCALL6(SYS_recvfrom, op->fd, op->iov->iov_base, op->iov->iov_len,
                         op->flags | MSG_DONTWAIT, op->extra, op->extra2);
    if (n > 0 && load_relaxed(&op->d->kind) == KIND_TCP && !(op->flags & (MSG_PEEK | MSG_OOB)) &&
        (size_t)n < op->iov->iov_len)
        netpoll_drained(op->d, POLL_READ, op->seen);
    else if (n != -EAGAIN)
        netpoll_pass_on(op->d, POLL_READ);
    return n;
}

/* One goroutine of this process at a time looks whether there is something and takes it. */
static noinline ssize_t look_and_take(struct op *op, long call)
{
    struct poll_desc *d = op->d;
    bool free = false;
    int r = os_poll(op->fd, POLLIN);
    if (r <= 0)
        return r < 0 ? r : -EAGAIN;
    if (!cas_acq_rel(&d->busy, &free, true))
        return -EAGAIN;
    r = os_poll(op->fd, POLLIN);
    ssize_t n = r < 0 ? r : -EAGAIN;
    if (r > 0) {
        go_block_enter();
        if (call == SYS_accept4)
            n = SYSCALL4(SYS_accept4, op->fd, op->extra, op->extra2, SOCK_CLOEXEC);
        else
            n = SYSCALL3(SYS_readv, op->fd, op->iov, op->count);
        go_block_leave();
    }
    store_release(&d->busy, false); /* pairs with the compare-and-swap above */
    netpoll_pass_on_slow(d, POLL_READ); /* an edge in any case: one who found us busy may not be queued yet */
    return n;
}

/* The rest of a read of a file, of which `had` bytes were in the page cache. */
static noinline ssize_t file_read_rest(struct op *op, ssize_t had)
{
    const struct iovec *iov = op->iov;
    int count = op->count;
    size_t skip = (size_t)had;
    while (count > 0 && skip >= iov->iov_len) {
        skip -= iov->iov_len;
        iov++;
        count--;
    }
    if (count == 0)
        return had;
    struct iovec first = { (char *)iov->iov_base + skip, iov->iov_len - skip };
    ssize_t n = IO_BLOCKING(skip ? SYSCALL3(SYS_readv, op->fd, &first, 1)
                                 : SYSCALL3(SYS_readv, op->fd, iov, count));
    if (n < 0)
        return had > 0 ? had : n;
    had += n;
    return n > 0 && skip && (size_t)n == first.iov_len && count > 1 ? file_read_rest(op, had) : had;
}

static ssize_t read_nowait(struct op *op)
{
    return SYSCALL6(SYS_preadv2, op->fd, op->iov, op->count, -1, -1, RWF_NOWAIT);
}

static size_t iov_size(const struct iovec *iov, int count)
{
    size_t size = 0;
    for (int i = 0; i < count; i++)
        size += iov[i].iov_len;
    return size;
}

static noinline ssize_t attempt_read_other(struct op *op)
{
    struct poll_desc *d = op->d;
    enum poll_kind kind = (enum poll_kind)load_relaxed(&d->kind);
    if (kind == KIND_DEVICE)
        return look_and_take(op, SYS_readv);
    ssize_t n = read_nowait(op);
    if (n >= 0) {
        if (kind == KIND_FILE && n > 0 && (size_t)n < iov_size(op->iov, op->count))
            return file_read_rest(op, n);
        netpoll_pass_on(d, POLL_READ);
        return n;
    }
    if (n != -EAGAIN && n != -EOPNOTSUPP && n != -ENOSYS)
        return n;
    if (kind == KIND_FILE || n != -EAGAIN)
        kind = io_classify(op->fd, d); /* it may be another file by now */
    if (kind == KIND_FILE)
        return file_read_rest(op, 0);
    if (n == -EAGAIN)
        return n;
    if (kind == KIND_PIPE)
        store_relaxed(&d->kind, KIND_DEVICE);
    return look_and_take(op, SYS_readv);
}

static always_inline ssize_t attempt_read(struct op *op)
{
    enum poll_kind kind = (enum poll_kind)load_relaxed(&op->d->kind);
    if (unlikely(kind == KIND_UNKNOWN))
        kind = io_classify(op->fd, op->d);
    if (likely(kind == KIND_TCP || kind == KIND_SOCKET)) {
        ssize_t n = attempt_recvfrom(op);
        if (likely(n != -ENOTSOCK))
            return n;
        io_classify(op->fd, op->d);
    }
    return attempt_read_other(op);
}

GO_EXPORT ssize_t go_read(int fd, void *buffer, size_t size)
{
    struct iovec iov = { buffer, size };
    struct op op = { .fd = fd, .side = POLL_READ, .iov = &iov, .count = 1 };
    io_enter();
    int r = netpoll_begin(fd, &op.d);
    if (unlikely(r < 0))
        return r;
    if (unlikely(size == 0)) /* nothing to wait for; recv would */
        return SYSCALL3(SYS_read, fd, buffer, 0);
    if (size > SSIZE_MAX)
        return -EINVAL;
    return run(&op, attempt_read, true);
}

static ssize_t attempt_readv(struct op *op)
{
    enum poll_kind kind = (enum poll_kind)load_relaxed(&op->d->kind);
    if (kind == KIND_UNKNOWN)
        kind = io_classify(op->fd, op->d);
    if (kind == KIND_TCP || kind == KIND_SOCKET) {
        struct msghdr m = { .msg_iov = (struct iovec *)op->iov, .msg_iovlen = (size_t)op->count };
        ssize_t n = SYSCALL3(SYS_recvmsg, op->fd, &m, MSG_DONTWAIT);
        if (n != -ENOTSOCK) {
            if (n != -EAGAIN)
                netpoll_pass_on(op->d, POLL_READ);
            return n;
        }
        io_classify(op->fd, op->d);
    }
    return attempt_read_other(op);
}

GO_EXPORT ssize_t go_readv(int fd, const struct iovec *iov, int count)
{
    struct op op = { .fd = fd, .side = POLL_READ, .iov = iov, .count = count };
    io_enter();
    int r = netpoll_begin(fd, &op.d);
    if (r < 0)
        return r;
    if (count < 0 || count > IOV_MAX)
        return -EINVAL;
    if (iov_size(iov, count) == 0)
        return SYSCALL3(SYS_readv, fd, iov, count);
    return run(&op, attempt_readv, false);
}

/* MSG_WAITALL on a stream: what there is, until it is all. */
static ssize_t recv_all(struct op *op, struct iovec *iov)
{
    ssize_t had = 0;
    op->flags &= ~MSG_WAITALL;
    while (iov->iov_len > 0) {
        ssize_t n = run(op, attempt_recvfrom, true);
        if (n <= 0)
            return had > 0 ? had : n;
        had += n;
        iov->iov_base = (char *)iov->iov_base + n;
        iov->iov_len -= (size_t)n;
    }
    return had;
}

GO_EXPORT ssize_t go_recvfrom(int fd, void *buffer, size_t size, int flags, struct sockaddr *address,
                              socklen_t *address_size)
{
    struct iovec iov = { buffer, size };
    struct op op = { .fd = fd, .side = POLL_READ, .iov = &iov, .count = 1, .flags = flags,
                     .no_wait = (flags & (MSG_DONTWAIT | MSG_ERRQUEUE)) != 0, .extra = address,
                     .extra2 = address_size };
    io_enter();
    int r = netpoll_begin(fd, &op.d);
    if (unlikely(r < 0))
        return r;
    if (unlikely(load_relaxed(&op.d->kind) == KIND_UNKNOWN))
        io_classify(fd, op.d);
    if (unlikely(flags & MSG_WAITALL) && !(flags & (MSG_DONTWAIT | MSG_PEEK | MSG_OOB))) {
        int type = 0;
        socklen_t length = sizeof type;
        SYSCALL6(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, &type, &length, 0);
        if (type == SOCK_STREAM)
            return recv_all(&op, &iov);
    }
    return run(&op, attempt_recvfrom, !(flags & (MSG_PEEK | MSG_OOB | MSG_ERRQUEUE)));
}

GO_EXPORT ssize_t go_recv(int fd, void *buffer, size_t size, int flags)
{
    return go_recvfrom(fd, buffer, size, flags, NULL, NULL);
}

GO_EXPORT ssize_t go_recvmsg(int fd, struct msghdr *message, int flags)
{
    struct op op = { .fd = fd, .side = POLL_READ, .flags = flags, .extra = message,
                     .no_wait = (flags & (MSG_DONTWAIT | MSG_ERRQUEUE)) != 0 };
    io_enter();
    int r = netpoll_begin(fd, &op.d);
    if (r < 0)
        return r;
    ssize_t n = run(&op, attempt_recvmsg, false);
    netpoll_pass_on(op.d, POLL_READ);
    return n;
}

/* --- writing --- */

static always_inline ssize_t attempt_sendto(struct op *op)
{
    return SYSCALL6(SYS_sendto, op->fd, op->iov->iov_base, op->iov->iov_len,
                    op->flags | MSG_DONTWAIT | MSG_NOSIGNAL, op->extra, (size_t)op->extra2);
}

static always_inline ssize_t attempt_sendmsg(struct op *op)
{
    return SYSCALL3(SYS_sendmsg, op->fd, op->extra, op->flags | MSG_DONTWAIT | MSG_NOSIGNAL);
}

static noinline ssize_t write_nowait_guarded(struct op *op)
{
    struct sigpipe_guard guard;
    sigpipe_hold(&guard);
    ssize_t n = SYSCALL6(SYS_pwritev2, op->fd, op->iov, op->count, -1, -1, RWF_NOWAIT);
    sigpipe_release(&guard, n == -EPIPE);
    return n;
}

static ssize_t write_nowait(struct op *op)
{
    if (unlikely(load_relaxed(&no_nosignal)))
        return write_nowait_guarded(op);
    ssize_t n = SYSCALL6(SYS_pwritev2, op->fd, op->iov, op->count, -1, -1, RWF_NOWAIT | RWF_NOSIGNAL);
    if (n == -EOPNOTSUPP || n == -EINVAL) {
        /* Is it this flag or the other one? */
        n = write_nowait_guarded(op);
        if (n != -EOPNOTSUPP)
            store_relaxed(&no_nosignal, true);
    }
    return n;
}

static ssize_t write_blocking(struct op *op, size_t most)
{
    struct sigpipe_guard guard;
    struct iovec first = { op->iov->iov_base, op->iov->iov_len < most ? op->iov->iov_len : most };
    go_block_enter();
    sigpipe_hold(&guard);
    ssize_t n = first.iov_len < op->iov->iov_len ? SYSCALL3(SYS_writev, op->fd, &first, 1)
                                                 : SYSCALL3(SYS_writev, op->fd, op->iov, op->count);
    sigpipe_release(&guard, n == -EPIPE);
    go_block_leave();
    return n;
}

static noinline ssize_t attempt_write_other(struct op *op)
{
    struct poll_desc *d = op->d;
    enum poll_kind kind = (enum poll_kind)load_relaxed(&d->kind);
    if (kind == KIND_FILE)
        kind = io_classify(op->fd, d);
    if (kind == KIND_FILE)
        return write_blocking(op, SIZE_MAX);
    if (kind != KIND_DEVICE) {
        ssize_t n = write_nowait(op);
        if (n >= 0)
            netpoll_pass_on(d, POLL_WRITE);
        if (n != -EOPNOTSUPP && n != -ENOSYS)
            return n;
        if (io_classify(op->fd, d) == KIND_PIPE)
            store_relaxed(&d->kind, KIND_DEVICE);
    }
    int r = os_poll(op->fd, POLLOUT);
    if (r <= 0)
        return r < 0 ? r : -EAGAIN;
    /* A pipe's reader may be slow. What has one element is cut; a vector of many goes out one after the other. */
    struct op one = *op;
    one.count = 1;
    return write_blocking(&one, PIPE_STEP);
}

static always_inline ssize_t attempt_write(struct op *op)
{
    enum poll_kind kind = (enum poll_kind)load_relaxed(&op->d->kind);
    if (unlikely(kind == KIND_UNKNOWN))
        kind = io_classify(op->fd, op->d);
    if (likely(kind == KIND_TCP || kind == KIND_SOCKET)) {
        ssize_t n;
        if (likely(op->count == 1)) {
            n = attempt_sendto(op);
        } else {
            struct msghdr m = { .msg_iov = (struct iovec *)op->iov, .msg_iovlen = (size_t)op->count };
            n = SYSCALL3(SYS_sendmsg, op->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
        }
        if (unlikely(n == -ENOTSOCK)) {
            io_classify(op->fd, op->d);
        } else {
            if (n >= 0)
                netpoll_pass_on(op->d, POLL_WRITE);
            return n;
        }
    }
    return attempt_write_other(op);
}

/* All of op's vector; how much went out in *done. */
static ssize_t write_all(struct op *op, size_t *done)
{
    struct iovec rest; /* of the first element, if part of it is out */
    const struct iovec *after = NULL;
    int after_count = 0;
    do {
        ssize_t n = run(op, attempt_write, false);
        if (n < 0)
            return n;
        if (n == 0 && op->iov->iov_len > 0)
            return -EIO; /* neither progress nor a reason */
        *done += (size_t)n;
        size_t left = (size_t)n;
        while (op->count > 0 && left >= op->iov->iov_len) {
            left -= op->iov->iov_len;
            op->iov++;
            op->count--;
        }
        if (op->count > 0 && left > 0) {
            if (op->iov != &rest) {
                after = op->iov + 1;
                after_count = op->count - 1;
                rest = *op->iov;
            }
            rest.iov_base = (char *)rest.iov_base + left;
            rest.iov_len -= left;
            op->iov = &rest;
            op->count = 1;
        } else if (op->count == 0 && after) {
            op->iov = after;
            op->count = after_count;
            after = NULL;
        }
    } while (op->count > 0);
    return (ssize_t)*done;
}

GO_EXPORT ssize_t go_write_count(int fd, const void *buffer, size_t size, size_t *written)
{
    struct iovec iov = { (void *)buffer, size };
    struct op op = { .fd = fd, .side = POLL_WRITE, .iov = &iov, .count = 1 };
    size_t done = 0;
    io_enter();
    ssize_t r = netpoll_begin(fd, &op.d);
    if (r == 0)
        r = size > SSIZE_MAX ? -EINVAL : write_all(&op, &done);
    if (written)
        *written = done;
    return r;
}

GO_EXPORT ssize_t go_write(int fd, const void *buffer, size_t size)
{
    struct iovec iov = { (void *)buffer, size };
    struct op op = { .fd = fd, .side = POLL_WRITE, .iov = &iov, .count = 1 };
    io_enter();
    int r = netpoll_begin(fd, &op.d);
    if (unlikely(r < 0))
        return r;
    if (unlikely(size > SSIZE_MAX))
        return -EINVAL;
    size_t done = 0;
    ssize_t n = run(&op, attempt_write, false);
    if (likely(n < 0 || (size_t)n == size))
        return n;
    iov.iov_base = (char *)iov.iov_base + n;
    iov.iov_len -= (size_t)n;
    ssize_t rest = write_all(&op, &done);
    return rest < 0 ? rest : (ssize_t)size;
}

GO_EXPORT ssize_t go_writev(int fd, const struct iovec *iov, int count)
{
    struct op op = { .fd = fd, .side = POLL_WRITE, .iov = iov, .count = count };
    size_t done = 0;
    io_enter();
    int r = netpoll_begin(fd, &op.d);
    if (r < 0)
        return r;
    if (count < 0 || count > IOV_MAX)
        return -EINVAL;
    if (count == 0)
        return SYSCALL3(SYS_writev, fd, iov, 0);
    return write_all(&op, &done);
}

GO_EXPORT ssize_t go_sendto(int fd, const void *buffer, size_t size, int flags, const struct sockaddr *address,
                            socklen_t address_size)
{
    struct iovec iov = { (void *)buffer, size };
    struct op op = { .fd = fd, .side = POLL_WRITE, .iov = &iov, .count = 1, .flags = flags,
                     .no_wait = (flags & MSG_DONTWAIT) != 0, .extra = (void *)address,
                     .extra2 = (void *)(size_t)address_size };
    io_enter();
    int r = netpoll_begin(fd, &op.d);
    if (unlikely(r < 0))
        return r;
    ssize_t n = run(&op, attempt_sendto, false);
    netpoll_pass_on(op.d, POLL_WRITE);
    return n;
}

GO_EXPORT ssize_t go_send(int fd, const void *buffer, size_t size, int flags)
{
    return go_sendto(fd, buffer, size, flags, NULL, 0);
}

GO_EXPORT ssize_t go_sendmsg(int fd, const struct msghdr *message, int flags)
{
    struct op op = { .fd = fd, .side = POLL_WRITE, .flags = flags, .extra = (void *)message,
                     .no_wait = (flags & MSG_DONTWAIT) != 0 };
    io_enter();
    int r = netpoll_begin(fd, &op.d);
    if (r < 0)
        return r;
    ssize_t n = run(&op, attempt_sendmsg, false);
    netpoll_pass_on(op.d, POLL_WRITE);
    return n;
}

/* --- at a place in a file --- */

GO_EXPORT ssize_t go_preadv(int fd, const struct iovec *iov, int count, off_t offset)
{
    struct poll_desc *d;
    io_enter();
    int r = netpoll_begin(fd, &d);
    if (r < 0)
        return r;
    if (netpoll_late(d, POLL_READ))
        return -ETIMEDOUT;
    if (offset < 0)
        return -EINVAL;
    ssize_t n = SYSCALL6(SYS_preadv2, fd, iov, count, offset, 0, RWF_NOWAIT);
    if (n == 0 || (n > 0 && (size_t)n == iov_size(iov, count)))
        return n;
    if (n < 0 && n != -EAGAIN && n != -EOPNOTSUPP && n != -ENOSYS && n != -EINTR)
        return n;
    return IO_BLOCKING(SYSCALL6(SYS_preadv, fd, iov, count, offset, 0, 0));
}

GO_EXPORT ssize_t go_pread(int fd, void *buffer, size_t size, off_t offset)
{
    struct iovec iov = { buffer, size };
    return go_preadv(fd, &iov, 1, offset);
}

GO_EXPORT ssize_t go_pwritev(int fd, const struct iovec *iov, int count, off_t offset)
{
    struct poll_desc *d;
    io_enter();
    int r = netpoll_begin(fd, &d);
    if (r < 0)
        return r;
    if (netpoll_late(d, POLL_WRITE))
        return -ETIMEDOUT;
    return IO_BLOCKING(SYSCALL6(SYS_pwritev, fd, iov, count, offset, 0, 0));
}

GO_EXPORT ssize_t go_pwrite(int fd, const void *buffer, size_t size, off_t offset)
{
    struct iovec iov = { (void *)buffer, size };
    return go_pwritev(fd, &iov, 1, offset);
}

/* --- connections --- */

static ssize_t attempt_accept(struct op *op)
{
    int nonblocking = io_nonblocking(op->fd);
    if (nonblocking < 0)
        return nonblocking;
    ssize_t n;
    do {
        n = nonblocking ? SYSCALL4(SYS_accept4, op->fd, op->extra, op->extra2, SOCK_CLOEXEC)
                        : look_and_take(op, SYS_accept4);
    } while (n == -ECONNABORTED || n == -EPROTO); /* that one has gone again */
    return n;
}

GO_EXPORT int go_accept(int fd, struct sockaddr *address, socklen_t *size)
{
    struct op op = { .fd = fd, .side = POLL_READ, .extra = address, .extra2 = size };
    io_enter();
    int r = netpoll_begin(fd, &op.d);
    if (r < 0)
        return r;
    enum poll_kind kind = (enum poll_kind)load_relaxed(&op.d->kind);
    if (kind != KIND_TCP && kind != KIND_SOCKET)
        kind = io_classify(fd, op.d);
    ssize_t n = run(&op, attempt_accept, false);
    if (n >= 0)
        netpoll_fresh((int)n, kind);
    netpoll_pass_on(op.d, POLL_READ);
    return (int)n;
}

/* The outcome of a connect that was going on: -EAGAIN if it still is. */
static ssize_t attempt_connected(struct op *op)
{
    int r = os_poll(op->fd, POLLOUT), error = 0;
    socklen_t size = sizeof error;
    if (r <= 0)
        return r < 0 ? r : -EAGAIN;
    long s = SYSCALL6(SYS_getsockopt, op->fd, SOL_SOCKET, SO_ERROR, &error, &size, 0);
    return s < 0 ? s : -error;
}

GO_EXPORT int go_connect(int fd, const struct sockaddr *address, socklen_t size)
{
    struct op op = { .fd = fd, .side = POLL_WRITE };
    io_enter();
    int r = netpoll_begin(fd, &op.d);
    if (r < 0)
        return r;
    if (netpoll_late(op.d, POLL_WRITE))
        return -ETIMEDOUT;
    /* connect has no flag of its own for this. The socket is not connected yet, so hardly anybody shares it. */
    long flags = SYSCALL2(SYS_fcntl, fd, F_GETFL);
    if (flags < 0)
        return (int)flags;
    int64_t pause = 500000;
    for (;;) {
        if (!(flags & O_NONBLOCK))
            SYSCALL3(SYS_fcntl, fd, F_SETFL, flags | O_NONBLOCK);
        do {
            r = (int)SYSCALL3(SYS_connect, fd, address, size);
        } while (r == -EINTR);
        if (!(flags & O_NONBLOCK))
            SYSCALL3(SYS_fcntl, fd, F_SETFL, flags);
        if (r != -EAGAIN)
            break;
        /* A Unix socket whose listener is behind, and nothing tells when it has caught up. */
        int64_t until = load_relaxed(&op.d->side[POLL_WRITE].until);
        if (until && os_now() + pause >= until)
            return -ETIMEDOUT;
        if ((r = go_sleep(pause)) < 0)
            return r;
        if (pause < 10000000)
            pause *= 2;
    }
    return r == -EINPROGRESS ? (int)run(&op, attempt_connected, false) : r;
}

GO_EXPORT int go_close(int fd)
{
    io_enter();
    uint32_t generation = netpoll_closing(fd);
    go_block_enter(); /* a socket may linger, a network file be written back */
    int r = (int)SYSCALL1(SYS_close, fd);
    go_block_leave();
    if (r != -EBADF)
        netpoll_closed(fd, generation);
    return r == -EINTR ? 0 : r; /* Linux has closed it all the same */
}

GO_EXPORT int go_fd_deadline(int fd, go_time read_by, go_time write_by)
{
    io_enter();
    long r = SYSCALL2(SYS_fcntl, fd, F_GETFD);
    return r < 0 ? (int)r : netpoll_set_until(fd, read_by, write_by);
}

/* --- readiness alone --- */

/* Arms, waits for either side, and disarms. 0: look again. */
static int wait_sides(struct netpoll_waiter *w, int n)
{
    struct m *mp = section_enter();
    struct g *gp = mp->cur;
    int64_t until = TIME_NEVER;
    int added = 0, r = 0;
    uint64_t ticket = wait_arm_cancellable(gp, WAIT_IO);
    for (; added < n && r == 0; added += r == 0) {
        r = netpoll_add(&w[added], gp, ticket);
        if (netpoll_until(&w[added]) < until)
            until = netpoll_until(&w[added]);
    }
    if (r < 0) {
        /* Not to be waited for after all, or look again. If somebody has claimed us meanwhile, he will also wake us. */
        int refused = r;
        if (wait_claim(gp, ticket))
            store_relaxed(&gp->status, G_RUNNING);
        else
            wait_park(mp, gp);
        mp = m_self();
        r = refused == -EAGAIN ? 0 : refused;
    } else {
        r = wait_park_until(mp, gp, until);
        mp = m_self();
    }
    for (int i = 0; i < added; i++) {
        netpoll_remove(&w[i]);
        if (w[i].result < 0)
            r = w[i].result;
    }
    section_leave(mp);
    return r == WAIT_TIME_UP ? -ETIMEDOUT : r;
}

GO_EXPORT int go_wait_fd(int fd, short events)
{
    struct poll_desc *d;
    io_enter();
    int r = netpoll_begin(fd, &d);
    if (r < 0)
        return r;
    bool reads = (events & (POLLIN | POLLPRI | POLLRDNORM | POLLRDBAND | POLLRDHUP)) != 0;
    bool writes = (events & (POLLOUT | POLLWRNORM | POLLWRBAND)) != 0;
    if (!reads && !writes)
        reads = writes = true; /* errors and hang-ups */
    uint32_t generation = load_relaxed(&d->generation);
    for (;;) {
        struct netpoll_waiter w[2];
        int n = 0;
        if ((reads && netpoll_late(d, POLL_READ)) || (writes && netpoll_late(d, POLL_WRITE)))
            return -ETIMEDOUT;
        r = 0;
        if (reads)
            r = netpoll_prepare(fd, POLL_READ, &w[n++]);
        if (writes && r == 0)
            r = netpoll_prepare(fd, POLL_WRITE, &w[n++]);
        if (r < 0)
            return r;
        if (load_relaxed(&d->generation) != generation)
            return -EBADF;
        r = os_poll(fd, events);
        if (r != 0)
            return r;
        r = wait_sides(w, n);
        if (r < 0)
            return r;
    }
}

/* --- from descriptor to descriptor --- */

#define COPY_STEP (32u << 10)

struct copy_buffer {
    void *memory;
    bool give_back;
};

/* On a system stack. */
static void copy_buffer(void *arg)
{
    struct copy_buffer *b = arg;
    if (b->give_back)
        free(b->memory);
    else
        b->memory = malloc(COPY_STEP);
}

/* sendfile knows no MSG_DONTWAIT: a blocking socket is sent to as others are. */
static ssize_t copy_to_socket(int out, int in, off_t *offset, size_t count)
{
    struct copy_buffer b = { 0 };
    system_stack_call(copy_buffer, &b);
    if (!b.memory)
        return -ENOMEM;
    off_t at = offset ? *offset : 0;
    ssize_t done = 0, r = 0;
    while (count > 0) {
        size_t most = count < COPY_STEP ? count : COPY_STEP, written = 0;
        if (!offset && (at = SYSCALL3(SYS_lseek, in, 0, SEEK_CUR)) < 0) {
            r = at;
            break;
        }
        ssize_t n = go_pread(in, b.memory, most, at);
        if (n <= 0) {
            r = n;
            break;
        }
        r = go_write_count(out, b.memory, (size_t)n, &written);
        at += (off_t)written;
        done += (ssize_t)written;
        count -= written;
        if (offset)
            *offset = at;
        else
            SYSCALL3(SYS_lseek, in, at, SEEK_SET);
        if (r < 0 || (size_t)n < most)
            break;
    }
    b.give_back = true;
    system_stack_call(copy_buffer, &b);
    return done > 0 ? done : r;
}

struct sendfile {
    int in;
    off_t *offset;
    size_t count;
};

static ssize_t attempt_sendfile(struct op *op)
{
    struct sendfile *s = op->extra;
    struct sigpipe_guard guard;
    go_block_enter(); /* the file may have to be read from a disk */
    sigpipe_hold(&guard);
    ssize_t n = SYSCALL4(SYS_sendfile, op->fd, s->in, s->offset, s->count);
    sigpipe_release(&guard, n == -EPIPE);
    go_block_leave();
    return n;
}

GO_EXPORT ssize_t go_sendfile(int out, int in, off_t *offset, size_t count)
{
    struct sendfile s = { in, offset, count };
    struct op op = { .fd = out, .side = POLL_WRITE, .extra = &s };
    io_enter();
    int r = netpoll_begin(out, &op.d);
    if (r < 0)
        return r;
    enum poll_kind kind = io_classify(out, op.d);
    int nonblocking = io_nonblocking(out);
    if (nonblocking < 0)
        return nonblocking;
    if (count > 0 && !nonblocking && kind != KIND_FILE)
        return copy_to_socket(out, in, offset, count);
    return run(&op, attempt_sendfile, false);
}

GO_EXPORT ssize_t go_splice(int in, off_t *in_offset, int out, off_t *out_offset, size_t count, unsigned flags)
{
    struct poll_desc *d_in, *d_out;
    enum poll_turn turn_in = TURN_FIRST, turn_out = TURN_FIRST;
    io_enter();
    int r = netpoll_begin(in, &d_in);
    if (r == 0)
        r = netpoll_begin(out, &d_out);
    if (r < 0)
        return r;
    uint32_t generation_in = load_relaxed(&d_in->generation), generation_out = load_relaxed(&d_out->generation);
    for (;;) {
        struct poll_seen seen_in = netpoll_see(d_in, POLL_READ), seen_out = netpoll_see(d_out, POLL_WRITE);
        if (seen_in.generation != generation_in || seen_out.generation != generation_out)
            return -EBADF;
        if (netpoll_late(d_in, POLL_READ) || netpoll_late(d_out, POLL_WRITE))
            return -ETIMEDOUT;
        int ready_in = os_poll(in, POLLIN), ready_out = os_poll(out, POLLOUT);
        if (ready_in < 0 || ready_out < 0)
            return ready_in < 0 ? ready_in : ready_out;
        if (ready_in > 0 && ready_out > 0) {
            struct sigpipe_guard guard;
            go_block_enter();
            sigpipe_hold(&guard);
            ssize_t n = SYSCALL6(SYS_splice, in, in_offset, out, out_offset, count, flags | SPLICE_F_NONBLOCK);
            sigpipe_release(&guard, n == -EPIPE);
            go_block_leave();
            if (n == -EINTR)
                continue;
            if (n != -EAGAIN || (flags & SPLICE_F_NONBLOCK))
                return n;
            /* Both said yes, and one was wrong: the next look tells which, or that it has changed. */
            if ((r = go_sleep(100000)) < 0)
                return r;
            continue;
        }
        if (flags & SPLICE_F_NONBLOCK)
            return -EAGAIN;
        /* Two sides, and a turn in only one of the queues at a time. */
        if (ready_in == 0) {
            r = netpoll_wait(d_in, POLL_READ, seen_in, &turn_in);
            if (turn_in == TURN_FLIGHT)
                netpoll_land(d_in, POLL_READ, seen_in);
            turn_in = TURN_AGAIN;
        } else {
            r = netpoll_wait(d_out, POLL_WRITE, seen_out, &turn_out);
            if (turn_out == TURN_FLIGHT)
                netpoll_land(d_out, POLL_WRITE, seen_out);
            turn_out = TURN_AGAIN;
        }
        if (r < 0)
            return r;
    }
}
