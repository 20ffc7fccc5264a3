// SPDX-License-Identifier: MIT
#include <goroutine.h>

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

static void nap(void)
{
    go_sleep(1000 * GO_SECOND);
}

CHILD(quits)
{
    go_with(((go_options){ .name = "bystander" }), nap);
    go_sleep(10 * GO_MILLISECOND);
    kill(getpid(), SIGQUIT);
    go_sleep(1000 * GO_SECOND);
}

/* sysmon sleeps for ever when nothing has run for a second: it is woken all the same. */
CHILD(quits_idle)
{
    go_sleep(1500 * GO_MILLISECOND);
    go_sleep(10 * GO_MILLISECOND);
    kill(getpid(), SIGQUIT);
    go_sleep(1000 * GO_SECOND);
}

CHILD(quits_busy)
{
    go_id();
    kill(getpid(), SIGQUIT);
    for (;;)
        __asm__ volatile("");
}

static void hog(_Atomic pid_t *tid)
{
    *tid = (pid_t)syscall(SYS_gettid);
    for (;;)
        __asm__ volatile("");
}

/* The handler is called on the thread of the one that runs, as the kernel likes to do. */
CHILD(quits_on_a_hog)
{
    _Atomic pid_t *tid = mmap(NULL, sizeof *tid, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(tid != MAP_FAILED);
    go_id();
    if (fork() == 0) {
        while (!*tid && getppid() > 1)
            usleep(1000);
        syscall(SYS_tgkill, getppid(), *tid, SIGQUIT);
        _exit(0);
    }
    go_with(((go_options){ .name = "hog" }), hog, tid);
    go_sleep(1000 * GO_SECOND);
}

/* The signal has come, and the report is still to be made. */
CHILD(quits_and_returns)
{
    go_id();
    raise(SIGQUIT);
}

/* The call returns only when the signal's handler does. */
CHILD(quits_in_a_pause)
{
    go_id();
    if (fork() == 0) {
        usleep(100000);
        kill(getppid(), SIGQUIT);
        _exit(0);
    }
    pause();
    write(1, "paused\n", 7);
}

/* So it is where a thread waits that has never called the library. */
static void *pauses(void *arg)
{
    pause();
    write(1, "paused\n", 7);
    _exit(0);
    return arg;
}

CHILD(quits_on_another_thread)
{
    pthread_t thread;
    go_id();
    REQUIRE(pthread_create(&thread, NULL, pauses, NULL) == 0);
    usleep(100000);
    pthread_kill(thread, SIGQUIT);
    go_sleep(1000 * GO_SECOND);
}

/* The threads that run are asked where they are, which interrupts a call that is not restarted. */
static void dies_soon(void)
{
    go_mutex m = { 0 };
    go_sleep(50 * GO_MILLISECOND);
    go_mutex_unlock(&m);
}

CHILD(dies_beside_a_pause)
{
    for (int i = 0; i < 5; i++)
        go(nap);
    go(dies_soon);
    pause();
}

static _Atomic int seen; /* handled on any thread */

static void own(int signo)
{
    (void)signo;
    seen = 1;
}

CHILD(has_own)
{
    signal(SIGQUIT, own);
    go_id();
    kill(getpid(), SIGQUIT);
    while (!seen)
        go_yield();
    write(1, "mine\n", 5);
}

static void not_ignored(void)
{
    signal(SIGQUIT, SIG_DFL); /* whoever runs us in the background may have set it so */
}

TEST(sigquit)
{
    not_ignored();
    struct test_result r = test_run_child("quits", "GOTRACEBACK=", NULL);
    CHECK_EQ(r.status, 2);
    CHECK(!strncmp(r.output, "SIGQUIT: quit\n\ngoroutine ", 25));
    CHECK_CONTAINS(r.output, "goroutine 1 [");
    CHECK_CONTAINS(r.output, "[sleep]: \"bystander\"\n");
    r = test_run_child("quits", "GOTRACEBACK=crash", NULL);
    CHECK_EQ(r.status, 128 + SIGABRT);
    r = test_run_child("quits", "GOTRACEBACK=none", NULL);
    CHECK_EQ(r.status, 2);
    CHECK_STR(r.output, "SIGQUIT: quit\n");
}

TEST(sigquit_while_idle_or_busy)
{
    not_ignored();
    struct test_result r = test_run_child("quits_idle", "GOTRACEBACK=", NULL);
    CHECK_EQ(r.status, 2);
    CHECK_CONTAINS(r.output, "goroutine 1 [");
    r = test_run_child("quits_busy", "GOTRACEBACK=", NULL);
    CHECK_EQ(r.status, 2);
    CHECK_CONTAINS(r.output, "goroutine 1 [running]:\n");
}

/* Nothing of the handler is in the goroutine's frames. */
TEST(sigquit_on_a_goroutine_that_runs)
{
#if HAVE_TSAN
    SKIP("the thread is not asked there");
#endif
    if (test_emulated())
        SKIP("qemu has no real-time signals to spare");
    not_ignored();
    for (int i = 0; i < 3; i++) {
        struct test_result r = test_run_child("quits_on_a_hog", "GOTRACEBACK=", NULL);
        CHECK_EQ(r.status, 2);
        CHECK_CONTAINS(r.output, "[running]: \"hog\"\nhog()\n");
    }
}

TEST(sigquit_of_the_program)
{
    struct test_result r = test_run_child("has_own", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_STR(r.output, "mine\n");
}

/* There is no sysmon in the child that could report. */
CHILD(forked_child_quits)
{
    int status = 0;
    go_id();
    pid_t pid = fork();
    if (pid == 0) {
        raise(SIGQUIT);
        _exit(3);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFSIGNALED(status));
    CHECK_EQ(WTERMSIG(status), SIGQUIT);
}

TEST(sigquit_of_a_forked_child)
{
#if HAVE_TSAN
    SKIP("TSan keeps signals from the child of a fork");
#endif
    not_ignored();
    struct test_result r = test_run_child("forked_child_quits", NULL);
    CHECK_EQ(r.status, 0);
}

TEST(who_is_interrupted_does_not_end_the_process)
{
    for (int i = 0; i < 3; i++) {
        struct test_result r = test_run_child("quits_and_returns", NULL);
        CHECK_EQ(r.status, 2);
        CHECK_CONTAINS(r.output, "goroutine 1 [");
        r = test_run_child("quits_in_a_pause", NULL);
        CHECK_EQ(r.status, 2);
        CHECK_CONTAINS(r.output, "goroutine 1 [");
#if !HAVE_TSAN /* delays the signal until the call has returned */
        CHECK(!strstr(r.output, "paused"));
#endif
#if !HAVE_TSAN /* so, too */
        r = test_run_child("quits_on_another_thread", NULL);
        CHECK_EQ(r.status, 2);
        CHECK(!strstr(r.output, "paused"));
#endif
        r = test_run_child("dies_beside_a_pause", NULL);
        CHECK_EQ(r.status, 2);
        CHECK_CONTAINS(r.output, "[sleep]:\n");
    }
}
