// SPDX-License-Identifier: MIT
// go_cond and go_sem, without scopes; with them in scope_test.c.
#include <goroutine.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "test.h"

#include "sched/section.h"

/* A goroutine's start is slow under ThreadSanitizer. */
#define SLOW (HAVE_TSAN ? 10 : 1)

struct room {
    go_mutex m;
    go_cond c;
    int waiting, awake;
    bool exit;
    go_sem done;
};

static void wait_once(struct room *r)
{
    go_mutex_lock(&r->m);
    r->waiting++;
    CHECK_EQ(go_cond_wait(&r->c, &r->m), 0);
    CHECK(!go_mutex_trylock(&r->m));
    r->awake++;
    go_mutex_unlock(&r->m);
    go_sem_release(&r->done, 1);
}

static void until_waiting(struct room *r, int n)
{
    for (bool all = false; !all;) {
        go_mutex_lock(&r->m);
        all = r->waiting == n;
        go_mutex_unlock(&r->m);
        go_yield();
    }
}

TEST(signal_wakes_one)
{
    enum { N = 5 };
    struct room r = { 0 };
    for (int i = 0; i < N; i++)
        go(wait_once, &r);
    until_waiting(&r, N);
    CHECK_EQ(r.c.waiters, N);
    for (int i = 1; i <= N; i++) {
        go_mutex_lock(&r.m);
        go_cond_signal(&r.c);
        go_mutex_unlock(&r.m);
        CHECK_EQ(go_sem_acquire(&r.done, 1), 0);
        go_mutex_lock(&r.m);
        CHECK_EQ(r.awake, i);
        go_mutex_unlock(&r.m);
    }
    go_cond_signal(&r.c); /* nobody */
    CHECK_EQ(r.c.waiters, 0);
}

TEST(broadcast_wakes_all)
{
    enum { N = 200 / SLOW };
    struct room r = { 0 };
    for (int i = 0; i < N; i++)
        go(wait_once, &r);
    until_waiting(&r, N);
    go_mutex_lock(&r.m);
    go_cond_broadcast(&r.c);
    go_mutex_unlock(&r.m);
    CHECK_EQ(go_sem_acquire(&r.done, N), 0);
    CHECK_EQ(r.awake, N);
}

static void in_order(struct room *r, int me, int *order)
{
    go_mutex_lock(&r->m);
    while (r->waiting != me)
        r->waiting = me; /* the launcher waits for this */
    CHECK_EQ(go_cond_wait(&r->c, &r->m), 0);
    order[r->awake++] = me;
    go_mutex_unlock(&r->m);
    go_sem_release(&r->done, 1);
}

/* The one that has waited longest is signalled first. */
TEST(signals_in_order)
{
    enum { N = 10 };
    struct room r = { 0 };
    int order[N];
    for (int i = 1; i <= N; i++) {
        go(in_order, &r, i, order);
        until_waiting(&r, i);
    }
    for (int i = 0; i < N; i++) {
        go_cond_signal(&r.c);
        CHECK_EQ(go_sem_acquire(&r.done, 1), 0);
        CHECK_EQ(order[i], i + 1);
    }
}

/* A signal cannot be taken by one that waits only after it was given. */
static void steal(struct room *r)
{
    go_mutex_lock(&r->m);
    while (!r->exit) {
        r->waiting++;
        CHECK_EQ(go_cond_wait(&r->c, &r->m), 0);
        r->awake++;
        go_sem_release(&r->done, 1);
    }
    go_mutex_unlock(&r->m);
    go_sem_release(&r->done, 1);
}

TEST(signals_are_not_stolen)
{
    for (int i = 0; i < 100 / SLOW; i++) {
        struct room first = { 0 };
        go(wait_once, &first);
        until_waiting(&first, 1);
        go_mutex_lock(&first.m);
        go_cond_signal(&first.c);
        go(wait_once, &first); /* waits after the signal: must not get it */
        go_mutex_unlock(&first.m);
        CHECK_EQ(go_sem_acquire(&first.done, 1), 0);
        until_waiting(&first, 2);
        CHECK_EQ(first.awake, 1);
        go_cond_signal(&first.c);
        CHECK_EQ(go_sem_acquire(&first.done, 1), 0);
    }
    struct room r = { 0 };
    go(steal, &r);
    for (int i = 1; i <= 1000; i++) {
        until_waiting(&r, i);
        go_mutex_lock(&r.m);
        r.exit = i == 1000;
        go_cond_signal(&r.c);
        go_mutex_unlock(&r.m);
        CHECK_EQ(go_sem_acquire(&r.done, 1), 0);
    }
    CHECK_EQ(go_sem_acquire(&r.done, 1), 0);
}

static void *thread_wait_once(void *arg)
{
    wait_once(arg);
    return NULL;
}

/*
 * A goroutine that waits is signalled before it has unlocked the mutex, by one that then waits for this mutex: each is the next to
 * run where the other one is about to leave its stack, and neither may insist on the other's. The mutex lies on a page that
 * cannot be written, so that the unlock faults, and the handler waits until the other one is where it shall be. (That holds up a
 * section, and so everybody if main or the other one had to yield because its slice is over: the slice has no end here.)
 */
static go_mutex *crossing;
static size_t page;
static go_cond crossed;
static struct g *other;
static int unlocking;

static void at_the_unlock(int signal)
{
    (void)signal;
    if (mprotect(crossing, page, PROT_READ | PROT_WRITE) != 0)
        _exit(3);
    __atomic_store_n(&unlocking, 1, __ATOMIC_SEQ_CST);
    while (!__atomic_load_n(&other, __ATOMIC_SEQ_CST) || load_relaxed(&other->status) != G_WAITING)
        ;
}

static void is_signalled(go_waitgroup *done)
{
    go_mutex_lock(crossing);
    if (mprotect(crossing, page, PROT_READ) != 0)
        _exit(4);
    go_cond_wait(&crossed, crossing);
    go_mutex_unlock(crossing);
    go_waitgroup_done(done);
}

static void signals_then_locks(go_waitgroup *done)
{
    while (!__atomic_load_n(&unlocking, __ATOMIC_SEQ_CST))
        ;
    go_cond_signal(&crossed);
    struct m *mp = section_enter();
    __atomic_store_n(&other, mp->cur, __ATOMIC_SEQ_CST);
    section_leave(mp);
    go_mutex_lock(crossing);
    go_mutex_unlock(crossing);
    go_waitgroup_done(done);
}

CHILD(crossing)
{
    go_waitgroup done = { 0 };
    alarm(30); /* what fails here spins for ever */
    go_count(); /* the library has set up its own handlers */
    sigaction(SIGSEGV, &(struct sigaction){ .sa_handler = at_the_unlock, .sa_flags = SA_ONSTACK }, NULL);
    page = (size_t)sysconf(_SC_PAGESIZE);
    crossing = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(crossing != MAP_FAILED);
    for (int i = 0; i < 20; i++) {
        unlocking = 0;
        other = NULL;
        go_waitgroup_add(&done, 2);
        go(is_signalled, &done);
        go(signals_then_locks, &done);
        go_waitgroup_wait(&done);
    }
    puts("crossed");
}

TEST(signalled_by_who_then_waits_for_the_mutex)
{
#if HAVE_TSAN
    SKIP("ThreadSanitizer holds a lock of its own where the unlock faults");
#endif
    struct test_result r = test_run_child("crossing", "GOMAXPROCS=2", "GODEBUG=preempt=0,slice=999999999", NULL);
    CHECK_STR(r.output, "crossed\n");
}

TEST(threads_wait_too)
{
    struct room r = { 0 };
    pthread_t t;
    REQUIRE(pthread_create(&t, NULL, thread_wait_once, &r) == 0);
    go(wait_once, &r);
    until_waiting(&r, 2);
    go_cond_broadcast(&r.c);
    CHECK_EQ(go_sem_acquire(&r.done, 2), 0);
    pthread_join(t, NULL);
}

CHILD(wait_unlocked)
{
    go_mutex m = { 0 };
    go_cond c = { 0 };
    go_cond_wait(&c, &m);
}

CHILD(wait_for_ever)
{
    go_mutex m = { 0 };
    go_cond c = { 0 };
    go_mutex_lock(&m);
    go_cond_wait(&c, &m);
}

CHILD(sem_for_ever)
{
    go_sem s = { 0 };
    go_sem_acquire(&s, 1);
}

#define IN_ORDER 6

static struct {
    go_sem sem;
    go_mutex mutex;
    go_cond cond;
    chan(int) chan;
    int came, went, order[IN_ORDER];
} line;

static void lines_up(char at)
{
    int me = line.came++;
    switch (at) {
    case 's':
        go_sem_acquire(&line.sem, 1);
        break;
    case 'c':
        go_mutex_lock(&line.mutex);
        go_cond_wait(&line.cond, &line.mutex);
        go_mutex_unlock(&line.mutex);
        break;
    default:
        chan_recv(line.chan, NULL);
    }
    line.order[line.went++] = me;
}

/* Those who are let in together run in the order in which they came. One P, and nobody is taken off it. */
CHILD(let_in_together)
{
    line.chan = chan_make(int, 0);
    for (const char *at = "scx"; *at; at++) {
        line.came = line.went = 0;
        for (int i = 0; i < IN_ORDER; i++)
            go(lines_up, *at);
        while (line.came < IN_ORDER)
            go_yield();
        if (*at == 's')
            go_sem_release(&line.sem, IN_ORDER);
        else if (*at == 'c')
            go_cond_broadcast(&line.cond);
        else
            chan_close(line.chan);
        while (line.went < IN_ORDER)
            go_yield();
        for (int i = 0; i < IN_ORDER; i++)
            printf("%d", line.order[i]);
        printf("\n");
    }
    chan_unref(line.chan);
}

TEST(they_run_in_the_order_in_which_they_came)
{
    CHECK_STR(test_run_child("let_in_together", "GOMAXPROCS=1", "GODEBUG=preempt=0,slice=999999999", NULL).output, "012345\n012345\n012345\n");
}

CHILD(sem_negative)
{
    go_sem s = { 0 };
    go_sem_release(&s, -1);
}

TEST(misuse_is_fatal)
{
    struct test_result r = test_run_child("wait_unlocked", NULL);
    CHECK_EQ(r.status, 2);
    CHECK_CONTAINS(r.output, "fatal error: sync: unlock of unlocked mutex\n");
    r = test_run_child("wait_for_ever", NULL);
    CHECK_EQ(r.status, 2);
    CHECK_CONTAINS(r.output, "[sync.Cond.Wait]");
    r = test_run_child("sem_for_ever", NULL);
    CHECK_EQ(r.status, 2);
    CHECK_CONTAINS(r.output, "all goroutines are asleep - deadlock!");
    r = test_run_child("sem_negative", NULL);
    CHECK_EQ(r.status, 2);
    CHECK_CONTAINS(r.output, "fatal error: sync: negative semaphore count\n");
}

/* --- semaphores --- */

static void take(go_sem *s, int64_t n, int me, int *order, int *at, go_sem *done)
{
    CHECK_EQ(go_sem_acquire(s, n), 0);
    order[__atomic_fetch_add(at, 1, __ATOMIC_SEQ_CST)] = me;
    go_sem_release(done, 1);
}

static int queued(go_sem *s)
{
    return (int)(__atomic_load_n(&s->state, __ATOMIC_SEQ_CST) & 1);
}

TEST(weights)
{
    go_sem s;
    go_sem_init(&s, 10);
    CHECK(go_sem_try_acquire(&s, 10));
    CHECK(!go_sem_try_acquire(&s, 1));
    CHECK(go_sem_try_acquire(&s, 0));
    go_sem_release(&s, 4);
    CHECK(!go_sem_try_acquire(&s, 5));
    CHECK_EQ(go_sem_acquire(&s, 3), 0);
    CHECK(go_sem_try_acquire(&s, 1));
    go_sem_init(&s, INT64_MAX);
    CHECK_EQ(go_sem_acquire(&s, INT64_MAX / 2), 0);
    go_sem_release(&s, INT64_MAX / 2);
}

/* A small wish behind a large one waits, also when it could be met. */
TEST(first_come_first_served)
{
    go_sem s, done = { 0 };
    int order[3], at = 0;
    go_sem_init(&s, 2);
    go(take, &s, (int64_t)3, 1, order, &at, &done);
    while (!queued(&s))
        go_yield();
    CHECK(!go_sem_try_acquire(&s, 1));
    go(take, &s, (int64_t)1, 2, order, &at, &done);
    for (int i = 0; i < 100; i++)
        go_yield();
    CHECK_EQ(__atomic_load_n(&at, __ATOMIC_SEQ_CST), 0);
    go_sem_release(&s, 1);
    CHECK_EQ(go_sem_acquire(&done, 1), 0);
    CHECK_EQ(order[0], 1);
    go_sem_release(&s, 1);
    CHECK_EQ(go_sem_acquire(&done, 1), 0);
    CHECK_EQ(order[1], 2);
    CHECK(!queued(&s));
    CHECK_EQ(s.state, 0);
}

static void use(go_sem *s, int64_t n, int rounds, int64_t *in_use, go_sem *done)
{
    for (int i = 0; i < rounds; i++) {
        CHECK_EQ(go_sem_acquire(s, n), 0);
        CHECK(__atomic_add_fetch(in_use, n, __ATOMIC_SEQ_CST) <= 10);
        if (i % 4 == 0)
            go_yield();
        __atomic_sub_fetch(in_use, n, __ATOMIC_SEQ_CST);
        go_sem_release(s, n);
    }
    go_sem_release(done, 1);
}

TEST(never_too_many)
{
    go_sem s, done = { 0 };
    int64_t in_use = 0;
    go_sem_init(&s, 10);
    for (int64_t n = 1; n <= 10; n++)
        go(use, &s, n, 200, &in_use, &done);
    CHECK_EQ(go_sem_acquire(&done, 10), 0);
    CHECK_EQ(s.state, 20);
}
