// SPDX-License-Identifier: MIT
// go_mutex: exclusion, fairness, misuse, goroutines and threads at once.
#include <goroutine.h>

#include <pthread.h>
#include <sched.h>

#include "test.h"

/* A goroutine's start is slow under ThreadSanitizer. */
#define SLOW (HAVE_TSAN ? 10 : 1)

static void hammer(go_mutex *m, int *counter, int n, go_waitgroup *wg)
{
    for (int i = 0; i < n; i++) {
        if (i % 3 == 0) {
            while (!go_mutex_trylock(m))
                go_yield();
        } else {
            go_mutex_lock(m);
        }
        ++*counter;
        if (i % 16 == 0)
            go_yield(); /* so that others find it locked, at one P too */
        go_mutex_unlock(m);
    }
    go_waitgroup_done(wg);
}

TEST(sizes)
{
    CHECK_EQ(sizeof(go_mutex), 8);
    CHECK_EQ(sizeof(go_rwmutex), 24);
    CHECK_EQ(sizeof(go_once), 12);
    CHECK_EQ(sizeof(go_waitgroup), 16);
    CHECK_EQ(sizeof(go_sem), 8);
    CHECK_EQ(sizeof(go_cond), 4);
}

TEST(excludes)
{
    go_mutex m = { 0 };
    go_waitgroup wg = { 0 };
    int counter = 0;
    for (int i = 0; i < 10; i++) {
        go_waitgroup_add(&wg, 1);
        go(hammer, &m, &counter, 1000, &wg);
    }
    go_waitgroup_wait(&wg);
    CHECK_EQ(counter, 10000);
    CHECK_EQ(m.state, 0);
    CHECK_EQ(m.waiters, 0);
}

struct mixed {
    go_mutex m;
    go_waitgroup wg;
    int counter;
};

static void *thread_hammer(void *arg)
{
    struct mixed *x = arg;
    hammer(&x->m, &x->counter, 1000, &x->wg);
    return NULL;
}

TEST(threads_and_goroutines)
{
    struct mixed x = { 0 };
    pthread_t threads[3];
    go_waitgroup_add(&x.wg, 6);
    for (int i = 0; i < 3; i++) {
        go(hammer, &x.m, &x.counter, 1000, &x.wg);
        REQUIRE(pthread_create(&threads[i], NULL, thread_hammer, &x) == 0);
    }
    /* A thread counts from its first call on: until then a wait of ours would be a deadlock. */
    go_block_enter();
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    go_block_leave();
    go_waitgroup_wait(&x.wg);
    CHECK_EQ(x.counter, 6000);
}

TEST(try_does_not_wait)
{
    go_mutex m = { 0 };
    CHECK(go_mutex_trylock(&m));
    CHECK(!go_mutex_trylock(&m));
    go_mutex_unlock(&m);
    CHECK(go_mutex_trylock(&m));
    go_mutex_unlock(&m);
}

static void other_unlocks(go_mutex *m)
{
    go_mutex_unlock(m);
}

TEST(another_may_unlock)
{
    go_mutex m = { 0 };
    go_mutex_lock(&m);
    go(other_unlocks, &m);
    go_mutex_lock(&m);
    go_mutex_unlock(&m);
}

static void hog(go_mutex *m, bool *stop, go_waitgroup *wg)
{
    for (;;) {
        go_mutex_lock(m);
        for (go_time until = go_now() + 100 * GO_MICROSECOND; go_now() < until;)
            ;
        bool end = *stop;
        go_mutex_unlock(m);
        if (end)
            break;
    }
    go_waitgroup_done(wg);
}

/* One that locks again at once must not shut out one that comes now and then. */
TEST(nobody_starves)
{
    go_mutex m = { 0 };
    go_waitgroup wg = { 0 };
    bool stop = false;
    go_waitgroup_add(&wg, 1);
    go(hog, &m, &stop, &wg);
    for (int i = 0; i < 10; i++) {
        go_sleep(100 * GO_MICROSECOND);
        go_mutex_lock(&m);
        if (i == 9)
            stop = true;
        go_mutex_unlock(&m);
    }
    go_waitgroup_wait(&wg);
}

static void in_turn(go_mutex *m, int me, int *order, int *n, go_waitgroup *wg)
{
    go_mutex_lock(m);
    order[(*n)++] = me;
    go_mutex_unlock(m);
    go_waitgroup_done(wg);
}

/* Those that have been woken in vain wait in front; all get it in the end. */
TEST(all_waiters_get_it)
{
    enum { N = 100 / SLOW };
    go_mutex m = { 0 };
    go_waitgroup wg = { 0 };
    int order[N], n = 0, seen[N] = { 0 };
    go_mutex_lock(&m);
    go_waitgroup_add(&wg, N);
    for (int i = 0; i < N; i++)
        go(in_turn, &m, i, order, &n, &wg);
    while (__atomic_load_n(&m.state, __ATOMIC_RELAXED) / 8 < N)
        go_yield();
    go_mutex_unlock(&m);
    go_waitgroup_wait(&wg);
    CHECK_EQ(n, N);
    for (int i = 0; i < N; i++)
        seen[order[i]]++;
    for (int i = 0; i < N; i++)
        CHECK_EQ(seen[i], 1);
}

static void lock_one(go_mutex *m, go_waitgroup *wg)
{
    go_mutex_lock(m);
    go_mutex_unlock(m);
    go_waitgroup_done(wg);
}

/* Many addresses at once: the trees of the table grow and shrink. */
TEST(many_mutexes)
{
    enum { N = 3000 / SLOW / SLOW };
    static go_mutex ms[N];
    go_waitgroup wg = { 0 };
    for (int i = 0; i < N; i++)
        go_mutex_lock(&ms[i]);
    go_waitgroup_add(&wg, 2 * N);
    for (int i = 0; i < 2 * N; i++)
        go(lock_one, &ms[i % N], &wg);
    for (int i = 0; i < N; i++)
        while (__atomic_load_n(&ms[i].state, __ATOMIC_RELAXED) / 8 < 2)
            go_yield();
    for (int i = 0; i < N; i++)
        go_mutex_unlock(&ms[i * 7 % N]);
    go_waitgroup_wait(&wg);
    for (int i = 0; i < N; i++)
        CHECK_EQ(ms[i].state, 0);
}

static go_mutex meeting_lock;
static int meeting, met;

/* The two threads come to the lock at the same moment, and hold it for as long as the other may take to come. */
static void *meets(void *meetings)
{
    for (int i = 1; i <= (int)(intptr_t)meetings; i++) {
        __atomic_fetch_add(&meeting, 1, __ATOMIC_ACQ_REL);
        while (__atomic_load_n(&meeting, __ATOMIC_ACQUIRE) < 2 * i)
            sched_yield();
        go_mutex_lock(&meeting_lock);
        for (volatile int held = i % 128; held > 0;)
            held--;
        go_mutex_unlock(&meeting_lock);
        __atomic_fetch_add(&met, 1, __ATOMIC_ACQ_REL);
        while (__atomic_load_n(&met, __ATOMIC_ACQUIRE) < 2 * i)
            sched_yield();
    }
    return NULL;
}

/* One may come to wait in the middle of an unlock that has seen nobody, and there is no later unlock to wake it. With one P, for
 * then nobody spins before it waits. */
TEST(no_newcomer_is_left)
{
    pthread_t threads[2];
    void *meetings = (void *)(intptr_t)(20000 / SLOW);
    for (int i = 0; i < 2; i++)
        REQUIRE(pthread_create(&threads[i], NULL, meets, meetings) == 0);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    CHECK_EQ(meeting_lock.state, 0);
}

CHILD(unlock_unlocked)
{
    go_mutex m = { 0 };
    go_mutex_unlock(&m);
}

CHILD(unlock_twice)
{
    go_mutex m = { 0 };
    go_mutex_lock(&m);
    go_mutex_unlock(&m);
    go_mutex_unlock(&m);
}

CHILD(lock_twice)
{
    go_mutex m = { 0 };
    go_mutex_lock(&m);
    go_mutex_lock(&m);
}

TEST(misuse_is_fatal)
{
    struct test_result r = test_run_child("unlock_unlocked", NULL);
    CHECK_EQ(r.status, 2);
    CHECK_CONTAINS(r.output, "fatal error: sync: unlock of unlocked mutex\n");
    r = test_run_child("unlock_twice", NULL);
    CHECK_EQ(r.status, 2);
    CHECK_CONTAINS(r.output, "fatal error: sync: unlock of unlocked mutex\n");
    r = test_run_child("lock_twice", NULL);
    CHECK_EQ(r.status, 2);
    CHECK_CONTAINS(r.output, "fatal error: all goroutines are asleep - deadlock!\n");
    CHECK_CONTAINS(r.output, "[sync.Mutex.Lock]");
}

static go_mutex held_by_thread;
static int thread_has_it;

static void *hold(void *arg)
{
    (void)arg;
    go_mutex_lock(&held_by_thread); /* its only call so far, and it need not wait */
    __atomic_store_n(&thread_has_it, 1, __ATOMIC_RELEASE);
    for (go_time until = go_now() + 20 * GO_MILLISECOND; go_now() < until;)
        ;
    go_mutex_unlock(&held_by_thread);
    return NULL;
}

/* All goroutines wait, but a plain thread holds the lock: that is no deadlock. */
TEST(a_thread_may_hold_it)
{
    pthread_t t;
    REQUIRE(pthread_create(&t, NULL, hold, NULL) == 0);
    while (!__atomic_load_n(&thread_has_it, __ATOMIC_ACQUIRE))
        go_yield();
    go_mutex_lock(&held_by_thread);
    go_mutex_unlock(&held_by_thread);
    pthread_join(t, NULL);
}
