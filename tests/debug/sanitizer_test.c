// SPDX-License-Identifier: MIT
// The sanitizers see through goroutines: each CHILD has one bug, or none, and the report names it.
#include <goroutine.h>

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "test.h"

static go_waitgroup done;

/* --- races --- */

static int plain[100];
static atomic_int inside, together;

/* Until two of them have been at it at once; what is relaxed orders nothing. Where TSan finds a race whose other side's
 * stack it cannot tell any more, it says nothing and looks at that address no further: hence a hundred of them. */
static void add(int n)
{
    while (!atomic_load_explicit(&together, memory_order_relaxed)) {
        if (atomic_fetch_add_explicit(&inside, 1, memory_order_relaxed) > 0)
            atomic_store_explicit(&together, 1, memory_order_relaxed);
        for (int i = 0; i < 100; i++) {
            plain[i] += n;
            __asm__ volatile("" ::: "memory"); /* or it is one access, and two at the very same moment escape TSan */
        }
        atomic_fetch_sub_explicit(&inside, 1, memory_order_relaxed);
        go_yield();
    }
    go_waitgroup_done(&done);
}

CHILD(race)
{
    go_waitgroup_add(&done, 8);
    for (int i = 0; i < 8; i++)
        go(add, i);
    go_waitgroup_wait(&done);
}

static void makes_pipes(void)
{
    for (int i = 0; i < 200; i++) {
        int fds[2];
        if (pipe(fds) == 0) {
            go_close(fds[0]);
            go_close(fds[1]);
        }
        go_yield();
    }
    go_waitgroup_done(&done);
}

static void opens(void)
{
    for (int i = 0; i < 100; i++) {
        go_close(go_open("/dev/null", O_RDONLY));
        go_yield();
    }
    go_waitgroup_done(&done);
}

static void reports(void)
{
    int null = open("/dev/null", O_WRONLY);
    for (int i = 0; i < 5; i++)
        go_traceback(null);
    go_close(null);
    go_waitgroup_done(&done);
}

/* Numbers are used again: that is no race. */
CHILD(descriptors)
{
    go_waitgroup_add(&done, 13);
    for (int i = 0; i < 8; i++)
        go(makes_pipes);
    for (int i = 0; i < 4; i++)
        go(opens);
    go(reports);
    go_waitgroup_wait(&done);
}

static int launched_with;

static void look(const int *value)
{
    launched_with = *value; /* written before the launch: no race */
    go_waitgroup_done(&done);
}

static go_mutex lock;
static int guarded;

static void add_guarded(int n)
{
    go_mutex_lock(&lock);
    guarded += n;
    go_mutex_unlock(&lock);
    go_yield();
    go_mutex_lock(&lock);
    guarded -= n;
    go_mutex_unlock(&lock);
    go_waitgroup_done(&done);
}

static go_sem sem;
static int handed;

static void take(void)
{
    go_sem_acquire(&sem, 1);
    handed++;
    go_waitgroup_done(&done);
}

static go_once once;
static int made;

static void make(void *arg)
{
    made = *(int *)arg;
}

static void use(void)
{
    int n = 7;
    go_once_do(&once, make, &n);
    if (made != 7)
        abort();
    go_waitgroup_done(&done);
}

/* Everything the library says orders memory does. */
CHILD(ordered)
{
    int value = 5;
    go_waitgroup_add(&done, 1);
    go(look, &value);
    go_waitgroup_wait(&done);
    value = launched_with;
    go_waitgroup_add(&done, 100);
    for (int i = 0; i < 100; i++)
        go(add_guarded, i);
    go_waitgroup_wait(&done);
    if (guarded != 0)
        abort();
    go_sem_init(&sem, 0);
    go_waitgroup_add(&done, 1);
    go(take);
    handed = 1;
    go_sem_release(&sem, 1);
    go_waitgroup_wait(&done);
    if (handed != 2)
        abort();
    go_waitgroup_add(&done, 8);
    for (int i = 0; i < 8; i++)
        go(use);
    go_waitgroup_wait(&done);
}

/* --- what goes through descriptors --- */

enum way { READ_A_PIPE, READ_A_SOCKET, WAIT_FOR_ONE, SELECT_ONE, SEE_THE_END, READ_A_PLACE, ACCEPT_ONE, WAYS };

static int ends[2]; /* out of [0] comes what goes into [1] */
static char address[64];
static int told;
static atomic_int is_told;

static void *tell(void *arg)
{
    enum way way = *(enum way *)arg;
    go_now(); /* from here on the library knows this thread */
    told = 1;
    if (way == ACCEPT_ONE)
        ends[1] = go_dial("tcp", address);
    else if (way == SEE_THE_END)
        go_close(ends[1]);
    else if (way == READ_A_PLACE)
        go_pwrite(ends[1], "x", 1, 0);
    else
        go_write(ends[1], "x", 1);
    atomic_store_explicit(&is_told, 1, memory_order_relaxed);
    return NULL;
}

static bool hear(enum way way)
{
    char c;
    if (way == ACCEPT_ONE)
        return go_close(go_accept(ends[0], NULL, NULL)) == 0;
    if (way == WAIT_FOR_ONE)
        return go_wait_fd(ends[0], POLLIN) == POLLIN;
    if (way == SELECT_ONE)
        return go_select(case_readable(ends[0])) == 0;
    if (way == SEE_THE_END)
        return go_read(ends[0], &c, 1) == 0;
    if (way == READ_A_PLACE)
        return go_pread(ends[0], &c, 1, 0) == 1;
    return go_read(ends[0], &c, 1) == 1;
}

/* Nothing but the descriptor orders the two threads; neither waits for the other in the library. */
CHILD(handed_over)
{
    for (enum way way = 0; way < WAYS; way++) {
        int r = 0;
        if (way == READ_A_SOCKET)
            r = socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
        else if (way == ACCEPT_ONE)
            r = go_local_address(ends[0] = go_listen("tcp", "127.0.0.1:0"), address, sizeof address) < 0;
        else if (way == READ_A_PLACE)
            ends[0] = ends[1] = fileno(tmpfile()); /* not memfd_create: of its memory reads block */
        else
            r = pipe(ends);
        pthread_t thread;
        if (r != 0 || ends[0] < 0 || pthread_create(&thread, NULL, tell, &way) != 0)
            abort();
        while (!atomic_load_explicit(&is_told, memory_order_relaxed))
            go_yield();
        if (!hear(way) || told != 1)
            abort();
        pthread_join(thread, NULL);
        told = 0;
        atomic_store_explicit(&is_told, 0, memory_order_relaxed);
        go_close(ends[0]);
        if (way != SEE_THE_END && way != READ_A_PLACE)
            go_close(ends[1]);
    }
}

static char shared[4];

static void *fill(void *arg)
{
    shared[1] = 'y';
    atomic_store_explicit(&is_told, 1, memory_order_relaxed);
    return arg;
}

static void other_thread_fills(void)
{
    pthread_t thread;
    if (pipe(ends) != 0 || pthread_create(&thread, NULL, fill, NULL) != 0)
        abort();
    while (!atomic_load_explicit(&is_told, memory_order_relaxed))
        ;
}

CHILD(race_with_read)
{
    other_thread_fills();
    go_write(ends[1], "abc", 3);
    go_read(ends[0], shared, sizeof shared);
}

CHILD(race_with_write)
{
    other_thread_fills();
    go_write(ends[1], shared, sizeof shared);
}

TEST(race_is_seen)
{
#if !HAVE_TSAN
    SKIP("not built with -fsanitize=thread");
#endif
    /* Goroutines that run one after another on the same thread count as ordered. */
    struct test_result r = test_run_child("race", "GOMAXPROCS=4", NULL);
    CHECK_EQ(r.status, 66);
    CHECK_CONTAINS(r.output, "WARNING: ThreadSanitizer: data race");
    CHECK_CONTAINS(r.output, "add ");
    CHECK_CONTAINS(r.output, "sanitizer_test.c");
}

TEST(race_with_the_kernel_is_seen)
{
#if !HAVE_TSAN
    SKIP("not built with -fsanitize=thread");
#endif
    struct test_result r = test_run_child("race_with_read", NULL);
    CHECK_EQ(r.status, 66);
    CHECK_CONTAINS(r.output, "WARNING: ThreadSanitizer: data race");
    CHECK_CONTAINS(r.output, "go_read");
    r = test_run_child("race_with_write", NULL);
    CHECK_EQ(r.status, 66);
    CHECK_CONTAINS(r.output, "WARNING: ThreadSanitizer: data race");
    CHECK_CONTAINS(r.output, "go_write");
}

TEST(no_race_is_invented)
{
    struct test_result r = test_run_child("ordered", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_STR(r.output, "");
    r = test_run_child("descriptors", "GOMAXPROCS=4", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_STR(r.output, "");
    r = test_run_child("handed_over", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_STR(r.output, "");
}

/* --- memory --- */

static void read_later(const int *p)
{
    go_sleep(GO_MILLISECOND);
    plain[0] = *p;
    go_waitgroup_done(&done);
}

/* Not in the function that has the local: Clang does not watch those of functions with inline assembly. */
static __attribute__((noinline)) void launch_with(const int *p)
{
    go(read_later, p);
}

static __attribute__((noinline)) void launch_with_local(int n)
{
    int local = n;
    launch_with(&local);
}

CHILD(use_after_return)
{
    go_waitgroup_add(&done, 1);
    launch_with_local(3);
    go_waitgroup_wait(&done);
}

/* It lives on: the frames of one that has ended are unmapped, and what is mapped there next may be another's. */
static void launch_from_goroutine(void)
{
    launch_with_local(4);
    go_waitgroup_wait(&done);
}

CHILD(use_after_return_of_a_goroutine)
{
    go_waitgroup_add(&done, 1);
    go(launch_from_goroutine);
    go_waitgroup_wait(&done);
}

CHILD(use_after_free)
{
    int *p = malloc(sizeof *p);
    go_waitgroup_add(&done, 1);
    go(read_later, p);
    free(p);
    go_waitgroup_wait(&done);
}

static void past_the_end(volatile int n)
{
    char buffer[16];
    memset(buffer, 0, (size_t)n);
    __asm__ volatile("" ::"r"(buffer) : "memory");
    go_waitgroup_done(&done);
}

CHILD(overflow_of_a_local)
{
    go_waitgroup_add(&done, 1);
    go(past_the_end, 17);
    go_waitgroup_wait(&done);
}

static const char *const calls[] = { "go_read",    "go_readv",  "go_recvfrom", "go_recvmsg",
                                     "go_preadv",  "go_write",  "go_writev",   "go_sendto",
                                     "go_sendmsg", "go_pwritev" };

/* Calls with a block of 8 bytes that take it for one of 16: the kernel sees nothing wrong. */
CHILD(past_the_end_of_a_block)
{
    int call = atoi(getenv("CALL")), file = memfd_create("place", MFD_CLOEXEC);
    char *p = calloc(1, 8);
    struct iovec iov[2] = { { p, 8 }, { p, 16 } };
    struct msghdr m = { .msg_iov = &iov[1], .msg_iovlen = 1 };
    if (file < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0 || ftruncate(file, 16) != 0 ||
        go_write(ends[1], "0123456789abcdef01234567", 24) != 24)
        abort();
    switch (call) {
    case 0:
        go_read(ends[0], p, 16);
        break;
    case 1:
        go_readv(ends[0], iov, 2);
        break;
    case 2:
        go_recvfrom(ends[0], p, 16, 0, NULL, NULL);
        break;
    case 3:
        go_recvmsg(ends[0], &m, 0);
        break;
    case 4:
        go_pread(file, p, 16, 0);
        break;
    case 5:
        go_write(ends[1], p, 16);
        break;
    case 6:
        go_writev(ends[1], iov, 2);
        break;
    case 7:
        go_sendto(ends[1], p, 16, 0, NULL, 0);
        break;
    case 8:
        go_sendmsg(ends[1], &m, 0);
        break;
    case 9:
        go_pwrite(file, p, 16, 0);
        break;
    }
    free(p);
}

/* Locals of goroutines that wait, end, and use each other's stacks again. */
static void with_locals(int n)
{
    volatile char buffer[512];
    for (int i = 0; i < 512; i++)
        buffer[i] = (char)n;
    go_yield();
    for (int i = 0; i < 512; i++)
        if (buffer[i] != (char)n)
            abort();
    go_waitgroup_done(&done);
}

static void ends_deep(int depth)
{
    volatile char buffer[128];
    buffer[0] = (char)depth;
    if (depth > 0)
        ends_deep(depth - 1);
    if (depth == 0) {
        go_waitgroup_done(&done);
        go_exit(); /* the frames above are left without returning */
    }
    buffer[1] = buffer[0];
}

CHILD(clean_stacks)
{
    for (int round = 0; round < 20; round++) {
        go_waitgroup_add(&done, 60);
        for (int i = 0; i < 30; i++) {
            go(with_locals, i);
            go(ends_deep, i);
        }
        go_waitgroup_wait(&done);
    }
}

TEST(memory_errors_are_seen)
{
#if !HAVE_ASAN
    SKIP("not built with -fsanitize=address");
#endif
    const char *options = "ASAN_OPTIONS=detect_stack_use_after_return=1:detect_leaks=0";
    struct test_result r = test_run_child("use_after_return", options, NULL);
    CHECK(r.status != 0);
    CHECK_CONTAINS(r.output, "stack-use-after-");
    CHECK_CONTAINS(r.output, "read_later");
    r = test_run_child("use_after_return_of_a_goroutine", options, NULL);
    CHECK(r.status != 0);
    CHECK_CONTAINS(r.output, "stack-use-after-");
    CHECK_CONTAINS(r.output, "read_later");
    r = test_run_child("use_after_free", options, NULL);
    CHECK(r.status != 0);
    CHECK_CONTAINS(r.output, "heap-use-after-free");
    CHECK_CONTAINS(r.output, "read_later");
    r = test_run_child("overflow_of_a_local", options, NULL);
    CHECK(r.status != 0);
    CHECK_CONTAINS(r.output, "stack-buffer-overflow");
    CHECK_CONTAINS(r.output, "past_the_end");
}

TEST(memory_errors_of_calls_are_seen)
{
#if !HAVE_ASAN
    SKIP("not built with -fsanitize=address");
#endif
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        char call[16];
        snprintf(call, sizeof call, "CALL=%zu", i);
        struct test_result r =
            test_run_child("past_the_end_of_a_block", call, "ASAN_OPTIONS=detect_leaks=0", NULL);
        CHECK(r.status != 0);
        CHECK_CONTAINS(r.output, "heap-buffer-overflow");
        CHECK_CONTAINS(r.output, calls[i]);
    }
}

/* What is only counted is not written. */
CHILD(counted_only)
{
    char *p = malloc(8);
    int l = go_listen("tcp", "127.0.0.1:0");
    if (go_local_address(l, address, sizeof address) < 0)
        abort();
    int a = go_dial("tcp", address), b = go_accept(l, NULL, NULL);
    if (go_write(a, "0123456789abcdef", 16) != 16 || go_recv(b, p, 16, MSG_TRUNC) != 16)
        abort();
    free(p);
}

TEST(no_memory_error_is_invented)
{
    struct test_result r = test_run_child(
        "clean_stacks", "ASAN_OPTIONS=detect_stack_use_after_return=1:detect_leaks=0", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_STR(r.output, "");
    r = test_run_child("counted_only", "ASAN_OPTIONS=detect_leaks=0", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_STR(r.output, "");
}
