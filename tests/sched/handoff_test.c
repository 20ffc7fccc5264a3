// SPDX-License-Identifier: MIT
// Nothing waits for a hog: loops without calls, blocking calls, and mutexes of pthreads, at every number of Ps.
#include <goroutine.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "test.h"

static go_waitgroup running;
static atomic_int flag, seen;

static void sets_flag(void)
{
    atomic_store(&flag, 1);
    go_waitgroup_done(&running);
}

static void spins_for_flag(void)
{
    while (!atomic_load(&flag))
        ;
    go_waitgroup_done(&running);
}

TEST(a_hog_waits_for_what_only_another_goroutine_does)
{
    for (int round = 0; round < 3; round++) {
        atomic_store(&flag, 0);
        go_waitgroup_add(&running, 2);
        go(spins_for_flag);
        go(sets_flag);
        go_waitgroup_wait(&running);
    }
}

TEST(main_is_a_hog)
{
    for (int round = 0; round < 3; round++) {
        atomic_store(&flag, 0);
        go_waitgroup_add(&running, 1);
        go(sets_flag);
        while (!atomic_load(&flag))
            ;
        go_waitgroup_wait(&running);
    }
}

static void chain(int n)
{
    if (n > 0) {
        go_sleep(1);
        go(chain, n - 1);
        return;
    }
    atomic_store(&flag, 1);
    go_waitgroup_done(&running);
}

/* As many hogs as may run, and one more: all hold their turn until a chain of sleeps and launches has ended. */
TEST(more_hogs_than_ps)
{
    int hogs = go_maxprocs(0) + 1;
    atomic_store(&flag, 0);
    go_waitgroup_add(&running, hogs + 1);
    for (int i = 0; i < hogs; i++)
        go(spins_for_flag);
    go(chain, 5);
    go_waitgroup_wait(&running);
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int counted;

static void holds_mutex(void)
{
    pthread_mutex_lock(&mutex);
    int n = counted;
    for (int i = 0; i < 3; i++)
        go_yield(); /* others run, and block their threads in pthread_mutex_lock */
    counted = n + 1;
    pthread_mutex_unlock(&mutex);
    go_waitgroup_done(&running);
}

TEST(the_holder_of_a_pthread_mutex_waits_to_run)
{
    counted = 0;
    go_waitgroup_add(&running, 6);
    for (int i = 0; i < 6; i++)
        go(holds_mutex);
    go_waitgroup_wait(&running);
    CHECK_EQ(counted, 6);
}

#define READERS 1000
static int ends[2];

static void reads(void)
{
    char c = 0;
    go_block_enter();
    ssize_t n = read(ends[0], &c, 1);
    go_block_leave();
    atomic_fetch_add(&seen, n == 1 && c == 'x');
    go_waitgroup_done(&running);
}

TEST(a_thousand_goroutines_in_blocking_reads)
{
    int readers = getenv("TEST_SLOW") && atoi(getenv("TEST_SLOW")) > 1 ? READERS / 10 : READERS;
    REQUIRE(pipe(ends) == 0);
    atomic_store(&seen, 0);
    go_waitgroup_add(&running, readers);
    for (int i = 0; i < readers; i++)
        go(reads);
    /* The others go on meanwhile. */
    for (int i = 0; i < 50; i++) {
        go_waitgroup one = { 0 };
        go_waitgroup_add(&one, 1);
        go(go_waitgroup_done, &one);
        go_waitgroup_wait(&one);
        go_yield();
    }
    CHECK_EQ(seen, 0);
    for (int i = 0; i < readers; i++)
        REQUIRE(write(ends[1], "x", 1) == 1);
    go_waitgroup_wait(&running);
    CHECK_EQ(seen, readers);
    close(ends[0]);
    close(ends[1]);
}

static void reads_nested(void)
{
    char c = 0;
    go_block_enter();
    go_block_enter();
    go_block_leave();
    go_yield(); /* called, and perhaps parked, in between: still blocking afterwards, on whatever thread */
    go_sleep(1000);
    ssize_t n = read(ends[0], &c, 1);
    go_block_leave();
    atomic_fetch_add(&seen, n == 1 && c == 'x');
    go_waitgroup_done(&running);
}

static void writes(void)
{
    for (int i = 0; i < 3; i++)
        go_yield();
    CHECK(write(ends[1], "x", 1) == 1);
    go_waitgroup_done(&running);
}

/* Without hand-off from hogs only the note that a goroutine blocks gives the others its P. */
CHILD(nested_blocks)
{
    REQUIRE(pipe(ends) == 0);
    go_waitgroup_add(&running, 2);
    go(reads_nested);
    go_sleep(20 * GO_MILLISECOND);
    go(writes);
    go_waitgroup_wait(&running);
    printf("%d\n", seen);
}

TEST(blocks_nest_and_follow_the_goroutine)
{
    struct test_result r = test_run_child("nested_blocks", "GODEBUG=preempt=0", "GOMAXPROCS=1", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_STR(r.output, "1\n");
}

static atomic_int at_once, most;

static void alone(int n)
{
    for (int i = 0; i < n; i++) {
        int now = atomic_fetch_add(&at_once, 1) + 1;
        if (now > atomic_load(&most))
            atomic_store(&most, now);
        int64_t until = go_now() + 15 * GO_MILLISECOND; /* longer than a slice */
        while (go_now() < until)
            ;
        atomic_fetch_sub(&at_once, 1);
        go_yield();
    }
    go_waitgroup_done(&running);
}

static void blocks_a_while(void)
{
    char c;
    for (int i = 0; i < 20; i++) {
        go_block_enter();
        go_yield();
        go_block_leave();
        go_yield();
    }
    go_block_enter();
    CHECK(read(ends[0], &c, 1) == 1);
    go_block_leave();
    go_waitgroup_done(&running);
}

static void *submits(void *arg)
{
    (void)arg;
    for (int i = 0; i < 20; i++) {
        go_waitgroup_add(&running, 1);
        go(go_waitgroup_done, &running);
        usleep(1000);
    }
    return NULL;
}

CHILD(never_at_the_same_time)
{
    REQUIRE(pipe(ends) == 0);
    go_waitgroup_add(&running, 5);
    go(blocks_a_while);
    for (int i = 0; i < 3; i++)
        go(alone, 4);
    pthread_t thread;
    REQUIRE(pthread_create(&thread, NULL, submits, NULL) == 0);
    alone(4);
    CHECK(write(ends[1], "x", 1) == 1);
    pthread_join(thread, NULL);
    go_waitgroup_wait(&running);
    printf("at most %d\n", most);
}

TEST(without_preemption_one_p_runs_one_goroutine)
{
    struct test_result r = test_run_child("never_at_the_same_time", "GODEBUG=preempt=0", "GOMAXPROCS=1", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_STR(r.output, "at most 1\n");
}

static void hog(void)
{
    for (;;)
        __asm__ volatile("");
}

static go_mutex free_mutex;
static atomic_long locks;

static void locks_for_ever(void)
{
    for (;;) {
        go_mutex_lock(&free_mutex);
        atomic_fetch_add(&locks, 1);
        go_mutex_unlock(&free_mutex);
    }
}

/* Ten times in a row: once it might as well have lost its processor. */
static void watches_until_it_stands_still(void)
{
    for (int still = 0; still < 10;) {
        go_yield();
        long before = atomic_load(&locks);
        for (int i = 0; i < 3000000; i++)
            __asm__ volatile("");
        still = before > 0 && atomic_load(&locks) == before ? still + 1 : 0;
    }
    go_waitgroup_done(&running);
}

CHILD(locks_while_another_has_the_p)
{
    go_waitgroup_add(&running, 1);
    go(watches_until_it_stands_still);
    go(locks_for_ever);
    go_waitgroup_wait(&running);
    puts("stood still");
}

/* Taking a free mutex needs no P, yet a goroutine that lost its P stops there. */
TEST(a_hog_that_locks_gets_in_line)
{
    struct test_result r = test_run_child("locks_while_another_has_the_p", "GOMAXPROCS=1", NULL);
    CHECK_STR(r.output, "stood still\n");
}

CHILD(hogs_at_the_end)
{
    for (int i = 0; i < 3; i++)
        go(hog);
    go_sleep(30 * GO_MILLISECOND);
    puts("main returns");
}

TEST(the_process_ends_though_hogs_run)
{
    struct test_result r = test_run_child("hogs_at_the_end", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_STR(r.output, "main returns\n");
    r = test_run_child("hogs_at_the_end", "GOMAXPROCS=1", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_STR(r.output, "main returns\n");
}

static atomic_long ticks;

static void ticker(void)
{
    while (!atomic_load(&flag)) {
        go_sleep(GO_MILLISECOND);
        atomic_fetch_add(&ticks, 1);
    }
    go_waitgroup_done(&running);
}

/* The hog ends when the ticker has ticked: without hand-off it never does. */
TEST(a_ticker_ticks_beside_a_hog)
{
    atomic_store(&flag, 0);
    atomic_store(&ticks, 0);
    go_waitgroup_add(&running, 1);
    go(ticker);
    go_yield();
    while (atomic_load(&ticks) < 5)
        ;
    atomic_store(&flag, 1);
    go_waitgroup_wait(&running);
}

static void locked_hog(void)
{
    go_lock_thread();
    while (!atomic_load(&flag))
        ;
    go_yield();
    go_unlock_thread();
    go_waitgroup_done(&running);
}

TEST(a_locked_hog)
{
    atomic_store(&flag, 0);
    go_waitgroup_add(&running, 2);
    go(locked_hog);
    go_yield();
    go(sets_flag);
    go_waitgroup_wait(&running);
}

/* --- the keeper of the time --- */

static chan(int) never;
static unsigned seed;

static unsigned draw(unsigned below)
{
    seed = seed * 1664525 + 1013904223; /* Numerical Recipes' generator */
    return (seed >> 8) % below;
}

static void sleeps_and_ends(void)
{
    go_sleep(200 * GO_MILLISECOND);
    puts("awake");
    exit(0);
}

static void parks_locked(void)
{
    go_lock_thread();
    chan_recv(never, NULL);
}

static void computes(unsigned microseconds)
{
    go_time until = go_now() + microseconds * GO_MICROSECOND;
    while (go_now() < until)
        ;
}

/* Whoever was to wake for the sleeper may by chance be one of those who are locked to their threads and wait. */
CHILD(locked_ones_park)
{
    seed = (unsigned)getpid();
    never = chan_make(int, 0);
    go(sleeps_and_ends);
    for (int i = 0; i < 12; i++)
        switch (draw(3)) {
        case 0:
            go(parks_locked);
            break;
        case 1:
            go(computes, draw(300));
            break;
        default:
            go_sleep(draw(3000) * GO_MICROSECOND);
        }
    parks_locked();
}

TEST(somebody_keeps_the_time)
{
    for (int i = 0; i < 8; i++) {
        struct test_result r = test_run_child("locked_ones_park", "GOMAXPROCS=2", NULL);
        CHECK_EQ(r.status, 0);
        CHECK_STR(r.output, "awake\n");
    }
}
