// SPDX-License-Identifier: MIT
// A small test harness. A test program is a file tests/DIR/NOUN_test.c with
//
//     TEST(name) { … }      runs when the program runs; main, goroutine 1, runs them one after another
//     CHILD(name) { … }     the body of a process of its own, started by test_run_child("name", …)
//
// Given names as arguments the program runs those only. It prints "ok NAME", "FAIL NAME" or "skip NAME: WHY" for
// each test; tests/run counts these lines. Checks print both operands and go on; they may be used from any
// goroutine or thread. A comment line "// test: procs=1,2" or "// test: timeout=120" in the file is for tests/run.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/sanitized.h"

struct test {
    const char *name;
    void (*body)(void);
    bool child;
    struct test *next;
};

struct test_result {
    int status;         /* exit status, or 128 + the signal that ended it */
    const char *output; /* stdout and stderr together, NUL-terminated */
};

void test_add(struct test *test);
void test_failed(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4), cold));
_Noreturn void test_give_up(const char *file, int line, const char *what);
void test_check_text(const char *file, int line, const char *a_text, const char *a,
                     const char *b_text, const char *b, bool part);
void test_skip(const char *why);

/*
 * Runs the CHILD of that name in a fresh process whose environment has the assignments besides; "NAME=" takes a
 * variable away. The list ends with NULL. Blocks the thread until the process has ended.
 */
struct test_result test_run_child(const char *name, ...) __attribute__((sentinel));

/* The only other thread of this process; 0 if there is none, or are several. */
pid_t test_other_thread(void);

/* How often the other threads of this process have gone to sleep, `except` left out too. */
long test_sleeps(pid_t except);

#define TEST_DEFINE_(name, is_child)                                                               \
    static void test_body_##name(void);                                                            \
    __attribute__((constructor)) static void test_add_##name(void)                                 \
    {                                                                                              \
        static struct test test = { #name, test_body_##name, is_child, NULL };                     \
        test_add(&test);                                                                           \
    }                                                                                              \
    static void test_body_##name(void)

#define TEST(name) TEST_DEFINE_(name, false)
#define CHILD(name) TEST_DEFINE_(name, true)

#define CHECK(cond) ((cond) ? (void)0 : test_failed(__FILE__, __LINE__, "%s is false", #cond))

#define CHECK_EQ(a, b)                                                                             \
    do {                                                                                           \
        long long test_a_ = (long long)(a), test_b_ = (long long)(b);                              \
        if (test_a_ != test_b_)                                                                    \
            test_failed(__FILE__, __LINE__, "%s = %lld, %s = %lld", #a, test_a_, #b, test_b_);     \
    } while (0)

/* Strings, NULL included. */
#define CHECK_STR(a, b) test_check_text(__FILE__, __LINE__, #a, (a), #b, (b), false)
#define CHECK_CONTAINS(text, part)                                                                 \
    test_check_text(__FILE__, __LINE__, #text, (text), #part, (part), true)

/* Whether the program runs in an emulator of another processor, which knows less than a kernel. */
bool test_emulated(void);

/* Without this there is no point in going on: ends the test program. */
#define REQUIRE(cond) ((cond) ? (void)0 : test_give_up(__FILE__, __LINE__, #cond))

/* The test cannot be run here: says so and returns from it. */
#define SKIP(why)                                                                                  \
    do {                                                                                           \
        test_skip(why);                                                                            \
        return;                                                                                    \
    } while (0)
