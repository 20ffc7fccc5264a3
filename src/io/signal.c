// SPDX-License-Identifier: MIT
// Signals on channels.
//
// Problem. A signal handler may call next to nothing, and interrupts anything: malloc, a lock's holder, a section. And the program may
// have handlers of its own.
//
// Rejected. signalfd, and a thread in sigwait: both want the signal blocked in every thread, the program's own included, and in
// whatever they execute.
//
// The way. The handler counts the signal and writes to an eventfd, as is allowed, and then calls the handler that was there before.
// A goroutine of the library waits for the eventfd, as others for theirs, and sends to the channels without waiting. It is there
// while anybody listens; so a program that waits for signals only is not taken for a deadlock, and one that has stopped listening is.
//
// The nasty races. That goroutine has found a listener, and before it sends, go_signal_stop is called for it: after which nothing may come.
// It cannot send under the lock. So it says whom it sends to, and go_signal_stop waits until it is somebody else.
//
// A signal has been counted, and before that goroutine runs, go_signal_stop is called: the signal would be lost, or, worse, sent to
// the next channel that listens. So a channel that is stopped remains a listener until the counts of its signals are 0, or two passes
// over them are over, of which the second began after the call.
//
// A signal has interrupted a thread, and before the handler has counted it, the last listener is gone: nobody would hear of it. So the
// handler counts only what is heard, and otherwise sends the signal once more, to do what it did before; and the two passes begin when
// no handler is between having seen that it is heard and having counted.
#include <goroutine/go.h>
#include <goroutine/io.h>
#include <goroutine/signal.h>

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "io/io.h"
#include "sched/debug_hooks.h"
#include "sched/sched.h"
#include "sched/section.h"

#define SIGNALS 65
#define PAUSE (10 * GO_MILLISECOND)
#define NOT_YET UINT64_MAX

struct listener {
    struct listener *next; /* under lock */
    struct go_channel *c;  /* constant; one reference */
    uint64_t number;       /* constant; in order of arrival; of one channel's all the same */
    uint64_t mask[2];      /* under lock */
    bool stopping;         /* under lock: still gets what has come, but no longer counts in `listeners` */
    uint64_t passes;       /* under lock: stop waiting when table.passes is this; NOT_YET: first wait for handlers that are counting */
};

static struct {
    struct lock lock;
    struct listener *first; /* under lock; in order of their numbers */
    uint64_t numbers;       /* under lock */
    int listeners[SIGNALS]; /* under lock: of each signal */
    bool running;           /* under lock: the goroutine is there */
    bool passing;           /* under lock: it is between looking at what is pending and having sent it */
    uint64_t passes;        /* under lock: how often it has */
    const struct go_channel *sending; /* under lock: which it is about to send to */
} table = { .lock = LOCK_INIT(RANK_CHILD) };

/* What the handler touches. */
static _Atomic uint32_t pending[SIGNALS];
static _Atomic bool heard[SIGNALS]; /* somebody listens; written under lock */
static _Atomic uint32_t counting;   /* handlers between looking at `heard` and having counted */
static _Atomic uintptr_t handler_before[SIGNALS]; /* 0: none; with WITH_INFO if it takes three arguments */
static _Atomic int wake_fd = -1; /* for ever, once it is there */

#define WITH_INFO ((uintptr_t)1 << 63) /* of no address of a program */

static bool listens(const struct listener *l, int signo)
{
    return l->mask[signo / 64] >> (signo % 64) & 1;
}

static bool is_ours(const struct sigaction *a);

/* No handler of the program's. quit_handler does nothing for itself. */
static bool is_none(const struct sigaction *a)
{
    return a->sa_handler == SIG_DFL || a->sa_handler == SIG_IGN || a->sa_handler == quit_handler;
}

/* Nobody listens any more: sends it again, for its present effect, unless that is the program's handler, which may have called ours. */
static void send_again(int signo)
{
    struct sigaction now;
    int e = errno;
    if (sigaction(signo, NULL, &now) == 0 && (is_ours(&now) ? atomic_load(&heard[signo]) : is_none(&now)))
        SYSCALL3(SYS_tgkill, SYSCALL0(SYS_getpid), SYSCALL0(SYS_gettid), signo);
    errno = e;
}

static void on_signal(int signo, siginfo_t *info, void *context)
{
    uint64_t one = 1;
    atomic_fetch_add(&counting, 1); /* before the look at `heard`; go_signal_stop looks the other way round */
    bool is_heard = atomic_load(&heard[signo]);
    if (is_heard)
        atomic_fetch_add_explicit(&pending[signo], 1, memory_order_release); /* pairs with the exchange in deliver */
    atomic_fetch_sub(&counting, 1);
    if (is_heard)
        SYSCALL3(SYS_write, load_relaxed(&wake_fd), &one, sizeof one);
    uintptr_t handler = load_acquire(&handler_before[signo]); /* pairs with the release in install_locked */
    if (handler & WITH_INFO)
        ((void (*)(int, siginfo_t *, void *))(handler & ~WITH_INFO))(signo, info, context);
    else if (handler)
        ((void (*)(int))handler)(signo);
    else if (!is_heard)
        send_again(signo);
}

/* --- the goroutine --- */

/* The first listener to signo behind `number`, with a reference for the caller, who is about to send to it. */
static struct go_channel *next_listener(int signo, uint64_t *number)
{
    struct go_channel *c = NULL;
    struct m *mp = section_enter();
    lock_take(&table.lock);
    for (struct listener *l = table.first; l; l = l->next)
        if (l->number > *number && listens(l, signo)) {
            c = go_chan_ref_(l->c);
            *number = l->number;
            break;
        }
    table.sending = c;
    lock_release(&table.lock);
    section_leave(mp);
    return c;
}

static void deliver(int signo)
{
    uint32_t n = atomic_exchange_explicit(&pending[signo], 0, memory_order_acquire);
    for (; n > 0; n--) {
        struct go_channel *c;
        uint64_t number = 0;
        while ((c = next_listener(signo, &number))) {
            go_chan_try_send_(c, &signo);
            go_chan_unref_(c);
        }
    }
}

static void pass_begins(void)
{
    struct m *mp = section_enter();
    lock_take(&table.lock);
    table.passing = true;
    lock_release(&table.lock);
    section_leave(mp);
}

/* False, and the goroutine is gone, if nobody listens. */
static bool pass_ended(void)
{
    struct m *mp = section_enter();
    lock_take(&table.lock);
    bool more = table.first != NULL;
    table.running = more;
    table.passing = false;
    table.passes++;
    lock_release(&table.lock);
    section_leave(mp);
    return more;
}

static void forward(void *arg)
{
    uint64_t count;
    (void)arg;
    while (pass_ended()) {
        if (go_read(load_relaxed(&wake_fd), &count, sizeof count) < 0)
            go_sleep(PAUSE); /* no descriptor is left for epoll, say */
        pass_begins();
        for (int signo = 1; signo < SIGNALS; signo++)
            if (load_relaxed(&pending[signo]))
                deliver(signo);
    }
}

static void start_forwarding(void)
{
    static const struct go_site site = { .file = __FILE__, .function = "go_signal_notify", .line = __LINE__ };
    struct m *mp = section_enter();
    lock_take(&table.lock);
    bool start = !table.running && table.first;
    if (start)
        table.running = true;
    lock_release(&table.lock);
    if (start)
        newproc_internal(mp, forward, NULL, &site, G_SYSTEM);
    section_leave(mp);
}

static void wake_forwarder(void)
{
    uint64_t one = 1;
    SYSCALL3(SYS_write, load_relaxed(&wake_fd), &one, sizeof one);
}

/* --- listeners --- */

static bool can_be_caught(int signo)
{
    switch (signo) {
    case SIGKILL:
    case SIGSTOP:
    case SIGSEGV:
    case SIGBUS:
    case SIGFPE:
    case SIGILL:
    case 32: /* the C library's own */
    case 33:
        return false;
    default:
        return signo > 0 && signo < SIGNALS;
    }
}

static bool is_ours(const struct sigaction *a)
{
    return (a->sa_flags & SA_SIGINFO) && a->sa_sigaction == on_signal;
}

static bool listened_locked(int signo)
{
    for (struct listener *l = table.first; l; l = l->next)
        if (listens(l, signo))
            return true;
    return false;
}

/* The signals' actions before the library's; under lock. */
static struct sigaction before[SIGNALS];

/* These under lock, on a system stack. */
static void install_locked(int signo)
{
    struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART }, now;
    sigaction(signo, NULL, &now);
    if (!listened_locked(signo)) /* also not by one that is stopping */
        store_relaxed(&pending[signo], 0); /* what was counted before, when a handler of the program called ours */
    atomic_store(&heard[signo], true);
    if (is_ours(&now))
        return; /* the program had saved our handler, and put it back while nobody listened */
    before[signo] = now;
    bool none = is_none(&now);
    uintptr_t handler = now.sa_flags & SA_SIGINFO ? (uintptr_t)now.sa_sigaction | WITH_INFO : (uintptr_t)now.sa_handler;
    store_release(&handler_before[signo], none ? 0 : handler); /* pairs with the acquire in on_signal */
    if (none)
        sigfillset(&action.sa_mask); /* other handlers may jump out of ours */
    else
        action.sa_mask = now.sa_mask;
    action.sa_flags |= now.sa_flags & (SA_NOCLDSTOP | SA_NOCLDWAIT);
    sigaction(signo, &action, NULL);
}

/* Installs what is new of the mask; false, and nothing done, if one of them is the library's. */
static bool install_all_locked(const uint64_t mask[2])
{
    bool can = true;
    lock_take(&os_signal_lock);
    for (int signo = 1; signo < SIGNALS; signo++)
        can &= !(mask[signo / 64] >> (signo % 64) & 1) || !os_signal_is_own(signo);
    for (int signo = 1; can && signo < SIGNALS; signo++)
        if ((mask[signo / 64] >> (signo % 64) & 1) && table.listeners[signo] == 0)
            install_locked(signo);
    lock_release(&os_signal_lock);
    return can;
}

static void uninstall_locked(int signo)
{
    struct sigaction now;
    sigaction(signo, NULL, &now);
    /* If the program has installed another one since, that one stays. */
    if (is_ours(&now))
        sigaction(signo, &before[signo], NULL);
    atomic_store(&heard[signo], false);
}

struct change {
    struct go_channel *c;
    uint64_t mask[2];
    int error;
    bool last;
    bool waits;   /* for what has come, or for a value on its way */
    int stopped;  /* how many listeners, mostly one, we have removed: their references are ours */
};

static int open_wake_fd(void)
{
    if (load_relaxed(&wake_fd) >= 0)
        return 0;
    long fd = SYSCALL2(SYS_eventfd2, 0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return (int)fd;
    int none = -1;
    if (!cas_acq_rel(&wake_fd, &none, (int)fd))
        SYSCALL1(SYS_close, fd);
    else
        netpoll_fresh((int)fd, KIND_PIPE);
    return 0;
}

/* Where the listener of a channel is that listens still; at the end if there is none. */
static struct listener **find_locked(const struct go_channel *c)
{
    struct listener **at = &table.first;
    while (*at && ((*at)->c != c || (*at)->stopping))
        at = &(*at)->next;
    return at;
}

/* On a system stack. */
static void listen_to(void *arg)
{
    struct change *change = arg;
    struct listener *fresh = calloc(1, sizeof *fresh);
    if (!fresh) {
        change->error = -ENOMEM;
        return;
    }
    lock_take(&table.lock);
    struct listener **at = find_locked(change->c), *l = *at;
    if (!install_all_locked(change->mask)) {
        lock_release(&table.lock);
        change->error = -EBUSY;
        free(fresh);
        return;
    }
    uint64_t number = 0;
    for (struct listener *old = table.first; old; old = old->next)
        if (old->c == change->c && old->stopping) {
            for (int i = 0; i < 2; i++)
                old->mask[i] &= ~change->mask[i]; /* what has come of these still goes to the same channel, but only once */
            number = old->number;
            if (!l)
                at = &old->next;
        }
    if (!l) {
        l = fresh;
        l->next = *at;
        *at = l;
        l->c = go_chan_ref_(change->c);
        l->number = number ? number : ++table.numbers;
        fresh = NULL;
    }
    for (int signo = 1; signo < SIGNALS; signo++)
        if ((change->mask[signo / 64] >> (signo % 64) & 1) && !listens(l, signo)) {
            l->mask[signo / 64] |= 1ull << (signo % 64);
            table.listeners[signo]++;
        }
    lock_release(&table.lock);
    free(fresh);
}

/* On a system stack. */
static void stop_listening(void *arg)
{
    struct change *change = arg;
    lock_take(&table.lock);
    struct listener *l = *find_locked(change->c);
    for (int signo = 1; l && signo < SIGNALS; signo++)
        if (listens(l, signo) && --table.listeners[signo] == 0)
            uninstall_locked(signo);
    if (l) {
        l->stopping = true;
        l->passes = NOT_YET;
    }
    lock_release(&table.lock);
    change->error = l ? 0 : -ENOENT;
}

static bool waits_locked(struct listener *l)
{
    if (l->passes == NOT_YET) {
        if (atomic_load(&counting) > 0)
            return true;
        l->passes = table.passes + 2;
    }
    bool waits = table.passing;
    for (int signo = 1; signo < SIGNALS; signo++)
        waits |= listens(l, signo) && load_relaxed(&pending[signo]);
    return waits && table.passes < l->passes;
}

/* On a system stack. Removes this channel's stopping listeners, whoever stops them, if what has come for them has gone out. */
static void finish_listening(void *arg)
{
    struct change *change = arg;
    struct listener *over = NULL, *l;
    lock_take(&table.lock);
    change->waits = table.sending == change->c;
    for (struct listener **at = &table.first; (l = *at);)
        if (l->c != change->c || !l->stopping) {
            at = &l->next;
        } else if (waits_locked(l)) {
            change->waits = true;
            at = &l->next;
        } else {
            *at = l->next;
            l->next = over;
            over = l;
        }
    change->last |= over && !table.first;
    lock_release(&table.lock);
    while ((l = over)) {
        over = l->next;
        free(l);
        change->stopped++;
    }
}

/* In a section, for the locks. */
static int apply(void (*fn)(void *), struct change *change)
{
    struct m *mp = section_enter();
    system_stack_call(fn, change);
    section_leave(mp);
    return change->error;
}

GO_EXPORT int go_signal_notify(go_chan(int) c, int signo, ...)
{
    struct change change = { .c = (struct go_channel *)c };
    io_enter();
    if (!c || signo == 0)
        return -EINVAL;
    va_list args;
    va_start(args, signo);
    for (; signo != 0 && change.error == 0; signo = va_arg(args, int)) {
        if (!can_be_caught(signo))
            change.error = -EINVAL;
        else
            change.mask[signo / 64] |= 1ull << (signo % 64);
    }
    va_end(args);
    if (change.error == 0)
        change.error = open_wake_fd();
    if (change.error == 0 && apply(listen_to, &change) == 0)
        start_forwarding();
    return change.error;
}

GO_EXPORT int go_signal_stop(go_chan(int) c)
{
    struct change change = { .c = (struct go_channel *)c };
    if (!c)
        return -ENOENT;
    apply(stop_listening, &change);
    while (apply(finish_listening, &change), change.waits) {
        go_yield();
        os_thread_yield(); /* the one that delivers may be on another thread, and need this processor, or the channel's P, perhaps ours */
    }
    for (; change.stopped > 0; change.stopped--)
        go_chan_unref_(change.c);
    if (change.last)
        wake_forwarder();
    return change.error;
}
