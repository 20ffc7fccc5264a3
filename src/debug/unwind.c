// SPDX-License-Identifier: MIT
// Walking stacks with the unwinder of the compiler's runtime (libgcc, or LLVM's), which every C program has at hand and which
// reads the same tables as debuggers do. Its search for tables takes no lock in glibc 2.35 and later.
//
// Rejected: following frame pointers, which optimised code does not keep; an interpreter of CFI of our own, a thousand lines
// for the same result.
//
// "Goroutines that run"
//
// Only the thread itself can say where it is. It is sent a real-time signal that the program has no handler for; the handler
// walks its own stack, through the frame of the signal, to what was interrupted. The signal interrupts system calls as
// any handler with SA_RESTART does, and that is the price of asking. A thread that has it blocked would not answer: the kernel
// is asked for that first, for there may be a thousand of them. Any other answers when it gets a processor, which on a busy
// machine may take a while, or when the kernel is done with what cannot be interrupted, which may take for ever: nothing waits
// for that. TSan delays signals until it likes: there nobody is asked.
//
// "Whose handler"
//
// What one of three handlers of ours has interrupted is where the goroutine is, and the frames before that are left out: the
// request's (on_request), SIGQUIT's, and that of faults once it reports an overflow; before that it may pass a fault on to the program's
// handler. A walk may meet two of them: for SIGQUIT the kernel prefers the thread of a goroutine that runs, and there the handler waits
// and is asked. All other handlers are taken for the program's, and their frames are shown. So the function that the kernel has called is
// compared. It is two frames further in than the interrupted code, and the kernel's way back lies between them. It is known by its
// start, so it must not leave by a tail call, nor have a part of it put elsewhere. With TSan the kernel calls a handler of TSan's,
// and nothing can be compared: there a walk begins anew at the first handler.
//
// "Walks that are led astray"
//
// A stack without a guard that has overflowed has written over the next one, whose return addresses and saved registers may be anything
// now. The report is about the former and must not die of the latter: a fault on a walk ends that walk, and what has been found by
// then is shown. Sanitizers see such an overflow themselves.
#include "debug/unwind.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <unwind.h>

#include "arch/arch.h"
#include "debug/text.h"
#include "os/linux/syscall.h"
#include "os/os.h"
#include "sched/debug_hooks.h"
#include "sched/fatal.h"
#include "sched/init.h"
#include "sched/sched.h"

#define PATIENCE 1000000000ll /* ns for a thread to answer */
#define MOST 100000          /* frames walked */

struct walk {
    struct frames *f;
    bool skip;          /* until the frame of arch_unwind_from */
    uint32_t total;
    uintptr_t last, before; /* where the functions of the last frame and of the one before it start */
};

static void on_request(int signo, siginfo_t *info, void *context);

static void walk_begin(struct walk *w, struct frames *f)
{
    *w = (struct walk){ .f = f };
    f->count = f->elided = 0;
    f->interrupted = false;
}

static bool own_handler(uintptr_t start)
{
    return start && (start == (uintptr_t)on_request || start == (uintptr_t)quit_handler ||
                     (start == (uintptr_t)fault_handler && load_relaxed(&overflow_reported)));
}

static _Unwind_Reason_Code visit(struct _Unwind_Context *context, void *arg)
{
    struct walk *w = arg;
    struct frames *f = w->f;
    int exact = 0;
    uintptr_t pc = _Unwind_GetIPInfo(context, &exact);
    if (pc == 0)
        return _URC_END_OF_STACK;
    if (w->skip) {
        uintptr_t start = (uintptr_t)arch_unwind_from;
        if (pc >= start && pc < start + 128)
            w->skip = false;
        return _URC_NO_REASON;
    }
    if (exact) {
        /* With TSan the kernel calls a handler of TSan's, and only an overflow's report comes here from one of ours. */
        if (HAVE_TSAN ? !f->interrupted : own_handler(w->before)) {
            walk_begin(w, f);
            f->interrupted = true;
        }
        pc++;
    }
    w->before = w->last;
    w->last = (uintptr_t)_Unwind_GetRegionStart(context);
    if (w->total < FRAMES_TOP)
        f->pc[w->total] = pc;
    else
        f->pc[FRAMES_TOP + (w->total - FRAMES_TOP) % FRAMES_BOTTOM] = pc;
    return ++w->total < MOST ? _URC_NO_REASON : _URC_END_OF_STACK;
}

/* Puts the ring of the bottom frames in order. */
static void walk_end(struct walk *w)
{
    struct frames *f = w->f;
    if (w->total <= FRAMES_TOP + FRAMES_BOTTOM) {
        f->count = w->total;
        return;
    }
    uintptr_t ring[FRAMES_BOTTOM];
    uint32_t first = (w->total - FRAMES_TOP) % FRAMES_BOTTOM;
    memcpy(ring, f->pc + FRAMES_TOP, sizeof ring);
    for (uint32_t i = 0; i < FRAMES_BOTTOM; i++)
        f->pc[FRAMES_TOP + i] = ring[(first + i) % FRAMES_BOTTOM];
    f->count = FRAMES_TOP + FRAMES_BOTTOM;
    f->elided = w->total - f->count;
}

void unwind_self(struct frames *f)
{
    struct walk w;
    walk_begin(&w, f);
    _Unwind_Backtrace(visit, &w);
    walk_end(&w);
}

static void from_here(void *arg)
{
    _Unwind_Backtrace(visit, arg);
    compiler_barrier(); /* no tail call: the caller of arch_unwind_from is found through this frame */
}

/* Where to jump if this thread's walk faults. NULL: it is not walking. */
static __thread sigjmp_buf *walk_ends __attribute__((tls_model("initial-exec")));

void debug_fault(const void *mask)
{
    if (!walk_ends)
        return;
    pthread_sigmask(SIG_SETMASK, mask, NULL);
    siglongjmp(*walk_ends, 1);
}

void unwind_parked(struct frames *f, void *sp)
{
    struct walk w;
    sigjmp_buf end;
    walk_begin(&w, f);
    w.skip = true;
    /* Without the mask: that is a system call, and hardly ever needed. */
    bool guarded = !HAVE_ASAN && !HAVE_TSAN;
    if (!guarded || sigsetjmp(end, 0) == 0) {
        walk_ends = guarded ? &end : NULL;
        compiler_barrier();
        arch_unwind_from(sp, from_here, &w);
        compiler_barrier();
    }
    walk_ends = NULL;
    walk_end(&w);
}

/* --- running ones --- */

enum { IDLE, ASKED, ANSWERING, ANSWERED };

_Atomic bool unwind_dying;

static struct {
    _Atomic int state;
    struct g *gp;
    int tid;
    struct frames frames;
} request;

static void on_request(int signo, siginfo_t *info, void *context)
{
    (void)signo, (void)info, (void)context;
    int asked = ASKED;
    struct m *mp = m_self();
    if (load_acquire(&request.state) != ASKED || request.tid != os_gettid() || mp->cur != request.gp ||
        !cas_acq_rel(&request.state, &asked, ANSWERING))
        return;
    unwind_self(&request.frames);
    store_release(&request.state, ANSWERED); /* pairs with the acquire in unwind_running */
    if (!load_relaxed(&mp->in) && load_relaxed(&unwind_dying)) /* others may ask once more */
        fatal_wait_in_handler();
    compiler_barrier(); /* no tail call: own_handler */
}

/* The signal. 0: none is free, or the process is dying of a thread that was just choosing one. */
static int request_signal(void)
{
    static int chosen;
    static bool in_vain; /* the lock's holder is gone: do not wait again, once for each goroutine */
    struct sigaction action = { .sa_sigaction = on_request, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART };
    sigfillset(&action.sa_mask);
    if (chosen || in_vain)
        return chosen;
    in_vain = !lock_take_for_report(&os_signal_lock, os_now() + PATIENCE);
    if (!in_vain) {
        chosen = os_signal_take(&action);
        lock_release_for_report(&os_signal_lock);
    }
    return chosen;
}

/* The thread has the signal blocked, as the kernel says. */
static bool is_blocked(int tid, int signo)
{
    static char status[4096];
    static struct out path;
    out_open(&path, -1);
    out_f(&path, "/proc/self/task/%u/status", (unsigned)tid);
    path.buffer[path.used] = 0;
    int fd = (int)SYSCALL4(SYS_openat, AT_FDCWD, path.buffer, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return false;
    long n = SYSCALL3(SYS_read, fd, status, sizeof status - 1);
    SYSCALL1(SYS_close, fd);
    status[n > 0 ? n : 0] = 0;
    const char *at = strstr(status, "\nSigBlk:\t");
    uint64_t set = 0;
    for (at = at ? at + 9 : ""; (*at >= '0' && *at <= '9') || (*at >= 'a' && *at <= 'f'); at++)
        set = set << 4 | (uint64_t)(*at <= '9' ? *at - '0' : *at - 'a' + 10);
    return (set >> (signo - 1) & 1) != 0;
}

bool unwind_running(struct frames *f, struct g *gp, int tid)
{
    int signo = HAVE_TSAN ? 0 : request_signal();
    if (!signo || is_blocked(tid, signo))
        return false;
    if (load_acquire(&request.state) == ANSWERING)
        return false; /* a thread that we gave up waiting for is still answering: pairs with the release in on_request */
    request.gp = gp;
    request.tid = tid;
    store_release(&request.state, ASKED);
    long error = SYSCALL3(SYS_tgkill, SYSCALL0(SYS_getpid), tid, signo);
    int64_t until = os_now() + PATIENCE;
    while (error == 0 && load_acquire(&request.state) != ANSWERED && os_now() < until)
        os_thread_yield();
    int asked = ASKED;
    if (cas_acq_rel(&request.state, &asked, IDLE))
        return false;
    /* It is answering, and a walk of a stack comes to an end. */
    for (until += PATIENCE; load_acquire(&request.state) != ANSWERED;) {
        if (os_now() >= until)
            return false;
        os_thread_yield();
    }
    *f = request.frames;
    store_release(&request.state, IDLE);
    return true;
}
