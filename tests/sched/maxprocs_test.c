// SPDX-License-Identifier: MIT
// GOMAXPROCS while everything runs: nothing is lost, and no more run at once than may.
#include <goroutine.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "test.h"

#include "sched/sched.h"
#include "sched/section.h"

#if HAVE_TSAN
#define ROUNDS(n) ((n) / 20)
#else
#define ROUNDS(n) (n)
#endif

static go_waitgroup running;
static atomic_int stop, seen;

TEST(returns_the_value_before)
{
    int first = go_maxprocs(0);
    CHECK_EQ(go_maxprocs(3), first);
    CHECK_EQ(go_maxprocs(-1), 3);
    CHECK_EQ(go_maxprocs(5), 3);
    CHECK_EQ(go_maxprocs(1), 5);
    CHECK_EQ(go_maxprocs(1), 1);
    CHECK_EQ(go_maxprocs(100000), 1);
    CHECK_EQ(go_maxprocs(first), 4096);
    CHECK_EQ(go_maxprocs(0), first);
}

static _Atomic int round_now, answered;
static int returned;

static void *asks_for_three(void *arg)
{
    for (int round = 1; round <= *(int *)arg; round++) {
        while (atomic_load(&round_now) < round)
            sched_yield();
        returned = go_maxprocs(3);
        atomic_store(&answered, round);
    }
    return NULL;
}

TEST(of_two_at_once_one_comes_second)
{
    pthread_t thread;
    int before = go_maxprocs(1), rounds = ROUNDS(2000), wrong = 0;
    REQUIRE(pthread_create(&thread, NULL, asks_for_three, &rounds) == 0);
    for (int round = 1; round <= rounds; round++) {
        atomic_store(&round_now, round);
        int mine = go_maxprocs(2);
        while (atomic_load(&answered) < round)
            sched_yield();
        int last = go_maxprocs(1);
        wrong += !((mine == 1 && returned == 2 && last == 3) || (returned == 1 && mine == 3 && last == 2));
    }
    CHECK_EQ(wrong, 0);
    go_block_enter();
    pthread_join(thread, NULL);
    go_block_leave();
    go_maxprocs(before);
}

static void tree(int depth)
{
    if (depth > 0) {
        go(tree, depth - 1);
        go(tree, depth - 1);
    }
    if (depth % 3 == 0)
        go_yield();
    if (depth % 4 == 1)
        go_sleep(20000);
    atomic_fetch_add(&seen, 1);
    go_waitgroup_done(&running);
}

static void hogs_a_while(void)
{
    go_time until = go_now() + 12 * GO_MILLISECOND;
    while (go_now() < until)
        ;
    atomic_fetch_add(&seen, 1);
    go_waitgroup_done(&running);
}

TEST(changes_under_load)
{
    int first = go_maxprocs(0);
    atomic_store(&seen, 0);
    go_waitgroup_add(&running, 4 * 2047 + 8);
    for (int i = 0; i < 8; i++) {
        if (i % 2 == 0)
            go(tree, 10);
        go(hogs_a_while);
    }
    for (int i = 0; i < 60; i++) {
        go_maxprocs(1 + i * 7 % 9);
        go_yield();
        if (i % 10 == 0)
            go_sleep(GO_MILLISECOND);
    }
    go_waitgroup_wait(&running);
    CHECK_EQ(seen, 4 * 2047 + 8);
    go_maxprocs(first);
}

static void changes(int seed)
{
    for (int i = 0; i < 30; i++) {
        go_maxprocs(1 + (i * 5 + seed) % 6);
        go_yield();
    }
    go_waitgroup_done(&running);
}

static atomic_int known;

static void *thread_changes(void *arg)
{
    (void)arg;
    go_count();
    atomic_store(&known, 1);
    changes(3);
    return NULL;
}

TEST(changed_by_many_at_once)
{
    int first = go_maxprocs(0);
    pthread_t thread;
    go_waitgroup_add(&running, 5);
    REQUIRE(pthread_create(&thread, NULL, thread_changes, NULL) == 0);
    while (!atomic_load(&known)) /* until it has called the library nobody knows that it will end the wait */
        usleep(100);
    for (int i = 0; i < 4; i++)
        go(changes, i);
    /* The thread counts from its first call on: until then a wait for it would be a deadlock. */
    go_block_enter();
    pthread_join(thread, NULL);
    go_block_leave();
    go_waitgroup_wait(&running);
    go_maxprocs(first);
}

/* Sleepers' timers go along when their P goes. */
static void sleeps(int i)
{
    CHECK_EQ(go_sleep((1 + i % 7) * GO_MILLISECOND), 0);
    atomic_fetch_add(&seen, 1);
    go_waitgroup_done(&running);
}

TEST(timers_of_ps_that_go)
{
    int first = go_maxprocs(8);
    atomic_store(&seen, 0);
    go_waitgroup_add(&running, 500);
    for (int i = 0; i < 500; i++)
        go(sleeps, i);
    go_sleep(100000);
    go_maxprocs(1);
    go_waitgroup_wait(&running);
    CHECK_EQ(seen, 500);
    go_maxprocs(first);
}

/* Timers set on a P that goes are P 0's, and swept there when they have been stopped. */
enum { TIMERS = 4000 };
static go_timer *set_there[TIMERS];

/* There are two of them, so that one is stolen if both are on P 0. */
static void sets_timers_on_p_1(void)
{
    int at = 0;
    while (at < TIMERS) {
        struct m *mp = section_enter();
        uint32_t id = mp->p->id;
        section_leave(mp);
        for (int i = 0; id == 1 && i < 100 && (at = atomic_fetch_add(&seen, 1)) < TIMERS; i++)
            set_there[at] = go_timer_new(GO_HOUR);
        if (atomic_load(&seen) >= TIMERS)
            break;
        go_yield();
    }
    go_waitgroup_done(&running);
}

TEST(timers_of_a_p_that_has_gone_are_swept)
{
    int first = go_maxprocs(2);
    atomic_store(&seen, 0);
    go_waitgroup_add(&running, 2);
    go(sets_timers_on_p_1);
    go(sets_timers_on_p_1);
    go_waitgroup_wait(&running);
    go_maxprocs(1);
    const struct timer_queue *q = &load_relaxed(&sched.ps[0])->timers;
    CHECK(q->near_count + q->far_count >= TIMERS / 2);
    for (int i = 0; i < TIMERS; i++)
        CHECK(go_timer_stop(set_there[i]));
    for (int i = 0; i < 1000; i++)
        go_timer_free(go_timer_new(GO_HOUR));
    CHECK(q->near_count + q->far_count < TIMERS / 2);
    for (int i = 0; i < TIMERS; i++)
        go_timer_free(set_there[i]);
    go_maxprocs(first);
}

/*
 * What a thief finds of a P that nobody owns is his for as long as he has its lock: while Ps come and go he is at their
 * rings and timers again and again, and nobody else touches them.
 */
static atomic_long visits;

static void *thief(void *arg)
{
    int stay = *(int *)arg;
    while (!atomic_load(&stop)) {
        uint32_t count = load_acquire(&sched.p_count);
        for (uint32_t i = 0; i < count; i++) {
            struct p *pp = load_acquire(&sched.ps[i]);
            if (!lock_try(&pp->lock))
                continue;
            if (!load_relaxed(&pp->m)) {
                uint32_t head = load_relaxed(&pp->head), tail = load_relaxed(&pp->tail);
                int64_t next = load_relaxed(&pp->timers.next);
                bool same = true, worth = head != tail || next != TIME_NEVER;
                for (int j = 0; j < stay && worth && same; j++) {
                    arch_pause();
                    same = load_relaxed(&pp->head) == head && load_relaxed(&pp->tail) == tail &&
                           load_relaxed(&pp->timers.next) == next;
                }
                CHECK(same);
                if (worth)
                    atomic_fetch_add(&visits, 1);
            }
            lock_release(&pp->lock);
        }
        sched_yield();
    }
    return NULL;
}

static void in_rings(int i)
{
    while (!atomic_load(&stop))
        if (++i % 8 == 0)
            go_sleep(GO_MICROSECOND);
        else
            go_yield();
    go_waitgroup_done(&running);
}

static void in_heaps(int i)
{
    while (!atomic_load(&stop)) {
        for (int j = 0; j < 5000; j++)
            __asm__ volatile("");
        go_sleep((500 + i) * GO_MICROSECOND);
    }
    go_waitgroup_done(&running);
}

static void beside_thieves(void (*fn)(int), go_duration pause, int stay)
{
    int first = go_maxprocs(0);
    pthread_t thread;
    atomic_store(&stop, 0);
    atomic_store(&visits, 0);
    REQUIRE(pthread_create(&thread, NULL, thief, &stay) == 0);
    go_waitgroup_add(&running, 200);
    for (int i = 0; i < 200; i++)
        go(fn, i);
    for (int i = 0; i < ROUNDS(500) || atomic_load(&visits) < 10; i++) {
        go_maxprocs(8);
        go_yield();
        go_sleep(pause);
        go_maxprocs(1);
        go_yield();
    }
    atomic_store(&stop, 1);
    go_waitgroup_wait(&running);
    go_block_enter();
    pthread_join(thread, NULL);
    go_block_leave();
    go_maxprocs(first);
    atomic_store(&stop, 0);
}

TEST(thieves_beside_rings_of_ps_that_go)
{
    beside_thieves(in_rings, 0, 100);
}

/* These Ps are idle for the most part. */
TEST(thieves_beside_timers_of_ps_that_go)
{
    beside_thieves(in_heaps, GO_MILLISECOND, 500);
}

static void locked_to_thread(void)
{
    go_lock_thread();
    for (int i = 0; i < 50; i++) {
        go_yield();
        if (i % 5 == 0)
            go_sleep(20000);
    }
    go_unlock_thread();
    go_waitgroup_done(&running);
}

TEST(with_locked_threads)
{
    int first = go_maxprocs(0);
    go_waitgroup_add(&running, 4);
    for (int i = 0; i < 4; i++)
        go(locked_to_thread);
    for (int i = 0; i < 40; i++) {
        go_maxprocs(1 + i % 5);
        go_yield();
    }
    go_waitgroup_wait(&running);
    go_maxprocs(first);
}

static atomic_int begun, fewer, at_once, most;

/* Each goroutine has a thread at first, and keeps it, for it makes no call. From its next call on it waits for its turn. */
static void alone(void)
{
    atomic_fetch_add(&begun, 1);
    while (!atomic_load(&fewer))
        ;
    for (int i = 0; i < 10; i++) {
        go_yield();
        int now = atomic_fetch_add(&at_once, 1) + 1;
        if (now > atomic_load(&most))
            atomic_store(&most, now);
        for (int j = 0; j < 100; j++)
            sched_yield(); /* whoever else can run does so meanwhile */
        atomic_fetch_sub(&at_once, 1);
    }
    go_waitgroup_done(&running);
}

/* A plain thread, which needs no P for that: one of them has the P that is left. */
static void *makes_fewer(void *arg)
{
    while (atomic_load(&begun) < 3)
        usleep(100);
    go_maxprocs(1);
    atomic_store(&fewer, 1);
    return arg;
}

CHILD(fewer_means_fewer)
{
    pthread_t thread;
    go_waitgroup_add(&running, 3);
    for (int i = 0; i < 3; i++)
        go(alone);
    REQUIRE(pthread_create(&thread, NULL, makes_fewer, NULL) == 0);
    go_waitgroup_wait(&running);
    pthread_join(thread, NULL);
    printf("at most %d\n", most);
}

TEST(after_less_no_more_run_at_once)
{
    struct test_result r = test_run_child("fewer_means_fewer", "GODEBUG=preempt=0", "GOMAXPROCS=4", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_STR(r.output, "at most 1\n");
}
