// SPDX-License-Identifier: MIT
#include <goroutine.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "test.h"

#include "sched/netpoll.h"

static void stuck(int n)
{
    (void)n;
    go_sleep(1000 * GO_SECOND);
}

static void quick(void)
{
}

static int reason_of(const char *word)
{
    for (int i = 0; i < GO_STATS_WAITS; i++) {
        const char *text = go_stats_wait(i);
        if (text && !strcmp(text, word))
            return i;
    }
    return 0;
}

/* Everything that was launched has ended or waits. */
static void settle(go_statistics *s)
{
    do {
        go_sleep(GO_MILLISECOND);
        go_stats(s);
    } while (s->runnable > 0 || s->running > 1);
}

TEST(counts)
{
    go_statistics before, after;
    settle(&before);
    for (int i = 0; i < 100; i++)
        go(quick);
    for (int i = 0; i < 30; i++)
        go(stuck, i);
    settle(&after);
    CHECK_EQ(after.launches - before.launches, 130);
    CHECK_EQ(after.ends - before.ends, 100);
    CHECK_EQ(after.goroutines - before.goroutines, 30);
    CHECK_EQ(after.waiting - before.waiting, 30);
    CHECK_EQ(after.running, 1);
    CHECK(after.switches >= before.switches + 130);
    CHECK_EQ(after.gomaxprocs, go_maxprocs(0));
    CHECK(after.stack_bytes > 0 && after.stacks_made >= 30);
    CHECK(after.threads >= 1);
}

TEST(per_proc)
{
    go_statistics all;
    go_proc_statistics one;
    uint64_t launches = 0;
    int n = go_maxprocs(0);
    settle(&all);
    for (int i = 0; i < n; i++) {
        CHECK_EQ(go_stats_proc(i, &one), 0);
        launches += one.launches;
    }
    CHECK_EQ(launches, all.launches);
    CHECK_EQ(go_stats_proc(n, &one), -EINVAL);
    CHECK_EQ(go_stats_proc(-1, &one), -EINVAL);
}

TEST(detail)
{
    static go_statistics before, after;
    int sleep = reason_of("sleep");
    REQUIRE(sleep > 0);
    CHECK_EQ(go_stats_detail(1), 0);
    CHECK_EQ(go_stats_detail(-1), 1);
    go_stats(&before);
    for (int i = 0; i < 25; i++)
        go_sleep(1000);
    go_stats(&after);
    /* A goroutine that finds itself woken before it has left does not park. */
    CHECK(after.parks[sleep] - before.parks[sleep] <= 25);
    CHECK(after.parks[sleep] > before.parks[sleep]);
    uint64_t wakes = 0;
    for (int i = 0; i < GO_STATS_STEPS; i++)
        wakes += after.wake_latency[i] - before.wake_latency[i];
    CHECK(wakes >= after.parks[sleep] - before.parks[sleep]);
    CHECK_EQ(go_stats_detail(0), 1);
    go_stats(&before);
    for (int i = 0; i < 25; i++)
        go_sleep(1000);
    go_stats(&after);
    CHECK_EQ(after.parks[sleep], before.parks[sleep]);
    CHECK(!go_stats_wait(0));
    CHECK(!go_stats_wait(GO_STATS_WAITS));
}

static int pipe_ends[2];
static atomic_int reads;

static void *writes_when_awaited(void *arg)
{
    for (int i = 0; i < 50; i++) {
        while (atomic_load(&reads) < i || atomic_load(&netpoll_waits) == 0)
            usleep(100);
        CHECK_EQ(write(pipe_ends[1], "x", 1), 1);
    }
    return arg;
}

static uint64_t wakes(void)
{
    static go_statistics s;
    uint64_t n = 0;
    go_stats(&s);
    for (int i = 0; i < GO_STATS_STEPS; i++)
        n += s.wake_latency[i];
    return n;
}

/* Those that descriptors make ready count, too. */
TEST(detail_of_descriptors)
{
    char c;
    pthread_t thread;
    REQUIRE(pipe(pipe_ends) == 0);
    REQUIRE(pthread_create(&thread, NULL, writes_when_awaited, NULL) == 0);
    CHECK_EQ(go_stats_detail(1), 0);
    uint64_t before = wakes();
    for (int i = 0; i < 50; i++) {
        CHECK_EQ(go_read(pipe_ends[0], &c, 1), 1);
        atomic_store(&reads, i + 1);
    }
    CHECK(wakes() - before >= 25); /* one that is woken before it has left need not wake */
    CHECK_EQ(go_stats_detail(0), 1);
    pthread_join(thread, NULL);
    close(pipe_ends[0]);
    close(pipe_ends[1]);
}

static void *ask(void *arg)
{
    go_stats(arg);
    return NULL;
}

TEST(from_a_thread)
{
    go_statistics s;
    pthread_t thread;
    REQUIRE(pthread_create(&thread, NULL, ask, &s) == 0);
    pthread_join(thread, NULL);
    CHECK(s.goroutines >= 1);
    CHECK(s.foreign_threads >= 1);
}

CHILD(traced)
{
    go_sleep(50 * GO_MILLISECOND);
}

TEST(schedtrace_detail)
{
    struct test_result r = test_run_child("traced", "GODEBUG=schedtrace=10,scheddetail=1", NULL);
    CHECK_EQ(r.status, 0);
    CHECK(!strncmp(r.output, "SCHED ", 6));
    CHECK_CONTAINS(r.output, "gomaxprocs=");
    CHECK_CONTAINS(r.output, "\n  P0: status=");
    CHECK_CONTAINS(r.output, "schedtick=");
}
