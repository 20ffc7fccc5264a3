// SPDX-License-Identifier: MIT
// From descriptor to descriptor: sendfile and splice.
//
// Invariants
//   - A call that could wait for a peer is made with O_NONBLOCK or SPLICE_F_NONBLOCK, or for a while only; waiting for a disk is a
//     blocking call.
//   - Steps of one call are about the same two files: a number that is another file by now is -EBADF.
//   - What has gone out is told, and the offsets are where it ended.
//
// Problem. sendfile knows no flag that keeps it from blocking on its destination.
//
// The way. A destination in blocking mode is not given to sendfile: the file is read and written in steps, through a
// buffer from malloc, as on a goroutine's stack there may be no room. What is read and could not be written is read again.
//
// splice waits for two descriptors. It looks at both and waits for the one that is not ready, without keeping a turn in one queue while
// it waits in the other: two that did so would wait for each other. Bad arguments are not worth a wait: so before the first wait the
// call is made in any case, if a pipe that is not ready, or the lack of any pipe, keeps it from waiting.
#include <goroutine/io.h>

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>

#include "io/op.h"
#include "sched/sched.h"

#define COPY_STEP (32u << 10)

struct sendfile {
    int in;
    struct poll_desc *d_in;
    uint32_t generation_in;
    off_t *offset;
    size_t count;
};

/* To a descriptor in blocking mode: by ordinary reads and writes. */
static ssize_t copy_to_socket(struct op *op, const struct sendfile *s)
{
    int in = s->in;
    off_t *offset = s->offset;
    size_t count = s->count;
    off_t at = offset ? *offset : SYSCALL3(SYS_lseek, in, 0, SEEK_CUR);
    ssize_t done = 0, r = 0;
    if (at < 0)
        return !offset && at != -ESPIPE ? at : -EINVAL;
    op->seen = netpoll_see(op->d, POLL_WRITE); /* all that follows is for these two files */
    op->goes_on = true;
    void *buffer = system_stack_realloc(NULL, COPY_STEP);
    if (!buffer)
        return -ENOMEM;
    for (; count > 0; io_enter()) {
        struct iovec iov = { buffer, count < COPY_STEP ? count : COPY_STEP };
        size_t most = iov.iov_len, written = 0;
        if (netpoll_late(s->d_in, POLL_READ) || netpoll_late(op->d, POLL_WRITE))
            r = -ETIMEDOUT;
        else if (!offset && (at = SYSCALL3(SYS_lseek, in, 0, SEEK_CUR)) < 0)
            r = at;
        else
            r = op_read_at(in, &iov, 1, at);
        if (load_relaxed(&s->d_in->generation) != s->generation_in)
            r = -EBADF;
        if (r <= 0)
            break;
        iov.iov_len = (size_t)r;
        op->iov = &iov;
        op->count = 1;
        r = op_write_all(op, &written);
        at += (off_t)written;
        done += (ssize_t)written;
        count -= written;
        if (offset)
            *offset = at;
        else if (load_relaxed(&s->d_in->generation) == s->generation_in)
            SYSCALL3(SYS_lseek, in, at, SEEK_SET);
        if (r < 0 || (size_t)r < most)
            break;
    }
    system_stack_call(free, buffer);
    return done > 0 ? done : r == -EISDIR || (r == -ESPIPE && !offset) ? -EINVAL : r; /* as sendfile has it */
}

static ssize_t attempt_sendfile(struct op *op)
{
    struct sendfile *s = op->extra;
    struct sigpipe_guard guard;
    if (load_relaxed(&s->d_in->generation) != s->generation_in)
        return -EBADF;
    if (netpoll_late(s->d_in, POLL_READ))
        return -ETIMEDOUT;
    go_block_enter(); /* the file may have to be read from a disk */
    sigpipe_hold(&guard);
    ssize_t n = SYSCALL4(SYS_sendfile, op->fd, s->in, s->offset, s->count);
    sigpipe_release(&guard, n != (ssize_t)s->count);
    go_block_leave();
    return n;
}

GO_EXPORT ssize_t go_sendfile(int out, int in, off_t *offset, size_t count)
{
    struct sendfile s = { .in = in, .offset = offset, .count = count };
    struct op op = { .fd = out, .side = POLL_WRITE, .extra = &s };
    io_enter();
    int r = netpoll_begin(out, &op.d);
    if (r == 0)
        r = netpoll_begin(in, &s.d_in);
    if (r < 0)
        return r;
    s.generation_in = load_relaxed(&s.d_in->generation);
    enum poll_kind kind = io_classify(out, op.d);
    int nonblocking = io_nonblocking(out);
    if (nonblocking < 0)
        return nonblocking;
    if ((ssize_t)count > 0 && !nonblocking && kind != KIND_FILE)
        return copy_to_socket(&op, &s);
    return op_run(&op, attempt_sendfile, false);
}

/* SPLICE_F_NONBLOCK is about the pipe only. */
static bool blocks(int fd, struct poll_desc *d)
{
    return io_classify(fd, d) != KIND_FILE && SYSCALL2(SYS_fcntl, fd, F_GETPIPE_SZ) < 0 && io_nonblocking(fd) == 0;
}

static ssize_t splice_now(int in, off_t *in_offset, int out, off_t *out_offset, size_t count, unsigned flags, bool may_block)
{
    struct sigpipe_guard guard;
    ssize_t n;
    flags |= SPLICE_F_NONBLOCK;
    netpoll_order_in();
    if (may_block) {
        n = op_call_for_a_while(SYS_splice, in, (long)in_offset, out, (long)out_offset, (long)count, flags);
    } else {
        go_block_enter();
        sigpipe_hold(&guard);
        n = SYSCALL6(SYS_splice, in, in_offset, out, out_offset, count, flags);
        sigpipe_release(&guard, n != (ssize_t)count);
        go_block_leave();
    }
    netpoll_order_out();
    return n;
}

/* True if it comes back at once although not both are ready. */
static bool splice_only_checks(int in, bool ready_in, int out, bool ready_out)
{
    bool pipe_in = SYSCALL2(SYS_fcntl, in, F_GETPIPE_SZ) >= 0, pipe_out = SYSCALL2(SYS_fcntl, out, F_GETPIPE_SZ) >= 0;
    return (pipe_in && !ready_in) || (pipe_out && !ready_out) || (!pipe_in && !pipe_out);
}

struct splice_end {
    int fd;
    enum poll_side side;
    short event;
    struct poll_desc *d;
    uint32_t generation;
    struct poll_seen seen;
    struct poll_turn turn;
};

static int splice_begin(struct splice_end *e, int fd, enum poll_side side)
{
    *e = (struct splice_end){ .fd = fd, .side = side, .event = side == POLL_READ ? POLLIN : POLLOUT };
    int r = netpoll_begin(fd, &e->d);
    if (r == 0)
        e->generation = load_relaxed(&e->d->generation);
    return r;
}

/* A woken operation that waits for the same side again must not land: it would wake the next one, which finds nothing and wakes it. */
static void splice_land(struct splice_end *e)
{
    if (e->turn.state != TURN_FLIGHT)
        return;
    netpoll_land(e->d, e->side, e->seen);
    e->turn.state = TURN_AGAIN;
}

/* 1 ready, 0 not, or why it never will be. */
static int splice_look(struct splice_end *e)
{
    struct poll_seen seen = netpoll_see(e->d, e->side);
    if (seen.generation != e->generation)
        return -EBADF;
    e->seen = seen;
    if (netpoll_late(e->d, e->side))
        return -ETIMEDOUT;
    return os_poll(e->fd, e->event);
}

struct splice {
    off_t *in_offset, *out_offset;
    size_t count;
    unsigned flags;
};

static ssize_t splice_run(const struct splice *s, struct splice_end *in, struct splice_end *out)
{
    bool may_block = blocks(in->fd, in->d) || blocks(out->fd, out->d), checked = false;
    for (;;) {
        int ready_in = splice_look(in), ready_out = splice_look(out), r;
        if (ready_in < 0 || ready_out < 0)
            return ready_in < 0 ? ready_in : ready_out;
        bool both = ready_in > 0 && ready_out > 0;
        if (both || (!checked && splice_only_checks(in->fd, ready_in > 0, out->fd, ready_out > 0))) {
            ssize_t n = splice_now(in->fd, s->in_offset, out->fd, s->out_offset, s->count, s->flags, may_block);
            if (n == -EINTR)
                continue;
            if (n != -EAGAIN)
                return n;
        }
        checked = true;
        if (s->flags & SPLICE_F_NONBLOCK)
            return -EAGAIN;
        if (both) {
            /* Both said yes, and one was wrong: the next look tells which, or that it has changed. */
            splice_land(in);
            splice_land(out);
            r = go_sleep(100000);
        } else if (ready_in == 0) {
            splice_land(out);
            r = netpoll_wait(in->d, in->side, in->seen, &in->turn);
        } else {
            splice_land(in);
            r = netpoll_wait(out->d, out->side, out->seen, &out->turn);
        }
        if (r < 0)
            return r;
    }
}

GO_EXPORT ssize_t go_splice(int in, off_t *in_offset, int out, off_t *out_offset, size_t count, unsigned flags)
{
    struct splice s = { in_offset, out_offset, count, flags };
    struct splice_end ends[2];
    io_enter();
    if (count == 0)
        return SYSCALL6(SYS_splice, in, in_offset, out, out_offset, 0, flags);
    int r = splice_begin(&ends[0], in, POLL_READ);
    if (r == 0)
        r = splice_begin(&ends[1], out, POLL_WRITE);
    if (r < 0)
        return r;
    ssize_t n = splice_run(&s, &ends[0], &ends[1]);
    splice_land(&ends[0]);
    splice_land(&ends[1]);
    return n;
}
