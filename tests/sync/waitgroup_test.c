// SPDX-License-Identifier: MIT
// go_waitgroup and go_once.
#include <goroutine.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"

/* A goroutine's start is slow under ThreadSanitizer. */
#define SLOW (HAVE_TSAN ? 10 : 1)

static void worker(go_waitgroup *before, go_waitgroup *after, int *n)
{
    __atomic_fetch_add(n, 1, __ATOMIC_RELAXED);
    go_waitgroup_done(before);
    go_waitgroup_wait(after);
    __atomic_fetch_add(n, 1, __ATOMIC_RELAXED);
    go_waitgroup_done(before);
}

/* Groups are used over and over. */
TEST(round_after_round)
{
    enum { N = 16 };
    go_waitgroup a = { 0 }, b = { 0 };
    for (int round = 0; round < 50 / SLOW; round++) {
        int n = 0;
        go_waitgroup_add(&a, N);
        go_waitgroup_add(&b, 1);
        for (int i = 0; i < N; i++)
            go(worker, &a, &b, &n);
        go_waitgroup_wait(&a);
        CHECK_EQ(__atomic_load_n(&n, __ATOMIC_RELAXED), N);
        go_waitgroup_add(&a, N);
        go_waitgroup_done(&b);
        go_waitgroup_wait(&a);
        CHECK_EQ(__atomic_load_n(&n, __ATOMIC_RELAXED), 2 * N);
    }
    CHECK_EQ(a.state, 0);
    CHECK_EQ(a.waiters, 0);
}

static void finish(go_waitgroup *wg)
{
    go_waitgroup_done(wg);
}

/* The one that waits may free it at once. */
TEST(freed_after_wait)
{
    for (int i = 0; i < 1000 / SLOW / SLOW; i++) {
        go_waitgroup *wg = calloc(1, sizeof *wg);
        go_waitgroup_add(wg, 2);
        go(finish, wg);
        go(finish, wg);
        go_waitgroup_wait(wg);
        free(wg);
    }
}

static void waiter(go_waitgroup *wg, go_waitgroup *done)
{
    go_waitgroup_wait(wg);
    go_waitgroup_done(done);
}

TEST(many_wait)
{
    enum { N = 1000 / SLOW };
    go_waitgroup wg = { 0 }, done = { 0 };
    go_waitgroup_add(&wg, 1);
    go_waitgroup_add(&done, N);
    for (int i = 0; i < N; i++)
        go(waiter, &wg, &done);
    while ((uint32_t)__atomic_load_n(&wg.state, __ATOMIC_SEQ_CST) < N)
        go_yield();
    go_waitgroup_done(&wg);
    go_waitgroup_wait(&done);
}

static void *thread_waits(void *arg)
{
    go_waitgroup_wait(arg);
    return NULL;
}

TEST(a_thread_waits)
{
    go_waitgroup wg = { 0 };
    pthread_t t;
    go_waitgroup_add(&wg, 3);
    REQUIRE(pthread_create(&t, NULL, thread_waits, &wg) == 0);
    for (int i = 0; i < 3; i++)
        go(finish, &wg);
    go_waitgroup_wait(&wg);
    go_block_enter();
    pthread_join(t, NULL);
    go_block_leave();
}

TEST(zero_does_not_wait)
{
    go_waitgroup wg = { 0 };
    go_waitgroup_wait(&wg);
    go_waitgroup_add(&wg, 5);
    go_waitgroup_add(&wg, -5);
    go_waitgroup_wait(&wg);
}

struct nothing {
    go_waitgroup wg;
    bool over;
};

static void *adds_nothing(void *arg)
{
    struct nothing *n = arg;
    while (!__atomic_load_n(&n->over, __ATOMIC_RELAXED))
        go_waitgroup_add(&n->wg, 0);
    return NULL;
}

static void is_last(go_waitgroup *wg)
{
    while ((uint32_t)__atomic_load_n(&wg->state, __ATOMIC_SEQ_CST) == 0)
        go_yield();
    go_waitgroup_done(wg);
}

/* An addition of nothing is never the end, also if it finds that all have come. */
TEST(nothing_added_beside_the_last_one)
{
    struct nothing n = { 0 };
    pthread_t threads[2];
    go_time until = go_now() + 300 * GO_MILLISECOND; /* as often as it goes: one in some 100,000 times there was harm */
    for (int i = 0; i < 2; i++)
        REQUIRE(pthread_create(&threads[i], NULL, adds_nothing, &n) == 0);
    while (go_now() < until) {
        go_waitgroup_add(&n.wg, 1);
        go(is_last, &n.wg);
        go_waitgroup_wait(&n.wg);
    }
    __atomic_store_n(&n.over, true, __ATOMIC_RELAXED);
    go_block_enter();
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    go_block_leave();
    CHECK_EQ(n.wg.state, 0);
    CHECK_EQ(n.wg.waiters, 0);
}

CHILD(below_zero)
{
    go_waitgroup wg = { 0 };
    go_waitgroup_add(&wg, 1);
    go_waitgroup_done(&wg);
    go_waitgroup_done(&wg);
}

CHILD(never_done)
{
    go_waitgroup wg = { 0 };
    go_waitgroup_add(&wg, 1);
    go_waitgroup_wait(&wg);
}

TEST(misuse_is_fatal)
{
    struct test_result r = test_run_child("below_zero", NULL);
    CHECK_EQ(r.status, 2);
    CHECK_CONTAINS(r.output, "fatal error: sync: negative WaitGroup counter\n");
    r = test_run_child("never_done", NULL);
    CHECK_EQ(r.status, 2);
    CHECK_CONTAINS(r.output, "all goroutines are asleep - deadlock!");
    CHECK_CONTAINS(r.output, "[sync.WaitGroup.Wait]");
}

/* --- once --- */

static void count(void *arg)
{
    ++*(int *)arg;
    go_yield(); /* others come meanwhile, and must wait */
}

static void use_once(go_once *once, int *n, go_waitgroup *wg)
{
    go_once_do(once, count, n);
    CHECK_EQ(*n, 1);
    go_waitgroup_done(wg);
}

TEST(once_only)
{
    go_once once = { 0 };
    go_waitgroup wg = { 0 };
    int n = 0;
    go_waitgroup_add(&wg, 10);
    for (int i = 0; i < 10; i++)
        go(use_once, &once, &n, &wg);
    go_waitgroup_wait(&wg);
    CHECK_EQ(n, 1);
}

static void count_and_exit(void *arg)
{
    ++*(int *)arg;
    go_exit();
}

static void note_end(void *arg)
{
    go_waitgroup_done(arg);
}

static void exits_in_once(go_once *once, int *n, go_waitgroup *wg)
{
    go_defer(note_end, wg);
    go_once_do(once, count_and_exit, n);
    CHECK(!"comes here");
}

/* As in Go, a function that ends its goroutine has been called, and others go on. */
TEST(once_ends_goroutine)
{
    go_once once = { 0 };
    go_waitgroup wg = { 0 };
    int n = 0;
    go_waitgroup_add(&wg, 1);
    go(exits_in_once, &once, &n, &wg);
    go_waitgroup_wait(&wg);
    go_once_do(&once, count_and_exit, &n);
    CHECK_EQ(n, 1);
}

static void defers(void *arg)
{
    go_defer(note_end, arg);
}

static void ends_thread(void *arg)
{
    ++*(int *)arg;
    pthread_exit(NULL);
}

static go_once of_a_thread;

static void *thread_with_once(void *arg)
{
    go_once_do(&of_a_thread, ends_thread, arg);
    return arg;
}

TEST(once_ends_thread)
{
    pthread_t thread;
    void *result;
    int n = 0;
    pthread_create(&thread, NULL, thread_with_once, &n);
    pthread_join(thread, &result);
    CHECK_EQ(n, 1);
    CHECK(result == NULL);
    go_once_do(&of_a_thread, ends_thread, &n);
    CHECK_EQ(n, 1);
}

static void defers_in_once(go_once *once, go_waitgroup *wg)
{
    go_once_do(once, defers, wg);
    CHECK(wg->state != 0); /* not before the goroutine's end */
}

TEST(once_defers)
{
    go_once once = { 0 };
    go_waitgroup wg = { 0 };
    go_waitgroup_add(&wg, 1);
    go(defers_in_once, &once, &wg);
    go_waitgroup_wait(&wg);
}

static void again(void *arg)
{
    go_once_do(arg, again, arg);
}

CHILD(once_within)
{
    go_once once = { 0 };
    go_once_do(&once, again, &once);
}

TEST(once_within_itself)
{
    struct test_result r = test_run_child("once_within", NULL);
    CHECK_EQ(r.status, 2);
    CHECK_CONTAINS(r.output, "all goroutines are asleep - deadlock!");
}

CHILD(once_nothing)
{
    go_once once = { 0 };
    int n = 0;
    go_once_do(&once, count, &n);
    go_once_do(&once, NULL, NULL); /* is not called */
    fputs("went on\n", stderr);
    once = (go_once){ 0 };
    go_once_do(&once, NULL, NULL);
    fputs("went on too far\n", stderr);
}

TEST(once_of_null_is_fatal)
{
    struct test_result r = test_run_child("once_nothing", NULL);
    CHECK_EQ(r.status, 2);
    CHECK_CONTAINS(r.output, "went on\n");
    CHECK_CONTAINS(r.output, "fatal error: go_once_do: the function is NULL\n");
    CHECK(!strstr(r.output, "too far"));
}
