// SPDX-License-Identifier: MIT
// A goroutine's life: its ends, deferred calls, values, number, thread, floating-point state.
#include <goroutine.h>

#include <errno.h>
#include <fenv.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "test.h"

#include "sched/g.h"
#include "sched/section.h"

static go_waitgroup running;
static char trace[200];

static void note(const char *what)
{
    strcat(trace, what);
}

static void note_call(void *what)
{
    note(what);
}

static void note_end(void *what)
{
    note(what);
    go_waitgroup_done(&running);
}

static void begin(int n)
{
    trace[0] = '\0';
    go_waitgroup_add(&running, n);
}

static void defers_three(void)
{
    CHECK_EQ(go_defer(note_end, "3"), 0);
    CHECK_EQ(go_defer(note_call, "2"), 0);
    CHECK_EQ(go_defer(note_call, "1"), 0);
    note("0");
}

TEST(deferred_calls_run_last_first)
{
    begin(1);
    go(defers_three);
    go_waitgroup_wait(&running);
    CHECK_STR(trace, "0123");
    CHECK_EQ(go_defer(NULL, NULL), -EINVAL);
}

static void leaves_deep(int n);
static void (*volatile deeper)(int) = leaves_deep;

static void leaves_deep(int n)
{
    if (n == 0)
        go_exit();
    deeper(n - 1);
    note("never");
}

static void exits(void)
{
    go_defer(note_end, "b");
    note("a");
    leaves_deep(10);
    note("never");
}

TEST(exit_runs_deferred_calls)
{
    begin(1);
    go(exits);
    go_waitgroup_wait(&running);
    CHECK_STR(trace, "ab");
}

static void launched_from_defer(void)
{
    note("l");
    go_waitgroup_done(&running);
}

static void exits_in_defer(void *arg)
{
    note(arg);
    go_exit();
}

static void busy_defer(void *arg)
{
    note(arg);
    go_yield();
    CHECK_EQ(go_sleep(1), 0);
    go_defer(note_call, "d");
    go(launched_from_defer);
    go_sleep(2 * GO_MILLISECOND);
}

static void defers_much(void)
{
    go_defer(note_end, "e");
    go_defer(exits_in_defer, "x");
    go_defer(busy_defer, "c");
}

TEST(deferred_calls_may_park_launch_defer_and_exit)
{
    begin(2);
    go(defers_much);
    go_waitgroup_wait(&running);
    CHECK_STR(trace, "cldxe");
}

static go_sem hold;

static void waits_at_end(void *arg)
{
    (void)arg;
    go_sem_acquire(&hold, 1);
}

static void defers_wait(void)
{
    go_defer(waits_at_end, NULL);
}

/* Others end in their own time. */
static int count_settled(int want)
{
    for (int i = 0; i < 2000 && go_count() != want; i++)
        go_sleep(GO_MILLISECOND);
    return go_count();
}

TEST(a_goroutine_counts_until_its_deferred_calls_have_ended)
{
    CHECK_EQ(count_settled(1), 1);
    go_sem_init(&hold, 0);
    for (int i = 0; i < 5; i++)
        go(defers_wait);
    CHECK_EQ(go_count(), 6);
    for (int i = 0; i < 100; i++)
        go_yield();
    go_sleep(2 * GO_MILLISECOND);
    CHECK_EQ(go_count(), 6);
    go_sem_release(&hold, 5);
    CHECK_EQ(count_settled(1), 1);
}

static atomic_bool enough;

static void *count_too_few(void *arg)
{
    intptr_t times = 0;
    (void)arg;
    while (!atomic_load(&enough))
        times += go_count() < 1;
    return (void *)times;
}

/* The library's own goroutines begin and end meanwhile, and are never taken from the number twice. */
TEST(the_library_s_own_do_not_count)
{
    CHECK_EQ(count_settled(1), 1);
    go_chan(int) c = chan_make(int, 1);
    pthread_t thread;
    REQUIRE(pthread_create(&thread, NULL, count_too_few, NULL) == 0);
    for (int i = 0; i < 50000; i++) {
        go_signal_notify(c, SIGUSR1, 0);
        go_yield();
        go_signal_stop(c);
        go_yield();
    }
    atomic_store(&enough, true);
    void *times;
    REQUIRE(pthread_join(thread, &times) == 0);
    CHECK_EQ((intptr_t)times, 0);
    chan_unref(c);
}

static go_key key_a, key_b;
static atomic_int destroyed, values;

static void destroy_value(void *value)
{
    atomic_fetch_add(&destroyed, *(int *)value);
    /* Set again, as POSIX allows: destroyed in another round. */
    static atomic_int times;
    if (atomic_fetch_add(&times, 1) == 0)
        go_set_local(key_a, value);
}

static void uses_locals(int n)
{
    static int one = 1;
    CHECK(go_local(key_a) == NULL);
    CHECK_EQ(go_set_local(key_a, &one), 0);
    CHECK_EQ(go_set_local(key_b, (void *)(intptr_t)n), 0);
    go_yield();
    CHECK(go_local(key_a) == &one);
    CHECK_EQ((intptr_t)go_local(key_b), n);
    atomic_fetch_add(&values, (int)(intptr_t)go_local(key_b));
    go_waitgroup_done(&running);
}

TEST(locals_are_each_goroutines_own_and_destroyed)
{
    int before = destroyed;
    key_a = go_key_new(destroy_value);
    key_b = go_key_new(NULL);
    CHECK(key_a >= 0 && key_b > key_a);
    go_waitgroup_add(&running, 100);
    for (int i = 0; i < 100; i++)
        go(uses_locals, i);
    go_waitgroup_wait(&running);
    CHECK_EQ(values, 4950);
    CHECK_EQ(count_settled(1), 1);
    CHECK_EQ(destroyed - before, 101);
    CHECK(go_local(key_b) == NULL);
    CHECK(go_local(-1) == NULL);
    CHECK(go_local(100000) == NULL);
    CHECK_EQ(go_set_local(-1, &key_a), -EINVAL);
    CHECK_EQ(go_set_local(100000, &key_a), -EINVAL);
    CHECK_EQ(go_set_local(key_b, &key_b), 0);
    CHECK(go_local(key_b) == &key_b);
    CHECK_EQ(go_set_local(key_b, NULL), 0);
}

static go_scope *entered;

static void done(void *wg)
{
    go_waitgroup_done(wg);
}

static void finds_nothing(void)
{
    struct m *mp = section_enter();
    CHECK(g_is_tidy(mp->cur));
    section_leave(mp);
}

static void has_arguments(long a, long b, long c, long d, long e, long f, double g, double h, double i, double j, double k, double l,
                          double m, double n)
{
    finds_nothing();
    CHECK_EQ(a + b + c + d + e + f, -6);
    CHECK(g + h + i + j + k + l + m + n == 36);
    go_waitgroup_done(&running);
}

static void has_none(void)
{
    finds_nothing();
    go_waitgroup_done(&running);
}

static void leaves_all_behind(int which)
{
    int error = 0;
    go_waitgroup_add(&running, 1);
    if (which & 1)
        go_shield_begin();
    if (which & 2)
        error |= go_defer(done, &running);
    else
        go_waitgroup_done(&running);
    if (which & 4)
        error |= go_set_local(key_b, &running);
    if (which & 8)
        go_scope_enter(entered);
    if (which & 16)
        go_lock_thread();
    CHECK_EQ(error, 0);
    go_waitgroup_done(&running);
}

/* What one goroutine leaves behind, and its arguments, another one does not find, though it may have the same G. */
TEST(each_goroutine_begins_with_nothing)
{
    key_b = go_key_new(NULL);
    entered = go_scope_open();
    for (int which = 0; which < 32; which++) {
        go_waitgroup_add(&running, 50);
        for (int i = 0; i < 50; i++)
            go(leaves_all_behind, which);
        go_waitgroup_wait(&running);
        go_waitgroup_add(&running, 100);
        for (int i = 0; i < 50; i++) {
            go(has_arguments, -1, -1, -1, -1, -1, -1, 1, 2, 3, 4, 5, 6, 7, 8);
            go(has_none);
        }
        go_waitgroup_wait(&running);
    }
    CHECK_EQ(go_scope_close(entered), 0);
}

#define IDS 1000
static uint64_t ids[IDS];

static void takes_id(int i)
{
    ids[i] = go_id();
    go_yield();
    CHECK_EQ(go_id(), ids[i]);
    go_waitgroup_done(&running);
}

static int compare_ids(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void *thread_id(void *arg)
{
    *(uint64_t *)arg = go_id();
    return NULL;
}

TEST(ids_are_unique)
{
    CHECK_EQ(go_id(), 1);
    go_waitgroup_add(&running, IDS);
    for (int i = 0; i < IDS; i++)
        go(takes_id, i);
    go_waitgroup_wait(&running);
    qsort(ids, IDS, sizeof ids[0], compare_ids);
    CHECK(ids[0] > 1);
    for (int i = 1; i < IDS; i++)
        CHECK(ids[i] != ids[i - 1]);
    pthread_t thread;
    uint64_t id = 99;
    REQUIRE(pthread_create(&thread, NULL, thread_id, &id) == 0);
    pthread_join(thread, NULL);
    CHECK_EQ(id, 0);
}

static long tid(void)
{
    return syscall(SYS_gettid);
}

static void waits_and_yields(void)
{
    for (int i = 0; i < 3; i++) {
        go_yield();
        go_sleep(50000);
    }
}

static atomic_long locked_tid;
static atomic_int intruders, stop;

static void looks_at_tid(void)
{
    while (!atomic_load(&stop)) {
        if (tid() == locked_tid)
            atomic_fetch_add(&intruders, 1);
        go_yield();
    }
    go_waitgroup_done(&running);
}

static void stays(void)
{
    go_lock_thread();
    go_lock_thread();
    long here = tid();
    atomic_store(&locked_tid, here);
    go_waitgroup_add(&running, 4);
    for (int i = 0; i < 4; i++)
        go(looks_at_tid);
    for (int i = 0; i < 10; i++) {
        waits_and_yields();
        CHECK_EQ(tid(), here);
    }
    go_unlock_thread();
    for (int i = 0; i < 10; i++) {
        waits_and_yields();
        CHECK_EQ(tid(), here);
    }
    atomic_store(&stop, 1);
    locked_tid = 0;
    go_unlock_thread();
    waits_and_yields();
    go_waitgroup_done(&running);
}

TEST(a_locked_goroutine_has_its_thread_to_itself)
{
    atomic_store(&stop, 0);
    go_waitgroup_add(&running, 1);
    go(stays);
    go_waitgroup_wait(&running);
    CHECK_EQ(intruders, 0);
}

TEST(main_locked_to_the_first_thread)
{
    /* Whatever thread it is on now: from here on this one. */
    go_lock_thread();
    long here = tid();
    for (int i = 0; i < 20; i++) {
        go_waitgroup_add(&running, 1);
        go(takes_id, i);
        go_waitgroup_wait(&running);
        CHECK_EQ(tid(), here);
    }
    go_unlock_thread();
}

static __thread int mark;
static atomic_int marks_seen;

static void ends_locked(void)
{
    go_lock_thread();
    CHECK_EQ(mark, 0); /* its thread would have the mark of an earlier one, had that thread lived on */
    mark = 1;
    waits_and_yields();
    go_waitgroup_done(&running);
}

static void looks_for_mark(void)
{
    atomic_fetch_add(&marks_seen, mark);
    go_waitgroup_done(&running);
}

TEST(a_goroutine_that_ends_locked_takes_its_thread_along)
{
    go_waitgroup_add(&running, 30);
    for (int i = 0; i < 30; i++)
        go(ends_locked);
    go_waitgroup_wait(&running);
    CHECK_EQ(count_settled(1), 1);
    mark = 0; /* main may be on any thread, but not on one of theirs */
    go_waitgroup_add(&running, 100);
    for (int i = 0; i < 100; i++)
        go(looks_for_mark);
    go_waitgroup_wait(&running);
    CHECK_EQ(marks_seen, 0);
}

CHILD(unlocks_without_lock)
{
    go_lock_thread();
    go_unlock_thread();
    go_unlock_thread();
}

CHILD(leaves_block_without_enter)
{
    go_block_enter();
    go_block_leave();
    go_block_leave();
}

static void ends_in_block(void)
{
    go_block_enter();
}

CHILD(ends_between_enter_and_leave)
{
    go(ends_in_block);
    go_sleep(10 * GO_SECOND);
}

CHILD(fatal_by_the_program)
{
    go_fatal("the number %d is wrong", 17);
}

/* Before main is known as goroutine 1. */
CHILD(misuse_is_the_first_call)
{
    go_ticker_new(0);
}

TEST(misuse_is_fatal)
{
    struct test_result first = test_run_child("misuse_is_the_first_call", NULL);
    CHECK_EQ(first.status, 2);
    CHECK_CONTAINS(first.output, "\n\ngoroutine 1 [running]:\n");
    struct test_result r = test_run_child("unlocks_without_lock", NULL);
    CHECK_EQ(r.status, 2);
    CHECK_CONTAINS(r.output, "fatal error: go_unlock_thread without go_lock_thread\n");
    r = test_run_child("leaves_block_without_enter", NULL);
    CHECK_EQ(r.status, 2);
    CHECK_CONTAINS(r.output, "fatal error: go_block_leave without go_block_enter\n");
    r = test_run_child("ends_between_enter_and_leave", NULL);
    CHECK_EQ(r.status, 2);
    CHECK_CONTAINS(r.output, "fatal error: goroutine ended between go_block_enter and go_block_leave\n");
    r = test_run_child("fatal_by_the_program", NULL);
    CHECK_EQ(r.status, 2);
    CHECK_CONTAINS(r.output, "fatal error: the number 17 is wrong\n\ngoroutine 1 [running]:\n");
}

static void checks_rounding(int mode)
{
    volatile double third = 1.0 / 3.0;
    CHECK_EQ(fegetround(), FE_TONEAREST);
    fesetround(mode);
    for (int i = 0; i < 20; i++) {
        go_yield();
        CHECK_EQ(fegetround(), mode);
        if (i % 5 == 0)
            go_sleep(20000);
        CHECK_EQ(fegetround(), mode);
    }
    (void)third;
    go_waitgroup_done(&running);
}

TEST(each_goroutine_has_its_rounding_mode_beginning_at_nearest)
{
    static const int modes[] = { FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO };
    CHECK_EQ(fegetround(), FE_TONEAREST);
    fesetround(FE_UPWARD);
    go_waitgroup_add(&running, 40);
    for (int i = 0; i < 40; i++)
        go(checks_rounding, modes[i % 4]);
    go_waitgroup_wait(&running);
    CHECK_EQ(fegetround(), FE_UPWARD);
    fesetround(FE_TONEAREST);
}

static void clean_up_prints(void *arg)
{
    printf("deferred %s\n", (const char *)arg);
    fflush(stdout);
}

CHILD(main_returns)
{
    go_defer(clean_up_prints, "must not run at main's return");
    printf("%llu\n", (unsigned long long)go_id());
}

CHILD(status_of_main)
{
    go_yield();
    exit(7);
}

TEST(the_process_ends_as_main_says)
{
    struct test_result r = test_run_child("main_returns", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_STR(r.output, "1\n");
    r = test_run_child("status_of_main", NULL);
    CHECK_EQ(r.status, 7);
}

static void *thread_exits(void *arg)
{
    static int one = 1;
    (void)arg;
    key_a = key_a ? key_a : go_key_new(destroy_value);
    go_set_local(key_a, &one);
    go_defer(note_end, "t");
    go_exit();
}

TEST(exit_on_a_plain_thread)
{
    begin(1);
    int before = destroyed;
    pthread_t thread;
    REQUIRE(pthread_create(&thread, NULL, thread_exits, NULL) == 0);
    pthread_join(thread, NULL);
    go_waitgroup_wait(&running);
    CHECK_STR(trace, "t");
    CHECK(destroyed > before);
}

static void *thread_does_all(void *arg)
{
    (void)arg;
    CHECK_EQ(go_id(), 0);
    go_yield();
    go_lock_thread();
    go_unlock_thread();
    go_block_enter();
    go_block_leave();
    CHECK_EQ(go_sleep(GO_MILLISECOND), 0);
    CHECK(go_count() >= 1);
    CHECK(go_maxprocs(0) >= 1);
    go_sem_acquire(&hold, 1);
    return NULL;
}

static void ends_its_thread(void)
{
    pthread_exit(NULL);
}

CHILD(goroutine_ends_its_thread)
{
    go_with(((go_options){ .stack_size = 64 << 10 }), ends_its_thread);
    go_sleep(1000 * GO_SECOND);
}

CHILD(main_ends_its_thread)
{
    go_count();
    pthread_exit(NULL);
}

CHILD(nobody_reads_the_message)
{
    int fds[2];
    REQUIRE(pipe(fds) == 0 && dup2(fds[1], 2) == 2);
    close(fds[0]);
    close(fds[1]);
    go_fatal("unheard");
}

TEST(ends_by_mistake)
{
#if !HAVE_ASAN && !HAVE_TSAN /* which do not know where such a thread is */
    struct test_result r = test_run_child("goroutine_ends_its_thread", NULL);
    CHECK_EQ(r.status, 2);
    CHECK_CONTAINS(r.output, "fatal error: pthread_exit on a thread of goroutines: in goroutine ");
    CHECK_CONTAINS(r.output, "; created by test_body_goroutine_ends_its_thread at ");
    r = test_run_child("goroutine_ends_its_thread", "GOTRACEBACK=crash", NULL);
    CHECK_EQ(r.status, 128 + SIGABRT);
    r = test_run_child("main_ends_its_thread", NULL);
    CHECK_EQ(r.status, 2);
    CHECK_CONTAINS(r.output, "fatal error: pthread_exit on a thread of goroutines: in goroutine 1 (");
#endif
    CHECK_EQ(test_run_child("nobody_reads_the_message", NULL).status, 2);
}

TEST(plain_threads_may_call_everything)
{
    pthread_t threads[8];
    go_sem_init(&hold, 0);
    for (int i = 0; i < 8; i++)
        REQUIRE(pthread_create(&threads[i], NULL, thread_does_all, NULL) == 0);
    go_sleep(GO_MILLISECOND);
    go_sem_release(&hold, 8);
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
}
