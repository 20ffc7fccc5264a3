// SPDX-License-Identifier: MIT
// What the environment says: GOMAXPROCS, the affinity mask, GODEBUG; and fork, signals, thread limits.
// test: procs=2
#include <goroutine.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

CHILD(prints_maxprocs)
{
    printf("%d\n", go_maxprocs(0));
}

CHILD(first_call)
{
    errno = 4711;
    go_id();
    printf("%d\n", errno);
}

TEST(the_first_call_leaves_errno_alone)
{
    CHECK_STR(test_run_child("first_call", NULL).output, "4711\n");
    CHECK_STR(test_run_child("first_call", "GOMAXPROCS=", NULL).output, "4711\n");
    CHECK_STR(test_run_child("first_call", "GODEBUG=guard=mprotect", NULL).output, "4711\n");
}

CHILD(one_cpu)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        exit(9);
    int first = 0;
    while (!CPU_ISSET(first, &set))
        first++;
    CPU_ZERO(&set);
    CPU_SET(first, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0)
        exit(9);
    printf("%d\n", go_maxprocs(0));
}

static const char *maxprocs_under(const char *variable)
{
    return test_run_child("prints_maxprocs", variable, NULL).output;
}

TEST(maxprocs_from_the_environment)
{
    CHECK_STR(maxprocs_under("GOMAXPROCS=3"), "3\n");
    CHECK_STR(maxprocs_under("GOMAXPROCS=1"), "1\n");
    CHECK_STR(maxprocs_under("GOMAXPROCS=64"), "64\n");
    CHECK_STR(maxprocs_under("GOMAXPROCS=100000"), "4096\n");
    /* What is no number above 0 is as if it were not there. */
    const char *none = maxprocs_under("GOMAXPROCS=");
    CHECK(atoi(none) >= 1);
    CHECK_STR(maxprocs_under("GOMAXPROCS=0"), none);
    CHECK_STR(maxprocs_under("GOMAXPROCS=-2"), none);
    CHECK_STR(maxprocs_under("GOMAXPROCS=two"), none);
    CHECK_STR(maxprocs_under("GOMAXPROCS=2x"), none);
    CHECK(atoi(none) <= (int)sysconf(_SC_NPROCESSORS_CONF));
}

TEST(maxprocs_from_the_affinity_mask)
{
    CHECK_STR(test_run_child("one_cpu", "GOMAXPROCS=", NULL).output, "1\n");
    CHECK_STR(test_run_child("one_cpu", "GOMAXPROCS=5", NULL).output, "5\n");
}

static void nothing(void)
{
}

CHILD(some_work)
{
    for (int i = 0; i < 20; i++) {
        go(nothing);
        go_sleep(2 * GO_MILLISECOND);
    }
}

/* Works until it has said itself on stderr so many times what begins like that. Then shows all of it. */
static void work_until(const char *begins, int times)
{
    static char said[1 << 20];
    int out = dup(2), fds[2], seen = 0;
    size_t length = 0;
    REQUIRE(out >= 0 && pipe(fds) == 0 && dup2(fds[1], 2) == 2);
    while (seen < times) {
        go(nothing);
        ssize_t n = go_read(fds[0], said + length, sizeof said - 1 - length);
        REQUIRE(n > 0);
        length += (size_t)n;
        seen = 0;
        for (const char *at = said; (at = strstr(at, begins)); at++)
            seen++;
    }
    const char *end = strrchr(said, '\n');
    REQUIRE(end && write(out, said, (size_t)(end + 1 - said)) == end + 1 - said);
    _exit(0);
}

CHILD(schedtrace_child)
{
    work_until("SCHED ", 4);
}

CHILD(scheddetail_child)
{
    work_until("\n  P1: status=", 2);
}

TEST(schedtrace)
{
    struct test_result r = test_run_child("schedtrace_child", "GODEBUG=schedtrace=5", "GOMAXPROCS=3", NULL);
    CHECK_EQ(r.status, 0);
    CHECK(strncmp(r.output, "SCHED ", 6) == 0);
    int lines = 0;
    for (const char *at = r.output; *at; lines++) {
        unsigned procs = 0, idle = 99, threads = 0, spinning = 99, idle_threads = 99, queue = 99, a, b, c;
        long long ms = -1;
        int n = sscanf(at, "SCHED %lldms: gomaxprocs=%u idleprocs=%u threads=%u spinningthreads=%u idlethreads=%u "
                           "runqueue=%u [%u %u %u]",
                       &ms, &procs, &idle, &threads, &spinning, &idle_threads, &queue, &a, &b, &c);
        CHECK_EQ(n, 10);
        CHECK_EQ(procs, 3);
        /* On a busy machine lines may come before main has become a goroutine. */
        bool sane = ms >= 0 && idle <= 3 && (threads >= 1 || idle == 3) && idle_threads <= threads && spinning <= 3;
        CHECK_STR(sane ? "" : at, "");
        at = strchr(at, '\n');
        REQUIRE(at);
        at++;
    }
    CHECK(lines >= 3);
    r = test_run_child("scheddetail_child", "GODEBUG=schedtrace=5,scheddetail=1", "GOMAXPROCS=2", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_CONTAINS(r.output, "\n  P0: status=");
    CHECK_CONTAINS(r.output, "\n  P1: status=");
}

TEST(unknown_keys_are_ignored)
{
    static const char *const values[] = { "GODEBUG=madvdontneed=1,,=,x,schedtrace,schedtrace=,preempt=x,guard=moat",
                                          "GODEBUG=,", "GODEBUG=schedtrace=0", "GODEBUG=gctrace=1" };
    for (int i = 0; i < 4; i++) {
        struct test_result r = test_run_child("some_work", values[i], NULL);
        CHECK_EQ(r.status, 0);
        CHECK_STR(r.output, "");
    }
}

/* --- fork --- */

CHILD(child_of_fork_calls)
{
    go(nothing);
    go_yield();
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        go(nothing);
        _exit(0);
    }
    int status;
    if (waitpid(pid, &status, 0) == pid && WIFEXITED(status))
        printf("child: %d\n", WEXITSTATUS(status));
    go(nothing);
    go_sleep(GO_MILLISECOND);
    puts("the parent goes on");
}

CHILD(child_of_fork_logs)
{
    go(nothing);
    go_yield();
    pid_t pid = fork();
    if (pid == 0) {
        go_logf("no line");
        _exit(0);
    }
    int status;
    if (waitpid(pid, &status, 0) == pid && WIFEXITED(status))
        printf("child: %d\n", WEXITSTATUS(status));
}

static __attribute__((noinline)) int endless(int n)
{
    volatile char room[4096];
    room[n & 4095] = (char)n;
    return n < 0 ? n : endless(n + 1) + room[n & 4095];
}

static void forks_and_overflows(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(endless(0));
    int status;
    if (waitpid(pid, &status, 0) == pid && WIFSIGNALED(status))
        printf("child: signal %d\n", WTERMSIG(status));
}

/* It has called nothing, so nothing is said of calls. */
CHILD(child_of_fork_overflows)
{
    go_scope *s = go_scope_open();
    go_scope_go(s, forks_and_overflows);
    go_scope_close(s);
}

CHILD(child_of_fork_execs)
{
    go(nothing);
    go_sleep(GO_MILLISECOND);
    pid_t pid = fork();
    if (pid == 0) {
        execl("/bin/echo", "echo", "executed", (char *)NULL);
        _exit(9);
    }
    int status;
    waitpid(pid, &status, 0);
    printf("child: %d\n", WEXITSTATUS(status));
}

CHILD(fork_before_the_first_call)
{
    pid_t pid = fork();
    go(nothing);
    go_sleep(GO_MILLISECOND);
    if (pid == 0)
        _exit(5);
    int status;
    waitpid(pid, &status, 0);
    printf("child: %d\n", WEXITSTATUS(status));
}

TEST(fork_without_exec)
{
    struct test_result r = test_run_child("child_of_fork_calls", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_CONTAINS(r.output, "fatal error: the child of a fork may only call exec or _exit");
    CHECK_CONTAINS(r.output, "child: 2\nthe parent goes on\n");
    r = test_run_child("child_of_fork_logs", NULL);
    CHECK_CONTAINS(r.output, "fatal error: the child of a fork may only call exec or _exit");
    CHECK(!strstr(r.output, "no line"));
    CHECK_CONTAINS(r.output, "child: 2\n");
    if (!HAVE_ASAN && !HAVE_TSAN) { /* which report the overflow themselves */
        r = test_run_child("child_of_fork_overflows", NULL);
        CHECK_CONTAINS(r.output, "child: signal 11\n");
        CHECK(!strstr(r.output, "fatal error"));
    }
    r = test_run_child("child_of_fork_execs", NULL);
    CHECK_STR(r.output, "executed\nchild: 0\n");
    r = test_run_child("fork_before_the_first_call", NULL);
    CHECK_STR(r.output, "child: 5\n");
}

/* --- the program's own signal handlers --- */

static volatile sig_atomic_t handled;
static sigjmp_buf jump;
static volatile int *volatile nowhere = (volatile int *)16;

static void on_segv(int signo, siginfo_t *info, void *context)
{
    (void)context;
    handled = signo == SIGSEGV && info->si_code > 0;
    siglongjmp(jump, 1);
}

static go_waitgroup faulted;

static void faults(void)
{
    for (volatile int i = 0; i < 3; i++) {
        handled = 0;
        if (sigsetjmp(jump, 1) == 0)
            *nowhere = 1;
        printf("%d", (int)handled);
    }
    printf("\n");
    fflush(stdout);
    go_waitgroup_done(&faulted);
}

static void handle_segv(void)
{
    struct sigaction action = { .sa_sigaction = on_segv, .sa_flags = SA_SIGINFO | SA_NODEFER };
    sigaction(SIGSEGV, &action, NULL);
}

CHILD(handler_before)
{
    handle_segv();
    go_waitgroup_add(&faulted, 2);
    go(faults);
    while (go_count() > 1) /* they share what they jump by */
        go_sleep(GO_MILLISECOND);
    faults();
}

CHILD(handler_after)
{
    go_yield();
    handle_segv();
    go_waitgroup_add(&faulted, 2);
    go(faults);
    while (go_count() > 1) /* they share what they jump by */
        go_sleep(GO_MILLISECOND);
    faults();
}

CHILD(fault_without_handler)
{
    go_yield();
    *nowhere = 1;
}

CHILD(ignored_when_sent)
{
    signal(SIGSEGV, SIG_IGN);
    go_yield();
    kill(getpid(), SIGSEGV);
    puts("ignored");
}

CHILD(dies_when_sent)
{
    go_yield();
    kill(getpid(), SIGSEGV);
    usleep(1000000);
    puts("survived");
}

static void on_segv_once(int signo, siginfo_t *info, void *context)
{
    static int times;
    (void)signo, (void)info, (void)context;
    if (write(1, "caught\n", 7) != 7 || ++times == 3)
        _exit(9);
}

CHILD(handler_once)
{
    struct sigaction action = { .sa_sigaction = on_segv_once, .sa_flags = SA_SIGINFO | SA_RESETHAND };
    sigaction(SIGSEGV, &action, NULL);
    go_yield();
    *nowhere = 1;
}

static void on_segv_masked(int signo)
{
    sigset_t now;
    pthread_sigmask(SIG_BLOCK, NULL, &now);
    handled = sigismember(&now, signo) + sigismember(&now, SIGUSR1) + 10 * sigismember(&now, SIGUSR2);
    siglongjmp(jump, 1);
}

CHILD(handler_with_mask)
{
    struct sigaction action = { .sa_handler = on_segv_masked };
    sigaddset(&action.sa_mask, SIGUSR1);
    sigaction(SIGSEGV, &action, NULL);
    go_yield();
    if (sigsetjmp(jump, 1) == 0)
        *nowhere = 1;
    printf("%d\n", (int)handled);
}

/* The flag says how a handler is called, and there is none. */
CHILD(flag_without_handler)
{
    struct sigaction ignored = { .sa_handler = SIG_IGN, .sa_flags = SA_SIGINFO };
    struct sigaction ordinary = { .sa_handler = SIG_DFL, .sa_flags = SA_SIGINFO };
    sigaction(SIGSEGV, &ignored, NULL);
    sigaction(SIGBUS, &ordinary, NULL);
    go_yield();
    kill(getpid(), SIGSEGV);
    puts("ignored");
    fflush(stdout);
    kill(getpid(), SIGBUS);
    usleep(1000000);
    puts("survived");
}

TEST(handlers_are_called_as_by_the_kernel)
{
#if HAVE_ASAN || HAVE_TSAN
    SKIP("the sanitizers have handlers of their own");
#endif
    struct test_result r = test_run_child("handler_once", NULL);
    CHECK_EQ(r.status, 128 + SIGSEGV);
    CHECK_CONTAINS(r.output, "caught\n"); /* an emulator says more */
    CHECK_STR(test_run_child("handler_with_mask", NULL).output, "2\n");
    r = test_run_child("flag_without_handler", NULL);
    CHECK_EQ(r.status, 128 + SIGBUS);
    CHECK_CONTAINS(r.output, "ignored\n");
}

TEST(handlers_of_the_program)
{
#if HAVE_ASAN || HAVE_TSAN
    SKIP("the sanitizers have handlers of their own");
#endif
    CHECK_STR(test_run_child("handler_before", NULL).output, "111\n111\n");
    CHECK_STR(test_run_child("handler_after", NULL).output, "111\n111\n");
    CHECK_EQ(test_run_child("fault_without_handler", NULL).status, 128 + SIGSEGV);
    CHECK_EQ(test_run_child("dies_when_sent", NULL).status, 128 + SIGSEGV);
    CHECK_STR(test_run_child("ignored_when_sent", NULL).output, "ignored\n");
}

/* Signals that are blocked when the library starts stay so on its threads. */
CHILD(waits_for_signal)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    for (int i = 0; i < 10; i++)
        go(nothing);
    go_sleep(5 * GO_MILLISECOND);
    kill(getpid(), SIGUSR1);
    int signo = 0;
    sigwait(&set, &signo);
    printf("%d\n", signo == SIGUSR1);
}

TEST(sigwait_works)
{
    struct test_result r = test_run_child("waits_for_signal", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_STR(r.output, "1\n");
}

/* --- no more threads --- */

static int ends[2];

static void blocks(void)
{
    char c;
    go_block_enter();
    while (read(ends[0], &c, 1) > 0)
        ;
    go_block_leave();
}

static void prints(void)
{
    puts("ran");
    fflush(stdout);
}

/* The limit on address space stops new stacks of threads, for root too. */
static void no_more_threads(void)
{
    char line[200];
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f && fgets(line, sizeof line, f))
        pages = atol(line);
    if (f)
        fclose(f);
    struct rlimit limit = { (rlim_t)pages * 4096 + 100000, (rlim_t)pages * 4096 + 100000 };
    setrlimit(RLIMIT_AS, &limit);
}

CHILD(threads_run_out)
{
    if (pipe(ends) != 0)
        exit(9);
    go(nothing);
    go_sleep(GO_MILLISECOND);
    no_more_threads();
    go(blocks);
    go_sleep(20 * GO_MILLISECOND);
    puts("came back");
}

/* Main waits for the P that the blocked one's thread gives up, and there is no thread to run it. */
TEST(out_of_threads_is_said)
{
#if HAVE_ASAN || HAVE_TSAN
    SKIP("the sanitizers need address space themselves");
#endif
    if (getenv("TEST_EMULATOR"))
        SKIP("qemu-user does not limit address space");
    struct test_result r = test_run_child("threads_run_out", "GOMAXPROCS=1", NULL);
    CHECK_EQ(r.status, 2);
    CHECK_CONTAINS(r.output, "fatal error: out of threads: cannot create another one (errno 11)\n");
}

static void yields(void)
{
    for (int i = 0; i < 100; i++)
        go_yield();
    prints();
}

CHILD(one_thread_is_enough)
{
    for (int i = 0; i < 3; i++)
        go(nothing);
    go_sleep(GO_MILLISECOND);
    no_more_threads();
    go_maxprocs(4); /* three more Ps, and threads for none of them */
    for (int i = 0; i < 3; i++)
        go(yields);
    go_sleep(50 * GO_MILLISECOND);
}

TEST(work_goes_on_with_the_threads_there_are)
{
#if HAVE_ASAN || HAVE_TSAN
    SKIP("the sanitizers need address space themselves");
#endif
    if (getenv("TEST_EMULATOR"))
        SKIP("qemu-user does not limit address space");
    struct test_result r = test_run_child("one_thread_is_enough", "GOMAXPROCS=1", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_STR(r.output, "ran\nran\nran\n");
}

static void keeps_errno(void)
{
    errno = 4711;
    go(nothing);
    printf("%d\n", errno);
    fflush(stdout);
}

CHILD(errno_without_threads)
{
    go(nothing);
    go_sleep(GO_MILLISECOND);
    no_more_threads();
    go_maxprocs(4);
    keeps_errno();
    go(keeps_errno);
    go_sleep(20 * GO_MILLISECOND);
}

static atomic_int stage;

static void *launches_at_stage_2(void *arg)
{
    go(nothing); /* what a launch needs is there from now on */
    atomic_store(&stage, 1);
    while (atomic_load(&stage) < 2)
        sched_yield();
    for (int i = 0; i < 3; i++)
        go(prints);
    atomic_store(&stage, 3);
    while (atomic_load(&stage) < 4)
        usleep(1000);
    return arg;
}

/* Three Ps have got work, and no thread, and two of them are to go. main keeps the other one: preempt=0. */
CHILD(fewer_without_threads)
{
    pthread_t thread;
    go(nothing);
    go_yield();
    if (pthread_create(&thread, NULL, launches_at_stage_2, NULL) != 0)
        exit(9);
    while (atomic_load(&stage) < 1)
        sched_yield();
    go_sleep(GO_MILLISECOND);
    no_more_threads();
    go_maxprocs(4);
    atomic_store(&stage, 2);
    while (atomic_load(&stage) < 3)
        sched_yield();
    go_maxprocs(2);
    go_sleep(20 * GO_MILLISECOND);
    atomic_store(&stage, 4);
}

static void *reads_without_threads(void *arg)
{
    char c;
    ssize_t n = go_read(ends[0], &c, 1); /* what it needs is there from now on */
    no_more_threads();
    atomic_store(&stage, 1);
    if (n == 1 && go_read(ends[0], &c, 1) == 1)
        prints();
    return arg;
}

/* The data come when sysmon, which nobody needs besides, has lain down. */
CHILD(only_a_plain_thread_reads)
{
    pthread_t thread;
    if (pipe(ends) != 0 || write(ends[1], "x", 1) != 1 || pthread_create(&thread, NULL, reads_without_threads, NULL) != 0)
        exit(9);
    while (atomic_load(&stage) < 1)
        usleep(1000);
    usleep(600000);
    if (write(ends[1], "x", 1) != 1)
        exit(9);
    pthread_join(thread, NULL);
}

static void yields_for_ever(int *begun)
{
    for (++*begun;;)
        go_yield();
}

/* Of its four Ps one has a thread, and that one is taken away from a goroutine that computes: nobody runs for a moment. */
CHILD(hog_without_threads)
{
    int begun = 0;
    for (int i = 0; i < 500; i++) /* more than a ring holds: work that waits for the others */
        go(yields_for_ever, &begun);
    while (begun < 500)
        go_yield();
    no_more_threads();
    go_maxprocs(4);
    for (go_time until = go_now() + 1200 * GO_MILLISECOND; go_now() < until;)
        go_yield();
    for (go_time until = go_now() + 100 * GO_MILLISECOND; go_now() < until;)
        ;
    go_yield();
    prints();
}

TEST(what_needs_no_thread_goes_on)
{
#if HAVE_ASAN || HAVE_TSAN
    SKIP("the sanitizers need address space themselves");
#endif
    if (test_emulated())
        SKIP("qemu-user does not limit address space");
    struct test_result r = test_run_child("errno_without_threads", "GOMAXPROCS=1", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_STR(r.output, "4711\n4711\n");
    r = test_run_child("hog_without_threads", "GOMAXPROCS=1", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_STR(r.output, "ran\n");
    r = test_run_child("fewer_without_threads", "GOMAXPROCS=1", "GODEBUG=preempt=0", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_STR(r.output, "ran\nran\nran\n");
    r = test_run_child("only_a_plain_thread_reads", "GOMAXPROCS=1", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_STR(r.output, "ran\n");
}
