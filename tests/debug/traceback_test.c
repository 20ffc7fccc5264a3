// SPDX-License-Identifier: MIT
#include <goroutine.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "test.h"

#define LONG (1000 * GO_SECOND)

/* A tail call would leave no frame. */
#define FRAME_ENDS() __asm__ volatile("")

static char text[1 << 20];

static const char *traceback(void)
{
    FILE *file = tmpfile();
    REQUIRE(file);
    CHECK_EQ(go_traceback(fileno(file)), 0);
    rewind(file);
    size_t n = fread(text, 1, sizeof text - 1, file);
    text[n] = 0;
    fclose(file);
    return text;
}

static int count(const char *in, const char *what)
{
    int n = 0;
    for (const char *at = in; (at = strstr(at, what)); at += strlen(what))
        n++;
    return n;
}

/* The entry that has `part` in it, with goroutine numbers, paths before tests/, and offsets taken out. */
static const char *entry(const char *in, const char *part)
{
    static char out[8192];
    const char *at = strstr(in, part);
    if (!at)
        return NULL;
    const char *start = at;
    while (start > in && !(start[-1] == '\n' && (start - 1 == in || start[-2] == '\n')))
        start--;
    const char *end = strstr(at, "\n\n");
    size_t n = 0;
    for (at = start; at < (end ? end : at + strlen(at)) && n < sizeof out - 1;) {
        if (!strncmp(at, "goroutine ", 10)) {
            memcpy(out + n, "goroutine N", 11);
            n += 11;
            at += 10 + strspn(at + 10, "0123456789");
        } else if (!strncmp(at, " +0x", 4)) {
            at += 4 + strspn(at + 4, "0123456789abcdef");
        } else if (*at == '/' && strchr(" \t", at[-1])) {
            const char *line = at + strcspn(at, "\n :");
            const char *tests = strstr(at, "tests/debug/");
            at = tests && tests < line ? tests : at + 1;
        } else {
            out[n++] = *at++;
        }
    }
    out[n] = 0;
    return out;
}

static __attribute__((noinline)) void nap(void)
{
    go_sleep(LONG);
    FRAME_ENDS();
}

static __attribute__((noinline)) void sleeper(int depth)
{
    if (depth > 0)
        sleeper(depth - 1);
    else
        nap();
    FRAME_ENDS();
}

static void until_asleep(const char *part)
{
    while (!strstr(traceback(), part))
        go_sleep(5 * GO_MILLISECOND);
}

/* The whole entry of a parked goroutine, to the letter. */
TEST(parked)
{
    int line = __LINE__ + 1;
    go_with(((go_options){ .name = "reader" }), sleeper, 0);
    until_asleep("[sleep]: \"reader\"");
    const char *e = entry(text, "\"reader\"");
    /* Line numbers inside functions differ by compiler and optimisation; names and order do not. */
    const char *golden[] = {
        "goroutine N [sleep]: \"reader\"", "go_sleep()",  NULL, "nap()", "tests/debug/traceback_test.c:",
        "sleeper()", "tests/debug/traceback_test.c:",
    };
    for (size_t i = 0; i < sizeof golden / sizeof golden[0]; i++) {
        e += strspn(e, "\t");
        if (golden[i])
            CHECK(!strncmp(e, golden[i], strlen(golden[i])));
        e += strcspn(e, "\n") + 1;
    }
    char origin[128];
    snprintf(origin, sizeof origin,
             "created by test_body_parked at tests/debug/traceback_test.c:%d in goroutine N", line);
    CHECK_STR(e, origin);
}

/* A function of the library launched itself: it is shown, and not what it has called. */
TEST(library_functions_alone)
{
    static go_waitgroup never;
    go_waitgroup_add(&never, 1);
    go_with(((go_options){ .name = "waiter" }), go_waitgroup_wait, &never);
    until_asleep("\"waiter\"\ngo_waitgroup_wait()\n");
    const char *e = entry(text, "\"waiter\"");
    CHECK(!strstr(e, "park") && !strstr(e, "sema"));
    go_waitgroup_done(&never);
}

static go_waitgroup clone_waits;
void clone_of_goroutine(void) __asm__("goroutine.constprop.0"); /* as GCC calls one of a function `goroutine` */
void clone_of_goroutine(void)
{
    go_waitgroup_wait(&clone_waits);
    FRAME_ENDS();
}

TEST(function_of_that_name)
{
    go_waitgroup_add(&clone_waits, 1);
    go_with(((go_options){ .name = "clone" }), clone_of_goroutine);
    until_asleep("\"clone\"\ngo_waitgroup_wait()\n");
    CHECK_CONTAINS(entry(text, "\"clone\""), "\ngoroutine()\n");
    go_waitgroup_done(&clone_waits);
}

/* The caller's entry comes first. */
TEST(caller_first)
{
    const char *t = traceback();
    CHECK(!strncmp(t, "goroutine 1 [running]:\n", 23));
    const char *e = entry(t, "goroutine 1 [running]");
    CHECK_CONTAINS(e, "\ntraceback()\n");
    CHECK_CONTAINS(e, "\ntest_body_caller_first()\n");
    CHECK(!strstr(e, "unwind_self"));
    CHECK(!strstr(e, "libc_start"));
}

static void quick(int n)
{
    (void)n;
}

TEST(nobody_reads)
{
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    close(ends[0]);
    CHECK_EQ(go_traceback(ends[1]), -EPIPE);
    close(ends[1]);
}

TEST(never_run)
{
    go_with(((go_options){ .name = "fresh" }), quick, 1);
    const char *t = traceback();
    if (!strstr(t, "\"fresh\""))
        return; /* another thread was quicker */
    const char *e = entry(t, "\"fresh\"");
    if (strstr(e, "[runnable]")) {
        CHECK_CONTAINS(e, "goroutine N [runnable]: \"fresh\"\n");
        CHECK_CONTAINS(e, "created by test_body_never_run at ");
    }
}

TEST(small_stack)
{
    go_with(((go_options){ .name = "tiny", .stack_size = 2048 }), sleeper, 1);
    until_asleep("[sleep]: \"tiny\"");
    const char *e = entry(text, "\"tiny\"");
    CHECK(count(e, "\nsleeper()\n") >= 1);
}

static void tell(int *done)
{
    traceback();
    __atomic_store_n(done, 1, __ATOMIC_RELEASE);
    FRAME_ENDS();
}

/* The report itself runs on the system's stack. */
TEST(from_small_stack)
{
    static int done;
    go_with(((go_options){ .name = "teller", .stack_size = 4096 }), tell, &done);
    while (!__atomic_load_n(&done, __ATOMIC_ACQUIRE))
        go_sleep(GO_MILLISECOND);
    CHECK_CONTAINS(text, "[running]: \"teller\"");
    CHECK_CONTAINS(text, "\ntell()\n");
}

static void one_of_many(void)
{
    nap();
    FRAME_ENDS();
}

TEST(folded)
{
    for (int i = 0; i < 200; i++)
        go(one_of_many);
    until_asleep("[sleep]: 200 alike: ");
    CHECK_EQ(count(text, "one_of_many()"), 1);
    const char *e = entry(text, "200 alike");
    CHECK_CONTAINS(e, "\none_of_many()\n");
    CHECK_CONTAINS(e, " ...\n");
}

static int stop;

static __attribute__((noinline)) void spin(void)
{
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE))
        __asm__ volatile("");
}

static void hog(int *running)
{
    __atomic_store_n(running, 1, __ATOMIC_RELEASE);
    spin();
    FRAME_ENDS();
}

/* One that runs on another thread tells where it is. */
TEST(running_elsewhere)
{
    static int running;
    stop = 0;
    go_with(((go_options){ .name = "hog" }), hog, &running);
    while (!__atomic_load_n(&running, __ATOMIC_ACQUIRE))
        go_sleep(GO_MILLISECOND);
    const char *e = entry(traceback(), "\"hog\"");
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    CHECK_CONTAINS(e, "goroutine N [running]: \"hog\"\n");
#if HAVE_TSAN
    CHECK_CONTAINS(e, "stack unavailable");
#else
    if (test_emulated()) /* qemu has no real-time signals to spare */
        return;
    CHECK_CONTAINS(e, "\nspin()\n");
    CHECK_CONTAINS(e, "\nhog()\n");
#endif
}

static int handling, handled;

static void handler_that_spins(int signo)
{
    (void)signo;
    __atomic_store_n(&handling, 1, __ATOMIC_RELEASE);
    while (!__atomic_load_n(&handled, __ATOMIC_ACQUIRE))
        __asm__ volatile("");
}

static void is_interrupted(void)
{
    raise(SIGUSR1);
    FRAME_ENDS();
}

/* Also within a signal handler of the program's. */
TEST(running_in_a_handler)
{
#if HAVE_TSAN
    SKIP("the thread is not asked there");
#endif
    struct sigaction action = { .sa_handler = handler_that_spins, .sa_flags = SA_ONSTACK };
    if (test_emulated())
        SKIP("qemu has no real-time signals to spare");
    REQUIRE(sigaction(SIGUSR1, &action, NULL) == 0);
    go_with(((go_options){ .name = "interrupted" }), is_interrupted);
    while (!__atomic_load_n(&handling, __ATOMIC_ACQUIRE))
        go_sleep(GO_MILLISECOND);
    const char *e = entry(traceback(), "\"interrupted\"");
    __atomic_store_n(&handled, 1, __ATOMIC_RELEASE);
    CHECK_CONTAINS(e, "\nhandler_that_spins()\n");
    CHECK_CONTAINS(e, "\nis_interrupted()\n");
}

static void handler_that_tells(int signo)
{
    (void)signo;
    traceback();
    FRAME_ENDS();
}

static __attribute__((noinline)) void is_told_of(int *done)
{
    go_lock_thread(); /* the handler runs on this thread's signal stack, and traceback may park there */
    raise(SIGUSR2);
    go_unlock_thread();
    __atomic_store_n(done, 1, __ATOMIC_RELEASE);
}

/* The caller's own handler is the program's, too. */
TEST(caller_in_a_handler)
{
    static int done;
#if HAVE_TSAN
    SKIP("TSan calls the handler later, from elsewhere");
#endif
    struct sigaction action = { .sa_handler = handler_that_tells };
    REQUIRE(sigaction(SIGUSR2, &action, NULL) == 0);
    go_with(((go_options){ .name = "told" }), is_told_of, &done);
    while (!__atomic_load_n(&done, __ATOMIC_ACQUIRE))
        go_sleep(GO_MILLISECOND);
    const char *e = entry(text, "\"told\"");
    CHECK_CONTAINS(e, "\ntraceback()\n");
    CHECK_CONTAINS(e, "\nhandler_that_tells()\n");
    CHECK_CONTAINS(e, "\nis_told_of()\n");
}

static void ends_last(void *arg)
{
    go_sem_acquire(arg, 1);
    FRAME_ENDS();
}

static void defers(go_sem *s)
{
    go_defer(ends_last, s);
}

/* A deferred function that waits: what has called it is the library's own affair. */
TEST(deferred)
{
    go_sem s;
    go_sem_init(&s, 0);
    go_with(((go_options){ .name = "last" }), defers, &s);
    const char *e;
    do {
        go_sleep(GO_MILLISECOND);
        e = entry(traceback(), "\"last\"");
    } while (!strstr(e, "[semacquire"));
    go_sem_release(&s, 1);
    CHECK_CONTAINS(e, "\nends_last()\n");
    CHECK(!strstr(e, "defers()"));
}

enum { SHY = 100 };

static void shy(go_waitgroup *there)
{
    sigset_t all;
    go_lock_thread();
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    go_block_enter();
    go_waitgroup_done(there);
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE))
        usleep(1000);
    go_block_leave();
}

/* A thread that cannot be asked is not waited for: a second for each of these would be too long for the test. */
TEST(running_where_signals_are_blocked)
{
    go_waitgroup there = { 0 };
    go_waitgroup_add(&there, SHY);
    __atomic_store_n(&stop, 0, __ATOMIC_RELEASE);
    for (int i = 0; i < SHY; i++)
        go_with(((go_options){ .name = "shy" }), shy, &there);
    go_waitgroup_wait(&there);
    const char *e = entry(traceback(), "\"shy\"");
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    CHECK_CONTAINS(e, "[syscall, locked to thread]: \"shy\", 100 alike:");
    CHECK_CONTAINS(e, "stack unavailable");
}

static void locked(void)
{
    go_lock_thread();
    nap();
}

TEST(locked_to_thread)
{
    go(locked);
    until_asleep("[sleep, locked to thread]:");
}

static int stop_churn;
static int churners;

static void churn(int n)
{
    (void)n;
    while (!__atomic_load_n(&stop_churn, __ATOMIC_ACQUIRE)) {
        go(quick, 1);
        go_yield();
    }
    __atomic_sub_fetch(&churners, 1, __ATOMIC_ACQ_REL);
}

/* Goroutines come, go and move while reports are made. */
TEST(while_others_go_on)
{
    churners = 4;
    for (int i = 0; i < 4; i++)
        go(churn, i);
    for (int i = 0; i < 10; i++) {
        CHECK_CONTAINS(traceback(), "goroutine 1 [running]:");
        go_sleep(GO_MILLISECOND);
    }
    __atomic_store_n(&stop_churn, 1, __ATOMIC_RELEASE);
    while (__atomic_load_n(&churners, __ATOMIC_ACQUIRE) > 0)
        go_sleep(GO_MILLISECOND);
}

#define RECEIVERS 50
static chan(int) values[RECEIVERS];
static int enough;

static void receive_all(int i)
{
    int v;
    while (chan_recv(values[i], &v))
        FRAME_ENDS();
}

static void *send_to_all(void *arg)
{
    while (!__atomic_load_n(&enough, __ATOMIC_ACQUIRE))
        for (int i = 0; i < RECEIVERS; i++)
            chan_try_send(values[i], i);
    return arg;
}

/* A plain thread, for which a report does not wait, makes them ready, and the figures keep the time since then. */
TEST(made_ready_meanwhile)
{
    for (int i = 0; i < RECEIVERS; i++) {
        values[i] = chan_make(int, 1);
        go_with(((go_options){ .name = "receiver" }), receive_all, i);
    }
    go_stats_detail(1);
    pthread_t thread;
    REQUIRE(pthread_create(&thread, NULL, send_to_all, NULL) == 0);
    int waited = 0;
    for (int i = 0; i < 300; i++) { /* others have slept for minutes by now, where all is slow */
        const char *all = traceback();
        waited += count(all, "[chan receive, ") + count(all, "[running, ");
    }
    CHECK_EQ(waited, 0);
    __atomic_store_n(&enough, 1, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
    go_stats_detail(0);
    for (int i = 0; i < RECEIVERS; i++)
        chan_close(values[i]);
}

static void waits_for_its_end(chan(int) end, go_waitgroup *gone)
{
    chan_recv(end, NULL);
    go_waitgroup_done(gone);
}

/* Of a long name the beginning is shown, and no half of a character. */
static go_sem fired, go_on;

static void waits_in_a_timer(void *arg)
{
    (void)arg;
    go_sem_release(&fired, 1);
    go_sem_acquire(&go_on, 1);
    FRAME_ENDS();
}

TEST(of_a_timer)
{
    go_timer *t = go_after_func(GO_MILLISECOND, waits_in_a_timer, NULL);
    go_sem_acquire(&fired, 1);
    until_asleep("waits_in_a_timer()");
    CHECK_CONTAINS(traceback(), "created by go_after_func\n");
    go_sem_release(&go_on, 1);
    go_timer_free(t);
}

TEST(long_name)
{
    static const char name[] = "0123456789012345678901234567890123456789012345\u00e9 and more";
    go_waitgroup gone = { 0 };
    chan(int) end = chan_make(int, 0);
    go_waitgroup_add(&gone, 1);
    go_with(((go_options){ .name = name }), waits_for_its_end, end, &gone);
    CHECK_CONTAINS(traceback(), "\"0123456789012345678901234567890123456789012345\"");
    chan_close(end);
    go_waitgroup_wait(&gone);
    chan_unref(end);
}

#define PERSONS (HAVE_ASAN || HAVE_TSAN ? 500 : 40000) /* those take long for each */

static void person(go_waitgroup *there, chan(int) end, go_waitgroup *gone)
{
    go_waitgroup_done(there);
    chan_recv(end, NULL);
    go_waitgroup_done(gone);
}

/* Nobody is like another. A list in which each is compared with all others would take the whole of the program's time. */
TEST(many_names)
{
    static char names[PERSONS][8];
    char line[1024];
    int persons = test_emulated() ? 500 : PERSONS, listed = 0;
    go_waitgroup there = { 0 }, gone = { 0 };
    chan(int) end = chan_make(int, 0);
    go_waitgroup_add(&there, persons);
    go_waitgroup_add(&gone, persons);
    for (int i = 0; i < persons; i++) {
        snprintf(names[i], sizeof names[i], "p%05d", i);
        go_with(((go_options){ .name = names[i], .stack_size = 4096 }), person, &there, end, &gone);
    }
    go_waitgroup_wait(&there);
    FILE *file = tmpfile();
    REQUIRE(file);
    CHECK_EQ(go_traceback(fileno(file)), 0);
    rewind(file);
    while (fgets(line, sizeof line, file))
        listed += strstr(line, "]: \"p") != NULL;
    fclose(file);
    CHECK_EQ(listed, persons);
    chan_close(end);
    go_waitgroup_wait(&gone);
    chan_unref(end);
}

TEST(bad_descriptor)
{
    CHECK_EQ(go_traceback(-1), -9); /* EBADF */
}

CHILD(dies)
{
    go_with(((go_options){ .name = "bystander" }), sleeper, 0);
    go_yield();
    go_sleep(10 * GO_MILLISECOND);
    go_fatal("the end is %s", "near");
}

TEST(levels)
{
    struct test_result r = test_run_child("dies", "GOTRACEBACK=", NULL);
    CHECK_EQ(r.status, 2);
    CHECK_CONTAINS(r.output, "fatal error: the end is near\n\ngoroutine 1 [running]:\n");
    CHECK_CONTAINS(r.output, "[sleep]: \"bystander\"\n");
    r = test_run_child("dies", "GOTRACEBACK=all", NULL);
    CHECK_EQ(r.status, 2);
    CHECK_CONTAINS(r.output, "[sleep]: \"bystander\"\n");
    r = test_run_child("dies", "GOTRACEBACK=single", NULL);
    CHECK_EQ(r.status, 2);
    CHECK_CONTAINS(r.output, "goroutine 1 [running]:\n");
    CHECK(!strstr(r.output, "bystander"));
    r = test_run_child("dies", "GOTRACEBACK=none", NULL);
    CHECK_EQ(r.status, 2);
    CHECK_STR(r.output, "fatal error: the end is near\n");
    r = test_run_child("dies", "GOTRACEBACK=crash", NULL);
    CHECK_EQ(r.status, 128 + 6);
    CHECK_CONTAINS(r.output, "[sleep]: \"bystander\"\n");
}

static int __attribute__((noinline)) deeper(volatile char *above, int n)
{
    volatile char here[128];
    here[0] = (char)(n + above[0]);
    int r = n < 1 << 30 ? deeper(here, n + 1) : 0;
    return r + here[0];
}

static void bomb(void)
{
    char c = 0;
    deeper(&c, 0);
    FRAME_ENDS();
}

CHILD(overflows)
{
    go_with(((go_options){ .name = "bomb", .stack_size = 32 << 10 }), bomb);
    go_sleep(LONG);
}

TEST(overflow_shows_frames)
{
#if HAVE_ASAN || HAVE_TSAN
    SKIP("the sanitizer reports the overflow itself");
#endif
    struct test_result r = test_run_child("overflows", "GOTRACEBACK=", NULL);
    CHECK_EQ(r.status, 2);
    CHECK_CONTAINS(r.output, "fatal error: stack overflow");
    const char *e = entry(r.output, "[running]: \"bomb\"");
    REQUIRE(e);
    CHECK_CONTAINS(e, "goroutine N [running]: \"bomb\"\ndeeper()\n");
    CHECK_CONTAINS(e, " frames elided...\n");
    CHECK_CONTAINS(e, "\nbomb()\n");
    CHECK_CONTAINS(e, "created by test_body_overflows at ");
    CHECK_CONTAINS(r.output, "goroutine 1 [sleep]:\n");
}
