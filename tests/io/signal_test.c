// SPDX-License-Identifier: MIT
// Signals on channels.
#include <goroutine.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "test.h"

#include "os/os.h"

TEST(notify)
{
    chan(int) c = chan_make(int, 4);
    int signo = 0;
    CHECK_EQ(go_signal_notify(c, SIGUSR1, SIGUSR2, 0), 0);
    kill(getpid(), SIGUSR1);
    CHECK_EQ(chan_recv(c, &signo), 1);
    CHECK_EQ(signo, SIGUSR1);
    raise(SIGUSR2);
    CHECK_EQ(chan_recv(c, &signo), 1);
    CHECK_EQ(signo, SIGUSR2);
    for (int i = 0; i < 100; i++) {
        raise(SIGUSR1);
        CHECK_EQ(chan_recv(c, &signo), 1);
    }
    CHECK_EQ(go_signal_stop(c), 0);
    CHECK_EQ(go_signal_stop(c), -ENOENT);
    CHECK_EQ(go_signal_stop((go_chan(int))NULL), -ENOENT);
    chan_unref(c);
}

/* A channel that is full misses signals; nobody waits for it. Others get theirs. */
TEST(several_listeners)
{
    chan(int) a = chan_make(int, 1), b = chan_make(int, 64), unbuffered = chan_make(int, 0);
    int signo;
    CHECK_EQ(go_signal_notify(unbuffered, SIGUSR1, 0), 0);
    CHECK_EQ(go_signal_notify(a, SIGUSR1, 0), 0);
    CHECK_EQ(go_signal_notify(b, SIGUSR1, SIGHUP, 0), 0);
    CHECK_EQ(go_signal_notify(b, SIGUSR1, 0), 0); /* twice is once */
    for (int i = 0; i < 5; i++) {
        raise(i == 4 ? SIGHUP : SIGUSR1);
        CHECK_EQ(chan_recv(b, &signo), 1);
        CHECK_EQ(signo, i == 4 ? SIGHUP : SIGUSR1);
    }
    CHECK_EQ(chan_len(a), 1);
    CHECK_EQ(chan_len(b), 0);
    CHECK_EQ(go_signal_stop(a), 0);
    CHECK_EQ(chan_recv(a, &signo), 1);
    raise(SIGUSR1);
    CHECK_EQ(chan_recv(b, &signo), 1);
    CHECK_EQ(chan_len(a), 0);
    go_signal_stop(b);
    go_signal_stop(unbuffered);
    chan_unref(a);
    chan_unref(b);
    chan_unref(unbuffered);
}

static _Atomic int handled, informed; /* a signal to the process is handled on any thread */

static void handler(int signo)
{
    handled = signo;
}

static void informed_handler(int signo, siginfo_t *info, void *context)
{
    (void)context;
    atomic_store(&informed, info->si_signo == signo && info->si_pid == getpid() ? 1 : -1);
}

TEST(handlers_are_respected)
{
    chan(int) c = chan_make(int, 4);
    int signo;
    struct sigaction now;
    signal(SIGUSR1, handler);
    struct sigaction action = { .sa_sigaction = informed_handler, .sa_flags = SA_SIGINFO };
    sigaction(SIGUSR2, &action, NULL);
    go_signal_notify(c, SIGUSR1, SIGUSR2, 0);
    raise(SIGUSR1);
    CHECK_EQ(chan_recv(c, &signo), 1);
    CHECK_EQ(handled, SIGUSR1);
    kill(getpid(), SIGUSR2);
    CHECK_EQ(chan_recv(c, &signo), 1);
    while (atomic_load(&informed) == 0)
        go_yield(); /* the channel may be sooner than the handler on another thread */
    CHECK_EQ(informed, 1);
    go_signal_stop(c);
    sigaction(SIGUSR1, NULL, &now);
    CHECK(now.sa_handler == handler);
    handled = 0;
    raise(SIGUSR1);
    CHECK_EQ(handled, SIGUSR1);
    CHECK_EQ(chan_try_recv(c, &signo), -EAGAIN);
    action = (struct sigaction){ .sa_handler = SIG_DFL, .sa_flags = SA_SIGINFO }; /* no function all the same */
    sigaction(SIGUSR1, &action, NULL);
    go_signal_notify(c, SIGUSR1, 0);
    raise(SIGUSR1);
    CHECK_EQ(chan_recv(c, &signo), 1);
    go_signal_stop(c);
    signal(SIGUSR1, SIG_DFL);
    signal(SIGUSR2, SIG_DFL);
    chan_unref(c);
}

/* One signal goes to c and to the handler. */
static void listen_to_one(go_chan(int) c)
{
    int signo;
    CHECK_EQ(go_signal_notify(c, SIGUSR1, 0), 0);
    handled = 0;
    raise(SIGUSR1);
    CHECK_EQ(handled, SIGUSR1);
    CHECK_EQ(chan_recv(c, &signo), 1);
    go_signal_stop(c);
}

/* The program puts a handler of its own in front of the library's, and then what it had found there back, when nobody listens. */
TEST(put_back)
{
    chan(int) c = chan_make(int, 4);
    struct sigaction found;
    signal(SIGUSR1, handler);
    go_signal_notify(c, SIGUSR1, 0);
    struct sigaction action = { .sa_handler = SIG_IGN };
    sigaction(SIGUSR1, &action, &found);
    go_signal_stop(c);
    sigaction(SIGUSR1, &found, NULL);
    listen_to_one(c);
    sigaction(SIGUSR1, NULL, &found);
    CHECK(found.sa_handler == handler);
    /* One that calls nobody, put there while somebody listens, is in front until somebody listens again. */
    go_signal_notify(c, SIGUSR1, 0);
    signal(SIGUSR1, handler);
    go_signal_stop(c);
    listen_to_one(c);
    signal(SIGUSR1, SIG_DFL);
    chan_unref(c);
}

TEST(misuse)
{
    chan(int) c = chan_make(int, 1);
    CHECK_EQ(go_signal_notify(NULL, SIGUSR1, 0), -EINVAL);
    CHECK_EQ(go_signal_notify(c, 0), -EINVAL);
    CHECK_EQ(go_signal_notify(c, SIGKILL, 0), -EINVAL);
    CHECK_EQ(go_signal_notify(c, SIGUSR1, SIGSTOP, 0), -EINVAL);
    CHECK_EQ(go_signal_notify(c, SIGUSR1, 4711, 0), -EINVAL);
    CHECK_EQ(go_signal_notify(c, -1, 0), -EINVAL);
    struct sigaction now;
    sigaction(SIGUSR1, NULL, &now);
    CHECK(now.sa_handler == SIG_DFL);
    chan_unref(c);
}

static void work(int *done, go_waitgroup *ended)
{
    while (!__atomic_load_n(done, __ATOMIC_RELAXED))
        go_yield();
    go_waitgroup_done(ended);
}

static void locks(int fd, int *result)
{
    *result = go_flock(fd, LOCK_EX);
}

static bool one_is_taken(void)
{
    for (int signo = SIGRTMIN; signo <= SIGRTMAX; signo++)
        if (os_signal_is_own(signo))
            return true;
    return false;
}

/* A wait that the library interrupts by a signal of its own, which is not to be had then. */
TEST(our_own_signals)
{
    char path[] = "/tmp/goroutine-signal-XXXXXX";
    int a = mkstemp(path), b = open(path, O_RDWR), r = 1;
    REQUIRE(a >= 0 && b >= 0 && flock(a, LOCK_EX) == 0);
    go_scope *s = go_scope_open();
    go_scope_go(s, locks, b, &r);
    while (!one_is_taken())
        go_sleep(GO_MILLISECOND);
    chan(int) c = chan_make(int, 10);
    int refused = 0, signo;
    for (signo = SIGRTMIN; signo <= SIGRTMAX; signo++)
        if (go_signal_notify(c, signo, 0) == -EBUSY)
            refused++;
    CHECK(refused >= 1);
    go_sleep(30 * GO_MILLISECOND);
    CHECK_EQ(chan_len(c), 0);
    go_scope_cancel(s);
    CHECK_EQ(go_scope_close(s), -ECANCELED);
    CHECK_EQ(r, -ECANCELED);
    CHECK_EQ(go_signal_stop(c), 0);
    chan_unref(c);
    close(a);
    close(b);
    unlink(path);
}

TEST(beside_work)
{
    chan(int) c = chan_make(int, 16);
    int done = 0, signo, got = 0;
    go_waitgroup ended = { 0 };
    go_waitgroup_add(&ended, 4);
    go_signal_notify(c, SIGUSR1, 0);
    for (int i = 0; i < 4; i++)
        go(work, &done, &ended);
    for (int i = 0; i < 20; i++) {
        raise(SIGUSR1);
        got += chan_recv(c, &signo);
    }
    CHECK_EQ(got, 20);
    __atomic_store_n(&done, 1, __ATOMIC_RELAXED);
    go_waitgroup_wait(&ended);
    go_signal_stop(c);
    chan_unref(c);
}

#if HAVE_TSAN
#define STOPS 100
#else
#define STOPS 1000
#endif

/* What has been stopped gets nothing more, also if a signal is on its way to it just then. */
TEST(nothing_comes_after_stop)
{
    enum { N = 8 };
    chan(int) first = chan_make(int, 4), c[N];
    int signo, late = 0;
    CHECK_EQ(go_signal_notify(first, SIGUSR1, 0), 0);
    for (int i = 0; i < STOPS; i++) {
        size_t n[N];
        for (int k = 0; k < 20; k++)
            chan_unref(chan_make(int, 1)); /* our P earns that the next ones are biased to it: others send slowly to them */
        for (int k = 0; k < N; k++) {
            c[k] = chan_make(int, 4);
            CHECK_EQ(go_signal_notify(c[k], SIGUSR1, 0), 0);
        }
        raise(SIGUSR1);
        for (int k = 0; chan_len(first) == 0; k++)
            if (k > 20000)
                go_yield();
        /* Now it is on its way through the others: we meet it. */
        for (int k = N - 1; k >= 0; k--) {
            CHECK_EQ(go_signal_stop(c[k]), 0);
            n[k] = chan_len(c[k]);
        }
        raise(SIGUSR1);
        chan_recv(first, &signo);
        chan_recv(first, &signo); /* and now it is through */
        for (int k = 0; k < N; k++) {
            late += chan_len(c[k]) != n[k];
            chan_unref(c[k]);
        }
    }
    CHECK_EQ(late, 0);
    CHECK_EQ(go_signal_stop(first), 0);
    chan_unref(first);
}

/* What came before is sent, and not to who listens afterwards. */
TEST(what_came_before_stop)
{
    int wrong = 0;
    for (int i = 0; i < 300; i++) {
        chan(int) c = chan_make(int, 16), d = chan_make(int, 16);
        CHECK_EQ(go_signal_notify(c, SIGUSR1, 0), 0);
        for (int k = 0; k <= i % 10; k++)
            raise(SIGUSR1);
        CHECK_EQ(go_signal_stop(c), 0);
        wrong += chan_len(c) != (size_t)(i % 10 + 1);
        CHECK_EQ(go_signal_notify(d, SIGUSR1, SIGUSR2, 0), 0);
        raise(SIGUSR2);
        int signo = 0;
        chan_recv(d, &signo);
        wrong += signo != SIGUSR2;
        CHECK_EQ(go_signal_stop(d), 0);
        wrong += chan_len(d) != 0;
        chan_unref(c);
        chan_unref(d);
    }
    CHECK_EQ(wrong, 0);
}

/* Two that stop the same at once, or one that listens anew meanwhile: it listens or not in the end, and has one reference or none. */
static void stops_and_listens(chan(int) c, go_waitgroup *done)
{
    for (int i = 0; i < 200; i++) {
        go_signal_notify(c, SIGUSR1, 0);
        raise(SIGUSR1);
        go_signal_stop(c);
    }
    go_waitgroup_done(done);
}

TEST(stops_that_meet)
{
    chan(int) c = chan_make(int, 4), keeps = chan_make(int, 1);
    go_waitgroup done = { 0 };
    CHECK_EQ(go_signal_notify(keeps, SIGUSR1, 0), 0); /* or the signal might end the process in between */
    go_waitgroup_add(&done, 4);
    for (int i = 0; i < 4; i++)
        go(stops_and_listens, c, &done);
    go_waitgroup_wait(&done);
    CHECK_EQ(go_signal_stop(c), -ENOENT);
    CHECK_EQ(go_signal_stop(keeps), 0);
    chan_unref(c);
    chan_unref(keeps);
}

/* Who listens for something while another stops: the signal that came before the stop comes all the same, and once. */
static void listens_meanwhile(chan(int) c, int signo, go_waitgroup *done)
{
    CHECK_EQ(go_signal_notify(c, signo, 0), 0);
    go_waitgroup_done(done);
}

TEST(a_stop_beside_a_notify)
{
    for (int i = 0; i < 100; i++) {
        chan(int) c = chan_make(int, 4);
        int first = 0;
        go_waitgroup done = { 0 };
        CHECK_EQ(go_signal_notify(c, SIGUSR1, 0), 0);
        go_waitgroup_add(&done, 1);
        go(listens_meanwhile, c, i & 1 ? SIGUSR1 : SIGUSR2, &done);
        raise(SIGUSR1);
        CHECK_EQ(go_signal_stop(c), 0);
        go_waitgroup_wait(&done);
        go_signal_stop(c); /* if it listens now */
        CHECK_EQ(chan_len(c), 1);
        CHECK_EQ(chan_try_recv(c, &first), 1);
        CHECK_EQ(first, SIGUSR1);
        chan_unref(c);
    }
}

/* A signal beside a stop is received, or does what it did before: here it ends the process. */
static void stops(chan(int) c, go_waitgroup *done)
{
    go_signal_stop(c);
    go_waitgroup_done(done);
}

CHILD(signal_beside_a_stop)
{
    signal(SIGINT, SIG_DFL); /* not as who runs us in the background may have set it */
    for (int i = 0; i < 100; i++) {
        chan(int) c = chan_make(int, 1);
        go_waitgroup done = { 0 };
        go_signal_notify(c, SIGINT, 0);
        go_waitgroup_add(&done, 1);
        go(stops, c, &done);
        kill(getpid(), SIGINT);
        chan_recv(c, NULL); /* a deadlock if it is lost */
        go_waitgroup_wait(&done);
        chan_unref(c);
    }
}

TEST(no_signal_is_lost_beside_a_stop)
{
#if HAVE_TSAN
    SKIP("TSan delivers late, and drops what nobody handles by then");
#endif
    if (test_emulated())
        SKIP("qemu calls the handler of before, or none, at address 0");
    for (int i = 0; i < 60; i++) {
        struct test_result r = test_run_child("signal_beside_a_stop", NULL);
        if (r.status != 0)
            CHECK_EQ(r.status, 128 + SIGINT);
    }
}

static struct sigaction behind;
static atomic_int in_front;

static void calls_the_one_behind(int signo)
{
    atomic_fetch_add(&in_front, 1);
    behind.sa_sigaction(signo, NULL, NULL);
}

/* A handler of the program's that has been put in front of the library's goes on when nobody listens any more. */
TEST(a_handler_in_front)
{
    chan(int) c = chan_make(int, 1);
    CHECK_EQ(go_signal_notify(c, SIGUSR2, 0), 0);
    CHECK_EQ(sigaction(SIGUSR2, NULL, &behind), 0);
    signal(SIGUSR2, calls_the_one_behind);
    raise(SIGUSR2);
    CHECK_EQ(chan_recv(c, NULL), 1);
    CHECK_EQ(go_signal_stop(c), 0);
    raise(SIGUSR2);
    CHECK_EQ(atomic_load(&in_front), 2);
    signal(SIGUSR2, SIG_DFL);
    chan_unref(c);
}

/* The program's handler changes while the library's runs on other threads. */
static atomic_int enough;

static void spins(void)
{
    while (!atomic_load(&enough))
        go_yield();
}

TEST(handlers_that_change)
{
    for (int i = 0; i < 3; i++)
        go(spins);
    for (int i = 0; i < 500; i++) {
        chan(int) c = chan_make(int, 1);
        signal(SIGUSR1, i & 1 ? handler : SIG_IGN);
        CHECK_EQ(go_signal_notify(c, SIGUSR1, 0), 0);
        kill(getpid(), SIGUSR1);
        chan_recv(c, NULL);
        CHECK_EQ(go_signal_stop(c), 0);
        chan_unref(c);
    }
    signal(SIGUSR1, SIG_DFL);
    atomic_store(&enough, 1);
}

/* While somebody listens, nobody is deadlocked; a notified SIGQUIT prints nothing and ends nothing. */
CHILD(waits_for_quit)
{
    chan(int) c = chan_make(int, 1);
    int signo = 0;
    go_signal_notify(c, SIGQUIT, SIGTERM, 0);
    if (fork() == 0) {
        usleep(30000);
        kill(getppid(), SIGQUIT);
        _exit(0);
    }
    chan_recv(c, &signo);
    printf("%d\n", signo == SIGQUIT);
}

TEST(quit_and_no_deadlock)
{
    struct test_result r = test_run_child("waits_for_quit", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_STR(r.output, "1\n");
}

CHILD(stopped_listening)
{
    chan(int) c = chan_make(int, 1);
    int signo;
    go_signal_notify(c, SIGUSR1, 0);
    raise(SIGUSR1);
    chan_recv(c, &signo);
    go_signal_stop(c);
    chan_recv(c, &signo);
}

TEST(deadlock_after_stop)
{
    struct test_result r = test_run_child("stopped_listening", NULL);
    CHECK_EQ(r.status, 2);
    CHECK_CONTAINS(r.output, "all goroutines are asleep - deadlock!");
}
