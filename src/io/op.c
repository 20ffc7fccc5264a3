// SPDX-License-Identifier: MIT
// What operations have in common beside their loop (op.h): the end of a wait, looking first, SIGPIPE.
//
// Invariants
//   - For each descriptor, only one goroutine of this process at a time is between the look and the call that takes, or between changing a
//     socket's mode for its connect and restoring it (`busy`).
//   - A goroutine that was refused because another was inside is woken when that one is done.
//   - SIGPIPE is held back on the thread between sigpipe_hold and sigpipe_release, and pending afterwards only if it was before.
//
// "Look first"
//
// Problem. Terminals, pipes before Linux 6.5 and listeners in blocking mode have no way to be asked without blocking.
//
// The way. poll(2) first, then the call. Between the two another process, or somebody with another descriptor of the same file, may
// take what there was; then the call blocks. Hence it is made as a blocking call, so that others get the P. Goroutines with the same
// descriptor would do the same to each other all the time, hence `busy`.
//
// Nor does poll promise much of a device: a terminal with room for one byte takes part of a write and waits for its reader. So the call is
// interrupted by a timer's signal when it has lasted for some time, and comes back with a part or -EAGAIN: the wait goes on where it can
// be ended. Rejected: pieces that fit. Where \n becomes two bytes only single ones do for sure, and the lines of several goroutines
// would be mixed.
//
// The nasty race. A goroutine that finds another inside gets -EAGAIN and goes to wait. It may be on its way to the queue when the other is
// done and looks there, and what is left makes no new event. So an edge is counted in any case: a goroutine that is not queued yet finds
// that the count is not what it has seen, and tries again.
//
// "Ready, and yet in vain"
//
// A datagram socket that was shut down for reading is readable for ever, and a call that must not block finds nothing: only a call that
// may block reports the end. poll(2) can tell, by POLLRDHUP. Errors that nobody takes from the queue of errors make a socket readable,
// too; and a Unix one is writable while its receiver's queue is full. A socket that has only part of what MSG_PEEK | MSG_WAITALL wants to
// see is readable. At TCP's urgent mark a signal makes recv say -EAGAIN though data follow. In all these cases each wait would end at
// once, or none would, so attempts are made from time to time.
#include "io/op.h"

#include <goroutine/scope.h>
#include <goroutine/time.h>

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <time.h>

#include "os/lock.h"
#include "os/os.h"
#include "sched/sched.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

#define FOR_A_WHILE 10000000 /* ns */

ssize_t op_not_waited(struct op *op, attempt_fn attempt, int r, bool tried)
{
    if (load_relaxed(&op->d->generation) != op->seen.generation)
        return -EBADF; /* closed since it was woken */
    /* A scope that is cancelled ends waits, not what can be done at once. */
    if (tried || r == -EBADF || netpoll_late(op->d, op->side))
        return r;
    ssize_t n = attempt(op);
    return n == -EAGAIN || n == -EINTR ? r : n;
}

ssize_t op_in_vain(struct op *op, attempt_fn attempt)
{
    enum poll_kind kind = (enum poll_kind)load_relaxed(&op->d->kind);
    if (kind == KIND_UNKNOWN) /* so far it has been used by calls for sockets only */
        kind = io_classify(op->fd, op->d);
    if (kind != KIND_SOCKET && kind != KIND_TCP)
        return -EAGAIN;
    /* Data may stay where they are (MSG_PEEK, MSG_OOB), or be there all the same (the urgent mark). */
    bool data_too = kind == KIND_TCP || (op->flags & (MSG_PEEK | MSG_OOB));
    int r = os_poll(op->fd, op->side == POLL_WRITE ? POLLOUT : data_too ? POLLIN | POLLRDHUP : POLLRDHUP);
    if (r <= 0)
        return -EAGAIN;
    ssize_t n = attempt(op);
    if (n != -EAGAIN)
        return n;
    if (op->side == POLL_READ && (r & POLLRDHUP))
        return op->end;
    r = go_sleep(IO_PAUSE);
    return r < 0 ? r : n;
}

int op_not_pollable(struct op *op)
{
    if (load_relaxed(&op->d->kind) == KIND_TERMINAL) /* another one is at it, or it has blocked for long */
        return go_sleep(IO_PAUSE);
    netpoll_set_kind(op->d, op->seen.generation, KIND_TERMINAL); /* to be asked in the blocking way */
    return 0;
}

uint32_t op_enter_alone(struct poll_desc *d)
{
    uint32_t nobody = 0, us = load_relaxed(&d->generation) + 1;
    if (us == 0)
        us = 1;
    return cas_acq_rel(&d->busy, &nobody, us) ? us : 0;
}

void op_leave_alone(struct poll_desc *d, uint32_t us)
{
    /* If the number has another file by now, somebody else may be inside for that. */
    cas_acq_rel(&d->busy, &us, 0);
}

ssize_t op_look_and_take(struct op *op, long call)
{
    struct poll_desc *d = op->d;
    uint32_t us;
    int r = os_poll(op->fd, POLLIN);
    if (r <= 0)
        return r < 0 ? r : -EAGAIN;
    if (!(us = op_enter_alone(d)))
        return -EAGAIN;
    r = os_poll(op->fd, POLLIN);
    ssize_t n = r < 0 ? r : -EAGAIN;
    if (r > 0) {
        if (call == SYS_accept4)
            n = op_call_for_a_while(call, op->fd, (long)op->extra, (long)op->extra2, SOCK_CLOEXEC, 0, 0);
        else
            n = op_call_for_a_while(call, op->fd, (long)op->iov, op->count, 0, 0, 0);
    }
    op_leave_alone(d, us);
    netpoll_pass_on_slow(d, POLL_READ); /* an edge in any case: one who found us busy may not be queued yet */
    return n;
}

/* --- signals --- */

#define SIGNAL_BIT(n) (1ull << ((n)-1))

void sigpipe_hold(struct sigpipe_guard *guard)
{
    uint64_t set = SIGNAL_BIT(SIGPIPE), pending = 0;
    SYSCALL4(SYS_rt_sigprocmask, SIG_BLOCK, &set, &guard->before, sizeof set);
    /* One can have been pending before only if the program itself blocks the signal. */
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

static _Atomic int interrupt_signal; /* 0: not chosen yet, or none is free. Written under os_signal_lock */

static void on_interrupt(int signo)
{
    (void)signo;
}

/* On a system stack. */
static void choose_interrupt(void *arg)
{
    (void)arg;
    struct sigaction action = { .sa_handler = on_interrupt, .sa_flags = SA_ONSTACK };
    lock_take(&os_signal_lock);
    if (!load_relaxed(&interrupt_signal))
        store_release(&interrupt_signal, os_signal_take(&action)); /* pairs with the acquire in op_call_for_a_while */
    lock_release(&os_signal_lock);
}

ssize_t op_call_for_a_while(long call, long a, long b, long c, long d, long e, long f)
{
    if (!load_acquire(&interrupt_signal)) /* pairs with the release in choose_interrupt */
        system_stack_call(choose_interrupt, NULL);
    int signo = load_relaxed(&interrupt_signal), timer;
    struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = signo };
    struct itimerspec often = { { 0, FOR_A_WHILE }, { 0, FOR_A_WHILE } }; /* once might be before the call has begun */
    struct sigpipe_guard guard; /* the number may be a pipe's by now */
    go_block_enter();
    sigpipe_hold(&guard);
    event.sigev_notify_thread_id = os_gettid();
    bool armed = signo && SYSCALL3(SYS_timer_create, CLOCK_MONOTONIC, &event, &timer) == 0;
    if (armed) {
        uint64_t set = SIGNAL_BIT(signo);
        SYSCALL4(SYS_rt_sigprocmask, SIG_UNBLOCK, &set, NULL, sizeof set);
        SYSCALL4(SYS_timer_settime, timer, 0, &often, NULL);
    }
    ssize_t r = SYSCALL6(call, a, b, c, d, e, f);
    if (armed)
        SYSCALL1(SYS_timer_delete, timer);
    sigpipe_release(&guard, true);
    go_block_leave();
    if (r != -EINTR)
        return r;
    r = go_cancelled(); /* in case nobody waits for anything between two calls */
    return r < 0 ? r : -EAGAIN;
}
