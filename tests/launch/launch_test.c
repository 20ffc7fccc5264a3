// SPDX-License-Identifier: MIT
// The go statement: when what is evaluated, what may be launched and from where, options, and misuse.
#include <goroutine.h>

#include <fenv.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"

static go_waitgroup running;
static atomic_int seen;

static void finish(void)
{
    go_waitgroup_wait(&running);
}

static void add(int n)
{
    atomic_fetch_add(&seen, n);
    go_waitgroup_done(&running);
}

static void add_two(int m, int n)
{
    add(m + n);
}

static void expect(int want)
{
    finish();
    CHECK_EQ(atomic_exchange(&seen, 0), want);
}

TEST(arguments_are_evaluated_once_at_the_statement)
{
    int i = 1, calls = 0;
    go_waitgroup_add(&running, 3);
    go(add, i++);
    CHECK_EQ(i, 2);
    go(add, ({ calls++; i * 10; }));
    CHECK_EQ(calls, 1);
    int x = 100;
    go(add, x);
    x = 5000;
    expect(1 + 20 + 100);
    CHECK_EQ(x, 5000);
}

static void (*choices[2])(int) = { NULL, add };

TEST(function_is_evaluated_once)
{
    int i = 0;
    go_waitgroup_add(&running, 3);
    go(choices[++i], 7);
    CHECK_EQ(i, 1);
    void (*pointer)(int) = add;
    go(*pointer, 8);
    go(i ? add : pointer, 9);
    expect(24);
}

static int returns_int(int n)
{
    add(n);
    return -1;
}

static double returns_double(int n)
{
    add(n);
    return 0.5;
}

static char *returns_pointer(int n)
{
    add(n);
    return NULL;
}

static long double returns_long_double(int n)
{
    add(n);
    return 1;
}

TEST(results_are_discarded)
{
    go_waitgroup_add(&running, 4);
    go(returns_int, 1);
    go(returns_double, 2);
    go(returns_pointer, 3);
    go(returns_long_double, 4);
    expect(10);
}

static _Noreturn void leaves(int n)
{
    add(n);
    go_exit();
}

#ifndef __clang__
static __attribute__((noreturn)) void leaves_too(int n)
{
    add(n);
    go_exit();
}
#endif

TEST(functions_that_do_not_return)
{
    go_waitgroup_add(&running, 1);
    go(leaves, 5);
    expect(5);
    go(go_exit); /* the library's own are declared so, too */
#ifndef __clang__
    go_waitgroup_add(&running, 1);
    go(leaves_too, 6);
    expect(6);
#endif
}

/* The statement is one: it needs no braces, and may stand wherever an expression may. */
TEST(statement_forms)
{
    go_waitgroup_add(&running, 5);
    if (atomic_load(&seen) == 0)
        go(add, 1);
    else
        go(add, 100);
    for (int i = 0; i < 2; i++)
        go(add, 10);
    atomic_load(&seen) < 0 ? go(add, 2) : go(add, 3);
    go(add, 1), (void)0;
    expect(25);
}

static void launches(int depth)
{
    if (depth > 0) {
        go(launches, depth - 1);
        go(launches, depth - 1);
    }
    add(1);
}

TEST(goroutines_launch_goroutines)
{
    go_waitgroup_add(&running, 1023);
    go(launches, 9);
    expect(1023);
}

TEST(launch_among_the_arguments)
{
    go_waitgroup_add(&running, 2);
    go(add, ({ go(add, 30); 4; }));
    expect(34);
}

static inline __attribute__((always_inline)) void inlined(int n)
{
    go(add, n);
    go_with((go_options){ .name = "inlined" }, add, n);
}

TEST(from_inline_functions)
{
    go_waitgroup_add(&running, 8);
    for (int i = 0; i < 4; i++)
        inlined(i);
    expect(12);
}

TEST(every_option)
{
    go_options o = { .name = "reader", .stack_size = 16 << 10 };
    go_waitgroup_add(&running, 6);
    go_with(o, add, 1);
    go_with(((go_options){ .name = "reader", .stack_size = 64 << 10 }), add, 2);
    go_with((go_options){ .stack_size = 2048 }, add, 3);
    go_with((go_options){ 0 }, add, 4);
    go_with(*&o, add_two, 5, 6);
    const go_options constant = { .name = "constant" };
    go_with(constant, add, 7);
    expect(28);
}

static void *thread_launches(void *arg)
{
    (void)arg;
    for (int i = 0; i < 100; i++)
        go(add_two, i, 1);
    return NULL;
}

TEST(from_plain_threads)
{
    pthread_t threads[3];
    go_waitgroup_add(&running, 300);
    for (int i = 0; i < 3; i++)
        REQUIRE(pthread_create(&threads[i], NULL, thread_launches, NULL) == 0);
    for (int i = 0; i < 3; i++)
        REQUIRE(pthread_join(threads[i], NULL) == 0);
    expect(3 * (4950 + 100));
}

static void stores(char *buffer, size_t size, int value)
{
    memset(buffer, value, size);
    add(1);
}

TEST(stacks_of_the_size_asked_for)
{
    static char buffer[1000];
    go_waitgroup_add(&running, 1);
    go_with((go_options){ .stack_size = 1 << 20 }, stores, buffer, sizeof buffer, 3);
    expect(1);
    CHECK_EQ(buffer[999], 3);
}

static void uses_stack(size_t size)
{
    char frame[size];
    memset(frame, 1, size);
    __asm__ volatile("" : : "r"(frame) : "memory");
    add(1);
}

TEST(the_default_stack_is_large)
{
    go_waitgroup_add(&running, 2);
    go(uses_stack, 200u << 10);
    go_with((go_options){ .stack_size = 8 << 20 }, uses_stack, 7u << 20);
    expect(2);
}

CHILD(launch_nothing)
{
    void (*volatile nothing)(int) = NULL;
    go(nothing, 1);
    puts("went on");
}

TEST(launching_null_is_fatal)
{
    struct test_result r = test_run_child("launch_nothing", NULL);
    CHECK_EQ(r.status, 2);
    CHECK_CONTAINS(r.output, "fatal error: go of nil func value\n");
    CHECK_CONTAINS(r.output, "goroutine 1 [running]:");
    CHECK(!strstr(r.output, "went on"));
}

static long double halve(long double x)
{
    go_waitgroup_done(&running);
    return x / 2;
}

static _Complex long double turn(long double x, int n, const char *why)
{
    for (int i = 0; i < n; i++)
        go_yield();
    go_waitgroup_done(&running);
    return x * 1.0iL + (long double)why[0];
}

static long double gives_up(void)
{
    go_waitgroup_done(&running);
    go_exit();
}

/* Of the x87's eight registers, in which it comes, none is left in use or taken away. */
TEST(long_double_results_are_discarded)
{
    volatile long double one = 1;
    for (int i = 0; i < 10; i++) {
        feclearexcept(FE_ALL_EXCEPT);
        go_waitgroup_add(&running, 40);
        for (int j = 0; j < 10; j++) {
            go(halve, one);
            go(turn, one, j, "why");
            go(gives_up);
        }
        CHECK(one + one == 2);
        for (int j = 0; j < 10; j++)
            go(halve, one);
        CHECK_EQ(fetestexcept(FE_INVALID), 0);
        go_waitgroup_wait(&running);
        CHECK(one + (one + (one + (one + (one + (one + (one + one)))))) == 8);
        CHECK_EQ(fetestexcept(FE_INVALID), 0);
    }
}

static void by_value(int n)
{
    printf("got %d\n", n);
}

CHILD(main_returns_first)
{
    go(by_value, 1);
    exit(3);
}

TEST(main_does_not_wait)
{
    struct test_result r = test_run_child("main_returns_first", "GOMAXPROCS=1", "GODEBUG=preempt=0", NULL);
    CHECK_EQ(r.status, 3);
    CHECK_STR(r.output, "");
}
