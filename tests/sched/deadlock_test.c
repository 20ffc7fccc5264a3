// SPDX-License-Identifier: MIT
// All goroutines are asleep: reported when it is so, and only then.
#include <goroutine.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "test.h"

#include "sched/sched.h"

#define DEADLOCK "fatal error: all goroutines are asleep - deadlock!"

static go_sem never, gate;
static go_mutex mutex;
static go_waitgroup waitgroup;

static void sleeps_for_ever(void)
{
    go_sem_acquire(&never, 1);
}

static void check_deadlock(const char *child, const char *what)
{
    static const char *const procs[] = { "GOMAXPROCS=1", "GOMAXPROCS=3" };
    for (int i = 0; i < 2; i++) {
        struct test_result r = test_run_child(child, procs[i], "GOTRACEBACK=all", NULL);
        CHECK_EQ(r.status, 2);
        CHECK_CONTAINS(r.output, DEADLOCK);
        CHECK_CONTAINS(r.output, what);
    }
}

CHILD(main_alone)
{
    sleeps_for_ever();
}

CHILD(main_and_others)
{
    go_with((go_options){ .name = "sleeper" }, sleeps_for_ever);
    go_waitgroup_add(&waitgroup, 1);
    go_waitgroup_wait(&waitgroup);
}

CHILD(mutex_twice)
{
    go_mutex_lock(&mutex);
    go_mutex_lock(&mutex);
}

CHILD(after_timers)
{
    go(sleeps_for_ever);
    go_sleep(5 * GO_MILLISECOND);
    sleeps_for_ever();
}

static void locked(void)
{
    go_lock_thread();
    go_sem_release(&gate, 1);
    sleeps_for_ever();
}

CHILD(main_locked)
{
    go_lock_thread();
    sleeps_for_ever();
}

CHILD(others_locked)
{
    for (int i = 0; i < 3; i++)
        go(locked);
    go_sem_acquire(&gate, 3);
    sleeps_for_ever();
}

static void ends_locked(void)
{
    go_lock_thread();
    go_yield();
}

CHILD(after_threads_have_ended)
{
    for (int i = 0; i < 3; i++)
        go(ends_locked);
    go_sleep(2 * GO_MILLISECOND);
    sleeps_for_ever();
}

static void blocks(void)
{
    go_block_enter();
    usleep(30000);
    go_block_leave();
}

CHILD(after_blocking_calls)
{
    go(blocks);
    go_yield();
    sleeps_for_ever();
}

CHILD(main_exits)
{
    go_exit();
}

static void brief(void)
{
    go_sleep(5 * GO_MILLISECOND);
    printf("the others went on\n");
    fflush(stdout);
}

CHILD(main_exits_first)
{
    go(brief);
    go_exit();
}

CHILD(main_exits_locked)
{
    go(brief);
    go_lock_thread();
    go_exit();
}

static void *calls_once(void *arg)
{
    (void)arg;
    go_count();
    usleep(30000);
    return NULL;
}

CHILD(when_the_last_thread_ends)
{
    pthread_t thread;
    go_count();
    if (pthread_create(&thread, NULL, calls_once, NULL) != 0)
        exit(9);
    sleeps_for_ever();
}

static void exits(void *arg)
{
    (void)arg;
    go_exit();
}

static void *exits_at_its_end(void *arg)
{
    go_defer(exits, NULL);
    return arg;
}

CHILD(when_the_last_thread_exits_at_its_end)
{
    pthread_t thread;
    go_count();
    if (pthread_create(&thread, NULL, exits_at_its_end, NULL) != 0)
        exit(9);
    sleeps_for_ever();
}

static void gives_back(chan(go_time) c)
{
    chan_unref(c);
    go_waitgroup_done(&waitgroup);
}

/* Nobody has a reference to these any more. */
CHILD(after_abandoned_timers)
{
    for (int i = 0; i < 200; i++) {
        chan(go_time) c = go_after(GO_HOUR);
        for (int k = 0; k < i % 4; k++) {
            go_waitgroup_add(&waitgroup, 1);
            go(gives_back, chan_ref(c));
        }
        chan_unref(c);
    }
    go_waitgroup_wait(&waitgroup);
    sleeps_for_ever();
}

static void *never_calls(void *arg)
{
    usleep(*(useconds_t *)arg);
    return NULL;
}

static void start_stranger(void *(*fn)(void *), void *arg)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, fn, arg) != 0)
        exit(9);
    pthread_detach(thread);
}

CHILD(when_the_last_stranger_ends)
{
    static useconds_t brief_time = 30000;
    start_stranger(never_calls, &brief_time);
    sleeps_for_ever();
}

CHILD(strangers_that_never_call)
{
    static useconds_t long_time = 60000000;
    start_stranger(never_calls, &long_time);
    sleeps_for_ever();
}

TEST(everybody_sleeps)
{
    check_deadlock("main_alone", "goroutine 1 [semacquire]:");
    check_deadlock("main_and_others", "goroutine 1 [sync.WaitGroup.Wait]:");
    check_deadlock("main_and_others", "[semacquire]: \"sleeper\"");
    check_deadlock("mutex_twice", "goroutine 1 [sync.Mutex.Lock]:");
    check_deadlock("after_timers", "goroutine 1 [semacquire]:");
    check_deadlock("after_abandoned_timers", "goroutine 1 [semacquire]:");
}

TEST(locked_threads)
{
    check_deadlock("main_locked", "goroutine 1 [semacquire");
    check_deadlock("others_locked", "goroutine 1 [semacquire");
    check_deadlock("after_threads_have_ended", "goroutine 1 [semacquire");
}

TEST(blocking_calls_end_first)
{
    check_deadlock("after_blocking_calls", "goroutine 1 [semacquire");
}

TEST(main_ends_by_exit)
{
    check_deadlock("main_exits", "");
    check_deadlock("main_exits_first", "the others went on\n");
    check_deadlock("main_exits_locked", "the others went on\n");
}

TEST(plain_threads_count_until_they_end)
{
    check_deadlock("when_the_last_thread_ends", "goroutine 1 [semacquire");
    check_deadlock("when_the_last_stranger_ends", "goroutine 1 [semacquire");
    check_deadlock("strangers_that_never_call", "goroutine 1 [semacquire");
}

TEST(a_plain_thread_that_exits_at_its_end_does_not_count)
{
    check_deadlock("when_the_last_thread_exits_at_its_end", "goroutine 1 [semacquire");
}

TEST(preempt_off)
{
    struct test_result r = test_run_child("after_blocking_calls", "GODEBUG=preempt=0", "GOMAXPROCS=1", NULL);
    CHECK_EQ(r.status, 2);
    CHECK_CONTAINS(r.output, DEADLOCK);
}

TEST(amount_of_traceback)
{
    struct test_result r = test_run_child("main_and_others", "GOTRACEBACK=none", NULL);
    CHECK_EQ(r.status, 2);
    CHECK_STR(r.output, DEADLOCK "\n");
    r = test_run_child("main_and_others", "GOTRACEBACK=crash", NULL);
    CHECK_EQ(r.status, 128 + 6);
    CHECK_CONTAINS(r.output, DEADLOCK "\n");
    CHECK_CONTAINS(r.output, "goroutine 1 [");
}

/* --- and not otherwise --- */

static _Atomic bool known;

static void *releases_late(void *arg)
{
    go_count(); /* known from here on */
    known = true;
    usleep(100000);
    go_sem_release(arg, 1);
    return NULL;
}

CHILD(a_thread_will_wake_us)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, releases_late, &never) != 0)
        exit(9);
    pthread_detach(thread);
    while (!known)
        usleep(1000);
    go_lock_thread();
    sleeps_for_ever();
    puts("woken");
}

static void *calls_late(void *arg)
{
    usleep(100000);
    go_sem_release(arg, 1);
    return NULL;
}

CHILD(a_stranger_will_wake_us)
{
    start_stranger(calls_late, &never);
    sleeps_for_ever();
    puts("woken");
}

/* Where nothing tells how many threads there are. */
CHILD(a_stranger_without_proc)
{
    if (chroot("/tmp") != 0)
        exit(77);
    start_stranger(calls_late, &never);
    sleeps_for_ever();
    puts("woken");
}

static void blocks_then_releases(void)
{
    go_sem_release(&gate, 1);
    go_block_enter();
    usleep(100000);
    go_block_leave();
    go_sem_release(&never, 1);
}

CHILD(a_blocking_call_will_wake_us)
{
    go(blocks_then_releases);
    go_sem_acquire(&gate, 1);
    sleeps_for_ever();
    puts("woken");
}

static void sleeps_then_releases(void)
{
    go_sleep(100 * GO_MILLISECOND);
    go_sem_release(&never, 1);
}

CHILD(a_timer_will_wake_us)
{
    go(sleeps_then_releases);
    sleeps_for_ever();
    puts("woken");
}

static void computes_then_releases(void)
{
    int64_t until = go_now() + 100 * GO_MILLISECOND;
    while (go_now() < until)
        ;
    go_sem_release(&never, 1);
}

CHILD(a_hog_will_wake_us)
{
    go(computes_then_releases);
    sleeps_for_ever();
    puts("woken");
}

CHILD(a_deadline_will_wake_us)
{
    go_scope *s = go_scope_open();
    go_scope_deadline(s, go_now() + 100 * GO_MILLISECOND);
    go_scope_enter(s);
    go_sem_acquire(&never, 1);
    go_scope_leave(s);
    go_scope_close(s);
    puts("woken");
}

static void *main_of_all(void *arg)
{
    go(sleeps_then_releases);
    go_sem_acquire(&never, 1);
    puts("woken");
    fflush(stdout);
    return arg;
}

/* The first thread has not called yet, and may. */
CHILD(only_a_thread_uses_goroutines)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, main_of_all, NULL) != 0)
        exit(9);
    pthread_join(thread, NULL);
    usleep(20000);
    go_count();
}

TEST(a_stranger_counts_without_proc)
{
    struct test_result r = test_run_child("a_stranger_without_proc", NULL);
    if (r.status == 77)
        SKIP("only root can hide /proc");
    CHECK_EQ(r.status, 0);
    CHECK_STR(r.output, "woken\n");
}

TEST(somebody_could_still_wake_us)
{
    static const char *const children[] = { "a_thread_will_wake_us", "a_stranger_will_wake_us",
                                            "a_blocking_call_will_wake_us", "a_timer_will_wake_us",
                                            "a_hog_will_wake_us", "a_deadline_will_wake_us",
                                            "only_a_thread_uses_goroutines" };
    for (int i = 0; i < 14; i++) {
        struct test_result r = test_run_child(children[i / 2], i % 2 ? "GOMAXPROCS=1" : "GOMAXPROCS=3", NULL);
        CHECK_EQ(r.status, 0);
        CHECK_STR(r.output, "woken\n");
    }
}

/* Whatever a thread calls first, from then on it counts. */
static chan(int) some_channel;
static go_timer *some_timer;

static void call_now(void)
{
    go_now();
}
static void call_sleep(void)
{
    go_sleep(0);
}
static void call_len(void)
{
    chan_len(some_channel);
}
static void call_cap(void)
{
    chan_cap(some_channel);
}
static void call_ref(void)
{
    chan_ref(some_channel);
}
static void call_unref(void)
{
    chan_unref(some_channel);
}
static void call_timer_chan(void)
{
    go_timer_chan(some_timer);
}
static void call_logf(void)
{
    go_logf("a first call");
}
static void call_count(void)
{
    go_count();
}

static void *first_call(void *call)
{
    uint32_t before = sched.foreign;
    (*(void (**)(void))call)();
    return sched.foreign == before + 1 ? call : NULL;
}

TEST(first_calls_make_threads_known)
{
    static void (*const calls[])(void) = { call_now, call_sleep, call_len, call_cap, call_ref,
                                           call_unref, call_timer_chan, call_logf, call_count };
    some_channel = chan_make(int, 1);
    some_timer = go_timer_new(GO_HOUR);
    for (size_t i = 0; i < array_length(calls); i++) {
        pthread_t thread;
        void *known = NULL;
        CHECK_EQ(pthread_create(&thread, NULL, first_call, (void *)&calls[i]), 0);
        pthread_join(thread, &known);
        CHECK(known != NULL);
    }
    go_timer_free(some_timer);
    chan_unref(some_channel);
}
