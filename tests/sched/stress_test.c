// SPDX-License-Identifier: MIT
// A bit of everything at once: launches, waits, sleeps, hogs, blocking calls, locked threads, changes of GOMAXPROCS,
// plain threads. Nothing is lost, and nothing is done twice. switches_test.sh runs it again under each debug switch.
#include <goroutine.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "test.h"

static atomic_long work;
static go_mutex mutex;
static long guarded;
static go_waitgroup running;
static go_sem slots;

static int rounds(int n)
{
    const char *slow = getenv("TEST_SLOW");
    int s = slow ? atoi(slow) : 1;
    return s > 1 ? n / s + 1 : n;
}

static void done(long n)
{
    atomic_fetch_add(&work, n);
    go_mutex_lock(&mutex);
    guarded += n;
    go_mutex_unlock(&mutex);
    go_waitgroup_done(&running);
}

static void tree(int depth)
{
    if (depth > 0) {
        go_waitgroup_add(&running, 2);
        go(tree, depth - 1);
        go_with((go_options){ .stack_size = 32 << 10 }, tree, depth - 1);
    }
    if (depth % 2)
        go_yield();
    done(1);
}

static void naps(int i)
{
    for (int j = 0; j < 3; j++)
        go_sleep((i * 37 % 400) * 1000);
    done(1);
}

static void takes_slot(int i)
{
    go_sem_acquire(&slots, 1 + i % 3);
    go_yield();
    go_sem_release(&slots, 1 + i % 3);
    done(1);
}

static void blocks(int i)
{
    go_block_enter();
    usleep((useconds_t)(i % 5) * 100);
    go_block_leave();
    done(1);
}

static void sticks(int i)
{
    go_lock_thread();
    for (int j = 0; j < 5; j++) {
        go_yield();
        if (j == i % 5)
            go_sleep(20000);
    }
    if (i % 4 != 0)
        go_unlock_thread();
    done(1);
}

static void computes(void)
{
    go_time until = go_now() + 3 * GO_MILLISECOND;
    while (go_now() < until)
        ;
    done(1);
}

static void leaves(void *arg)
{
    done((long)arg);
}

static void exits(void)
{
    go_defer(leaves, (void *)1);
    go_exit();
}

static void cancelled(void)
{
    go_scope *s = go_scope_open();
    go_scope_deadline(s, go_now() + 100000);
    go_scope_enter(s);
    go_sleep(GO_SECOND * 20);
    go_scope_leave(s);
    CHECK(go_scope_close(s) < 0);
    done(1);
}

static void *thread(void *arg)
{
    (void)arg;
    for (int i = 0; i < 100; i++) {
        go_waitgroup_add(&running, 2);
        go(takes_slot, i);
        go_sem_acquire(&slots, 1);
        go_sem_release(&slots, 1);
        if (i % 10 == 0)
            go_sleep(10000);
        done(1);
    }
    return NULL;
}

TEST(everything_at_once)
{
    go_sem_init(&slots, 4);
    int first = go_maxprocs(0);
    for (int round = 0; round < rounds(3); round++) {
        long want = 1023 + 6 * 60 + 3 + 2 * 200;
        atomic_store(&work, 0);
        guarded = 0;
        pthread_t threads[2];
        for (int i = 0; i < 2; i++)
            REQUIRE(pthread_create(&threads[i], NULL, thread, NULL) == 0);
        go_waitgroup_add(&running, 1);
        go(tree, 9);
        for (int i = 0; i < 60; i++) {
            go_waitgroup_add(&running, 6);
            go(naps, i);
            go(takes_slot, i);
            go(blocks, i);
            go(sticks, i);
            go(exits);
            go(cancelled);
            if (i % 20 == 0) {
                go_waitgroup_add(&running, 1);
                go(computes);
                go_maxprocs(1 + (first + i / 20) % 5);
            }
        }
        go_block_enter(); /* or with preempt=0 main's thread would keep its P while it waits */
        for (int i = 0; i < 2; i++)
            pthread_join(threads[i], NULL);
        go_block_leave();
        go_waitgroup_wait(&running);
        CHECK_EQ(work, want);
        CHECK_EQ(guarded, want);
        go_maxprocs(first);
    }
    for (int i = 0; i < 2000 && go_count() > 1; i++)
        go_sleep(GO_MILLISECOND);
    CHECK_EQ(go_count(), 1);
}
