// SPDX-License-Identifier: MIT
// Select: what Go's own tests say of it (test/chan/select*.go, doubleselect.go, nonblock.go, runtime/chan_test.go), in our words;
// and what is ours: arrays of cases, points in time, ok, plain threads, cancellation.
#include <goroutine.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "test.h"

static void settle(void)
{
    for (int i = 0; i < 20; i++)
        go_yield();
    go_sleep(GO_MILLISECOND);
}

/* A plain thread counts for the deadlock detection once it has called the library: starts one and sees to that. */
struct start {
    void *(*fn)(void *);
    void *arg;
    bool started;
};

static void *start_body(void *arg)
{
    struct start *s = arg;
    void *(*fn)(void *) = s->fn;
    void *fn_arg = s->arg;
    CHECK_EQ(go_id(), 0);
    go_count();
    go_yield();
    __atomic_store_n(&s->started, true, __ATOMIC_RELEASE);
    return fn(fn_arg);
}

static pthread_t start(void *(*fn)(void *), void *arg)
{
    struct start s = { fn, arg, false };
    pthread_t t;
    REQUIRE(pthread_create(&t, NULL, start_body, &s) == 0);
    while (!__atomic_load_n(&s.started, __ATOMIC_ACQUIRE))
        go_yield();
    return t;
}

TEST(what_does_not_block)
{
    chan(int) c = chan_make(int, 1), nothing = NULL;
    int v = -1;
    bool ok = true;
    CHECK_EQ(go_select(case_recv(c, &v), case_default), 1);
    CHECK_EQ(go_select(case_default, case_recv(c, &v)), 0);
    CHECK_EQ(go_select(case_send(nothing, 1), case_recv(nothing, &v), case_default), 2);
    CHECK_EQ(v, -1);
    CHECK_EQ(go_select(case_send(c, 7), case_default), 0);
    CHECK_EQ(go_select(case_send(c, 8, &ok), case_default), 1);
    CHECK_EQ(go_select(case_recv(c, &v, &ok)), 0);
    CHECK_EQ(v, 7);
    CHECK(ok);
    CHECK_EQ(go_select(case_send(c, 9, &ok)), 0);
    CHECK(ok);
    CHECK_EQ(chan_close(c), 0);
    CHECK_EQ(go_select(case_recv(c, &v, &ok), case_default), 0);
    CHECK_EQ(v, 9);
    CHECK(ok);
    CHECK_EQ(go_select(case_recv(c, &v, &ok), case_default), 0);
    CHECK_EQ(v, 0);
    CHECK(!ok);
    CHECK_EQ(go_select(case_recv(c, NULL)), 0);
    CHECK_EQ(go_select(case_send(c, 1)), -EPIPE);
    ok = true;
    CHECK_EQ(go_select(case_send(c, 1, &ok)), 0);
    CHECK(!ok);
    CHECK_EQ(go_select(case_default), 0);
    chan_unref(c);
}

TEST(arrays)
{
    chan(int) c = chan_make(int, 3);
    int in = 5, out = 0;
    bool ok = false;
    go_case cases[3];
    memset(cases, 0, sizeof cases); /* a zeroed case never runs */
    cases[1] = case_send_from(c, &in, &ok);
    CHECK_EQ(go_selectv(cases, 3), 1);
    CHECK(ok);
    in = 6; /* read when the case runs */
    CHECK_EQ(go_selectv(cases, 3), 1);
    cases[1] = case_default;
    cases[2] = case_recv(c, &out);
    CHECK_EQ(go_selectv(cases, 3), 2);
    CHECK_EQ(out, 5);
    CHECK_EQ(go_selectv(cases, 3), 2);
    CHECK_EQ(out, 6);
    CHECK_EQ(go_selectv(cases, 3), 1);
    CHECK_EQ(go_selectv(cases, 65537), -EINVAL);
    chan_unref(c);
}

struct pair {
    int a, b;
};

TEST(values)
{
    chan(struct pair) c = chan_make(struct pair, 1);
    struct pair p = { 3, 4 };
    chan(double) d = chan_make(double, 1);
    double dv;
    CHECK_EQ(go_select(case_send(c, ((struct pair){ 1, 2 }))), 0);
    CHECK_EQ(go_select(case_recv(c, &p)), 0);
    CHECK_EQ(p.a * 10 + p.b, 12);
    CHECK_EQ(go_select(case_send(c, p), case_send(d, 2)) >= 0, true);
    CHECK_EQ(go_select(case_send(c, p), case_send(d, 2)) >= 0, true);
    CHECK_EQ(go_select(case_recv(d, &dv)), 0);
    CHECK(dv == 2.0);
    chan_unref(c);
    chan_unref(d);
}

/* --- chance --- */

/* Draws are independent: the share of each of `n` cases lies within 6 standard deviations. */
static void check_shares(const int *count, int n, int draws)
{
    for (int i = 0; i < n; i++) {
        long long mean = draws / n, off = count[i] - mean;
        long long variance = (long long)draws * (n - 1) / n / n;
        CHECK(off * off <= 36 * variance);
    }
}

TEST(uniform_among_the_ready)
{
    enum { N = 5, DRAWS = 20000 };
    chan(int) c[N];
    int count[N] = { 0 };
    for (int i = 0; i < N; i++) {
        c[i] = chan_make(int, 1);
        chan_send(c[i], i);
    }
    for (int k = 0; k < DRAWS; k++) {
        int v, i = go_select(case_recv(c[0], &v), case_recv(c[1], &v), case_recv(c[2], &v), case_recv(c[3], &v),
                             case_recv(c[4], &v));
        CHECK_EQ(v, i);
        count[i]++;
        chan_send(c[i], i);
    }
    check_shares(count, N, DRAWS);
    memset(count, 0, sizeof count);
    for (int i = 0; i < N; i++) /* closed ones are ready for ever */
        chan_close(c[i]);
    for (int k = 0; k < DRAWS + N; k++) {
        bool ok;
        int i = go_select(case_recv(c[0], NULL, &ok), case_recv(c[1], NULL, &ok), case_recv(c[2], NULL, &ok),
                          case_recv(c[3], NULL, &ok), case_recv(c[4], NULL, &ok));
        count[i] += !ok;
    }
    check_shares(count, N, count[0] + count[1] + count[2] + count[3] + count[4]);
    for (int i = 0; i < N; i++)
        chan_unref(c[i]);
}

static void select_same(chan(int) c, int *count, int draws, chan(bool) done)
{
    for (int k = 0; k < draws; k++) {
        int v[4] = { -1, -1, -1, -1 };
        int i = go_select(case_recv(c, &v[0]), case_recv(c, &v[1]), case_recv(c, &v[2]), case_recv(c, &v[3]));
        CHECK_EQ(v[i], k);
        v[i] = -1;
        CHECK_EQ(v[0] + v[1] + v[2] + v[3], -4);
        count[i]++;
    }
    chan_send(done, true);
}

/* The same channel in several cases, which become ready together while the select is blocked. */
TEST(uniform_when_blocked)
{
    enum { DRAWS = 8000 };
    int count[4] = { 0 };
    chan(int) c = chan_make(int, 0);
    chan(bool) done = chan_make(bool, 0);
    go(select_same, c, count, DRAWS, done);
    for (int k = 0; k < DRAWS; k++)
        chan_send(c, k);
    chan_recv(done, NULL);
    CHECK_EQ(count[0] + count[1] + count[2] + count[3], DRAWS);
    check_shares(count, 4, DRAWS);
    chan_unref(c);
    chan_unref(done);
}

static void select_both(chan(int) c, chan(int) out)
{
    bool ok;
    chan_send(out, go_select(case_send(c, 1, &ok), case_recv(c, NULL)));
}

/* Both directions of one channel, which its close makes ready together. */
TEST(both_directions_when_closed)
{
    enum { DRAWS = 1000 };
    int count[2] = { 0 };
    chan(int) out = chan_make(int, 0);
    for (int k = 0; k < DRAWS; k++) {
        chan(int) c = chan_make(int, 0);
        int i = -1;
        go(select_both, chan_ref(c), out);
        go_yield(); /* mostly it waits then */
        chan_close(c);
        chan_recv(out, &i);
        REQUIRE(i == 0 || i == 1);
        count[i]++;
        chan_unref(c);
        chan_unref(c);
    }
    check_shares(count, 2, DRAWS);
    chan_unref(out);
}

TEST(points_in_time_by_chance_too)
{
    int count[3] = { 0 };
    for (int k = 0; k < 300; k++)
        count[go_select(case_after(0), case_until(1), case_after(-5))]++;
    check_shares(count, 3, 300);
    memset(count, 0, sizeof count);
    for (int k = 0; k < 100; k++) {
        go_time t = go_now() + 100 * GO_MICROSECOND;
        count[go_select(case_until(t), case_until(t), case_after(INT64_MAX))]++;
    }
    CHECK_EQ(count[2], 0);
    CHECK(count[0] > 10 && count[1] > 10);
}

/* runtime/chan_test.go, TestSelectFairness: two channels that are always ready, beside two that never are. */
TEST(fairness)
{
    enum { TRIALS = 10000 };
    chan(int) a = chan_make(int, TRIALS), b = chan_make(int, TRIALS), never = chan_make(int, 0), nil = NULL;
    int from_a = 0, v = 0;
    for (int i = 0; i < TRIALS; i++) {
        chan_send(a, 1);
        chan_send(b, 2);
    }
    for (int i = 0; i < TRIALS; i++) {
        go_select(case_recv(never, &v), case_recv(nil, &v), case_recv(a, &v), case_recv(b, &v));
        from_a += v == 1;
    }
    CHECK(from_a > 4700 && from_a < 5300);
    chan_unref(a), chan_unref(b), chan_unref(never);
}

/* --- blocking --- */

static void selecting(chan(int) a, chan(int) b, int *which, int *v, chan(bool) done)
{
    *which = go_select(case_recv(a, v), case_send(b, 33));
    chan_send(done, true);
}

TEST(blocked_select_is_served)
{
    chan(bool) done = chan_make(bool, 0);
    for (int k = 0; k < 4; k++) {
        chan(int) a = chan_make(int, 0), b = chan_make(int, 0);
        int which = -1, v = 0;
        go(selecting, a, b, &which, &v, done);
        settle();
        if (k == 0)
            CHECK_EQ(chan_send(a, 44), 0);
        else if (k == 1)
            CHECK_EQ(chan_recv(b, &v), 1);
        else if (k == 2)
            CHECK_EQ(chan_close(a), 0);
        else
            CHECK_EQ(chan_close(b), 0);
        chan_recv(done, NULL);
        CHECK_EQ(which, k == 0 ? 0 : k == 1 ? 1 : k == 2 ? 0 : -EPIPE);
        CHECK_EQ(v, k == 0 ? 44 : k == 1 ? 33 : 0);
        /* It is on no queue any more. */
        if (k < 2) {
            CHECK_EQ(chan_try_send(a, 1), -EAGAIN);
            CHECK_EQ(chan_try_recv(b, &v), -EAGAIN);
        }
        chan_unref(a);
        chan_unref(b);
    }
    chan_unref(done);
}

/* test/chan/doubleselect.go: values sent by a select over four channels arrive exactly once, whoever takes them. */
static void double_sender(int n, chan(int) c1, chan(int) c2, chan(int) c3, chan(int) c4)
{
    for (int i = 0; i < n; i++)
        CHECK(go_select(case_send(c1, i), case_send(c2, i), case_send(c3, i), case_send(c4, i)) >= 0);
    chan_close(c1), chan_close(c2), chan_close(c3), chan_close(c4);
}

static void forward(chan(int) in, chan(int) out, chan(bool) done)
{
    int v;
    chan_range(in, &v)
        chan_send(out, v);
    chan_send(done, true);
}

static void close_after(int n, chan(bool) done, chan(int) out)
{
    while (n--)
        chan_recv(done, NULL);
    chan_close(out);
}

TEST(doubleselect)
{
    enum { N = 10000 };
    static char seen[N];
    memset(seen, 0, sizeof seen);
    chan(int) c[4], out = chan_make(int, 0);
    chan(bool) done = chan_make(bool, 0);
    for (int i = 0; i < 4; i++) {
        c[i] = chan_make(int, 0);
        go(forward, c[i], out, done);
    }
    go(double_sender, N, c[0], c[1], c[2], c[3]);
    go(close_after, 4, done, out);
    int v, n = 0;
    chan_range(out, &v) {
        CHECK_EQ(seen[v]++, 0);
        n++;
    }
    CHECK_EQ(n, N);
    for (int i = 0; i < 4; i++)
        chan_unref(c[i]);
    chan_unref(out), chan_unref(done);
}

/* runtime/chan_test.go, TestSelfSelect: both directions of one channel, several goroutines; no one serves itself. */
static void self_selector(int p, chan(int) c, int rounds, chan(bool) done)
{
    for (int i = 0; i < rounds; i++) {
        int v;
        int r = (p + i) % 2 ? go_select(case_send(c, p), case_recv(c, &v))
                            : go_select(case_recv(c, &v), case_send(c, p));
        bool received = (r == 1) == ((p + i) % 2 == 1);
        if (received && chan_cap(c) == 0)
            CHECK(v != p);
    }
    chan_send(done, true);
}

TEST(self_select)
{
    for (size_t capacity = 0; capacity <= 10; capacity += 10) {
        chan(int) c = chan_make(int, capacity);
        chan(bool) done = chan_make(bool, 0);
        go(self_selector, 0, c, 5000, done);
        go(self_selector, 1, c, 5000, done);
        chan_recv(done, NULL);
        /* The other may be left over with a value nobody takes. */
        while (go_select(case_recv(done, NULL), case_recv(c, NULL), case_send(c, 9)) != 0)
            ;
        chan_unref(c);
        chan_unref(done);
    }
}

/* runtime/chan_test.go, TestSelectStress: two senders and two receivers on four channels, one of each by select. */
enum { STRESS = 2000 };

static void stress_send(chan(int) c)
{
    for (int i = 0; i < STRESS; i++)
        chan_send(c, 0);
}

static void stress_receive(chan(int) c)
{
    for (int i = 0; i < STRESS; i++)
        CHECK_EQ(chan_recv(c, NULL), 1);
}

static void stress_select(chan(int) c0, chan(int) c1, chan(int) c2, chan(int) c3, bool send)
{
    chan(int) c[4] = { c0, c1, c2, c3 };
    int left[4] = { STRESS, STRESS, STRESS, STRESS };
    for (int i = 0; i < 4 * STRESS; i++) {
        int r = send ? go_select(case_send(c[3], 0), case_send(c[2], 0), case_send(c[0], 0), case_send(c[1], 0))
                     : go_select(case_recv(c[0], NULL), case_recv(c[1], NULL), case_recv(c[2], NULL), case_recv(c[3], NULL));
        int at = send ? (r == 0 ? 3 : r == 1 ? 2 : r - 2) : r;
        if (--left[at] == 0)
            c[at] = NULL;
    }
}

TEST(stress)
{
    chan(int) c[4] = { chan_make(int, 0), chan_make(int, 0), chan_make(int, 2), chan_make(int, 3) };
    go_scope *s = go_scope_open();
    for (int i = 0; i < 4; i++) {
        go_scope_go(s, stress_send, c[i]);
        go_scope_go(s, stress_receive, c[i]);
    }
    go_scope_go(s, stress_select, c[0], c[1], c[2], c[3], true);
    go_scope_go(s, stress_select, c[0], c[1], c[2], c[3], false);
    CHECK_EQ(go_scope_close(s), 0);
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(chan_len(c[i]), 0);
        chan_unref(c[i]);
    }
}

/* test/chan/nonblock.go: a try finds the one who waits. */
static void receive_one(chan(int) c, chan(bool) done)
{
    CHECK_EQ(chan_recv(c, NULL), 1);
    chan_send(done, true);
}

TEST(tries_meet_waiters)
{
    chan(int) c = chan_make(int, 0);
    chan(bool) done = chan_make(bool, 1);
    for (int i = 0; i < 200; i++) {
        go(receive_one, c, done);
        while (go_select(case_send(c, i), case_default) == 1)
            go_yield();
        chan_recv(done, NULL);
    }
    chan_unref(c);
    chan_unref(done);
}

/* runtime/chan_test.go, TestNonblockRecvRace: a receive that does not wait sees the value or the close, never neither. */
static void close_it(chan(int) c)
{
    chan_close(c);
    chan_unref(c);
}

TEST(try_receive_and_close)
{
    for (int i = 0; i < 3000; i++) {
        chan(int) c = chan_make(int, 1);
        chan_send(c, 1);
        go(close_it, chan_ref(c));
        CHECK_EQ(go_select(case_recv(c, NULL), case_default), 0);
        chan_unref(c);
    }
}

/* A select with two live channels: never both empty-handed (TestNonblockSelectRace). */
static void mover(chan(int) c1, chan(int) c2)
{
    CHECK(go_select(case_recv(c1, NULL), case_recv(c2, NULL), case_default) != 2);
    chan_unref(c1), chan_unref(c2);
}

TEST(try_select_is_a_moment_in_time)
{
    for (int i = 0; i < 3000; i++) {
        chan(int) c1 = chan_make(int, 1), c2 = chan_make(int, 1);
        chan_send(c1, 1);
        go(mover, chan_ref(c1), chan_ref(c2));
        chan_send(c2, 1);
        go_select(case_recv(c1, NULL), case_default);
        chan_unref(c1), chan_unref(c2);
    }
}

/* --- large --- */

enum { MANY = 60000 };

static void send_value(chan(int) c, int v)
{
    chan_send(c, v);
}

TEST(sixty_thousand_cases)
{
    chan(int) *c = malloc(MANY * sizeof *c), last = chan_make(int, 0);
    go_case *cases = malloc(MANY * sizeof *cases);
    int v = 0;
    for (int i = 0; i < MANY; i++) {
        c[i] = i % 100 ? last : chan_make(int, 0);
        cases[i] = case_recv(c[i], &v);
    }
    int at = MANY / 200 * 100;
    for (int k = 0; k < 3; k++) {
        go(send_value, c[at], 7 + k);
        CHECK_EQ(go_selectv(cases, MANY), at);
        CHECK_EQ(v, 7 + k);
    }
    cases[MANY - 1] = case_default;
    CHECK_EQ(go_selectv(cases, MANY), MANY - 1);
    for (int i = 0; i < MANY; i += 100)
        chan_unref(c[i]);
    chan_unref(last);
    free(c);
    free(cases);
}

static void select_on_little_stack(chan(int) c, int *result)
{
    int v;
    *result = go_select(case_recv(c, &v), case_recv(c, &v), case_recv(c, &v), case_recv(c, &v), case_recv(c, &v),
                        case_recv(c, &v), case_recv(c, &v), case_recv(c, &v), case_after(GO_HOUR), case_after(GO_HOUR),
                        case_recv(c, &v), case_recv(c, &v));
}

TEST(on_two_kilobytes)
{
    int result[20];
    chan(int) c = chan_make(int, 0);
    go_scope *s = go_scope_open();
    for (int i = 0; i < 20; i++) {
        go_options o = { .stack_size = 2048, .scope = s };
        go_with(o, select_on_little_stack, c, &result[i]);
    }
    for (int i = 0; i < 20; i++)
        chan_send(c, i);
    CHECK_EQ(go_scope_close(s), 0);
    for (int i = 0; i < 20; i++)
        CHECK(result[i] >= 0 && result[i] < 12 && result[i] != 8 && result[i] != 9);
    chan_unref(c);
}

/* --- time --- */

TEST(time_limits)
{
    chan(int) c = chan_make(int, 0);
    go_time start = go_now();
    CHECK_EQ(go_select(case_recv(c, NULL), case_after(2 * GO_MILLISECOND)), 1);
    CHECK(go_now() - start >= 2 * GO_MILLISECOND);
    CHECK_EQ(go_select(case_until(go_now() + GO_MILLISECOND), case_recv(c, NULL)), 0);
    CHECK_EQ(go_select(case_after(GO_HOUR), case_after(GO_MILLISECOND), case_recv(c, NULL)), 1);
    go(send_value, c, 1);
    CHECK_EQ(go_select(case_after(GO_HOUR), case_recv(c, NULL)), 1);
    CHECK_EQ(chan_try_send(c, 1), -EAGAIN); /* the one that timed out is on no queue */
    CHECK_EQ(go_select(case_after(0), case_default), 0);
    CHECK_EQ(go_select(case_after(GO_HOUR), case_default), 1);
    chan_unref(c);
}

static chan(int) offered[3];
static int taken[3];

static void *takes_one(void *arg)
{
    taken[go_select(case_recv(offered[0], NULL), case_recv(offered[1], NULL), case_recv(offered[2], NULL))]++;
    return arg;
}

/* Each of many threads chooses once: they do not all choose alike. */
TEST(threads_choose_at_random)
{
    for (int i = 0; i < 3; i++) {
        offered[i] = chan_make(int, 60);
        for (int j = 0; j < 60; j++)
            chan_send(offered[i], j);
    }
    for (int i = 0; i < 60; i++) {
        pthread_t thread;
        REQUIRE(pthread_create(&thread, NULL, takes_one, NULL) == 0);
        pthread_join(thread, NULL);
    }
    CHECK_EQ(taken[0] + taken[1] + taken[2], 60);
    for (int i = 0; i < 3; i++) {
        CHECK(taken[i] > 0); /* it is not, by chance, once in 10^10 runs */
        chan_unref(offered[i]);
    }
}

/* --- select3.go: what blocks for ever --- */

CHILD(select_nothing)
{
    go_select();
}

CHILD(select_nil)
{
    chan(int) c = NULL;
    go_select(case_recv(c, NULL), case_send(c, 1));
}

CHILD(select_empty_and_full)
{
    chan(int) a = chan_make(int, 1), b = chan_make(int, 1);
    chan_send(b, 1);
    go_select(case_recv(a, NULL), case_send(b, 1), case_after(INT64_MAX));
}

CHILD(select_with_oneself)
{
    chan(int) c = chan_make(int, 0);
    int v;
    go_select(case_recv(c, &v), case_send(c, 1));
}

TEST(what_blocks_for_ever)
{
    static const char *const names[] = { "select_nothing", "select_nil", "select_empty_and_full", "select_with_oneself" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct test_result r = test_run_child(names[i], NULL);
        CHECK_EQ(r.status, 2);
        CHECK_CONTAINS(r.output, "all goroutines are asleep - deadlock!");
        CHECK_CONTAINS(r.output, i == 0 ? "[select (no cases)]" : "[select]");
    }
}

/* --- threads and cancellation --- */

struct threads {
    chan(int) a, b;
    int n, got;
};

static void *select_thread(void *arg)
{
    struct threads *t = arg;
    for (int i = 0; i < t->n; i++) {
        int v = 0, r = go_select(case_recv(t->a, &v), case_send(t->b, 1), case_after(GO_HOUR));
        CHECK(r == 0 || r == 1);
        CHECK_EQ(v, r == 0);
        __atomic_add_fetch(&t->got, v, __ATOMIC_RELAXED);
    }
    return NULL;
}

TEST(plain_threads)
{
    struct threads t = { chan_make(int, 0), chan_make(int, 0), 400, 0 };
    pthread_t id[3];
    int sent = 0;
    for (int i = 0; i < 3; i++)
        id[i] = start(select_thread, &t);
    for (int i = 0; i < 3 * t.n; i++)
        sent += go_select(case_send(t.a, 1), case_recv(t.b, NULL)) == 0;
    for (int i = 0; i < 3; i++)
        pthread_join(id[i], NULL);
    CHECK_EQ(t.got, sent);
    chan_unref(t.a), chan_unref(t.b);
}

static void cancelled_select(chan(int) a, chan(int) b, int *result, int *v)
{
    *result = go_select(case_recv(a, v), case_send(b, 1), case_after(GO_HOUR));
}

TEST(cancelled)
{
    chan(int) a = chan_make(int, 0), b = chan_make(int, 0);
    int result = 1, v = 5;
    go_scope *s = go_scope_open();
    go_scope_go(s, cancelled_select, a, b, &result, &v);
    settle();
    go_scope_cancel(s);
    CHECK_EQ(go_scope_close(s), -ECANCELED);
    CHECK_EQ(result, -ECANCELED);
    CHECK_EQ(v, 5);
    CHECK_EQ(chan_try_send(a, 1), -EAGAIN);
    CHECK_EQ(chan_try_recv(b, NULL), -EAGAIN);
    s = go_scope_open();
    go_scope_deadline(s, go_now() + GO_MILLISECOND);
    go_scope_go(s, cancelled_select, a, b, &result, &v);
    CHECK_EQ(go_scope_close(s), -ETIMEDOUT);
    CHECK_EQ(result, -ETIMEDOUT);
    chan_unref(a), chan_unref(b);
}

/* The other channel is freed while the select that was decided elsewhere has not run yet. */
TEST(freed_after_the_decision)
{
    for (int k = 0; k < 200; k++) {
        chan(int) a = chan_make(int, 0), b = chan_make(int, 0);
        chan(bool) done = chan_make(bool, 0);
        int which = -1, v = 0;
        go(selecting, a, b, &which, &v, done);
        if (k % 2)
            settle();
        CHECK_EQ(chan_send(a, 1), 0);
        chan_unref(b);
        chan_unref(a);
        chan_recv(done, NULL);
        CHECK_EQ(which, 0);
        chan_unref(done);
    }
}

/* The same, and in between another one looks who waits at that channel: its memory is not given away before the select has left. */
CHILD(keeps_its_channels)
{
    chan(int) a = chan_make(int, 0), b = chan_make(int, 0);
    chan(bool) done = chan_make(bool, 0);
    int which = -1, v = 0;
    go(selecting, a, b, &which, &v, done);
    settle();
    CHECK_EQ(chan_send(a, 1), 0);
    CHECK_EQ(chan_try_recv(b, NULL), -EAGAIN);
    CHECK_EQ(go_select(case_recv(b, NULL), case_default), 1);
    chan(int) old = b;
    chan_unref(b);
    chan(int) other = chan_make(int, 0); /* the newest free one, as there is one P */
    CHECK(other != old);
    chan_recv(done, NULL);
    CHECK_EQ(which, 0);
    chan_unref(a), chan_unref(other), chan_unref(done);
    puts("kept");
}

TEST(a_decided_select_keeps_its_channels)
{
    /* With a slice of ten seconds the select runs when main waits, and not before. */
    struct test_result r = test_run_child("keeps_its_channels", "GOMAXPROCS=1", "GODEBUG=preempt=0,slice=10000000", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_STR(r.output, "kept\n");
}

/* --- descriptors --- */

static void write_byte(int fd)
{
    CHECK_EQ(write(fd, "x", 1), 1);
}

TEST(descriptors)
{
    int p[2], q[2];
    char byte;
    chan(int) c = chan_make(int, 0);
    REQUIRE(pipe(p) == 0 && pipe(q) == 0);
    CHECK_EQ(go_select(case_readable(p[0]), case_default), 1);
    CHECK_EQ(go_select(case_readable(p[0]), case_writable(p[1])), 1);
    CHECK_EQ(go_select(case_readable(p[0]), case_recv(c, NULL), case_after(GO_MILLISECOND)), 2);
    go(write_byte, p[1]);
    CHECK_EQ(go_select(case_recv(c, NULL), case_readable(p[0]), case_readable(q[0])), 1);
    CHECK_EQ(go_select(case_readable(p[0])), 0); /* a look takes nothing */
    CHECK_EQ(read(p[0], &byte, 1), 1);
    CHECK_EQ(go_select(case_readable(p[0]), case_default), 1);
    go(send_value, c, 1);
    CHECK_EQ(go_select(case_readable(p[0]), case_recv(c, NULL)), 1);
    int count[2] = { 0 };
    write_byte(p[1]), write_byte(q[1]);
    for (int i = 0; i < 400; i++)
        count[go_select(case_readable(p[0]), case_readable(q[0]))]++;
    check_shares(count, 2, 400);
    close(p[1]);
    CHECK_EQ(read(p[0], &byte, 1), 1);
    CHECK_EQ(go_select(case_readable(p[0]), case_recv(c, NULL)), 0); /* at its end */
    close(p[0]), close(q[0]), close(q[1]);
    CHECK_EQ(go_select(case_readable(p[0]), case_default), -EBADF);
    CHECK_EQ(go_select(case_recv(c, NULL), case_readable(-1)), -EBADF);
    chan_unref(c);
}

static void wait_readable(int fd, chan(int) c, int *result)
{
    *result = go_select(case_recv(c, NULL), case_readable(fd), case_after(GO_HOUR));
}

TEST(descriptor_closed_or_cancelled_meanwhile)
{
    int p[2], result[2] = { 9, 9 };
    chan(int) c = chan_make(int, 0);
    REQUIRE(pipe(p) == 0);
    go_scope *s = go_scope_open();
    go_scope_go(s, wait_readable, p[0], c, &result[0]);
    settle();
    CHECK_EQ(go_close(p[0]), 0);
    CHECK_EQ(go_scope_close(s), 0);
    CHECK_EQ(result[0], -EBADF);
    close(p[1]);
    REQUIRE(pipe(p) == 0);
    s = go_scope_open();
    go_scope_go(s, wait_readable, p[0], c, &result[1]);
    settle();
    go_scope_cancel(s);
    CHECK_EQ(go_scope_close(s), -ECANCELED);
    CHECK_EQ(result[1], -ECANCELED);
    close(p[0]), close(p[1]);
    chan_unref(c);
}
