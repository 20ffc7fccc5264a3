// SPDX-License-Identifier: MIT
// Very many: ten million launches before the first one runs, a million blocked at once, on the system's default settings.
// test: procs=2
// test: timeout=600
#include <goroutine.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "test.h"

static go_waitgroup running;
static go_sem hold;
static atomic_long seen;

static long available_mb(void)
{
    char line[200];
    long kb = 0;
    FILE *f = fopen("/proc/meminfo", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %ld kB", &kb) == 1)
            break;
    if (f)
        fclose(f);
    return kb / 1024;
}

static bool slow(void)
{
#if HAVE_ASAN || HAVE_TSAN
    return true;
#else
    return getenv("TEST_EMULATOR") != NULL;
#endif
}

static long peak_mb(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss / 1024;
}

static void counts(long n)
{
    atomic_fetch_add(&seen, n);
}

CHILD(ten_million_in_flight)
{
    go_yield();
    for (long i = 0; i < 10000000; i++)
        go(counts, 1);
    long begun = atomic_load(&seen);
    while (atomic_load(&seen) < 10000000)
        go_yield();
    printf("%ld had begun; %ld MB\n", begun, peak_mb());
}

/* Main keeps running until all are launched: nobody takes its P, nor asks it to yield. */
TEST(ten_million_launches_in_flight)
{
    if (slow() || available_mb() < 5000)
        SKIP("not enough memory, or too slow here");
    struct test_result r = test_run_child("ten_million_in_flight", "GOMAXPROCS=1", "GODEBUG=preempt=0,slice=999999999", NULL);
    CHECK_EQ(r.status, 0);
    long begun = -1, mb = 0;
    CHECK_EQ(sscanf(r.output, "%ld had begun; %ld MB", &begun, &mb), 2);
    CHECK_EQ(begun, 0);
    CHECK(mb < 4096);
}

static void blocks(void)
{
    atomic_fetch_add(&seen, 1);
    go_sem_acquire(&hold, 1);
    go_waitgroup_done(&running);
}

static void million_blocked(size_t stack)
{
    int n = 1000000;
    go_sem_init(&hold, 0);
    go_waitgroup_add(&running, n);
    long before = peak_mb();
    for (int i = 0; i < n; i++)
        go_with((go_options){ .stack_size = stack }, blocks);
    while (atomic_load(&seen) < n)
        go_yield();
    long bytes = (peak_mb() - before) * 1048576 / n;
    go_sem_release(&hold, n);
    go_waitgroup_wait(&running);
    printf("%ld bytes each\n", bytes);
}

CHILD(a_million_default)
{
    million_blocked(0);
}

CHILD(a_million_small)
{
    million_blocked(2048);
}

TEST(a_million_blocked_at_once)
{
    if (slow() || available_mb() < 7000)
        SKIP("not enough memory, or too slow here");
    long bytes = 0;
    struct test_result r = test_run_child("a_million_default", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_EQ(sscanf(r.output, "%ld bytes each", &bytes), 1);
    CHECK(bytes > 0 && bytes <= 4608);
    r = test_run_child("a_million_small", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_EQ(sscanf(r.output, "%ld bytes each", &bytes), 1);
    CHECK(bytes > 0 && bytes <= 2400);
}
