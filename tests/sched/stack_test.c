// SPDX-License-Identifier: MIT
// Stacks: overflow in each kind of guard, memory given back, no memory.
// test: procs=1,4 timeout=300
#include <goroutine.h>
#include <goroutine/signal.h>

#include <alloca.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "test.h"

/* These define words like noinline, so they come last. */
#include "os/vm.h"
#include "sched/sched.h"
#include "sched/stack.h"

#if HAVE_ASAN || HAVE_TSAN
#define SANITIZED true
#else
#define SANITIZED false
#endif

static go_waitgroup running;
static go_sem hold;
static atomic_int seen;

static int deeper(volatile char *above, int n);
static int (*volatile recurse)(volatile char *, int) = deeper;

static int deeper(volatile char *above, int n)
{
    volatile char here[200];
    here[0] = (char)(n + above[0]);
    if (n % 16 == 0)
        go_yield(); /* a canary is looked at here */
    return recurse(here, n + 1) + here[0];
}

static void overflows(void)
{
    char c = 0;
    deeper(&c, 1);
}

static noinline void large_frame(void)
{
    volatile char frame[20000];
    __asm__ volatile("" : : "r"(frame) : "memory"); /* or Clang keeps only the two bytes that are used */
    frame[0] = 1;
    frame[sizeof frame - 1] = 1;
    go_yield();
    frame[0] = 2; /* or go_yield is a tail call, made without this frame */
}

static void steps_over(void)
{
    large_frame();
}

CHILD(overflow_default)
{
    go_with((go_options){ .name = "digger" }, overflows);
    go_sleep(10 * GO_SECOND);
}

CHILD(overflow_32k)
{
    go_with(((go_options){ .name = "digger", .stack_size = 32 << 10 }), overflows);
    go_sleep(10 * GO_SECOND);
}

CHILD(overflow_2k)
{
    go_with(((go_options){ .name = "digger", .stack_size = 2 << 10 }), overflows);
    go_sleep(10 * GO_SECOND);
}

CHILD(overflow_8k)
{
    go_with(((go_options){ .name = "digger", .stack_size = 8 << 10 }), overflows);
    go_sleep(10 * GO_SECOND);
}

/* The frame alone is larger than the stack of 16 KiB. */
CHILD(overflow_large_frame)
{
    go_with(((go_options){ .name = "digger", .stack_size = 16 << 10 }), steps_over);
    go_sleep(10 * GO_SECOND);
}

/* main's stack is the process's, wherever it runs. */
CHILD(overflow_main)
{
    go_sleep(GO_MILLISECOND);
    overflows();
}

static void yields_for_ever(void)
{
    for (;;)
        go_yield();
}

/*
 * So little more of the stack at a time that it ends where a goroutine's own words go deepest: at the context that is saved
 * in a switch, or at a call on another stack.
 */
static noinline void creeps(void (*fn)(void), size_t step)
{
    for (;;) {
        volatile char *more = alloca(step);
        more[0] = 0;
        fn();
    }
}

static void makes_a_channel(void)
{
    chan(int) c = chan_make(int, 10000); /* more than there are at hand */
    chan_unref(c);
}

static void creeps_to_a_switch(size_t step)
{
    go(yields_for_ever);
    creeps(go_yield, step);
}

static void creeps_to_a_call(size_t step)
{
    creeps(makes_a_channel, step);
}

static void creeps_locked(size_t step)
{
    go(yields_for_ever);
    go_lock_thread();
    creeps(go_yield, step);
}

static void spins(void)
{
    for (;;)
        atomic_load(&seen);
}

/* main's own words go to the process's stack, and the library holds a lock here that a report may want. */
static void listens(void)
{
    static chan(int) signals;
    if (!signals)
        signals = chan_make(int, 1);
    go_signal_notify(signals, SIGUSR1, 0);
    go_signal_stop(signals);
}

static void creeps_to_a_signal(size_t step)
{
    go(spins);
    go_sleep(10 * GO_MILLISECOND); /* it runs, on the other P */
    creeps(listens, step);
}

static void innocent(void)
{
}

static void launches_innocent(void)
{
    go_with(((go_options){ .name = "innocent", .stack_size = 2 << 10 }), innocent);
    go_yield();
}

static void launches_for_ever(void)
{
    for (;;)
        launches_innocent();
}

/* With a trace the deepest is what is written of one that has ended, on the stack of the next one. */
static void creeps_beside_small_stacks(size_t step)
{
    go(launches_for_ever);
    creeps(go_yield, step);
}

static const struct {
    void (*fn)(size_t step);
    const char *procs, *debug;
} ways[] = {
    { creeps_to_a_switch, "GOMAXPROCS=1", "GODEBUG=" },
    { creeps_to_a_call, "GOMAXPROCS=1", "GODEBUG=" },
    { creeps_locked, "GOMAXPROCS=1", "GODEBUG=" },
    { creeps_to_a_signal, "GOMAXPROCS=2", "GODEBUG=" },
    { creeps_beside_small_stacks, "GOMAXPROCS=1", "GODEBUG=trace=/dev/null" },
};

/* OVERFLOW_WAY chooses among the ways, and OVERFLOW_STEP the step. */
static void creeps_somehow(void)
{
    ways[atoi(getenv("OVERFLOW_WAY"))].fn((size_t)atoi(getenv("OVERFLOW_STEP")));
}

CHILD(overflow_creeping)
{
    launches_innocent(); /* the small stacks are above the other */
    go_with(((go_options){ .name = "digger", .stack_size = 16 << 10 }), creeps_somehow);
    go_sleep(10 * GO_SECOND);
}

CHILD(overflow_main_creeping)
{
    /* What there is of the stack already may be more. */
    REQUIRE(setrlimit(RLIMIT_STACK, &(struct rlimit){ 256 << 10, 256 << 10 }) == 0);
    creeps_somehow();
}

static noinline void exits_below(size_t room)
{
    volatile char *more = alloca(room);
    more[0] = 0;
    go_exit();
}

/* Each leaves its stack to the next one, from a little deeper. */
static void exits(size_t room)
{
    go_with(((go_options){ .name = "digger", .stack_size = 16 << 10 }), exits, room + 16);
    exits_below(room);
}

CHILD(overflow_by_exit)
{
    go_with(((go_options){ .name = "digger", .stack_size = 16 << 10 }), exits, (size_t)16);
    go_sem_acquire(&hold, 1); /* no timer: each is to go on to the next by the shortest way */
}

/* Beside others without a guard, which are no worse for the report. */
static noinline void digs(uintptr_t end)
{
    volatile char more[32];
    memset((void *)more, 1, sizeof more);
    if ((uintptr_t)__builtin_frame_address(0) > end)
        digs(end);
    else
        go_yield(); /* a canary is looked at here */
    more[1] = more[0];
}

static void dig_later(int more)
{
    go_sleep(10 * GO_MILLISECOND);
    digs((uintptr_t)m_self()->cur->run.stack->lo + 120 - (uintptr_t)more);
    __asm__ volatile("");
}

static void neighbour(void)
{
    go_sem_acquire(&hold, 1);
    __asm__ volatile("");
}

static void digs_among_neighbours(int more)
{
    for (int i = 0; i < 40; i++)
        if (i == 20)
            go_with(((go_options){ .name = "digger", .stack_size = 2048 }), dig_later, more);
        else
            go_with(((go_options){ .name = "neighbour", .stack_size = 2048 }), neighbour);
    go_sleep(GO_SECOND);
}

CHILD(overflow_beside_neighbours)
{
    digs_among_neighbours(0);
}

CHILD(overflow_over_neighbours)
{
    digs_among_neighbours(600); /* over what the next one has on its stack */
}

static void check_overflow(const char *child, const char *debug)
{
    struct test_result r = test_run_child(child, debug, NULL);
    CHECK_EQ(r.status, 2);
    CHECK_CONTAINS(r.output, "fatal error: stack overflow: goroutine ");
    CHECK_CONTAINS(r.output, "\"digger\" has used up its ");
    CHECK_CONTAINS(r.output, "tests/sched/stack_test.c:");
    CHECK_CONTAINS(r.output, "\ngoroutine ");
    CHECK_CONTAINS(r.output, "created by ");
}

TEST(overflow_with_each_guard)
{
    if (SANITIZED)
        SKIP("the sanitizer reports the overflow itself");
    static const char *const guards[] = { "GODEBUG=guard=madvise", "GODEBUG=guard=mprotect",
                                          "GODEBUG=process_madvise=0" };
    for (int i = 0; i < 3; i++) {
        check_overflow("overflow_default", guards[i]);
        check_overflow("overflow_32k", guards[i]);
        check_overflow("overflow_large_frame", guards[i]);
    }
    /* A canary is seen at the next switch. */
    check_overflow("overflow_default", "GODEBUG=guard=canary");
    check_overflow("overflow_32k", "GODEBUG=guard=canary");
    check_overflow("overflow_beside_neighbours", "GODEBUG=");
    check_overflow("overflow_over_neighbours", "GODEBUG=");
    CHECK_CONTAINS(test_run_child("overflow_beside_neighbours", NULL).output, "\"neighbour\"");
}

TEST(overflow_of_main)
{
    if (SANITIZED)
        SKIP("the sanitizer reports the overflow itself");
    static const char *const procs[] = { "GOMAXPROCS=1", "GOMAXPROCS=3" };
    for (int i = 0; i < 2; i++) {
        struct test_result r = test_run_child("overflow_main", procs[i], NULL);
        CHECK_EQ(r.status, 2);
        CHECK_CONTAINS(r.output, "fatal error: stack overflow: goroutine 1 has used up the stack of the process");
        CHECK_CONTAINS(r.output, "\ngoroutine 1 [running]:\n");
    }
}

TEST(overflow_at_the_very_end)
{
    if (SANITIZED)
        SKIP("the sanitizer reports the overflow itself");
    for (size_t way = 0; way < sizeof ways / sizeof *ways; way++)
        for (int step = 16; step <= 48; step += 16) {
            char w[32], s[32];
            snprintf(w, sizeof w, "OVERFLOW_WAY=%zu", way);
            snprintf(s, sizeof s, "OVERFLOW_STEP=%d", step);
            struct test_result r = test_run_child("overflow_creeping", ways[way].procs, ways[way].debug, w, s, NULL);
            CHECK_EQ(r.status, 2);
            CHECK_CONTAINS(r.output, "\"digger\" has used up its ");
            r = test_run_child("overflow_main_creeping", ways[way].procs, ways[way].debug, w, s, NULL);
            CHECK_EQ(r.status, 2);
            CHECK_CONTAINS(r.output, "fatal error: stack overflow: goroutine 1 has used up the stack of the process");
            CHECK_CONTAINS(r.output, "\ngoroutine 1 [running");
        }
    check_overflow("overflow_by_exit", "GODEBUG=");
}

CHILD(jumps_into_its_frame)
{
    char frame[16];
    void (*volatile fn)(void) = (void (*)(void))(uintptr_t)frame;
    go_yield();
    fn();
}

/* Over all the frames above, to the top of the stack and on. */
static noinline void writes_upwards(void)
{
    static char *volatile at; /* not in the frame */
    for (at = __builtin_frame_address(0);; at++)
        *at = 1;
}

CHILD(writes_over_the_top)
{
    go_yield();
    writes_upwards();
}

TEST(no_overflow_of_main)
{
    if (getenv("TEST_EMULATOR"))
        SKIP("the emulator lets stacks be executed");
    struct test_result r = test_run_child("jumps_into_its_frame", "GODEBUG=", NULL);
    CHECK(r.status != 2);
    CHECK(!strstr(r.output, "stack overflow"));
    if (SANITIZED)
        return; /* it finds the first wrong byte */
    r = test_run_child("writes_over_the_top", "GODEBUG=", NULL);
    CHECK_EQ(r.status, 128 + SIGSEGV);
    CHECK_STR(r.output, "");
}

TEST(overflow_of_small_stacks)
{
    if (SANITIZED)
        SKIP("the sanitizer needs more than such stacks have");
    check_overflow("overflow_2k", "GODEBUG=");
    check_overflow("overflow_8k", "GODEBUG=hugepages=0");
}

static noinline void touches(size_t size)
{
    char frame[size];
    memset(frame, 1, size);
    __asm__ volatile("" : : "r"(frame) : "memory");
}

static void touches_and_waits(size_t size)
{
    touches(size);
    atomic_fetch_add(&seen, 1);
    go_sem_acquire(&hold, 1);
    go_waitgroup_done(&running);
}

static long resident_kb(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f) {
        if (fscanf(f, "%*d %ld", &pages) != 1)
            pages = 0;
        fclose(f);
    }
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* Resident memory at the peak and, when it has gone back or will not, afterwards: what was there before is left out. */
static void check_spike(const char *what, size_t stack, size_t touched, int n, long least)
{
    long base = resident_kb();
    go_sem_init(&hold, 0);
    atomic_store(&seen, 0);
    go_waitgroup_add(&running, n);
    for (int i = 0; i < n; i++)
        go_with((go_options){ .stack_size = stack }, touches_and_waits, touched);
    while (atomic_load(&seen) < n)
        go_sleep(GO_MILLISECOND);
    long peak = resident_kb() - base, now = peak;
    go_sem_release(&hold, n);
    go_waitgroup_wait(&running);
    /* Two looks of sysmon, a tenth of a second apart; some stacks stay in the caches of the Ps. */
    for (int i = 0; i < 400 && now > peak / 4; i++) {
        go_sleep(20 * GO_MILLISECOND);
        now = resident_kb() - base;
    }
    if (peak < least || now > peak / 4)
        printf("%s: %ld kB at the peak, %ld afterwards\n", what, peak, now);
}

CHILD(spike)
{
    check_spike("default stacks", 0, 100 << 10, 1000, 90000);
    check_spike("small stacks", 8 << 10, 4 << 10, 10000, 40000);
}

TEST(memory_goes_back_after_a_spike)
{
    if (SANITIZED)
        SKIP("sanitizers keep memory");
    struct test_result r = test_run_child("spike", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_STR(r.output, "");
    r = test_run_child("spike", "GODEBUG=process_madvise=0,hugepages=0,guard=mprotect", NULL);
    CHECK_STR(r.output, "");
}

static void brief(void)
{
    touches(2000);
    go_waitgroup_done(&running);
}

TEST(those_that_run_to_their_end_share_stacks)
{
    uint64_t before = stack_stats().made;
    for (int i = 0; i < 100; i++) {
        go_waitgroup_add(&running, 100);
        for (int j = 0; j < 100; j++)
            go(brief);
        go_waitgroup_wait(&running);
    }
    /* 10,000 goroutines, but so many stacks as the Ps' caches hold. */
    CHECK(stack_stats().made - before < 64u * 9);
}

static void sizes(size_t size)
{
    touches(size);
    atomic_fetch_add(&seen, 1);
    go_waitgroup_done(&running);
}

TEST(stacks_have_the_size_asked_for)
{
    atomic_store(&seen, 0);
    static const size_t kib[] = { 8, 16, 20, 32, 64, 100, 128, 256, 500, 1024, 4096, 65536 };
    go_waitgroup_add(&running, 12);
    for (int i = 0; i < 12; i++)
        go_with((go_options){ .stack_size = kib[i] << 10 }, sizes, (kib[i] << 10) * 3 / 4 - 2048);
    go_waitgroup_wait(&running);
    CHECK_EQ(seen, 12);
}

/* --- no memory --- */

static void waits(void)
{
    atomic_fetch_add(&seen, 1);
    go_sem_acquire(&hold, 1);
    go_waitgroup_done(&running);
}

static int failing;

CHILD(memory_fails_once)
{
    go_sem_init(&hold, 0);
    go_yield();
    atomic_store(&vm_fail_in, atoi(getenv("FAIL_IN")));
    int n = 500;
    go_waitgroup_add(&running, 2 * n);
    for (int i = 0; i < n; i++) {
        go(waits);
        go_with((go_options){ .stack_size = 4096 }, waits);
        if (i % 100 == 0)
            go_yield();
    }
    while (atomic_load(&seen) < 2 * n)
        go_yield();
    go_sem_release(&hold, 2 * n);
    go_waitgroup_wait(&running);
    printf("%s\n", atomic_load(&vm_fail_in) > 0 ? "not reached" : "survived");
}

/* Each mapping and each guard fails once: a message, or no harm. */
static void check_failures(const char *debug, int step)
{
    char variable[32];
    int survived = 0, reported = 0;
    for (int i = 1; i < 400; i += step) {
        snprintf(variable, sizeof variable, "FAIL_IN=%d", i);
        struct test_result r = test_run_child("memory_fails_once", variable, debug, "GOTRACEBACK=none", NULL);
        if (r.status == 0 && strcmp(r.output, "not reached\n") == 0)
            break;
        if (r.status == 2) {
            CHECK(strncmp(r.output, "fatal error: out of ", 20) == 0);
            reported++;
        } else {
            CHECK_EQ(r.status, 0);
            CHECK_STR(r.output, "survived\n");
            survived++;
        }
    }
    CHECK(survived > 0 || reported > 0);
    failing += reported;
}

TEST(each_failure_of_memory)
{
    if (SANITIZED)
        SKIP("too slow");
    check_failures("GODEBUG=", 1);
    check_failures("GODEBUG=guard=mprotect", 53);
    check_failures("GODEBUG=guard=canary", 3);
    CHECK(failing > 0);
}

static void waits_deep(void)
{
    touches(3000);
    waits();
}

/* More stacks than a process may have mappings: the rest has canaries. */
CHILD(mappings_used_up)
{
    go_sem_init(&hold, 0);
    int n = 40000;
    go_waitgroup_add(&running, n);
    for (int i = 0; i < n; i++)
        go_with((go_options){ .stack_size = 32 << 10 }, waits_deep);
    while (atomic_load(&seen) < n)
        go_sleep(GO_MILLISECOND);
    printf("%d\n", stack_stats().guard == GUARD_CANARY);
    go_sem_release(&hold, n);
    go_waitgroup_wait(&running);
}

TEST(guards_by_mprotect_end_when_mappings_do)
{
    if (SANITIZED)
        SKIP("too slow");
    long limit = vm_map_limit();
    if (limit > 100000)
        SKIP("this kernel allows more mappings than the test would use");
    struct test_result r = test_run_child("mappings_used_up", "GODEBUG=guard=mprotect", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_STR(r.output, "1\n");
}
