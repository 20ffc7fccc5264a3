// SPDX-License-Identifier: MIT
// Reading and writing descriptors of every kind.
//
// Invariants
//   - A read that has got something returns it: it never waits for more (MSG_WAITALL does, and returns what it has if the wait ends).
//   - A write returns when everything is out, or with the reason why not; go_write_count tells how much went out.
//   - An operation that has succeeded and may have left something wakes the next; see "One event, many waiters" in sched/netpoll.c.
//
// "Files"
//
// Reads are tried with RWF_NOWAIT, which takes what is in the page cache; the rest are blocking calls, as are all writes.
// Rejected: io_uring; see docs/io.md for the measurement.
//
// "Writing without SIGPIPE"
//
// A library must not end its program because a peer has gone. Sockets are told by MSG_NOSIGNAL, pipes by RWF_NOSIGNAL from Linux 6.18
// on. Before, and where a blocking call is made, SIGPIPE is held back on the thread (op.c). That a kernel does not know the flag
// shows at the first attempt, and is remembered for all.
#include <goroutine/io.h>

#include <limits.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "io/op.h"

#ifndef RWF_NOSIGNAL
#define RWF_NOSIGNAL 0x100 /* Linux 6.18 */
#endif
/* One write of this size into a pipe that poll calls writable does not block. */
#define PIPE_STEP 4096
/* The size of an eventfd's write. For that little the descriptor's kind need not be asked each time. */
#define EVENTFD_SIZE 8

static _Atomic bool no_nosignal; /* this kernel does not know RWF_NOSIGNAL */

/* --- vectors --- */

/* The rest of an element of which part is done, and what comes after it. */
struct rest {
    struct iovec part;
    const struct iovec *after;
    int after_count;
};

/* n bytes of op's vector are done. If part of an element is left, that part alone comes next. */
static void op_advance(struct op *op, struct rest *rest, size_t n)
{
    op->goes_on = true;
    while (op->count > 0 && n >= op->iov->iov_len) {
        n -= op->iov->iov_len;
        op->iov++;
        op->count--;
    }
    if (op->count > 0 && n > 0) {
        if (op->iov != &rest->part) {
            rest->after = op->iov + 1;
            rest->after_count = op->count - 1;
            rest->part = *op->iov;
        }
        rest->part.iov_base = (char *)rest->part.iov_base + n;
        rest->part.iov_len -= n;
        op->iov = &rest->part;
        op->count = 1;
    } else if (op->count == 0 && rest->after) {
        op->iov = rest->after;
        op->count = rest->after_count;
        rest->after = NULL;
    }
}

static size_t iov_size(const struct iovec *iov, int count)
{
    size_t size = 0;
    for (int i = 0; i < count; i++)
        size += iov[i].iov_len;
    return size;
}

/* --- reading --- */

/* All that a socket can be asked for at once, with the address and so on. */
static always_inline ssize_t attempt_recvmsg(struct op *op)
{
    int flags = op->flags | MSG_DONTWAIT;
    ssize_t n = SYSCALL3(SYS_recvmsg, op->fd, op->extra, flags | MSG_CMSG_CLOEXEC);
    if (n == -EINVAL || n == -EOPNOTSUPP) /* not all families know the flag */
        n = SYSCALL3(SYS_recvmsg, op->fd, op->extra, flags);
    return n;
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

/* The file, or the kernel, does not know RWF_NOWAIT. A bad address, or an empty read, is reported before that. */
static bool cannot_nowait(ssize_t n)
{
    return n == -EOPNOTSUPP || n == -ENOSYS || n == -EPERM; /* -EPERM: from a filter that knows no new calls */
}

static noinline ssize_t attempt_read_other(struct op *op)
{
    struct poll_desc *d = op->d;
    enum poll_kind kind = (enum poll_kind)load_relaxed(&d->kind);
    if (kind == KIND_TERMINAL)
        return op_look_and_take(op, SYS_readv);
    ssize_t n = read_nowait(op);
    if (kind == KIND_DEVICE && cannot_nowait(n)) /* that may have been about its writes: an eventfd's */
        return op_look_and_take(op, SYS_readv);
    if (n >= 0) {
        if (kind == KIND_FILE && n > 0 && (size_t)n < iov_size(op->iov, op->count) && io_classify(op->fd, d) == KIND_FILE)
            return file_read_rest(op, n);
        netpoll_pass_on(d, POLL_READ);
        return n;
    }
    if (n != -EAGAIN && !cannot_nowait(n))
        return n;
    if (kind == KIND_FILE || n != -EAGAIN)
        kind = io_classify(op->fd, d); /* it may be another file by now */
    if (kind == KIND_FILE)
        return file_read_rest(op, 0);
    if (n == -EAGAIN)
        return n;
    if (kind == KIND_PIPE)
        io_classify_device(op->fd, d);
    return op_look_and_take(op, SYS_readv);
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

/* Most say 0 at once; some devices wait until there is something that they can refuse to give. */
static ssize_t attempt_read_nothing(struct op *op)
{
    return op_call_for_a_while(SYS_read, op->fd, (long)op->iov->iov_base, 0, 0, 0, 0);
}

GO_EXPORT ssize_t go_read(int fd, void *buffer, size_t size)
{
    struct iovec iov = { buffer, size };
    struct op op = { .fd = fd, .side = POLL_READ, .iov = &iov, .count = 1 };
    io_enter();
    int r = netpoll_begin(fd, &op.d);
    if (unlikely(r < 0))
        return r;
    if (unlikely(size == 0)) /* recv would wait */
        return op_run(&op, attempt_read_nothing, false);
    if (size > SSIZE_MAX)
        return -EINVAL;
    return op_run(&op, attempt_read, true);
}

/* The vector is the caller's: only the kernel may read it first. */
static ssize_t attempt_readv(struct op *op)
{
    enum poll_kind kind = (enum poll_kind)load_relaxed(&op->d->kind);
    if (kind == KIND_UNKNOWN)
        kind = io_classify(op->fd, op->d);
    if (kind == KIND_FILE || kind == KIND_PIPE || kind == KIND_DEVICE)
        return attempt_read_other(op);
    ssize_t n = read_nowait(op);
    if (cannot_nowait(n) && !op_looks_first(kind)) { /* sockets before Linux 6.5 */
        struct msghdr m = { .msg_iov = (struct iovec *)op->iov, .msg_iovlen = (size_t)op->count };
        n = SYSCALL3(SYS_recvmsg, op->fd, &m, MSG_DONTWAIT);
        if (n == -ENOTSOCK)
            io_classify(op->fd, op->d);
    }
    if (cannot_nowait(n) || n == -ENOTSOCK)
        return attempt_read_other(op);
    if (n != -EAGAIN)
        netpoll_pass_on(op->d, POLL_READ);
    return n;
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
    if (count == 0)
        return SYSCALL3(SYS_readv, fd, iov, 0);
    return op_run(&op, attempt_readv, false);
}

/* MSG_WAITALL, where it means something. */
static bool waits_for_all(const struct op *op)
{
    int type = 0;
    socklen_t length = sizeof type;
    if (likely(!(op->flags & MSG_WAITALL)) || op->no_wait || (op->flags & MSG_OOB))
        return false;
    SYSCALL6(SYS_getsockopt, op->fd, SOL_SOCKET, SO_TYPE, &type, &length, 0);
    return type == SOCK_STREAM;
}

/* The connection has ended by an error, after all data. To take the error now would lose it, for the call must return the part that it
 * has. (An error that comes between this look and the call is lost.) */
static bool error_waits(int fd)
{
    int queued = 0, r = os_poll(fd, POLLIN);
    return r > 0 && (r & POLLERR) && (r & POLLHUP) && SYSCALL3(SYS_ioctl, fd, FIONREAD, &queued) == 0 && queued == 0;
}

static ssize_t attempt_recv_part(struct op *op)
{
    if (op->goes_on && error_waits(op->fd))
        return -EIO; /* recv_all has a part */
    ssize_t n = attempt_recvmsg(op);
    bool part = n > 0 && (size_t)n < iov_size(op->iov, op->count), peeks = op->flags & MSG_PEEK;
    if (part && peeks && os_poll(op->fd, POLLRDHUP) == 0)
        return -EAGAIN;
    if (part && !peeks && load_relaxed(&op->d->kind) == KIND_TCP)
        netpoll_drained(op->d, POLL_READ, op->seen);
    else if (n != -EAGAIN)
        netpoll_pass_on(op->d, POLL_READ);
    return n;
}

/* MSG_WAITALL on a stream: what there is, until it is all. Ancillary data that are taken end it: what comes next is not theirs. */
static noinline ssize_t recv_all(struct op *op, struct msghdr *message)
{
    struct msghdr m = *message;
    struct rest rest = { 0 };
    ssize_t had = 0, n;
    int lost = 0; /* ancillary data for which the caller had no room, which must be reported */
    op->iov = m.msg_iov;
    op->count = (int)m.msg_iovlen;
    op->extra = &m;
    size_t control = m.msg_controllen;
    socklen_t name = m.msg_namelen;
    do {
        m.msg_iov = (struct iovec *)op->iov;
        m.msg_iovlen = (size_t)op->count;
        m.msg_controllen = control;
        m.msg_namelen = name; /* the kernel has told how long it is, which may be more than there is room for */
        n = op_run(op, attempt_recv_part, !(op->flags & MSG_PEEK));
        if (n < 0 || (n == 0 && had > 0))
            break;
        had += n;
        message->msg_namelen = m.msg_namelen;
        message->msg_controllen = m.msg_controllen;
        lost |= m.msg_flags & MSG_CTRUNC;
        message->msg_flags = m.msg_flags | lost;
        op_advance(op, &rest, (size_t)n);
    } while (n > 0 && op->count > 0 && m.msg_controllen == 0 && !(control > 0 && (m.msg_flags & MSG_CTRUNC)) &&
             !(op->flags & MSG_PEEK));
    return had > 0 ? had : n;
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
    if (unlikely(waits_for_all(&op))) {
        struct msghdr m = { .msg_name = address, .msg_iov = &iov, .msg_iovlen = 1 };
        if (address && address_size)
            m.msg_namelen = *address_size;
        ssize_t n = recv_all(&op, &m);
        if (n >= 0 && address && address_size)
            *address_size = m.msg_namelen;
        return n;
    }
    return op_run(&op, attempt_recvfrom, !(flags & (MSG_PEEK | MSG_OOB | MSG_ERRQUEUE)));
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
    bool all = unlikely(waits_for_all(&op)) && message->msg_iovlen <= IOV_MAX;
    ssize_t n = all ? recv_all(&op, message) : op_run(&op, attempt_recvmsg, false);
    netpoll_pass_on(op.d, POLL_READ);
    if (n >= 0) /* the kernel says it with the result */
        message->msg_flags &= ~MSG_CMSG_CLOEXEC | flags;
    if (!all && n > 0 && !(flags & MSG_TRUNC))
        sanitize_vector(message->msg_iov, message->msg_iovlen, n, true);
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
        if (n != -EOPNOTSUPP && n != -EINVAL)
            store_relaxed(&no_nosignal, true);
    }
    return n;
}

static ssize_t write_blocking(struct op *op)
{
    struct sigpipe_guard guard;
    go_block_enter();
    sigpipe_hold(&guard);
    ssize_t n = SYSCALL3(SYS_writev, op->fd, op->iov, op->count);
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
        return write_blocking(op);
    if (!op_looks_first(kind)) {
        ssize_t n = write_nowait(op);
        if (n >= 0)
            netpoll_pass_on(d, POLL_WRITE);
        if (!cannot_nowait(n))
            return n;
        if (io_classify(op->fd, d) == KIND_PIPE)
            io_classify_device(op->fd, d);
    }
    int r = os_poll(op->fd, POLLOUT);
    if (r <= 0)
        return r < 0 ? r : -EAGAIN;
    bool small = !op->foreign && op->iov->iov_len <= EVENTFD_SIZE;
    if (!small)
        io_classify_device(op->fd, d); /* it may be a terminal by now, or a socket, whose message must not be cut */
    kind = (enum poll_kind)load_relaxed(&d->kind);
    if (kind == KIND_SOCKET || kind == KIND_FILE)
        return -EINTR; /* the other way, at once */
    if (kind == KIND_TERMINAL) {
        ssize_t n = op_call_for_a_while(SYS_writev, op->fd, (long)op->iov, op->count, 0, 0, 0);
        if (n >= 0)
            netpoll_pass_on(d, POLL_WRITE);
        return n;
    }
    /* A pipe's reader may be slow. A large element is cut; a vector goes out one element after the other. */
    struct iovec first = { op->iov->iov_base, op->iov->iov_len < PIPE_STEP ? op->iov->iov_len : PIPE_STEP };
    struct op one = *op;
    one.iov = &first;
    one.count = 1;
    if (small)
        return write_blocking(&one);
    /* Another writer of the same FIFO may take the room that there was. */
    return op_call_for_a_while(SYS_writev, op->fd, (long)&first, 1, 0, 0, 0);
}

static always_inline ssize_t attempt_write(struct op *op)
{
    enum poll_kind kind = (enum poll_kind)load_relaxed(&op->d->kind);
    if (unlikely(kind == KIND_UNKNOWN))
        kind = io_classify(op->fd, op->d);
    if (likely(kind == KIND_TCP || kind == KIND_SOCKET)) {
        ssize_t n;
        if (likely(op->count == 1 && !op->foreign)) {
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

ssize_t op_write_all(struct op *op, size_t *done)
{
    struct rest rest = { 0 };
    do {
        ssize_t n = op_run(op, attempt_write, false);
        if (n < 0)
            return n;
        if (n == 0 && op->iov->iov_len > 0)
            return -EIO; /* neither progress nor a reason */
        *done += (size_t)n;
        op_advance(op, &rest, (size_t)n);
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
        r = size > SSIZE_MAX ? -EINVAL : op_write_all(&op, &done);
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
    ssize_t n = op_run(&op, attempt_write, false);
    if (likely(n < 0 || (size_t)n == size))
        return n;
    op.goes_on = true;
    iov.iov_base = (char *)iov.iov_base + n;
    iov.iov_len -= (size_t)n;
    ssize_t rest = op_write_all(&op, &done);
    return rest < 0 ? rest : (ssize_t)size;
}

GO_EXPORT ssize_t go_writev(int fd, const struct iovec *iov, int count)
{
    struct op op = { .fd = fd, .side = POLL_WRITE, .iov = iov, .count = count, .foreign = true };
    size_t done = 0;
    io_enter();
    int r = netpoll_begin(fd, &op.d);
    if (r < 0)
        return r;
    if (count < 0 || count > IOV_MAX)
        return -EINVAL;
    if (count == 0)
        return SYSCALL3(SYS_writev, fd, iov, 0);
    return op_write_all(&op, &done);
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
    ssize_t n = op_run(&op, attempt_sendto, false);
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
    ssize_t n = op_run(&op, attempt_sendmsg, false);
    netpoll_pass_on(op.d, POLL_WRITE);
    if (n > 0)
        sanitize_vector(message->msg_iov, message->msg_iovlen, n, false);
    return n;
}

/* --- at a place in a file --- */

ssize_t op_read_at(int fd, const struct iovec *iov, int count, off_t offset)
{
    ssize_t n = SYSCALL6(SYS_preadv2, fd, iov, count, offset, 0, RWF_NOWAIT);
    if (n == 0 || (n > 0 && (size_t)n == iov_size(iov, count)))
        return n;
    if (n < 0 && n != -EAGAIN && n != -EINTR && !cannot_nowait(n))
        return n;
    return IO_BLOCKING(SYSCALL6(SYS_preadv, fd, iov, count, offset, 0, 0));
}

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
    ssize_t n = op_read_at(fd, iov, count, offset);
    if (n >= 0)
        netpoll_order_out();
    sanitize_vector(iov, (size_t)count, n, true);
    return n;
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
    ssize_t n = IO_BLOCKING(SYSCALL6(SYS_pwritev, fd, iov, count, offset, 0, 0));
    sanitize_vector(iov, (size_t)count, n, false);
    return n;
}

GO_EXPORT ssize_t go_pwrite(int fd, const void *buffer, size_t size, off_t offset)
{
    struct iovec iov = { (void *)buffer, size };
    return go_pwritev(fd, &iov, 1, offset);
}
