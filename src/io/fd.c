// SPDX-License-Identifier: MIT
// Descriptors: what each is, its deadlines, its end, and waiting for readiness alone.
//
// Invariants
//   - The kind of a descriptor is a guess. A wrong one does no harm, but for KIND_TCP on a number that the library made: there a short
//     read is believed to have taken all. So what was found out about a file that has been closed since is not stored (netpoll_set_kind).
//   - Every wait for a descriptor ends with -EBADF when go_close is called, before the number can be another file's.
//   - go_wait_fd takes no data, and uses up no wake-up of operations that do.
//
// "What a descriptor is"
//
// How to ask without blocking (op.h) depends on the kind of file:
//
//   sockets              MSG_DONTWAIT, and MSG_NOSIGNAL
//   pipes, eventfds …    preadv2, pwritev2 with RWF_NOWAIT; writing see "Writing without SIGPIPE" in read_write.c
//   what cannot do that  (terminals, eventfds' writes, pipes before 6.5) poll(2) first; see "Look first" in op.c
//   files                always "ready", and may block for a disk; see "Files" in read_write.c
//
// It is remembered with the number, as a guess, for nobody tells when a program closes it and opens something else. Each attempt
// is made so that a wrong guess either does no harm or shows itself by an error (ENOTSOCK, EOPNOTSUPP).
//
// Rejected. Asking each time (fstat): a system call for each operation.
#include <goroutine/io.h>
#include <goroutine/time.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "io/io.h"
#include "sched/park.h"

int io_nonblocking(int fd)
{
    long flags = SYSCALL2(SYS_fcntl, fd, F_GETFL);
    return flags < 0 ? (int)flags : (flags & O_NONBLOCK) != 0;
}

static bool is_file(const struct stat *st)
{
    return S_ISREG(st->st_mode) || S_ISDIR(st->st_mode) || S_ISBLK(st->st_mode);
}

enum poll_kind io_kind(int fd)
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
        kind = is_file(&st) ? KIND_FILE : KIND_PIPE;
    }
    return kind;
}

noinline enum poll_kind io_classify(int fd, struct poll_desc *d)
{
    uint32_t generation = load_relaxed(&d->generation);
    enum poll_kind kind = io_kind(fd);
    netpoll_set_kind(d, generation, kind);
    return kind;
}

void io_classify_device(int fd, struct poll_desc *d)
{
    struct stat st;
    enum poll_kind kind = KIND_DEVICE;
    uint32_t generation = load_relaxed(&d->generation);
    if (SYSCALL2(SYS_fstat, fd, &st) == 0)
        kind = is_file(&st)           ? KIND_FILE
               : S_ISCHR(st.st_mode)  ? KIND_TERMINAL
               : S_ISSOCK(st.st_mode) ? KIND_SOCKET
                                      : KIND_DEVICE;
    netpoll_set_kind(d, generation, kind);
}

GO_EXPORT int go_close(int fd)
{
    io_enter();
    uint32_t generation = netpoll_closing(fd);
    netpoll_order_in(); /* the other end learns of it */
    __sanitizer_syscall_pre_impl_close(fd);
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
    return netpoll_set_until(fd, read_by, write_by);
}

/* --- readiness alone --- */

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
    for (bool woken = false;;) {
        struct netpoll_waiter w[2];
        int n = 0;
        if ((reads && netpoll_late(d, POLL_READ)) || (writes && netpoll_late(d, POLL_WRITE)))
            return -ETIMEDOUT;
        r = 0;
        if (reads) {
            r = netpoll_prepare(fd, POLL_READ, &w[n++]);
            w[0].urgent = (events & POLLPRI) != 0;
        }
        if (writes && r == 0)
            r = netpoll_prepare(fd, POLL_WRITE, &w[n++]);
        if (r < 0)
            return r;
        if (load_relaxed(&d->generation) != generation)
            return -EBADF;
        r = os_poll(fd, events);
        if (r > 0)
            netpoll_order_out();
        if (r != 0)
            return r;
        /* Woken in vain: the side may stay ready for something that was not asked for, and each wait would end at once. */
        r = woken ? go_sleep(IO_PAUSE) : netpoll_wait_any(w, n, TIME_NEVER);
        woken = r > 0;
        if (r < 0)
            return r == WAIT_TIME_UP ? -ETIMEDOUT : r;
    }
}
