// SPDX-License-Identifier: MIT
#include <goroutine.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "json.h"
#include "test.h"

#include "sched/sched.h"
#include "sched/section.h"

static char text[64 << 20];

static const char *dump(void)
{
    FILE *file = tmpfile();
    REQUIRE(file);
    CHECK_EQ(go_trace_dump(fileno(file)), 0);
    rewind(file);
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    return text;
}

/* How often both strings are on a line. */
static int count(const char *in, const char *a, const char *b)
{
    int n = 0;
    for (const char *line = in; *line;) {
        size_t length = strcspn(line, "\n");
        char copy[1024];
        snprintf(copy, sizeof copy, "%.*s", (int)length, line);
        n += strstr(copy, a) && strstr(copy, b);
        line += length + (line[length] == '\n');
    }
    return n;
}

static go_waitgroup all;

static void worker(int n)
{
    for (int i = 0; i < n; i++)
        go_sleep(GO_MILLISECOND);
    go_waitgroup_done(&all);
}

static void work(int goroutines, const char *name)
{
    go_waitgroup_add(&all, goroutines);
    for (int i = 0; i < goroutines; i++)
        go_with(((go_options){ .name = name }), worker, 5);
    go_waitgroup_wait(&all);
    /* The last of them may be between done and its end, on another thread. */
    while (go_count() > 1)
        go_yield();
    go_sleep(10 * GO_MILLISECOND);
}

TEST(timeline)
{
    CHECK_EQ(go_trace_dump(1), -ENODATA);
    CHECK_EQ(go_trace_stop(), -EALREADY);
    CHECK_EQ(go_trace_start((1 << 24) + 1), -EINVAL);
    CHECK_EQ(go_trace_start(4096), 0);
    CHECK_EQ(go_trace_start(0), -EALREADY);
    work(4, NULL);
    work(3, "say \"ah\"");
    const char *t = dump();
    CHECK(is_json(t));
    /* Each ran at least once and ended; each was launched by somebody who ran. */
    CHECK(count(t, "\"ph\":\"X\"", "\"name\":\"worker ") >= 4);
    CHECK(count(t, "\"ph\":\"X\"", "\"name\":\"say \\\"ah\\\" ") >= 3);
    CHECK_EQ(count(t, "\"then\":\"ended\"", "\"ph\":\"X\""), 7);
    CHECK(count(t, "\"then\":\"sleep\"", "created by\":\"work at ") >= 7);
    CHECK(count(t, "\"name\":\"main 1\"", "\"then\":\"sync.WaitGroup.Wait\"") >= 1);
    CHECK(count(t, "\"ph\":\"s\"", "wakes") >= 7);
    CHECK_EQ(count(t, "\"ph\":\"s\"", ""), count(t, "\"ph\":\"f\"", ""));
    CHECK_EQ(count(t, "thread_name", "\"P0\""), 1);
    CHECK_EQ(go_trace_stop(), 0);
}

static go_sem fired;

static void fire(void *arg)
{
    (void)arg;
    go_sem_release(&fired, 1);
}

/* A timer's goroutine, which nobody's statement has launched, has its name like others when it has ended. */
TEST(goroutines_of_timers)
{
    CHECK_EQ(go_trace_start(0), 0);
    go_timer *t = go_after_func(GO_MILLISECOND, fire, NULL);
    go_sem_acquire(&fired, 1);
    while (go_count() > 1)
        go_yield();
    CHECK_EQ(go_trace_stop(), 0);
    go_timer_free(t);
    CHECK_EQ(count(dump(), "\"ph\":\"X\"", "\"name\":\"fire "), 1);
}

static void waits_for_it(void)
{
    go_sem_acquire(&fired, 1);
    go_waitgroup_done(&all);
}

static void *launches_one(void *arg)
{
    go(waits_for_it);
    return arg;
}

/* So have those that were launched before the recording, or by a plain thread: at least the statement is known. */
TEST(goroutines_without_a_birth)
{
    pthread_t thread;
    go_waitgroup_add(&all, 2);
    go(waits_for_it);
    CHECK_EQ(go_trace_start(0), 0);
    REQUIRE(pthread_create(&thread, NULL, launches_one, NULL) == 0);
    pthread_join(thread, NULL);
    go_sem_release(&fired, 2);
    go_waitgroup_wait(&all);
    while (go_count() > 1)
        go_yield();
    CHECK_EQ(go_trace_stop(), 0);
    const char *t = dump();
    CHECK(count(t, "\"ph\":\"X\"", "created by\":\"test_body_goroutines_without_a_birth at ") >= 1);
    CHECK(count(t, "\"ph\":\"X\"", "created by\":\"launches_one at ") >= 1);
}

static void does_nothing(void *arg)
{
    (void)arg;
}

/* A plug-in has been unloaded, and its go statements with it. */
TEST(statement_that_is_gone)
{
    struct go_site *site = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(site != MAP_FAILED);
    struct iovec iov = { site, 1 };
    if (process_vm_readv(getpid(), &iov, 1, &iov, 1, 0) < 0)
        SKIP("memory cannot be asked for here");
    *site = (struct go_site){ .file = "gone.c", .function = "gone", .line = 7, .integer_regs = 1 };
    CHECK_EQ(go_trace_start(0), 0);
    struct m *mp = section_enter();
    newproc_internal(mp, does_nothing, NULL, site, 0);
    section_leave(mp);
    while (go_count() > 1)
        go_yield();
    CHECK_EQ(go_trace_stop(), 0);
    CHECK_EQ(count(dump(), "\"ph\":\"X\"", "created by\":\"gone at gone.c:7\""), 1);
    munmap(site, 4096);
    const char *t = dump();
    CHECK(is_json(t));
    CHECK_EQ(count(t, "\"ph\":\"X\"", "\"name\":\"does_nothing "), 1);
    CHECK_EQ(count(t, "gone.c", ""), 0);
}

/* A P that is taken away from a goroutine is idle from then on, and the goroutine's next slice begins when it has one again. */
CHILD(blocks)
{
    go_statistics before, after;
    CHECK_EQ(go_trace_start(0), 0);
    go_stats(&before);
    do {
        go_block_enter();
        usleep(20000);
        go_block_leave();
        go_stats(&after);
    } while (after.hand_offs == before.hand_offs);
    go_trace_stop();
    CHECK(count(dump(), "\"ph\":\"X\"", "\"name\":\"main 1\"") >= 2);
}

TEST(hand_off)
{
    struct test_result r = test_run_child("blocks", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_STR(r.output, "");
}

/* What happens while it is off is not there; what was before a new start neither. */
TEST(on_and_off)
{
    go_trace_stop();
    work(1, "off");
    CHECK_EQ(go_trace_start(0), 0);
    work(1, "on");
    CHECK_EQ(go_trace_stop(), 0);
    work(1, "off again");
    const char *t = dump();
    CHECK(is_json(t));
    CHECK_EQ(count(t, "\"then\":\"ended\"", "\"name\":\"on "), 1);
    CHECK_EQ(count(t, "\"ph\":\"X\"", "\"name\":\"off"), 0);
    CHECK_EQ(count(t, "\"ph\":\"X\"", "say"), 0);
}

static void quick(void)
{
    go_waitgroup_done(&all);
}

/* A ring that is too small keeps the end. */
TEST(ring_wraps)
{
#if HAVE_TSAN
    SKIP("thousands of fibers take a minute");
#endif
    int before = go_maxprocs(1); /* all of it in one ring */
    CHECK_EQ(go_trace_start(0), 0); /* still 4096 */
    go_waitgroup_add(&all, 3000);
    for (int i = 0; i < 3000; i++) {
        go(quick);
        if (i % 100 == 0)
            go_yield();
    }
    go_waitgroup_wait(&all);
    work(1, "the end");
    const char *t = dump();
    CHECK(is_json(t));
    CHECK_EQ(count(t, "\"then\":\"ended\"", "\"name\":\"the end "), 1);
    CHECK(!strstr(t, "\"events too old to be kept\":\"0\""));
    CHECK_EQ(go_trace_stop(), 0);
    CHECK_EQ(go_trace_start(0), 0);
    work(1, "the next");
    CHECK_CONTAINS(dump(), "\"events too old to be kept\":\"0\""); /* the last recording's are none of this one's */
    CHECK_EQ(go_trace_stop(), 0);
    go_maxprocs(before);
}

static void waits_twice(chan(int) c)
{
    chan_recv(c, NULL);
    chan_recv(c, NULL);
    go_waitgroup_done(&all);
}

static __attribute__((__noinline__)) void launches_who_waits(chan(int) c)
{
    go(waits_twice, c);
}

/* Of one that ends it is said whence it came, however many have been launched since. */
TEST(launched_long_ago)
{
#if HAVE_TSAN
    SKIP("thousands of fibers take a minute");
#endif
    int before = go_maxprocs(1);
    chan(int) c = chan_make(int, 0);
    CHECK_EQ(go_trace_start(0), 0);
    go_waitgroup_add(&all, 3001);
    launches_who_waits(c);
    for (int i = 0; i < 3000; i++) {
        go(quick);
        if (i % 100 == 0)
            go_yield();
    }
    chan_send(c, 1);
    chan_send(c, 2);
    go_waitgroup_wait(&all);
    const char *t = dump();
    CHECK(is_json(t));
    CHECK_EQ(count(t, "\"then\":\"ended\"", "launches_who_waits"), 1);
    CHECK_EQ(go_trace_stop(), 0);
    chan_unref(c);
    go_maxprocs(before);
}

/* Of those that live but briefly one note is enough, and the ring holds so many more of them. */
TEST(launched_just_before)
{
#if HAVE_TSAN
    SKIP("thousands of fibers take a minute");
#endif
    int before = go_maxprocs(1);
    CHECK_EQ(go_trace_start(4096), 0); /* by default the ring would hold all of them */
    for (int i = 0; i < 500; i++) {
        go_waitgroup_add(&all, 10);
        for (int j = 0; j < 10; j++)
            go_with(((go_options){ .name = "brief" }), quick);
        go_waitgroup_wait(&all);
    }
    const char *t = dump();
    int ended = count(t, "\"then\":\"ended\"", "\"name\":\""), named = count(t, "\"then\":\"ended\"", "\"name\":\"brief ");
    CHECK(ended > 500);
    if (named * 5 <= ended * 3)
        CHECK_EQ(named, ended);
    CHECK_EQ(go_trace_stop(), 0);
    go_maxprocs(before);
}

static bool stop;

static void churn(void)
{
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE))
        go_yield();
    go_waitgroup_done(&all);
}

TEST(dump_while_running)
{
    CHECK_EQ(go_trace_start(0), 0);
    go_waitgroup_add(&all, 8);
    for (int i = 0; i < 8; i++)
        go(churn);
    for (int i = 0; i < 5; i++)
        CHECK(is_json(dump()));
    __atomic_store_n(&stop, true, __ATOMIC_RELEASE);
    go_waitgroup_wait(&all);
    CHECK_EQ(go_trace_stop(), 0);
}

/* A name need not live longer than its goroutine. */
TEST(name_gone)
{
    char *name = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(name != MAP_FAILED);
    strcpy(name, "shadow");
    CHECK_EQ(go_trace_start(0), 0);
    work(1, name);
    munmap(name, 4096);
    const char *t = dump();
    CHECK(is_json(t));
    CHECK_EQ(count(t, "\"then\":\"ended\"", "\"name\":\"shadow "), 1);
    CHECK_EQ(go_trace_stop(), 0);
}

static const char *file_text(const char *name)
{
    FILE *file = fopen(name, "r");
    if (!file)
        return "";
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    unlink(name);
    return text;
}

CHILD(whole_run)
{
    work(3, "traced");
}

CHILD(dies)
{
    work(3, "traced");
    go_fatal("the end");
}

/* Runs the CHILD with GODEBUG=trace=FILE: what is in the file. */
static const char *traced(const char *child, const char *traceback, struct test_result *r)
{
    char setting[64] = "GODEBUG=trace=/tmp/goroutine-trace-XXXXXX";
    char *name = strstr(setting, "/tmp");
    int fd = mkstemp(name);
    REQUIRE(fd >= 0);
    close(fd);
    *r = test_run_child(child, setting, traceback, NULL);
    return file_text(name);
}

static void check_traced(const char *t)
{
    CHECK(is_json(t));
    CHECK_EQ(count(t, "\"then\":\"ended\"", "\"name\":\"traced "), 3);
}

TEST(from_the_environment)
{
    struct test_result r;
    check_traced(traced("whole_run", "GOTRACEBACK=", &r));
    CHECK_EQ(r.status, 0);
    CHECK_STR(r.output, "");
}

/* However little is printed, the file is written. */
TEST(fatal_error)
{
    struct test_result r;
    check_traced(traced("dies", "GOTRACEBACK=", &r));
    CHECK_EQ(r.status, 2);
    check_traced(traced("dies", "GOTRACEBACK=single", &r));
    CHECK_EQ(r.status, 2);
    check_traced(traced("dies", "GOTRACEBACK=none", &r));
    CHECK_EQ(r.status, 2);
    CHECK_STR(r.output, "fatal error: the end\n");
}

CHILD(forks)
{
    int ends[2];
    char c;
    work(3, "traced");
    REQUIRE(pipe(ends) == 0);
    if (fork() == 0) {
        close(ends[1]);
        exit(read(ends[0], &c, 1) != 0); /* when the parent has ended */
    }
}

/* The child of a fork leaves its parent's file alone. */
TEST(forked_child)
{
    struct test_result r;
    check_traced(traced("forks", "GOTRACEBACK=", &r));
    CHECK_EQ(r.status, 0);
    CHECK_STR(r.output, "");
}

TEST(bad_file)
{
    struct test_result r = test_run_child("whole_run", "GODEBUG=trace=/nowhere/trace", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_STR(r.output, "GODEBUG=trace=/nowhere/trace: error 2\n");
}
