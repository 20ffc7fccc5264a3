// SPDX-License-Identifier: MIT
// go_sleep, go_after, go_after_func, timers, tickers: nothing early, nothing stale, nothing twice.
#include <goroutine.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "test.h"

#include "sched/park.h"
#include "sched/section.h"

/* A goroutine's start is slow under ThreadSanitizer. */
#define SLOW (HAVE_TSAN ? 10 : 1)

static int get(int *n)
{
    return __atomic_load_n(n, __ATOMIC_SEQ_CST);
}

TEST(sleep_at_least)
{
    go_time t = go_now();
    CHECK_EQ(go_sleep(5 * GO_MILLISECOND), 0);
    CHECK(go_now() - t >= 5 * GO_MILLISECOND);
    CHECK_EQ(go_sleep(0), 0);
    CHECK_EQ(go_sleep(-GO_HOUR), 0);
}

static void sleep_and_note(int ms, int *order, int *n, go_waitgroup *wg)
{
    go_time t = go_now();
    go_sleep(ms * 10 * GO_MILLISECOND);
    CHECK(go_now() - t >= ms * 10 * GO_MILLISECOND);
    order[__atomic_fetch_add(n, 1, __ATOMIC_SEQ_CST)] = ms;
    go_waitgroup_done(wg);
}

TEST(many_sleepers)
{
    enum { N = 20 };
    int order[N], n = 0, sum = 0;
    go_waitgroup wg = { 0 };
    go_waitgroup_add(&wg, N);
    for (int i = 0; i < N; i++)
        go(sleep_and_note, i * 7 % N, order, &n, &wg);
    go_waitgroup_wait(&wg);
    for (int i = 0; i < N; i++)
        sum += order[i];
    CHECK_EQ(sum, N * (N - 1) / 2);
}

static void *thread_sleeps(void *arg)
{
    (void)arg;
    go_time t = go_now();
    CHECK_EQ(go_sleep(2 * GO_MILLISECOND), 0);
    CHECK(go_now() - t >= 2 * GO_MILLISECOND);
    return NULL;
}

static void join(pthread_t t)
{
    go_block_enter();
    pthread_join(t, NULL);
    go_block_leave();
}

TEST(threads_sleep)
{
    pthread_t t;
    REQUIRE(pthread_create(&t, NULL, thread_sleeps, NULL) == 0);
    join(t);
}

static go_waitgroup given_back;

static void gives_back(chan(go_time) c)
{
    chan_unref(c);
    go_waitgroup_done(&given_back);
}

TEST(after)
{
    go_time t = go_now(), v = 0;
    chan(go_time) c = go_after(3 * GO_MILLISECOND);
    CHECK_EQ(chan_try_recv(c, &v), -EAGAIN);
    CHECK_EQ(chan_recv(c, &v), 1);
    CHECK(v >= t + 3 * GO_MILLISECOND && v <= go_now());
    CHECK_EQ(chan_try_recv(c, &v), -EAGAIN);
    chan_unref(c);
    c = go_after(0);
    CHECK_EQ(chan_try_recv(c, &v), 1);
    CHECK_EQ(chan_try_recv(c, &v), -EAGAIN);
    chan_unref(c);
    c = go_after(-1);
    CHECK_EQ(chan_recv(c, NULL), 1);
    chan_unref(c);
    chan_unref(go_after(INT64_MAX));
    for (int i = 0; i < 100; i++) /* nobody waits for it any more when it fires */
        chan_unref(go_after(i % 3 * GO_MICROSECOND));
    for (int i = 0; i < 1000; i++) { /* several give theirs back while it fires */
        c = go_after(i % 50 * GO_MICROSECOND);
        go_waitgroup_add(&given_back, 2);
        go(gives_back, chan_ref(c));
        go(gives_back, c);
        go_waitgroup_wait(&given_back);
    }
    go_sleep(GO_MILLISECOND);
}

/* Several at once fire in the order of their times. (They may be received in another: of those that have fired select takes any.) */
TEST(after_in_order)
{
    enum { N = 5 };
    chan(go_time) c[N];
    go_time fired[N] = { 0 };
    int got[N] = { 0 };
    for (int i = 0; i < N; i++)
        c[i] = go_after((i * 3 % N) * 20 * GO_MILLISECOND);
    for (int n = 0; n < N; n++) {
        go_time v;
        int i = go_select(case_recv(c[0], &v), case_recv(c[1], &v), case_recv(c[2], &v), case_recv(c[3], &v),
                          case_recv(c[4], &v));
        REQUIRE(i >= 0 && i < N);
        got[i]++;
        fired[i * 3 % N] = v;
    }
    for (int i = 0; i < N; i++) {
        CHECK_EQ(got[i], 1);
        CHECK(i == 0 || fired[i] >= fired[i - 1]);
        chan_unref(c[i]);
    }
}

TEST(stop_and_reset)
{
    go_time v;
    go_timer *t = go_timer_new(GO_HOUR);
    CHECK(go_timer_stop(t));
    CHECK(!go_timer_stop(t));
    CHECK(!go_timer_reset(t, GO_MILLISECOND));
    CHECK_EQ(chan_recv(go_timer_chan(t), &v), 1);
    CHECK(!go_timer_stop(t));
    CHECK(!go_timer_reset(t, GO_HOUR));
    CHECK(go_timer_reset(t, 2 * GO_HOUR));
    go_time before = go_now();
    CHECK(go_timer_reset(t, GO_MILLISECOND));
    CHECK_EQ(chan_recv(go_timer_chan(t), &v), 1);
    CHECK(v >= before + GO_MILLISECOND);
    CHECK_EQ(chan_len(go_timer_chan(t)), 0);
    CHECK_EQ(chan_cap(go_timer_chan(t)), 0);
    go_timer_free(t);
    go_timer_free(NULL);
}

/* What was fired and not received is gone after stop or reset, and counts as pending, as in Go 1.23. */
TEST(no_stale_values)
{
    go_time v;
    go_timer *t = go_timer_new(0);
    CHECK(go_timer_stop(t));
    CHECK_EQ(chan_try_recv(go_timer_chan(t), &v), -EAGAIN);
    CHECK(!go_timer_reset(t, -GO_SECOND));
    CHECK(go_timer_reset(t, GO_HOUR));
    CHECK_EQ(chan_try_recv(go_timer_chan(t), &v), -EAGAIN);
    CHECK(go_timer_reset(t, 0));
    CHECK_EQ(chan_recv(go_timer_chan(t), &v), 1);
    CHECK(!go_timer_stop(t));
    go_timer_reset(t, GO_MILLISECOND);
    go_sleep(3 * GO_MILLISECOND);
    CHECK(go_timer_stop(t));
    CHECK_EQ(chan_try_recv(go_timer_chan(t), &v), -EAGAIN);
    go_timer_free(t);

    t = go_ticker_new(GO_MILLISECOND);
    go_sleep(3 * GO_MILLISECOND);
    CHECK(go_timer_stop(t));
    CHECK(!go_timer_stop(t));
    CHECK_EQ(chan_try_recv(go_timer_chan(t), &v), -EAGAIN);
    CHECK(!go_timer_reset(t, GO_HOUR));
    CHECK_EQ(chan_try_recv(go_timer_chan(t), &v), -EAGAIN);
    go_timer_free(t);
}

TEST(ticker)
{
    enum { N = 10 };
    go_time start = go_now(), v = 0;
    go_timer *t = go_ticker_new(2 * GO_MILLISECOND);
    for (int i = 1; i <= N; i++) {
        CHECK_EQ(chan_recv(go_timer_chan(t), &v), 1);
        CHECK(v >= start + i * 2 * GO_MILLISECOND);
    }
    /* For a slow receiver ticks are dropped. */
    go_sleep(20 * GO_MILLISECOND);
    CHECK_EQ(chan_try_recv(go_timer_chan(t), &v), 1);
    CHECK_EQ(chan_try_recv(go_timer_chan(t), NULL) == 1 && go_now() < v + 2 * GO_MILLISECOND, 0);
    /* Another beat. */
    go_time reset = go_now();
    CHECK(go_timer_reset(t, 3 * GO_MILLISECOND));
    CHECK_EQ(chan_recv(go_timer_chan(t), &v), 1);
    CHECK(v >= reset + 3 * GO_MILLISECOND);
    CHECK_EQ(chan_recv(go_timer_chan(t), &v), 1);
    CHECK(v >= reset + 6 * GO_MILLISECOND);
    go_timer_free(t);
}

static void note(void *arg)
{
    __atomic_add_fetch((int *)arg, 1, __ATOMIC_SEQ_CST);
}

TEST(after_func)
{
    int n = 0;
    go_timer *t = go_after_func(GO_MILLISECOND, note, &n);
    CHECK(go_timer_chan(t) == NULL);
    while (get(&n) < 1)
        go_sleep(GO_MILLISECOND);
    CHECK(!go_timer_stop(t));
    CHECK(!go_timer_reset(t, 0));
    while (get(&n) < 2)
        go_yield();
    CHECK(!go_timer_reset(t, GO_HOUR));
    CHECK(go_timer_stop(t));
    go_timer_free(t);
    t = go_after_func(-1, note, &n);
    while (get(&n) < 3)
        go_yield();
    go_timer_free(t);
    t = go_after_func(2 * GO_MILLISECOND, note, &n);
    CHECK(go_timer_stop(t));
    go_timer_free(t);
    go_timer_free(go_after_func(2 * GO_MILLISECOND, note, &n));
    go_sleep(6 * GO_MILLISECOND);
    CHECK_EQ(get(&n), 3);
}

static void look_outside(void *arg)
{
    int *n = arg;
    CHECK_EQ(go_cancelled(), 0);
    CHECK_EQ(go_sleep(GO_MICROSECOND), 0);
    CHECK(go_id() > 1);
    __atomic_store_n(n, 1, __ATOMIC_SEQ_CST);
}

static void sets_timer(go_scope *s, int *n, go_timer **t)
{
    go_scope_cancel(s);
    *t = go_after_func(GO_MILLISECOND, look_outside, n);
}

TEST(after_func_is_outside_of_scopes)
{
    int n = 0;
    go_timer *t = NULL;
    go_scope *s = go_scope_open();
    go_scope_go(s, sets_timer, s, &n, &t);
    CHECK_EQ(go_scope_close(s), -ECANCELED);
    while (!get(&n))
        go_sleep(GO_MILLISECOND);
    go_timer_free(t);
}

static void again(void *arg);
static struct chain {
    int n;
    go_timer *t;
    go_sem done;
} chain;

static void again(void *arg)
{
    struct chain *x = arg;
    if (--x->n > 0)
        go_timer_reset(x->t, x->n % 2 ? 0 : GO_MICROSECOND);
    else
        go_sem_release(&x->done, 1);
}

/* A function that sets its own timer again. */
TEST(after_func_chain)
{
    chain.n = 100;
    chain.t = go_after_func(GO_HOUR, again, &chain);
    CHECK(go_timer_reset(chain.t, 0));
    CHECK_EQ(go_sem_acquire(&chain.done, 1), 0);
    go_timer_free(chain.t);
}

/* What a timer stops or sets anew at the moment it fires: nothing earlier is seen afterwards. */
static void churn(int seed, go_waitgroup *wg)
{
    go_timer *t = go_timer_new(GO_HOUR);
    unsigned r = (unsigned)seed;
    for (int i = 0; i < 200 / SLOW; i++) {
        go_time v;
        r = r * 1664525 + 1013904223;
        go_timer_reset(t, (r >> 8) % 30 * GO_MICROSECOND);
        for (unsigned k = (r >> 16) % 8; k > 0; k--)
            go_yield();
        if (r >> 31) {
            go_time now = go_now();
            go_timer_reset(t, 50 * GO_MICROSECOND);
            CHECK_EQ(chan_recv(go_timer_chan(t), &v), 1);
            CHECK(v >= now + 50 * GO_MICROSECOND);
        } else {
            go_timer_stop(t);
            go_yield();
        }
        CHECK_EQ(chan_try_recv(go_timer_chan(t), &v), -EAGAIN);
    }
    go_timer_free(t);
    go_waitgroup_done(wg);
}

TEST(stop_and_reset_races)
{
    go_waitgroup wg = { 0 };
    go_waitgroup_add(&wg, 8);
    for (int i = 0; i < 8; i++)
        go(churn, i, &wg);
    go_waitgroup_wait(&wg);
}

/* One timer in the hands of many. */
static void fiddle(go_timer *t, int seed, go_waitgroup *wg)
{
    unsigned r = (unsigned)seed;
    for (int i = 0; i < 300 / SLOW; i++) {
        r = r * 1664525 + 1013904223;
        switch ((r >> 16) % 4) {
        case 0:
            go_timer_stop(t);
            break;
        case 1:
            chan_try_recv(go_timer_chan(t), NULL);
            break;
        default:
            go_timer_reset(t, ((r >> 20) % 40 + 1) * GO_MICROSECOND);
        }
        if ((r >> 28) == 0)
            go_yield();
    }
    go_waitgroup_done(wg);
}

static void *thread_fiddles(void *arg)
{
    void **x = arg;
    fiddle(x[0], 12345, x[1]);
    return NULL;
}

static void share(go_timer *t)
{
    pthread_t thread;
    go_waitgroup wg = { 0 };
    void *x[] = { t, &wg };
    go_waitgroup_add(&wg, 5);
    REQUIRE(pthread_create(&thread, NULL, thread_fiddles, x) == 0);
    for (int i = 0; i < 4; i++)
        go(fiddle, t, i, &wg);
    join(thread);
    go_waitgroup_wait(&wg);
    go_timer_stop(t);
    CHECK_EQ(chan_try_recv(go_timer_chan(t), NULL), -EAGAIN);
    go_timer_reset(t, GO_MICROSECOND);
    CHECK_EQ(chan_recv(go_timer_chan(t), NULL), 1);
    go_timer_free(t);
}

TEST(one_timer_for_many)
{
    share(go_timer_new(GO_HOUR));
    share(go_ticker_new(GO_HOUR));
}

static void *thread_timers(void *arg)
{
    int *n = arg;
    go_time v;
    chan(go_time) c = go_after(2 * GO_MILLISECOND);
    CHECK_EQ(chan_recv(c, &v), 1);
    chan_unref(c);
    go_timer *t = go_ticker_new(GO_MILLISECOND);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(chan_recv(go_timer_chan(t), &v), 1);
    CHECK(go_timer_stop(t));
    go_timer_free(t);
    t = go_after_func(GO_MILLISECOND, note, n);
    while (get(n) == 0)
        go_sleep(GO_MILLISECOND);
    go_timer_free(t);
    return NULL;
}

/* All goroutines sleep, one of them for long; a thread's timers are earlier than what the idle wait for. */
TEST(timers_of_threads)
{
    pthread_t t;
    int n = 0;
    go_timer *late = go_timer_new(GO_HOUR);
    REQUIRE(pthread_create(&t, NULL, thread_timers, &n) == 0);
    while (get(&n) == 0)
        go_sleep(10 * GO_MILLISECOND);
    join(t);
    go_timer_free(late);
}

CHILD(ticker_zero)
{
    go_ticker_new(0);
}

CHILD(ticker_reset)
{
    go_timer_reset(go_ticker_new(1), -1);
}

CHILD(stopped)
{
    go_timer *t = go_timer_new(GO_HOUR);
    go_timer_stop(t);
    chan_recv(go_timer_chan(t), NULL);
}

CHILD(received)
{
    chan(go_time) c = go_after(GO_MILLISECOND);
    chan_recv(c, NULL);
    chan_recv(c, NULL);
}

/* A goroutine's own timer is in its G, and a late firing finds there what the G's next goroutine has put in its place: what stands
 * where its ticket was claims nothing, also if it looks like one. */
static struct g *sleeper;

static void waits_for_a_value(uint64_t a, uint64_t b, uint64_t c, uint64_t d, chan(int) values, chan(bool) done)
{
    struct m *mp = section_enter();
    CHECK(a == b && b == c && c == d);
    sleeper = mp->cur;
    section_leave(mp);
    int v = 0;
    CHECK_EQ(chan_recv(values, &v), 1);
    CHECK_EQ(v, 4711);
    CHECK(a == 0 || (load_relaxed(&sleeper->token) | TOKEN_ARMED) == a);
    chan_send(done, true);
}

CHILD(late_by_a_life)
{
    alarm(30); /* what fails here may go on for ever */
    chan(int) values = chan_make(int, 0);
    chan(bool) done = chan_make(bool, 1);
    struct g *before = NULL;
    uint64_t ticket = 0; /* of the next wait of the G that was used last */
    for (int i = 0; i < 10; i++) {
        sleeper = NULL;
        go(waits_for_a_value, ticket, ticket, ticket, ticket, values, done);
        while (!sleeper || load_relaxed(&sleeper->status) != G_WAITING)
            go_yield();
        CHECK(i == 0 || sleeper == before);
        before = sleeper;
        struct m *mp = section_enter();
        wait_time_up(mp, &sleeper->run.timer, os_now());
        section_leave(mp);
        chan_send(values, 4711);
        chan_recv(done, NULL);
        while (load_relaxed(&sleeper->status) != G_DEAD)
            go_yield();
        ticket = (load_relaxed(&sleeper->token) | TOKEN_ARMED) + 2;
    }
    chan_unref(values), chan_unref(done);
    puts("nothing");
}

TEST(a_late_time_up_takes_no_argument_for_a_ticket)
{
    struct test_result r = test_run_child("late_by_a_life", "GOMAXPROCS=1", "GODEBUG=preempt=0", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_STR(r.output, "nothing\n");
}

/*
 * A tick is noticed, and before it is dealt with the ticker is set anew and is due again: then that one is dealt with, and its
 * entry in the heap is not left behind uncounted.
 */
static uint32_t outdated(const struct timer_queue *q)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < q->near_count; i++)
        n += load_relaxed(&timer_of(&q->near[i])->when) != q->near[i].when;
    return n;
}

CHILD(late_tick)
{
    go_timer *ticker = go_ticker_new(GO_HOUR);
    struct timer *t = (struct timer *)ticker; /* its first member, see time.c */
    for (int i = 0; i < 10; i++) {
        go_timer_reset(ticker, GO_MILLISECOND / 10);
        for (go_time until = go_now() + GO_MILLISECOND; go_now() < until;)
            ;
        struct m *mp = section_enter();
        t->fire(mp, t);
        CHECK(load_relaxed(&t->when) > 0);
        CHECK_EQ(outdated(&mp->p->timers), load_relaxed(&mp->p->timers.stale));
        section_leave(mp);
        CHECK_EQ(chan_len(go_timer_chan(ticker)), 0);
        CHECK(chan_recv(go_timer_chan(ticker), NULL) == 1);
    }
    go_timer_free(ticker);
    puts("ticked");
}

TEST(a_ticker_set_anew_while_it_fires)
{
    struct test_result r = test_run_child("late_tick", "GOMAXPROCS=1", "GODEBUG=preempt=0", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_STR(r.output, "ticked\n");
}

TEST(misuse_is_fatal)
{
    static const struct {
        const char *child, *text;
    } cases[] = {
        { "ticker_zero", "fatal error: non-positive interval for NewTicker\n" },
        { "ticker_reset", "fatal error: non-positive interval for Ticker.Reset\n" },
        { "stopped", "fatal error: all goroutines are asleep - deadlock!\n" },
        { "received", "fatal error: all goroutines are asleep - deadlock!\n" },
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct test_result r = test_run_child(cases[i].child, NULL);
        CHECK_EQ(r.status, 2);
        CHECK_CONTAINS(r.output, cases[i].text);
    }
}

static void *makes_timers(void *arg)
{
    for (int i = 0; i < 3000 / SLOW; i++) {
        go_timer *t = go_timer_new(i % 3 * GO_MICROSECOND);
        if (i % 2)
            go_sleep(GO_MICROSECOND);
        go_timer_stop(t);
        go_timer_free(t);
    }
    return arg;
}

/* A timer that fires while it is stopped and used by somebody else: nothing is written that the firing reads, says ThreadSanitizer. */
TEST(timers_used_again)
{
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, makes_timers, NULL);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
}
