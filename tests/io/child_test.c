// SPDX-License-Identifier: MIT
// Other programs: started, redirected, waited for.
#include <goroutine.h>

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <unistd.h>

#include "test.h"

#include "sched/netpoll.h"

static void settle(void)
{
    for (int i = 0; i < 20; i++)
        go_yield();
    go_sleep(2 * GO_MILLISECOND);
}

#define SHELL(script) ((const char *const[]){ "sh", "-c", script, NULL })

/* posix_spawn hears of errors through memory that parent and child share, which an emulated vfork's do not. */
static bool spawn_tells(void)
{
    return getenv("TEST_EMULATOR") == NULL;
}

static int descriptors(void)
{
    int n = 0;
    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* A child that waits to be killed, for a minute at most. */
static pid_t sleeper(void)
{
    pid_t child = fork();
    if (child == 0) {
        alarm(60);
        pause();
        _exit(0);
    }
    REQUIRE(child > 0);
    return child;
}

/* Nothing is left of a wait for any child, or one of a group, that time has ended. */
TEST(waits_that_end_leave_nothing_behind)
{
    pid_t child = fork();
    if (child == 0) {
        pause();
        _exit(0);
    }
    int before = 0;
    for (int i = 0; i < 40; i++) {
        go_scope *s = go_scope_open();
        go_scope_deadline(s, go_now() + GO_MILLISECOND);
        go_scope_enter(s);
        CHECK_EQ(go_wait_child(i % 2 ? -1 : 0, NULL), -ETIMEDOUT);
        go_scope_leave(s);
        go_scope_close(s);
        if (i == 3)
            before = descriptors();
    }
    CHECK_EQ(descriptors(), before);
    kill(child, SIGKILL);
    CHECK_EQ(go_wait_child(-1, NULL), child);
    /* What is kept has seen that one's end, and waits for the next one all the same. */
    child = fork();
    if (child == 0) {
        usleep(20000);
        _exit(7);
    }
    int status = 0;
    CHECK_EQ(go_wait_child(0, &status), child);
    CHECK_EQ(WEXITSTATUS(status), 7);
}

/* Nor of those for groups that have ended since, when nobody asks after them any more. */
TEST(groups_that_end_leave_nothing_behind)
{
    int before = descriptors();
    go_scope *s = go_scope_open();
    go_scope_cancel(s);
    /* More than there is room for; and on, for the threads of the last ones may be about to come back. */
    for (int i = 0; i < 300 && (i < 20 || descriptors() > before + 4); i++) {
        pid_t child = sleeper();
        CHECK_EQ(setpgid(child, child), 0);
        go_scope_enter(s);
        CHECK_EQ(go_wait_child(-child, NULL), -ECANCELED);
        go_scope_leave(s);
        kill(child, SIGKILL);
        CHECK_EQ(go_wait_child(child, NULL), child);
    }
    CHECK(descriptors() <= before + 4);
    CHECK_EQ(go_scope_close(s), -ECANCELED);
}

TEST(run)
{
    int status = go_run((const char *const[]){ "sh", "-c", "exit 7", NULL });
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 7);
    CHECK_EQ(go_run((const char *const[]){ "true", NULL }, NULL), 0);
    const char *const argv[] = { "/bin/sh", "-c", "kill -9 $$", NULL };
    status = go_run(argv);
    CHECK(WIFSIGNALED(status));
    CHECK_EQ(WTERMSIG(status), SIGKILL);
    CHECK_EQ(go_run((const char *const[]){ NULL }), -EINVAL);
    if (!spawn_tells())
        SKIP("qemu-user does not tell why a program cannot be started");
    CHECK_EQ(go_run((const char *const[]){ "/no/such/program", NULL }), -ENOENT);
    CHECK_EQ(go_run((const char *const[]){ "no-such-program-either", NULL }), -ENOENT);
    CHECK_EQ(go_run((const char *const[]){ "/dev/null", NULL }), -EACCES);
}

/* None is left for a wait. */
CHILD(runs_without_descriptors)
{
    struct rlimit limit;
    int last = 0, fd;
    go_now();
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = 32;
    setrlimit(RLIMIT_NOFILE, &limit);
    while ((fd = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
        last = fd;
    CHECK_EQ(last, 31);
    int status = go_run(SHELL("sleep 0.05; exit 7"));
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 7);
}

/* Its pipes take the places of 0 and 1, which the child's 2 is not to lose. */
CHILD(runs_without_stdio)
{
    char text[16];
    int err = -1, status = 1;
    close(0);
    close(1);
    go_run_options o = { .out = GO_RUN_NULL, .err_pipe = &err };
    pid_t pid = go_start(SHELL("echo oops >&2"), &o);
    CHECK(pid > 0);
    CHECK_EQ(go_read(err, text, sizeof text), 5);
    CHECK_EQ(go_wait_child(pid, &status), pid);
    CHECK_EQ(status, 0);
}

TEST(odd_descriptors)
{
    go_run_options o = { .out = -ENOENT };
    CHECK_EQ(go_run(SHELL("true"), &o), -EBADF);
    struct test_result r = test_run_child("runs_without_descriptors", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_STR(r.output, "");
    r = test_run_child("runs_without_stdio", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_STR(r.output, "");
}

static void drain(int fd, char *buffer, size_t size)
{
    size_t got = 0;
    ssize_t n;
    while (got < size - 1 && (n = go_read(fd, buffer + got, size - 1 - got)) > 0)
        got += (size_t)n;
    buffer[got] = 0;
    go_close(fd);
}

TEST(pipes_environment_directory)
{
    char text[256];
    int in, out, status;
    go_run_options o = { .in_pipe = &in, .out_pipe = &out, .err = 1 };
    pid_t pid = go_start(SHELL("read x; echo got $x; echo oops >&2; exit 3"), &o);
    REQUIRE(pid > 0);
    CHECK_EQ(fcntl(in, F_GETFD), FD_CLOEXEC);
    CHECK_EQ(go_write(in, "hello\n", 6), 6);
    go_close(in);
    drain(out, text, sizeof text);
    CHECK_STR(text, "got hello\noops\n");
    CHECK_EQ(go_wait_child(pid, &status), pid);
    CHECK_EQ(WEXITSTATUS(status), 3);

    const char *const environment[] = { "COLOUR=blue", NULL };
    go_run_options e = { .environment = environment, .directory = "/", .out_pipe = &out, .in = GO_RUN_NULL };
    pid = go_start(SHELL("echo $COLOUR $HOME; pwd; cat"), &e);
    REQUIRE(pid > 0);
    drain(out, text, sizeof text);
    CHECK_STR(text, "blue\n/\n");
    CHECK_EQ(go_wait_child(pid, NULL), pid);

    char path[] = "/tmp/go_child_test_XXXXXX";
    int f = mkstemp(path);
    go_run_options r = { .out = f };
    CHECK_EQ(go_run(SHELL("echo into the file"), &r), 0);
    CHECK_EQ(go_pread(f, text, sizeof text, 0), 14);
    go_run_options d = { .directory = "/no/such/directory" };
    if (spawn_tells())
        CHECK_EQ(go_run(SHELL("true"), &d), -ENOENT);
    close(f);
    unlink(path);
}

static void wait_one(pid_t pid, int *status, pid_t *result, go_waitgroup *done)
{
    *result = go_wait_child(pid, status);
    go_waitgroup_done(done);
}

/* For one that looks at *result meanwhile. */
static void wait_one_watched(pid_t pid, int *status, _Atomic pid_t *result, go_waitgroup *done)
{
    atomic_store(result, go_wait_child(pid, status));
    go_waitgroup_done(done);
}

/* Forked by the program itself, many at once, while others run. */
static void fork_many(void)
{
    enum { N = 8 };
    pid_t pids[N], results[N];
    int status[N];
    go_waitgroup done = { 0 };
    for (int i = 0; i < N; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            usleep(i % 2 ? 20000 : 0);
            _exit(i + 10);
        }
        go_waitgroup_add(&done, 1);
        go(wait_one, pids[i], &status[i], &results[i], &done);
    }
    go_waitgroup_wait(&done);
    for (int i = 0; i < N; i++) {
        CHECK_EQ(results[i], pids[i]);
        CHECK(WIFEXITED(status[i]));
        CHECK_EQ(WEXITSTATUS(status[i]), i + 10);
    }
    CHECK_EQ(go_wait_child(pids[0], NULL), -ECHILD);
    CHECK_EQ(go_wait_child(-1, NULL), -ECHILD);
    pid_t a = fork();
    if (a == 0) {
        usleep(20000);
        _exit(1);
    }
    CHECK_EQ(go_wait_child(-1, status), a);
    CHECK_EQ(WEXITSTATUS(status[0]), 1);
}

TEST(forked_by_the_program)
{
    fork_many();
}

/* One that is forked when the wait has begun, and stays, has a copy of each descriptor: it does not hide the other one's end. */
static void fork_behind_a_wait(bool any)
{
    int status = 0, before = atomic_load_explicit(&netpoll_waits, memory_order_relaxed);
    pid_t result = 0, first = sleeper();
    go_waitgroup done = { 0 };
    go_scope *s = go_scope_open();
    go_scope_deadline(s, go_now() + 10 * GO_SECOND); /* what fails here would wait for ever */
    go_waitgroup_add(&done, 1);
    go_scope_go(s, wait_one, any ? -1 : first, &status, &result, &done);
    while (atomic_load_explicit(&netpoll_waits, memory_order_relaxed) == before)
        go_sleep(100 * GO_MICROSECOND);
    pid_t second = sleeper();
    kill(first, SIGKILL);
    go_waitgroup_wait(&done);
    CHECK_EQ(go_scope_close(s), 0);
    CHECK_EQ(result, first);
    CHECK(WIFSIGNALED(status));
    if (result < 0)
        go_wait_child(first, NULL);
    kill(second, SIGKILL);
    CHECK_EQ(go_wait_child(second, NULL), second);
}

TEST(forked_behind_a_wait)
{
    fork_behind_a_wait(true);
}

static char state_of(pid_t pid)
{
    char path[32], state = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "r");
    if (f) {
        if (fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
            state = 0;
        fclose(f);
    }
    return state;
}

/* It can be seen that such a child has ended, but not how: that wait ends with the scope as well, and goes on when it is let go. */
TEST(held_by_a_debugger)
{
    int ends[2], held = 0, status = 0;
    REQUIRE(pipe(ends) == 0);
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
        alarm(60);
        if (write(ends[1], &held, sizeof held) > 0)
            pause();
        _exit(0);
    }
    CHECK_EQ(go_read(ends[0], &held, sizeof held), sizeof held);
    pid_t debugger = fork();
    if (debugger == 0) {
        held = ptrace(PTRACE_SEIZE, child, NULL, NULL) == 0;
        alarm(20); /* what fails here would go on for ever */
        if (write(ends[1], &held, sizeof held) > 0)
            pause();
        _exit(0);
    }
    CHECK_EQ(go_read(ends[0], &held, sizeof held), sizeof held);
    kill(child, SIGKILL);
    if (held) {
        while (state_of(child) != 'Z')
            go_sleep(GO_MILLISECOND);
        go_scope *s = go_scope_open();
        go_scope_deadline(s, go_now() + 20 * GO_MILLISECOND);
        go_scope_enter(s);
        CHECK_EQ(go_wait_child(child, NULL), -ETIMEDOUT);
        go_scope_leave(s);
        go_scope_close(s);
    }
    kill(debugger, SIGKILL);
    CHECK_EQ(go_wait_child(debugger, NULL), debugger);
    CHECK_EQ(go_wait_child(child, &status), child);
    CHECK(WIFSIGNALED(status));
    go_close(ends[0]);
    go_close(ends[1]);
    if (!held)
        SKIP("no process may trace another one here");
}

CHILD(pidfd_off)
{
    fork_many();
    fork_behind_a_wait(false);
    fork_behind_a_wait(true);
    puts("done");
}

TEST(without_pidfd)
{
    struct test_result r = test_run_child("pidfd_off", "GODEBUG=pidfd=0", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_CONTAINS(r.output, "done");
    CHECK(!strstr(r.output, "child_test.c"));
}

static void run_sleep(int *result, go_waitgroup *done)
{
    *result = go_run((const char *const[]){ "sleep", "100", NULL });
    go_waitgroup_done(done);
}

TEST(cancel)
{
    pid_t pid = fork(), result = 0;
    if (pid == 0) {
        pause();
        _exit(0);
    }
    int status = 0, run_result = 0;
    go_waitgroup done = { 0 };
    go_scope *s = go_scope_open();
    go_waitgroup_add(&done, 2);
    go_scope_go(s, wait_one, pid, &status, &result, &done);
    go_scope_go(s, run_sleep, &run_result, &done);
    settle();
    go_scope_cancel(s);
    go_waitgroup_wait(&done);
    go_scope_close(s);
    CHECK_EQ(result, -ECANCELED);
    CHECK_EQ(run_result, -ECANCELED);
    CHECK_EQ(kill(pid, SIGKILL), 0); /* it was left alone */
    CHECK_EQ(go_wait_child(pid, &status), pid);
    CHECK(WIFSIGNALED(status));
    CHECK_EQ(go_wait_child(-1, &status), -ECHILD);
}

/* A child that runs is no deadlock, and does not hold up others. */
TEST(others_run_meanwhile)
{
    int status = -1, ticks = 0;
    _Atomic pid_t result = 0;
    go_waitgroup done = { 0 };
    pid_t pid = go_start((const char *const[]){ "sleep", "0.05", NULL }, NULL);
    go_waitgroup_add(&done, 1);
    go(wait_one_watched, pid, &status, &result, &done);
    while (atomic_load(&result) == 0) {
        ticks++;
        go_sleep(GO_MILLISECOND);
    }
    go_waitgroup_wait(&done);
    CHECK_EQ(result, pid);
    CHECK_EQ(status, 0);
    CHECK(ticks > 1);
}
