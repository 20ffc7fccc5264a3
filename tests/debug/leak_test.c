// SPDX-License-Identifier: MIT
#include <goroutine.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

static void stuck(int n)
{
    (void)n;
    go_sleep(1000 * GO_SECOND);
    __asm__ volatile("");
}

static void quick(void)
{
}

static void busy_a_moment(void)
{
    go_time until = go_now() + 20 * GO_MILLISECOND;
    while (go_now() < until)
        __asm__ volatile("");
}

CHILD(clean)
{
    CHECK_EQ(go_leak_check(), 0);
    for (int i = 0; i < 100; i++)
        go(quick);
    go(busy_a_moment);
    CHECK_EQ(go_leak_check(), 0);
}

CHILD(leaks)
{
    for (int i = 0; i < 20; i++)
        go(stuck, i);
    go_with(((go_options){ .name = "the \"other\"\n\xff" }), stuck, 1);
    go_statistics s;
    do {
        go_sleep(GO_MILLISECOND);
        go_stats(&s);
    } while (s.waiting < 21);
}

CHILD(leaks_checked)
{
    test_body_leaks();
    CHECK_EQ(go_leak_check(), 21);
}

TEST(no_leak)
{
    struct test_result r = test_run_child("clean", "GODEBUG=leakcheck=1", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_STR(r.output, "");
}

static void check_report(const char *output, const char *title)
{
    CHECK(!strncmp(output, title, strlen(title)));
    CHECK_CONTAINS(output, ": 21 goroutines are still alive\n\n");
    CHECK_CONTAINS(output, "\n20 [sleep]: goroutine ");
    CHECK_CONTAINS(output, " ...\n");
    CHECK_CONTAINS(output, "\nstuck()\n");
    CHECK_CONTAINS(output, "created by test_body_leaks at ");
    CHECK_CONTAINS(output, "\n1 [sleep] \"the \\\"other\\\"\\u000a\\ufffd\": goroutine ");
}

TEST(leak_at_exit)
{
    struct test_result r = test_run_child("leaks", "GODEBUG=leakcheck=1", NULL);
    CHECK_EQ(r.status, 0);
    check_report(r.output, "leak check at exit");
    r = test_run_child("leaks", "GODEBUG=", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_STR(r.output, "");
}

#define PERSONS 50000

CHILD(leaks_persons)
{
    static char names[PERSONS][8];
    go_statistics s;
    for (int i = 0; i < PERSONS; i++) {
        snprintf(names[i], sizeof names[i], "p%05d", i);
        go_with(((go_options){ .name = names[i], .stack_size = 4096 }), stuck, i);
    }
    do {
        go_sleep(GO_MILLISECOND);
        go_stats(&s);
    } while (s.waiting < PERSONS);
    CHECK_EQ(go_leak_check(), PERSONS);
}

/* Nobody is like another; comparing each with all others would take very long. */
TEST(leak_of_many_names)
{
    if (HAVE_ASAN || HAVE_TSAN || test_emulated())
        SKIP("so many goroutines take a while");
    struct test_result r = test_run_child("leaks_persons", NULL);
    CHECK_EQ(r.status, 0);
    int n = 0;
    for (const char *at = r.output; (at = strstr(at, "\n1 [sleep] \"p")); at++)
        n++;
    CHECK_EQ(n, PERSONS);
}

TEST(leak_checked)
{
    struct test_result r = test_run_child("leaks_checked", NULL);
    CHECK_EQ(r.status, 0);
    check_report(r.output, "leak check: ");
}

CHILD(forks)
{
    int status = -1;
    go_id();
    pid_t pid = fork();
    if (pid == 0)
        exit(0);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
}

static __attribute__((noinline)) void stuck_too(void)
{
    stuck(1);
    __asm__ volatile("");
}

static void stuck_or_stuck_too(int which)
{
    which ? stuck_too() : stuck(0);
    __asm__ volatile("");
}

/* One statement and one reason, but different frames. */
CHILD(leaks_of_two_kinds)
{
    go_statistics s;
    for (int i = 0; i < 2; i++)
        go(stuck_or_stuck_too, i);
    do {
        go_sleep(GO_MILLISECOND);
        go_stats(&s);
    } while (s.waiting < 2);
    CHECK_EQ(go_leak_check(), 2);
}

TEST(leaks_that_are_joined)
{
    struct test_result r = test_run_child("leaks_of_two_kinds", NULL);
    CHECK_EQ(r.status, 0);
    const char *line = strstr(r.output, "\n2 [sleep]: goroutine ");
    REQUIRE(line);
    const char *end = strchr(line + 1, '\n');
    CHECK(end && !strncmp(end - 4, " ...", 4)); /* not all are named */
}

/* There are no goroutines to check in the child of a fork. */
TEST(exit_of_a_forked_child)
{
    struct test_result r = test_run_child("forks", "GODEBUG=leakcheck=1", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_STR(r.output, "");
}
