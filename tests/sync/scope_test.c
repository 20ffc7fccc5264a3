// SPDX-License-Identifier: MIT
// Scopes: inheritance, causes, deadlines, shields, closing, and that a wait that is cancelled has done nothing.
#include <goroutine.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "test.h"

#include "sched/park.h"
#include "sched/scope.h"
#include "sched/section.h"

/* A goroutine's start is slow under ThreadSanitizer. */
#define SLOW (HAVE_TSAN ? 10 : 1)

static int add(int *n, int by)
{
    return __atomic_add_fetch(n, by, __ATOMIC_SEQ_CST);
}

static int get(int *n)
{
    return __atomic_load_n(n, __ATOMIC_SEQ_CST);
}

static void until(int *n, int value)
{
    while (get(n) < value)
        go_yield();
}

static void count(int *n)
{
    add(n, 1);
}

static void sleeper(int *started, int *result)
{
    add(started, 1);
    *result = go_sleep(INT64_MAX);
}

TEST(close_waits_for_all)
{
    int n = 0;
    go_scope *s = go_scope_open();
    for (int i = 0; i < 100; i++)
        go_scope_go(s, count, &n);
    CHECK_EQ(go_scope_close(s), 0);
    CHECK_EQ(n, 100);
    CHECK_EQ(go_scope_close(go_scope_open()), 0);
}

/* Whoever has closed a scope finds its goroutines counted as ended. */
TEST(nobody_is_left)
{
    int n = 0;
    for (int i = 0; i < 300 / SLOW; i++) {
        int before = go_count();
        go_scope *s = go_scope_open();
        for (int k = 0; k < 3; k++)
            go_scope_go(s, count, &n);
        if (i % 2)
            until(&n, 3 * (i + 1));
        CHECK_EQ(go_scope_close(s), 0);
        CHECK(go_count() <= before);
    }
}

static void tree(int *n, int depth)
{
    add(n, 1);
    for (int i = 0; depth > 0 && i < 3; i++)
        go(tree, n, depth - 1);
    go_yield();
}

TEST(go_inherits)
{
    int n = 0;
    go_scope *s = go_scope_open();
    go_scope_go(s, tree, &n, 4);
    CHECK_EQ(go_scope_close(s), 0);
    CHECK_EQ(n, 1 + 3 + 9 + 27 + 81);
}

TEST(options_take_a_scope)
{
    int n = 0;
    go_scope *s = go_scope_open();
    go_options o = { .scope = s, .name = "counts" };
    go_with(o, tree, &n, 1);
    CHECK_EQ(go_scope_close(s), 0);
    CHECK_EQ(n, 4);
}

static void launch_named(int *n)
{
    go_options o = { .name = "inherits too" };
    go_with(o, sleeper, n, n + 1);
}

TEST(options_without_scope_inherit)
{
    int n[2] = { 0 };
    go_scope *s = go_scope_open();
    go_scope_go(s, launch_named, n);
    until(n, 1);
    go_scope_cancel(s);
    CHECK_EQ(go_scope_close(s), -ECANCELED);
    CHECK_EQ(n[1], -ECANCELED);
}

TEST(cancel_ends_waits)
{
    enum { N = 50 };
    int started = 0, results[N] = { 0 };
    go_scope *s = go_scope_open();
    for (int i = 0; i < N; i++)
        go_scope_go(s, sleeper, &started, &results[i]);
    until(&started, N);
    go_scope_cancel(s);
    CHECK_EQ(go_scope_close(s), -ECANCELED);
    for (int i = 0; i < N; i++)
        CHECK_EQ(results[i], -ECANCELED);
}

/* Those that have not begun are not lost, and learn it at their first wait. */
TEST(cancel_before_the_first_run)
{
    int started = 0, result = 0;
    go_scope *s = go_scope_open();
    go_scope_cancel(s);
    go_scope_go(s, sleeper, &started, &result);
    CHECK_EQ(go_scope_close(s), -ECANCELED);
    CHECK_EQ(result, -ECANCELED);
}

static void waits_of_all_kinds(go_scope *s, int *failed)
{
    go_mutex m = { 0 };
    go_cond c = { 0 };
    go_sem sem = { 0 };
    go_waitgroup wg = { 0 };
    go_once once = { 0 };
    int n = 0;
    go_scope_cancel(s);
    CHECK_EQ(go_cancelled(), -ECANCELED);
    /* What need not wait goes on. */
    CHECK_EQ(go_sleep(0), 0);
    go_sem_release(&sem, 2);
    CHECK_EQ(go_sem_acquire(&sem, 1), 0);
    /* What would wait does not. */
    CHECK_EQ(go_sem_acquire(&sem, 2), -ECANCELED);
    CHECK(go_sem_try_acquire(&sem, 1));
    go_mutex_lock(&m);
    CHECK_EQ(go_cond_wait(&c, &m), -ECANCELED);
    CHECK(!go_mutex_trylock(&m));
    CHECK_EQ(c.waiters, 0);
    CHECK_EQ(go_sleep(1), -ECANCELED);
    /* Locks are not cancelled. */
    go_waitgroup_add(&wg, 1);
    go(go_waitgroup_done, &wg);
    go_waitgroup_wait(&wg);
    go(go_mutex_unlock, &m);
    go_mutex_lock(&m);
    go_mutex_unlock(&m);
    (void)once;
    (void)n;
    add(failed, 1);
}

struct given_up {
    go_scope *scope;
    atomic_int stage;
    bool disarmed;
    int result;
};

static void *cancels_the_armed(void *arg)
{
    struct given_up *g = arg;
    while (atomic_load(&g->stage) < 1)
        sched_yield();
    go_scope_cancel(g->scope);
    atomic_store(&g->stage, 2);
    return NULL;
}

static void gives_up(struct given_up *g)
{
    struct m *mp = section_enter();
    wait_arm_cancellable(mp->cur, WAIT_IO);
    atomic_store(&g->stage, 1);
    while (atomic_load(&g->stage) < 2)
        sched_yield();
    g->disarmed = wait_disarm(mp->cur);
    if (!g->disarmed)
        g->result = wait_park(mp, mp->cur);
    section_leave(m_self());
}

/* Who gives up a wait that its scope has ended already is being woken, and must go through with it. */
TEST(given_up_too_late)
{
    struct given_up g = { .scope = go_scope_open(), .result = 1 };
    pthread_t thread;
    REQUIRE(pthread_create(&thread, NULL, cancels_the_armed, &g) == 0);
    go_scope_go(g.scope, gives_up, &g);
    CHECK_EQ(go_scope_close(g.scope), -ECANCELED);
    CHECK(!g.disarmed);
    CHECK_EQ(g.result, -ECANCELED);
    pthread_join(thread, NULL);
}

TEST(only_waits_are_ended)
{
    int done = 0;
    go_scope *s = go_scope_open();
    go_scope_go(s, waits_of_all_kinds, s, &done);
    CHECK_EQ(go_scope_close(s), -ECANCELED);
    CHECK_EQ(done, 1);
}

static void fails(go_scope *s, int *started, int all, int error, int *result)
{
    add(started, 1);
    until(started, all);
    if (error)
        go_scope_fail(s, error);
    *result = go_sleep(INT64_MAX);
}

TEST(first_error_wins)
{
    int started = 0, results[3];
    go_scope *s = go_scope_open();
    go_scope_fail(s, 0);
    go_scope_go(s, fails, s, &started, 3, 0, &results[0]);
    go_scope_go(s, fails, s, &started, 3, 0, &results[1]);
    go_scope_go(s, fails, s, &started, 3, -EIO, &results[2]);
    int err = go_scope_close(s);
    CHECK_EQ(err, -EIO);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(results[i], -ECANCELED);

    s = go_scope_open();
    go_scope_fail(s, -ENOENT);
    go_scope_fail(s, -EIO);
    go_scope_cancel(s);
    CHECK_EQ(go_scope_close(s), -ENOENT);

    s = go_scope_open();
    go_scope_cancel(s);
    go_scope_fail(s, -EIO);
    CHECK_EQ(go_scope_close(s), -ECANCELED);
}

TEST(deadlines)
{
    int started = 0, result = 0;
    go_scope *s = go_scope_open();
    go_time due = go_now() + 5 * GO_MILLISECOND;
    go_scope_deadline(s, due);
    go_scope_go(s, sleeper, &started, &result);
    CHECK_EQ(go_scope_close(s), -ETIMEDOUT);
    CHECK_EQ(result, -ETIMEDOUT);
    CHECK(go_now() >= due);

    s = go_scope_open(); /* one that is past */
    go_scope_deadline(s, go_now() - 1);
    go_scope_go(s, sleeper, &started, &result);
    go_scope_cancel(s);
    CHECK_EQ(go_scope_close(s), -ETIMEDOUT);

    s = go_scope_open(); /* one that does not come */
    go_scope_deadline(s, go_now() + GO_HOUR);
    go_scope_go(s, count, &started);
    CHECK_EQ(go_scope_close(s), 0);

    s = go_scope_open(); /* set anew, and taken off */
    go_scope_deadline(s, go_now() + GO_HOUR);
    go_scope_deadline(s, go_now() + GO_MILLISECOND);
    go_scope_deadline(s, INT64_MAX);
    go_sleep(5 * GO_MILLISECOND);
    CHECK_EQ(go_scope_close(s), 0);
}

static void look(int *cancelled)
{
    while (!(*cancelled = go_cancelled()))
        go_yield();
}

/* One whose deadline has passed, and perhaps nobody has noticed; *below, unless that is NULL, was opened inside in time. */
static go_scope *late_scope(go_scope **below)
{
    go_scope *s = go_scope_open();
    go_time when = go_now() + GO_MILLISECOND;
    go_scope_deadline(s, when);
    if (below) {
        go_scope_enter(s);
        *below = go_scope_open();
        go_scope_leave(s);
    }
    while (go_now() < when)
        ;
    return s;
}

/* However late the timer is noticed. */
TEST(deadline_passed_at_the_close)
{
    for (int i = 0; i < 3; i++) {
        go_scope *below, *s = late_scope(&below);
        CHECK_EQ(go_scope_close(below), -ETIMEDOUT);
        CHECK_EQ(go_scope_close(s), -ETIMEDOUT);
        s = late_scope(&below);
        CHECK_EQ(go_scope_close(s), -ETIMEDOUT); /* it takes those below along */
        CHECK_EQ(go_scope_close(below), -ETIMEDOUT);
    }
}

/* What comes after a deadline has passed comes too late, also if nobody has noticed that yet. */
TEST(deadline_passed_before_something_else)
{
    for (int i = 0; i < 3; i++) {
        go_scope *s = late_scope(NULL);
        go_scope_cancel(s);
        CHECK_EQ(go_scope_close(s), -ETIMEDOUT);
        s = late_scope(NULL);
        go_scope_fail(s, -EIO);
        CHECK_EQ(go_scope_close(s), -ETIMEDOUT);
        s = late_scope(NULL);
        go_scope_deadline(s, go_now() + GO_HOUR);
        CHECK_EQ(go_scope_close(s), -ETIMEDOUT);
        s = late_scope(NULL);
        go_scope_enter(s);
        go_scope *below = go_scope_open();
        CHECK_EQ(go_cancelled(), -ETIMEDOUT); /* opening has noticed */
        go_scope_fail(below, -EIO);
        CHECK_EQ(go_scope_close(below), -ETIMEDOUT);
        go_scope_leave(s);
        CHECK_EQ(go_scope_close(s), -ETIMEDOUT);
    }
}

TEST(cancelled_tells)
{
    int r = 0;
    CHECK_EQ(go_cancelled(), 0);
    go_scope *s = go_scope_open();
    go_scope_deadline(s, go_now() + 2 * GO_MILLISECOND);
    go_scope_go(s, look, &r);
    CHECK_EQ(go_scope_close(s), -ETIMEDOUT);
    CHECK_EQ(r, -ETIMEDOUT);
}

/* A computing goroutine that only asks now and then learns of it, too. */
static void look_hard(int *cancelled)
{
    while (!(*cancelled = go_cancelled()))
        ;
}

TEST(deadline_beside_a_hog)
{
    int r = 0;
    go_scope *s = go_scope_open();
    go_scope_deadline(s, go_now() + 2 * GO_MILLISECOND);
    go_scope_go(s, look_hard, &r);
    CHECK_EQ(go_scope_close(s), -ETIMEDOUT);
    CHECK_EQ(r, -ETIMEDOUT);
}

static void opens_child(int *started, int *results)
{
    go_scope *child = go_scope_open();
    go_scope_go(child, sleeper, started, &results[0]);
    results[1] = go_scope_close(child);
}

TEST(children_follow_parents)
{
    int started = 0, results[2] = { 0 };
    go_scope *s = go_scope_open();
    go_scope_go(s, opens_child, &started, results);
    until(&started, 1);
    go_scope_cancel(s);
    CHECK_EQ(go_scope_close(s), -ECANCELED);
    CHECK_EQ(results[0], -ECANCELED);
    CHECK_EQ(results[1], -ECANCELED);
}

TEST(children_opened_later)
{
    int started = 0, result = 0;
    go_scope *s = go_scope_open();
    go_scope_deadline(s, go_now() - 1);
    go_scope_enter(s);
    go_scope *child = go_scope_open();
    go_scope_leave(s);
    go_scope_go(child, sleeper, &started, &result);
    CHECK_EQ(go_scope_close(child), -ETIMEDOUT);
    CHECK_EQ(result, -ETIMEDOUT);
    CHECK_EQ(go_scope_close(s), -ETIMEDOUT);

    s = go_scope_open(); /* the parent's deadline is nearer than the child's */
    go_scope_deadline(s, go_now() + 2 * GO_MILLISECOND);
    go_scope_enter(s);
    child = go_scope_open();
    go_scope_leave(s);
    go_scope_deadline(child, go_now() + GO_HOUR);
    go_scope_go(child, sleeper, &started, &result);
    CHECK_EQ(go_scope_close(child), -ETIMEDOUT);
    CHECK_EQ(go_scope_close(s), -ETIMEDOUT);
}

TEST(nothing_goes_upwards)
{
    int started = 0, inner = 0, outer = 0;
    go_scope *s = go_scope_open();
    go_scope_enter(s);
    go_scope *child = go_scope_open();
    go_scope_leave(s);
    go_scope_go(s, sleeper, &started, &outer);
    go_scope_go(child, sleeper, &started, &inner);
    until(&started, 2);
    go_scope_fail(child, -EIO);
    CHECK_EQ(go_scope_close(child), -EIO);
    CHECK_EQ(inner, -ECANCELED);
    CHECK_EQ(outer, 0);
    go_scope_cancel(s);
    CHECK_EQ(go_scope_close(s), -ECANCELED);
    CHECK_EQ(outer, -ECANCELED);
}

/* A scope that is closed waits for those in a scope opened inside, too, and that one goes on. */
TEST(child_outlives_parent)
{
    int started = 0, result = 0;
    go_scope *s = go_scope_open();
    go_scope_enter(s);
    go_scope *child = go_scope_open();
    go_scope_leave(s);
    go_scope_go(child, sleeper, &started, &result);
    until(&started, 1);
    go_scope_cancel(s);
    CHECK_EQ(go_scope_close(s), -ECANCELED);
    CHECK_EQ(result, -ECANCELED);
    go_scope_go(child, count, &started);
    CHECK_EQ(go_scope_close(child), -ECANCELED);
    CHECK_EQ(started, 2);
}

static void shielded(go_scope *s, int *results)
{
    go_shield_begin();
    go_shield_begin();
    go_scope_cancel(s);
    results[0] = go_sleep(GO_MILLISECOND);
    results[1] = go_cancelled();
    go_shield_end();
    results[2] = go_sleep(GO_MICROSECOND);
    go_shield_end();
    results[3] = go_cancelled();
    results[4] = go_sleep(GO_MICROSECOND);
}

TEST(shields)
{
    int results[5];
    go_scope *s = go_scope_open();
    go_scope_go(s, shielded, s, results);
    CHECK_EQ(go_scope_close(s), -ECANCELED);
    CHECK_EQ(results[0], 0);
    CHECK_EQ(results[1], 0);
    CHECK_EQ(results[2], 0);
    CHECK_EQ(results[3], -ECANCELED);
    CHECK_EQ(results[4], -ECANCELED);
}

static void sleeps_shielded(int *started, int *result)
{
    go_shield_begin();
    add(started, 1);
    *result = go_sleep(5 * GO_MILLISECOND);
    go_shield_end();
}

TEST(shield_against_others)
{
    int started = 0, result = 1;
    go_scope *s = go_scope_open();
    go_scope_go(s, sleeps_shielded, &started, &result);
    until(&started, 1);
    go_scope_cancel(s);
    CHECK_EQ(go_scope_close(s), -ECANCELED);
    CHECK_EQ(result, 0);
}

TEST(enter_and_leave)
{
    int n = 0, started = 0, result = 0;
    go_scope *a = go_scope_open(), *b = go_scope_open();
    go_scope_enter(a);
    go(sleeper, &started, &result);
    go_scope_enter(b);
    go(count, &n);
    go_scope_cancel(a);
    CHECK_EQ(go_cancelled(), 0); /* inside b only */
    go_scope_leave(b);
    CHECK_EQ(go_cancelled(), -ECANCELED);
    CHECK_EQ(go_sleep(GO_HOUR), -ECANCELED);
    go_scope_enter(a);
    go_scope_leave(a);
    go_scope_leave(a);
    CHECK_EQ(go_cancelled(), 0);
    CHECK_EQ(go_scope_close(a), -ECANCELED);
    CHECK_EQ(go_scope_close(b), 0);
    CHECK_EQ(n, 1);
    CHECK_EQ(result, -ECANCELED);
}

static void cancel_later(go_scope *s)
{
    go_sleep(2 * GO_MILLISECOND);
    go_scope_cancel(s);
}

TEST(main_inside)
{
    go_scope *s = go_scope_open();
    go(cancel_later, s);
    go_scope_enter(s);
    CHECK_EQ(go_sleep(INT64_MAX), -ECANCELED);
    go_scope_leave(s);
    CHECK_EQ(go_scope_close(s), -ECANCELED);
}

static void ends_inside(go_scope *s)
{
    go_scope_enter(s);
    go_exit();
}

static void slow(void *n)
{
    go_yield();
    go_sleep(GO_MILLISECOND);
    add(n, 1);
}

static void defers(int *n)
{
    go_defer(slow, n);
}

/* Deferred calls count, and a goroutine that ends leaves what it has entered. */
TEST(ends)
{
    int n = 0;
    go_scope *s = go_scope_open();
    for (int i = 0; i < 10; i++) {
        go_scope_go(s, defers, &n);
        go(ends_inside, s);
    }
    go_yield();
    CHECK_EQ(go_scope_close(s), 0);
    CHECK_EQ(n, 10);
}

static void *thread_inside(void *arg)
{
    int *x = arg; /* started, result of the wait, result of close */
    go_scope *s = go_scope_open();
    go_scope_deadline(s, go_now() + 3 * GO_MILLISECOND);
    go_scope_enter(s);
    go(sleeper, &x[0], &x[1]);
    x[2] = go_sleep(INT64_MAX);
    go_scope_leave(s);
    x[3] = go_scope_close(s);
    return NULL;
}

TEST(threads_have_scopes_too)
{
    int x[4] = { 0 };
    pthread_t t;
    REQUIRE(pthread_create(&t, NULL, thread_inside, x) == 0);
    go_block_enter();
    pthread_join(t, NULL);
    go_block_leave();
    CHECK_EQ(x[0], 1);
    CHECK_EQ(x[1], -ETIMEDOUT);
    CHECK_EQ(x[2], -ETIMEDOUT);
    CHECK_EQ(x[3], -ETIMEDOUT);
}

/* --- a semaphore's waiters that give up let others in; signals are not lost --- */

static void acquire(go_sem *sem, int64_t n, int *started, int *result)
{
    add(started, 1);
    *result = go_sem_acquire(sem, n);
}

TEST(giving_up_lets_others_in)
{
    int started = 0, first = 1, second = 1;
    go_sem sem;
    go_sem_init(&sem, 1);
    go_scope *s = go_scope_open(), *t = go_scope_open();
    go_scope_go(s, acquire, &sem, (int64_t)2, &started, &first);
    while (!(__atomic_load_n(&sem.state, __ATOMIC_SEQ_CST) & 1))
        go_yield();
    go_scope_go(t, acquire, &sem, (int64_t)1, &started, &second);
    until(&started, 2);
    go_scope_cancel(s);
    CHECK_EQ(go_scope_close(s), -ECANCELED);
    CHECK_EQ(go_scope_close(t), 0);
    CHECK_EQ(first, -ECANCELED);
    CHECK_EQ(second, 0);
    CHECK_EQ(sem.state, 0);
}

/* Units released at the moment of cancellation are with somebody, or still there. */
TEST(release_against_cancel)
{
    for (int round = 0; round < 200 / SLOW; round++) {
        enum { N = 4 };
        int started = 0, results[N];
        go_sem sem = { 0 };
        go_scope *s = go_scope_open();
        for (int i = 0; i < N; i++)
            go_scope_go(s, acquire, &sem, (int64_t)1, &started, &results[i]);
        if (round % 2)
            until(&started, N);
        go_scope *canceller = go_scope_open();
        if (round % 3)
            go_scope_go(canceller, go_scope_cancel, s);
        else
            go_scope_cancel(s); /* with one P: they do not run before the release */
        go_sem_release(&sem, 2);
        go_scope_close(canceller);
        CHECK_EQ(go_scope_close(s), -ECANCELED);
        int got = 0;
        for (int i = 0; i < N; i++)
            got += results[i] == 0;
        CHECK_EQ(sem.state / 2 + got, 2);
        CHECK_EQ(sem.state & 1, 0);
    }
}

struct gate {
    go_mutex m;
    go_cond c;
    int waiting;
};

static void wait_at(struct gate *g, int *result)
{
    go_mutex_lock(&g->m);
    g->waiting++;
    *result = go_cond_wait(&g->c, &g->m);
    g->waiting--;
    go_mutex_unlock(&g->m);
}

/* One of two waiters is cancelled while one signal is given: if it was not the one that got it, the other did. */
TEST(signal_against_cancel)
{
    for (int round = 0; round < 200 / SLOW; round++) {
        struct gate g = { 0 };
        int a = 1, b = 1;
        go_scope *s = go_scope_open(), *t = go_scope_open();
        go_scope_go(s, wait_at, &g, &a);
        go_scope_go(t, wait_at, &g, &b);
        for (bool both = false; !both;) {
            go_mutex_lock(&g.m);
            both = g.waiting == 2;
            go_mutex_unlock(&g.m);
            go_yield();
        }
        go_scope *canceller = go_scope_open();
        if (round % 2)
            go_scope_go(canceller, go_scope_cancel, s);
        else
            go_scope_cancel(s); /* with one P: it does not run before the signal */
        go_cond_signal(&g.c);
        go_scope_close(canceller);
        go_scope_close(s);
        if (a == 0)
            go_scope_cancel(t);
        int r = go_scope_close(t);
        CHECK_EQ(r, a == 0 ? -ECANCELED : 0);
        CHECK_EQ(b, a == 0 ? -ECANCELED : 0);
        CHECK_EQ(g.c.waiters, 0);
    }
}

/* Many scopes at once, opened, cancelled and closed by all; a tree of them. */
static void sleep_below(int *n)
{
    add(n, 1);
    CHECK(go_sleep(INT64_MAX) < 0);
}

static void busy_tree(int depth, int *n)
{
    go_scope *s = go_scope_open();
    go_scope_deadline(s, go_now() + (depth + 1) * GO_MILLISECOND);
    for (int i = 0; depth > 0 && i < 3; i++)
        go_scope_go(s, busy_tree, depth - 1, n);
    go_scope_go(s, sleep_below, n);
    if (depth % 2)
        go_scope_cancel(s);
    CHECK(go_scope_close(s) < 0);
}

TEST(many_scopes)
{
    int n = 0;
    for (int i = 0; i < 2; i++)
        busy_tree(SLOW > 1 ? 2 : 4, &n);
    CHECK_EQ(n, 2 * (SLOW > 1 ? 13 : 121));
}

/* --- misuse --- */

CHILD(leave_without_enter)
{
    go_scope_leave(go_scope_open());
}

CHILD(leave_another)
{
    go_scope *a = go_scope_open(), *b = go_scope_open();
    go_scope_enter(a);
    go_scope_enter(b);
    go_scope_leave(a);
}

CHILD(close_from_inside)
{
    go_scope *s = go_scope_open();
    go_scope_enter(s);
    go_scope_close(s);
}

static void close_it(go_scope *s)
{
    go_scope_close(s);
}

CHILD(close_from_inside_below)
{
    go_scope *s = go_scope_open();
    go_scope_enter(s);
    go_scope *child = go_scope_open();
    go_scope_leave(s);
    go_scope_go(child, close_it, s);
    go_sleep(GO_SECOND);
}

CHILD(go_into_closed)
{
    int n;
    go_scope *s = go_scope_open();
    go_scope_close(s);
    go_scope_go(s, count, &n);
}

CHILD(enter_closed)
{
    go_scope *s = go_scope_open();
    go_scope_close(s);
    go_scope_enter(s);
}

CHILD(close_twice)
{
    go_scope *s = go_scope_open();
    go_scope_close(s);
    go_scope_close(s);
}

CHILD(shield_end)
{
    go_shield_end();
}

CHILD(close_for_ever)
{
    int x[2];
    go_scope *s = go_scope_open();
    go_scope_deadline(s, INT64_MAX);
    go_sem sem = { 0 };
    go_scope_go(s, acquire, &sem, (int64_t)1, x, x + 1);
    go_scope_close(s);
}

static void waits_in_vain(go_mutex *m)
{
    go_mutex_lock(m); /* not to be cancelled */
}

/* Who is stuck inside a cancelled scope is not helped by its deadline. */
CHILD(deadline_of_the_cancelled)
{
    go_mutex m = { 0 };
    go_mutex_lock(&m);
    go_scope *s = go_scope_open(), *below;
    go_scope_enter(s);
    below = go_scope_open();
    go_scope_leave(s);
    go_scope_go(s, waits_in_vain, &m);
    go_scope_deadline(s, go_now() + GO_HOUR);
    go_scope_deadline(below, go_now() + GO_HOUR);
    go_scope_cancel(s);
    go_scope_close(s);
}

/* The timers of scopes that were closed are no reason to wait. */
CHILD(deadline_gone)
{
    go_scope *s = go_scope_open();
    go_scope_deadline(s, go_now() + GO_HOUR);
    go_scope_close(s);
    go_sem sem = { 0 };
    go_sem_acquire(&sem, 1);
}

/*
 * The last one to leave a scope finds from it those who wait above it, unless the scope is closed and unlinked in between: then
 * who closes it has to look.
 */
static void inside_until(int *flag)
{
    until(flag, 1);
}

static void closes(go_scope *s, go_waitgroup *done)
{
    go_scope_close(s);
    go_waitgroup_done(done);
}

struct overtaking {
    go_scope *inner;
    int known, flag;
};

static void *closes_first(void *arg)
{
    struct overtaking *o = arg;
    go_count();
    add(&o->known, 1);
    lock_take(&scopes.lock);
    add(&o->flag, 1);
    while (load_relaxed(&o->inner->inside) > 0)
        sched_yield();
    lock_release(&scopes.lock); /* the one who left is waiting for it, too */
    go_scope_close(o->inner);
    return NULL;
}

TEST(closed_while_the_last_one_leaves)
{
    for (int i = 0; i < 200 / SLOW; i++) {
        struct overtaking o = { 0 };
        go_waitgroup done = { 0 };
        pthread_t thread;
        go_scope *top = go_scope_open();
        go_scope_enter(top);
        o.inner = go_scope_open();
        go_scope_leave(top);
        go_scope_go(o.inner, inside_until, &o.flag);
        go_waitgroup_add(&done, 1);
        go(closes, top, &done);
        while (load_relaxed(&scopes.closers) == 0)
            go_yield();
        REQUIRE(pthread_create(&thread, NULL, closes_first, &o) == 0);
        until(&o.known, 1);
        go_waitgroup_wait(&done);
        go_block_enter();
        pthread_join(thread, NULL);
        go_block_leave();
    }
}

/*
 * One goroutine at a time is inside, now in the scope that close sees first and now in the one that it sees last: each launches the
 * next one beside it and ends. Close is not to miss them.
 */
struct relay {
    go_scope *first, *last;
    int begun, ended;
};

static void runs_on(struct relay *r, int left)
{
    if (left > 0)
        go_scope_go(left % 2 ? r->first : r->last, runs_on, r, left - 1);
    add(left > 0 ? &r->begun : &r->ended, 1);
}

static void spin_until(int *n, int value)
{
    for (int i = 1; get(n) < value; i++)
        if (i % 10000 == 0)
            sched_yield();
}

/* On the nth of these processors, if there are so many. */
static void stay_on(const cpu_set_t *all, int n)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, all) && n-- == 0)
            CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof one, &one);
}

struct closer {
    cpu_set_t all;
    go_waitgroup done;
    int known;
};

/* A scope with n below it, the oldest of which a walk reads last. */
static go_scope *open_with(go_scope **below, int n)
{
    go_scope *s = go_scope_open();
    go_scope_enter(s);
    for (int i = 0; i < n; i++)
        below[i] = go_scope_open();
    go_scope_leave(s);
    return s;
}

/* Nobody must be left inside. */
static void close_all(go_scope *s, int *ended, go_scope **below, int n)
{
    CHECK_EQ(go_scope_close(s), 0);
    CHECK_EQ(get(ended), 1);
    spin_until(ended, 1);
    for (int i = 0; i < n; i++)
        go_scope_close(below[i]);
}

static go_time begin_beside(struct closer *c)
{
    stay_on(&c->all, 1);
    go_count();
    add(&c->known, 1);
    return go_now() + 200 * GO_MILLISECOND;
}

static void *closes_beside(void *arg)
{
    enum { BELOW = 100 };
    go_scope *below[BELOW];
    struct closer *c = arg;
    go_time until = begin_beside(c);
    for (int i = 0; i < 300 && go_now() < until; i++) {
        struct relay r = { 0 };
        go_scope *s = open_with(below, BELOW);
        r.last = below[0], r.first = below[BELOW - 1];
        go_scope_go(s, runs_on, &r, 50);
        spin_until(&r.begun, 10);
        close_all(s, &r.ended, below, BELOW);
    }
    go_waitgroup_done(&c->done);
    return NULL;
}

struct climber {
    go_scope *above, *s;
    int begun, go_on, ended;
};

static void ends_late(int *ended)
{
    go_sleep(GO_MILLISECOND);
    add(ended, 1);
}

/* Was launched below s, and is counted there; enters `above`, of which s is a child, and launches into s from there. */
static void launches_from_above(struct climber *r, int delay)
{
    go_scope_enter(r->above);
    add(&r->begun, 1);
    spin_until(&r->go_on, 1);
    for (volatile int i = 0; i < delay; i++)
        ;
    go_scope_go(r->s, ends_late, &r->ended);
    go_scope_leave(r->above);
}

static void *closes_below(void *arg)
{
    enum { BELOW = 2000 };
    static go_scope *below[BELOW];
    struct closer *c = arg;
    go_time until = begin_beside(c);
    go_scope *above = go_scope_open();
    go_scope_enter(above);
    for (int i = 0; i < 1000 && go_now() < until; i++) {
        struct climber r = { .above = above };
        r.s = open_with(below, BELOW);
        go_scope_go(below[0], launches_from_above, &r, i % 50 * 100);
        spin_until(&r.begun, 1);
        add(&r.go_on, 1);
        close_all(r.s, &r.ended, below, BELOW);
    }
    go_scope_leave(above);
    go_scope_close(above);
    go_waitgroup_done(&c->done);
    return NULL;
}

static void closed_by(void *(*closes)(void *))
{
    struct closer c = { 0 };
    pthread_t thread;
    sched_getaffinity(0, sizeof c.all, &c.all);
    stay_on(&c.all, 0);
    go_waitgroup_add(&c.done, 1);
    REQUIRE(pthread_create(&thread, NULL, closes, &c) == 0);
    until(&c.known, 1);
    go_waitgroup_wait(&c.done);
    pthread_join(thread, NULL);
}

CHILD(closed_by_a_thread)
{
    closed_by(closes_beside);
}

/* With one P, as nobody is woken then, they go on the fastest. */
TEST(launched_beside_during_the_close)
{
    struct test_result r = test_run_child("closed_by_a_thread", "GOMAXPROCS=1", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_STR(r.output, "");
}

CHILD(closed_below_by_a_thread)
{
    closed_by(closes_below);
}

TEST(launched_from_above_during_the_close)
{
    struct test_result r = test_run_child("closed_below_by_a_thread", "GOMAXPROCS=1", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_STR(r.output, "");
}

/* With one P: who waits in close has been let go, but does not run before the other one closes. */
CHILD(close_beside_one_let_go)
{
    go_waitgroup done = { 0 };
    go_scope *s = go_scope_open(), *other = go_scope_open();
    go_scope_enter(s);
    go_scope_go(other, closes, s, &done);
    while (load_relaxed(&scopes.closers) == 0)
        go_yield();
    go_scope_leave(s);
    go_scope_close(s);
}

TEST(closed_by_two)
{
    struct test_result r = test_run_child("close_beside_one_let_go", "GOMAXPROCS=1", "GODEBUG=preempt=0", NULL);
    CHECK_EQ(r.status, 2);
    CHECK_CONTAINS(r.output, "fatal error: go_scope_close: the scope is being closed already\n");
}

TEST(misuse_is_fatal)
{
    static const struct {
        const char *child, *text;
    } cases[] = {
        { "leave_without_enter", "fatal error: go_scope_leave without go_scope_enter\n" },
        { "leave_another", "fatal error: go_scope_leave: another scope was entered last\n" },
        { "close_from_inside", "fatal error: go_scope_close: the caller is inside the scope\n" },
        { "close_from_inside_below", "fatal error: go_scope_close: the caller is inside the scope\n" },
        { "go_into_closed", "fatal error: go: the scope is closed\n" },
        { "enter_closed", "fatal error: go_scope_enter: the scope is closed\n" },
        { "close_twice", "fatal error: go_scope_close: the scope is closed\n" },
        { "shield_end", "fatal error: go_shield_end without go_shield_begin\n" },
        { "close_for_ever", "fatal error: all goroutines are asleep - deadlock!\n" },
        { "deadline_of_the_cancelled", "fatal error: all goroutines are asleep - deadlock!\n" },
        { "deadline_gone", "fatal error: all goroutines are asleep - deadlock!\n" },
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct test_result r = test_run_child(cases[i].child, NULL);
        CHECK_EQ(r.status, 2);
        CHECK_CONTAINS(r.output, cases[i].text);
    }
}
