// SPDX-License-Identifier: MIT
// The seam of os/poller.h on Linux: one epoll instance, edge-triggered, and an eventfd to come out of it.
//
// The eventfd alone is level-triggered, and only a call that may sleep reads it: a thread that looks without sleeping must
// not take the wake-up away from the one that sleeps.
#include "os/poller.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>

#include "base/atomic.h"
#include "os/linux/syscall.h"
#include "os/os.h"

#define SECOND 1000000000ll
#define WAKE_KEY UINT64_MAX

static int epoll_fd = -1, wake_fd = -1;
static _Atomic bool no_pwait2;

int os_poller_open(bool pwait2)
{
    store_relaxed(&no_pwait2, !pwait2);
    long e = SYSCALL1(SYS_epoll_create1, EPOLL_CLOEXEC);
    if (e < 0)
        return (int)e;
    long w = SYSCALL2(SYS_eventfd2, 0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event event = { .events = EPOLLIN, .data.u64 = WAKE_KEY };
    long r = w < 0 ? w : SYSCALL4(SYS_epoll_ctl, e, EPOLL_CTL_ADD, w, &event);
    if (r < 0) {
        SYSCALL1(SYS_close, e);
        if (w >= 0)
            SYSCALL1(SYS_close, w);
        return (int)r;
    }
    wake_fd = (int)w;
    epoll_fd = (int)e;
    return 0;
}

static int control(int op, int fd, uint32_t what, uint64_t key)
{
    struct epoll_event event = { .events = EPOLLET, .data.u64 = key };
    if (what & OS_EVENT_READ)
        event.events |= EPOLLIN | EPOLLRDHUP;
    if (what & OS_EVENT_WRITE)
        event.events |= EPOLLOUT;
    if (what & OS_EVENT_URGENT)
        event.events |= EPOLLPRI;
    return (int)SYSCALL4(SYS_epoll_ctl, epoll_fd, op, fd, &event);
}

int os_poller_add(int fd, uint32_t what, uint64_t key)
{
    return control(EPOLL_CTL_ADD, fd, what, key);
}

int os_poller_again(int fd, uint32_t what, uint64_t key)
{
    return control(EPOLL_CTL_MOD, fd, what, key);
}

void os_poller_remove(int fd)
{
    control(EPOLL_CTL_DEL, fd, 0, 0);
}

static long wait_for(struct epoll_event *events, int n, int64_t until)
{
    int64_t left = until == INT64_MAX || until == 0 ? 0 : until - os_now();
    if (left < 0)
        left = 0;
    if (until == 0 || until == INT64_MAX || load_relaxed(&no_pwait2)) {
        /* Whole milliseconds, rounded up: waking too early would mean waiting once more. */
        int64_t ms = until == INT64_MAX ? -1 : (left + 999999) / 1000000;
        if (ms > 1 << 30)
            ms = 1 << 30;
        return SYSCALL6(SYS_epoll_pwait, epoll_fd, events, n, ms, NULL, 0);
    }
    struct timespec t = { left / SECOND, left % SECOND };
    long r = SYSCALL6(SYS_epoll_pwait2, epoll_fd, events, n, &t, NULL, 0);
    if (r < 0 && r != -EINTR) { /* an old kernel, or one that is told to refuse what it does not know */
        store_relaxed(&no_pwait2, true);
        return wait_for(events, n, until);
    }
    return r;
}

int os_poller_wait(struct os_event *events, int n, int64_t until)
{
    /* The kernel's records are packed on x86-64 and ours are not: a few at a time, on this stack. */
    struct epoll_event raw[64];
    int got = 0;
    do {
        int most = n - got < 64 ? n - got : 64;
#if HAVE_TSAN
        if (until != 0)
            until = os_tsan_signals(until); /* then it is as if nothing had come until then */
#endif
        long r = wait_for(raw, most, got > 0 ? 0 : until);
        for (long i = 0; i < r; i++) {
            if (raw[i].data.u64 == WAKE_KEY) {
                uint64_t count;
                if (until != 0)
                    SYSCALL3(SYS_read, wake_fd, &count, sizeof count);
                continue;
            }
            uint32_t e = raw[i].events, what = 0;
            if (e & (EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
                what |= OS_EVENT_READ;
            if (e & (EPOLLOUT | EPOLLHUP | EPOLLERR))
                what |= OS_EVENT_WRITE;
            if (e & (EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI))
                what |= OS_EVENT_HUNG_UP;
            events[got++] = (struct os_event){ .what = what, .key = raw[i].data.u64 };
        }
        if (r < most)
            break;
    } while (got < n);
    return got;
}

void os_poller_wake(void)
{
    uint64_t one = 1;
    SYSCALL3(SYS_write, wake_fd, &one, sizeof one);
}

int os_poll(int fd, int events)
{
    struct pollfd p = { .fd = fd, .events = (short)events };
    struct timespec zero = { 0, 0 };
    long r;
    do {
        r = SYSCALL6(SYS_ppoll, &p, 1, &zero, NULL, 0, 0);
    } while (r == -EINTR);
    if (r < 0)
        return (int)r;
    if (p.revents & POLLNVAL)
        return -EBADF;
    return p.revents;
}

bool os_is_open(int fd)
{
    return SYSCALL2(SYS_fcntl, fd, F_GETFD) >= 0;
}
