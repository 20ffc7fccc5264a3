// SPDX-License-Identifier: MIT
// Channels: what Go's own tests say of them (test/chan, runtime/chan_test.go), in our words; and what is ours: types, sizes,
// references, plain threads, bias.
#include <goroutine.h>

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "test.h"

/* Gives others the time to block. A test that needs this passes also if they have not, but tests less. */
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

/* --- one at a time --- */

TEST(basics)
{
    int v = -1;
    chan(int) c = chan_make(int, 2);
    CHECK_EQ(chan_cap(c), 2);
    CHECK_EQ(chan_len(c), 0);
    CHECK_EQ(chan_try_recv(c, &v), -EAGAIN);
    CHECK_EQ(v, -1);
    CHECK_EQ(chan_send(c, 1), 0);
    CHECK_EQ(chan_try_send(c, 2), 0);
    CHECK_EQ(chan_len(c), 2);
    CHECK_EQ(chan_try_send(c, 3), -EAGAIN);
    CHECK_EQ(chan_recv(c, &v), 1);
    CHECK_EQ(v, 1);
    CHECK_EQ(chan_try_recv(c, NULL), 1);
    CHECK_EQ(chan_send(c, 4), 0);
    CHECK_EQ(chan_close(c), 0);
    CHECK_EQ(chan_close(c), -EPIPE);
    CHECK_EQ(chan_send(c, 5), -EPIPE);
    CHECK_EQ(chan_try_send(c, 5), -EPIPE);
    CHECK_EQ(chan_recv(c, &v), 1);
    CHECK_EQ(v, 4);
    CHECK_EQ(chan_recv(c, &v), 0);
    CHECK_EQ(v, 0);
    v = 7;
    CHECK_EQ(chan_try_recv(c, &v), 0);
    CHECK_EQ(v, 0);
    CHECK_EQ(chan_recv(c, NULL), 0);
    chan_unref(c);
}

TEST(nil)
{
    chan(int) c = NULL;
    int v = 3;
    CHECK_EQ(chan_len(c), 0);
    CHECK_EQ(chan_cap(c), 0);
    CHECK_EQ(chan_try_send(c, 1), -EAGAIN);
    CHECK_EQ(chan_try_recv(c, &v), -EAGAIN);
    CHECK_EQ(v, 3);
    CHECK(chan_ref(c) == NULL);
    chan_unref(c);
}

static void wait_on_nil(bool send, int *result)
{
    chan(int) c = NULL;
    *result = send ? chan_send(c, 1) : chan_recv(c, NULL);
}

TEST(nil_waits_and_can_be_cancelled)
{
    int a = 1, b = 1;
    go_scope *s = go_scope_open();
    go_scope_go(s, wait_on_nil, true, &a);
    go_scope_go(s, wait_on_nil, false, &b);
    settle();
    CHECK_EQ(a, 1);
    CHECK_EQ(b, 1);
    go_scope_cancel(s);
    CHECK_EQ(go_scope_close(s), -ECANCELED);
    CHECK_EQ(a, -ECANCELED);
    CHECK_EQ(b, -ECANCELED);
}

CHILD(close_of_nil)
{
    chan(int) c = NULL;
    chan_close(c);
}

CHILD(receive_from_nil)
{
    chan(int) c = NULL;
    chan_recv(c, NULL);
}

CHILD(send_and_nobody_receives)
{
    chan(int) c = chan_make(int, 0);
    chan_send(c, 1);
}

TEST(fatal)
{
    struct test_result r = test_run_child("close_of_nil", NULL);
    CHECK_EQ(r.status, 2);
    CHECK_CONTAINS(r.output, "close of nil channel");
    r = test_run_child("receive_from_nil", NULL);
    CHECK_EQ(r.status, 2);
    CHECK_CONTAINS(r.output, "all goroutines are asleep - deadlock!");
    CHECK_CONTAINS(r.output, "[chan receive (nil chan)]");
    r = test_run_child("send_and_nobody_receives", NULL);
    CHECK_EQ(r.status, 2);
    CHECK_CONTAINS(r.output, "[chan send]");
}

TEST(sizes_that_overflow)
{
    struct big {
        char c[1 << 20];
    };
    CHECK(chan_make(int, SIZE_MAX) == NULL);
    CHECK(chan_make(int, SIZE_MAX / 4) == NULL);
    CHECK(chan_make(struct big, SIZE_MAX >> 20) == NULL);
    CHECK(chan_make(int, -1) == NULL);
    CHECK(chan_make(struct big, UINT32_MAX) == NULL); /* more than there are addresses */
}

/* --- types --- */

struct point {
    int x, y;
};

struct node {
    int value;
    chan(struct node) reply;
};

static chan(int) pass(chan(int) c)
{
    return c;
}

TEST(types)
{
    chan(struct point) p = chan_make(struct point, 2);
    struct point q;
    CHECK_EQ(chan_send(p, (struct point){ 1, 2 }), 0);
    CHECK_EQ(chan_send(p, (struct point){ .y = 4 }), 0);
    CHECK_EQ(chan_recv(p, &q), 1);
    CHECK_EQ(q.x * 10 + q.y, 12);
    CHECK_EQ(chan_recv(p, &q), 1);
    CHECK_EQ(q.x * 10 + q.y, 4);

    chan(double) d = chan_make(double, 1);
    double dv;
    CHECK_EQ(chan_send(d, 3), 0);
    CHECK_EQ(chan_recv(d, &dv), 1);
    CHECK(dv == 3.0);
    chan(char) small = chan_make(char, 1);
    char cv;
    CHECK_EQ(chan_send(small, 'x'), 0);
    CHECK_EQ(chan_recv(small, &cv), 1);
    CHECK_EQ(cv, 'x');

    chan(chan(int)) cc = chan_make(chan(int), 1);
    chan(int) c = chan_make(int, 1), c2;
    CHECK_EQ(chan_send(cc, c), 0);
    CHECK_EQ(chan_recv(cc, &c2), 1);
    CHECK(c == c2);
    CHECK(pass(c) == c2);
    void *plain = c;
    c2 = plain;
    CHECK_EQ(chan_send(c2, 9), 0);

    chan(struct node) n = chan_make(struct node, 1);
    struct node got;
    CHECK_EQ(chan_send(n, (struct node){ .value = 5, .reply = n }), 0);
    CHECK_EQ(chan_recv(n, &got), 1);
    CHECK_EQ(got.value, 5);
    CHECK(got.reply == n);

    chan(int (*)(const char *, const char *)) f = chan_make(int (*)(const char *, const char *), 1);
    int (*compare)(const char *, const char *);
    CHECK_EQ(chan_send(f, strcmp), 0);
    CHECK_EQ(chan_recv(f, &compare), 1);
    CHECK(compare == strcmp);

    chan(const char *) text = chan_make(const char *, 1);
    const char *t;
    CHECK_EQ(chan_send(text, "hello"), 0);
    CHECK_EQ(chan_recv(text, &t), 1);
    CHECK_STR(t, "hello");

    chan(int[3]) array = chan_make(int[3], 1);
    int a[3] = { 1, 2, 3 }, b[3];
    CHECK_EQ(chan_send_from(array, &a), 0);
    CHECK_EQ(chan_try_send_from(array, &a), -EAGAIN);
    CHECK_EQ(chan_recv(array, &b), 1);
    CHECK_EQ(b[0] * 100 + b[1] * 10 + b[2], 123);

    chan(struct point *) pointers = chan_make(struct point *, 1);
    struct point *at;
    chan_send(pointers, &(struct point){ 7, 8 });
    CHECK_EQ(chan_recv(pointers, &at), 1);
    CHECK_EQ(at->x * 10 + at->y, 78); /* the literal lives as long as this block */

    chan_unref(p), chan_unref(d), chan_unref(small), chan_unref(cc), chan_unref(c), chan_unref(n);
    chan_unref(f), chan_unref(text), chan_unref(array), chan_unref(pointers);
}

static int calls;

static chan(int) counted(chan(int) c)
{
    calls++;
    return c;
}

static int value(int v)
{
    calls++;
    return v;
}

TEST(everything_is_evaluated_once)
{
    chan(int) c = chan_make(int, 4), all[2] = { c, c };
    int v, i = 0, out[3] = { 0 }, o = 0;
    calls = 0;
    CHECK_EQ(chan_send(counted(c), value(1)), 0);
    CHECK_EQ(calls, 2);
    CHECK_EQ(chan_try_send(counted(c), value(2)), 0);
    CHECK_EQ(calls, 4);
    CHECK_EQ(chan_recv(counted(c), &v), 1);
    CHECK_EQ(chan_try_recv(counted(c), &v), 1);
    CHECK_EQ(chan_len(counted(c)) + chan_cap(counted(c)), 4);
    CHECK_EQ(calls, 8);
    chan_unref(chan_ref(counted(c)));
    CHECK_EQ(calls, 9);
    CHECK_EQ(chan_send(all[i++], i + 10), 0);
    CHECK_EQ(i, 1);
    CHECK_EQ(chan_recv(all[i--], &out[o++]), 1);
    CHECK_EQ(i, 0);
    CHECK_EQ(o, 1);
    chan_send(c, 1);
    chan_send(c, 2);
    CHECK_EQ(chan_close(counted(c)), 0);
    CHECK_EQ(calls, 10);
    int n = 0;
    chan_range(counted(c), &v)
        n += v;
    CHECK_EQ(n, 3);
    CHECK_EQ(calls, 11);
    chan_unref(c);
}

/* --- elements of every size, through every path --- */

static void send_all(void *channel, char *from, size_t size, int n)
{
    struct go_channel *c = channel;
    for (int i = 0; i < n; i++)
        go_chan_send_(c, from + (size_t)i * size);
}

static void size_test(size_t size, size_t capacity)
{
    enum { N = 7 };
    static char from[N << 20], to[1 << 20];
    struct go_channel *c = go_chan_make_(size, capacity);
    for (size_t i = 0; i < N * size; i++)
        from[i] = (char)(i * 31 + i / 251 + size);
    go(send_all, (void *)c, from, size, N);
    for (int i = 0; i < N; i++) {
        if (i % 3 == 0)
            settle();
        memset(to, 0x55, size);
        CHECK_EQ(go_chan_recv_(c, to), 1);
        CHECK_EQ(memcmp(to, from + (size_t)i * size, size), 0);
    }
    go_chan_unref_(c);
}

TEST(sizes)
{
    static const size_t sizes[] = { 0, 1, 2, 3, 4, 7, 8, 12, 16, 24, 63, 64, 100, 4096, 1 << 20 };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_test(sizes[i], 0);
        size_test(sizes[i], 1);
        size_test(sizes[i], 5);
    }
}

/* --- order --- */

/* test/chan/fifo.go: asynchronous and synchronous. */
static void link_of_chain(chan(int) c, int expected, chan(int) in, chan(int) out)
{
    int v;
    CHECK_EQ(chan_recv(in, NULL), 1);
    CHECK_EQ(chan_recv(c, &v), 1);
    CHECK_EQ(v, expected);
    CHECK_EQ(chan_send(out, 1), 0);
}

static void fifo(size_t capacity)
{
    enum { N = 10 };
    chan(int) c = chan_make(int, capacity), in = chan_make(int, 1), first = in;
    for (int i = 0; i < N && capacity; i++)
        chan_send(c, i);
    for (int i = 0; i < N; i++) {
        chan(int) out = chan_make(int, 1);
        go(link_of_chain, c, i, in, out);
        in = out;
    }
    chan_send(first, 0);
    for (int i = 0; i < N && !capacity; i++)
        chan_send(c, i);
    CHECK_EQ(chan_recv(in, NULL), 1);
    chan_unref(c);
}

TEST(fifo_buffered)
{
    fifo(10);
}

TEST(fifo_unbuffered)
{
    fifo(0);
}

static void send_one(chan(int) c, int v)
{
    chan_send(c, v);
}

static void receive_into(chan(int) c, int *v, chan(bool) done)
{
    chan_recv(c, v);
    chan_send(done, true);
}

/* With one P goroutines wait in the order in which we let them. */
TEST(waiters_are_served_in_order)
{
    int old = go_maxprocs(1), got[50];
    chan(int) c = chan_make(int, 0);
    chan(bool) done = chan_make(bool, 50);
    for (int i = 0; i < 50; i++) {
        go(send_one, c, i);
        settle();
        go_yield();
    }
    for (int i = 0; i < 50; i++) {
        int v;
        CHECK_EQ(chan_recv(c, &v), 1);
        CHECK_EQ(v, i);
    }
    for (int i = 0; i < 50; i++) {
        go(receive_into, c, &got[i], done);
        settle();
    }
    for (int i = 0; i < 50; i++)
        CHECK_EQ(chan_send(c, i), 0);
    for (int i = 0; i < 50; i++)
        chan_recv(done, NULL);
    for (int i = 0; i < 50; i++)
        CHECK_EQ(got[i], i);
    chan_unref(c);
    chan_unref(done);
    go_maxprocs(old);
}

/* A buffered channel with senders waiting: the buffer's values come first. */
TEST(buffer_before_waiting_senders)
{
    int old = go_maxprocs(1), v;
    chan(int) c = chan_make(int, 2);
    chan_send(c, 0);
    chan_send(c, 1);
    for (int i = 2; i < 6; i++) {
        go(send_one, c, i);
        settle();
    }
    CHECK_EQ(chan_len(c), 2);
    for (int i = 0; i < 6; i++) {
        CHECK_EQ(chan_recv(c, &v), 1);
        CHECK_EQ(v, i);
    }
    CHECK_EQ(chan_try_recv(c, &v), -EAGAIN);
    chan_unref(c);
    go_maxprocs(old);
}

/* runtime/chan_test.go, TestPseudoRandomSend's cousin: several senders, each one's values stay in order. */
enum { SENDERS = 8, EACH = 3000 };

struct tagged {
    int sender, n;
};

static void tagged_sender(chan(struct tagged) c, int sender)
{
    for (int i = 0; i < EACH; i++)
        CHECK_EQ(chan_send(c, (struct tagged){ sender, i }), 0);
}

static void tagged_receiver(chan(struct tagged) c, int *count, chan(bool) done)
{
    int last[SENDERS];
    struct tagged t;
    memset(last, -1, sizeof last);
    chan_range(c, &t) {
        CHECK(t.n > last[t.sender]);
        last[t.sender] = t.n;
        __atomic_add_fetch(count, 1, __ATOMIC_RELAXED);
        if (__atomic_load_n(count, __ATOMIC_RELAXED) == SENDERS * EACH)
            chan_close(c);
    }
    chan_send(done, true);
}

static void many_to_many(size_t capacity)
{
    chan(struct tagged) c = chan_make(struct tagged, capacity);
    chan(bool) done = chan_make(bool, 0);
    int count = 0;
    for (int i = 0; i < SENDERS; i++)
        go(tagged_sender, c, i);
    for (int i = 0; i < 4; i++)
        go(tagged_receiver, c, &count, done);
    for (int i = 0; i < 4; i++)
        chan_recv(done, NULL);
    CHECK_EQ(count, SENDERS * EACH);
    chan_unref(c);
    chan_unref(done);
}

TEST(many_to_many)
{
    many_to_many(0);
    many_to_many(1);
    many_to_many(10);
}

/* --- close --- */

static void closed_waiter(bool send, chan(int) c, int *result, int *v, chan(bool) done)
{
    *result = send ? chan_send(c, 1) : chan_recv(c, v);
    chan_send(done, true);
}

TEST(close_wakes_all)
{
    enum { N = 100 };
    static int result[N], v[N];
    chan(bool) done = chan_make(bool, 0);
    for (int send = 0; send < 2; send++) {
        chan(int) c = chan_make(int, 0);
        for (int i = 0; i < N; i++) {
            result[i] = 99;
            v[i] = 99;
            go(closed_waiter, send, c, &result[i], &v[i], done);
        }
        settle();
        CHECK_EQ(chan_close(c), 0);
        for (int i = 0; i < N; i++)
            chan_recv(done, NULL);
        for (int i = 0; i < N; i++) {
            CHECK_EQ(result[i], send ? -EPIPE : 0);
            CHECK_EQ(v[i], send ? 99 : 0);
        }
        chan_unref(c);
    }
    chan_unref(done);
}

/* runtime/chan_test.go, TestChan: a close while many receive is seen once by each, after all values. */
static void drain(chan(int) c, long *sum, chan(bool) done)
{
    int v;
    chan_range(c, &v)
        __atomic_add_fetch(sum, v, __ATOMIC_RELAXED);
    CHECK_EQ(v, 0);
    chan_send(done, true);
}

TEST(range_until_closed)
{
    for (size_t capacity = 0; capacity < 20; capacity += 7) {
        chan(int) c = chan_make(int, capacity);
        chan(bool) done = chan_make(bool, 0);
        long sum = 0;
        for (int i = 0; i < 5; i++)
            go(drain, c, &sum, done);
        for (int i = 1; i <= 2000; i++)
            chan_send(c, i);
        chan_close(c);
        for (int i = 0; i < 5; i++)
            chan_recv(done, NULL);
        CHECK_EQ(sum, 2000 * 2001 / 2);
        chan_unref(c);
        chan_unref(done);
    }
}

TEST(range_break_and_continue)
{
    chan(int) c = chan_make(int, 10);
    int v, n = 0;
    for (int i = 0; i < 10; i++)
        chan_send(c, i);
    chan_range(c, &v) {
        if (v % 2)
            continue;
        n++;
        if (v == 6)
            break;
    }
    CHECK_EQ(n, 4);
    CHECK_EQ(chan_len(c), 3);
    chan_unref(c);
}

/* --- programs --- */

/* test/chan/sieve1.go */
static void generate(chan(int) c)
{
    for (int i = 2; chan_send(c, i) == 0; i++)
        ;
}

static void filter(chan(int) in, chan(int) out, int prime)
{
    int v;
    chan_range(in, &v)
        if (v % prime && chan_send(out, v) < 0)
            break;
    chan_close(in);
    chan_unref(in);
    chan_unref(out);
}

TEST(sieve)
{
    static const int primes[] = { 2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71 };
    chan(int) c = chan_make(int, 0);
    go(generate, chan_ref(c));
    for (size_t i = 0; i < sizeof primes / sizeof *primes; i++) {
        int v;
        CHECK_EQ(chan_recv(c, &v), 1);
        CHECK_EQ(v, primes[i]);
        chan(int) next = chan_make(int, 0);
        go(filter, c, chan_ref(next), v);
        c = next;
    }
    chan_close(c);
    chan_unref(c);
}

/* test/chan/powser1.go in small: power series as channels of coefficients. */
typedef chan(long) series;

static void series_constant(series out, long v)
{
    while (chan_send(out, v) == 0)
        ;
    chan_unref(out);
}

static void series_add(series a, series b, series out)
{
    long x, y;
    while (chan_recv(a, &x) == 1 && chan_recv(b, &y) == 1 && chan_send(out, x + y) == 0)
        ;
    chan_close(a), chan_close(b);
    chan_unref(a), chan_unref(b), chan_unref(out);
}

/* Coefficients of the integral, times n: the running sum. */
static void series_sum(series a, series out)
{
    long x, sum = 0;
    while (chan_recv(a, &x) == 1 && chan_send(out, sum += x) == 0)
        ;
    chan_close(a);
    chan_unref(a), chan_unref(out);
}

static series start_constant(long v)
{
    series out = chan_make(long, 0);
    go(series_constant, chan_ref(out), v);
    return out;
}

static series start_sum(series a)
{
    series out = chan_make(long, 0);
    go(series_sum, a, chan_ref(out));
    return out;
}

static series start_add(series a, series b)
{
    series out = chan_make(long, 0);
    go(series_add, a, b, chan_ref(out));
    return out;
}

TEST(power_series)
{
    /* 1/(1-x)^3 + 1/(1-x)^2: triangular numbers and the natural ones. */
    series s = start_add(start_sum(start_sum(start_constant(1))), start_sum(start_constant(1)));
    for (long n = 1; n <= 100; n++) {
        long v = 0;
        CHECK_EQ(chan_recv(s, &v), 1);
        CHECK_EQ(v, n * (n + 1) / 2 + n);
    }
    chan_close(s);
    chan_unref(s);
}

/* Each hands on to the next. */
static void hand_on(chan(int) in, chan(int) out)
{
    int v;
    chan_range(in, &v)
        chan_send(out, v + 1);
    chan_close(out);
}

TEST(long_chain)
{
    enum { N = 5000 };
    chan(int) first = chan_make(int, 0), c = first;
    int v;
    for (int i = 0; i < N; i++) {
        chan(int) next = chan_make(int, 0);
        go(hand_on, c, next);
        c = next;
    }
    for (int i = 0; i < 3; i++) {
        chan_send(first, i);
        CHECK_EQ(chan_recv(c, &v), 1);
        CHECK_EQ(v, N + i);
    }
    chan_close(first);
    CHECK_EQ(chan_recv(c, &v), 0);
}

/* --- references --- */

TEST(references)
{
    chan(int) c = chan_make(int, 1);
    CHECK(chan_ref(c) == c);
    chan_ref(c);
    chan_unref(c);
    chan_unref(c);
    CHECK_EQ(chan_send(c, 1), 0);
    chan_unref(c);
    /* Freed ones are used again; nothing of them is left. */
    for (int i = 0; i < 1000; i++) {
        chan(int) fresh[20];
        for (int j = 0; j < 20; j++) {
            fresh[j] = chan_make(int, (size_t)(j % 5));
            CHECK_EQ(chan_len(fresh[j]), 0);
            CHECK_EQ(chan_try_recv(fresh[j], NULL), -EAGAIN);
            CHECK_EQ(chan_try_send(fresh[j], 1), j % 5 ? 0 : -EAGAIN);
        }
        for (int j = 0; j < 20; j++)
            chan_unref(fresh[j]);
    }
}

static void make_and_free(chan(chan(int)) out, int n)
{
    for (int i = 0; i < n; i++) {
        chan(int) c = chan_make(int, 1);
        chan_send(c, i);
        chan_send(out, c);
    }
    chan_close(out);
}

/* Made on one P, freed on another. */
TEST(channels_through_a_channel)
{
    chan(chan(int)) cc = chan_make(chan(int), 16);
    chan(int) c;
    int n = 0, v;
    go(make_and_free, cc, 20000);
    chan_range(cc, &c) {
        CHECK_EQ(chan_recv(c, &v), 1);
        CHECK_EQ(v, n++);
        chan_unref(c);
    }
    CHECK_EQ(n, 20000);
    chan_unref(cc);
}

/* --- plain threads --- */

struct echo {
    chan(int) in, out;
    int n;
};

static void *echo_thread(void *arg)
{
    struct echo *e = arg;
    int v;
    for (int i = 0; i < e->n; i++) {
        CHECK_EQ(chan_recv(e->in, &v), 1);
        CHECK_EQ(chan_send(e->out, v + 1), 0);
    }
    return NULL;
}

TEST(plain_threads)
{
    enum { THREADS = 4, N = 500 };
    struct echo e = { chan_make(int, 0), chan_make(int, 3), N };
    pthread_t t[THREADS];
    long sum = 0;
    for (int i = 0; i < THREADS; i++)
        t[i] = start(echo_thread, &e);
    for (int i = 0; i < N * THREADS; i++) {
        int v;
        CHECK_EQ(chan_send(e.in, i), 0);
        if (i < 3)
            continue;
        CHECK_EQ(chan_recv(e.out, &v), 1);
        sum += v;
    }
    for (int i = 0; i < 3; i++) {
        int v;
        CHECK_EQ(chan_recv(e.out, &v), 1);
        sum += v;
    }
    CHECK_EQ(sum, (long)N * THREADS * (N * THREADS + 1) / 2);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    chan_unref(e.in);
    chan_unref(e.out);
}

static void *make_thread(void *arg)
{
    chan(long) *c = arg;
    *c = chan_make(long, 4);
    chan_send(*c, 42);
    return NULL;
}

TEST(made_by_a_thread)
{
    chan(long) c;
    long v;
    pthread_t t = start(make_thread, &c);
    pthread_join(t, NULL);
    CHECK_EQ(chan_recv(c, &v), 1);
    CHECK_EQ(v, 42);
    chan_unref(c);
}

/* --- bias: a channel whose user changes --- */

struct ping {
    chan(int) to, from;
    int rounds;
    chan(bool) done;
};

static void ping(struct ping *p)
{
    int v;
    for (int i = 0; i < p->rounds; i++) {
        chan_send(p->to, i);
        CHECK_EQ(chan_recv(p->from, &v), 1);
        CHECK_EQ(v, i);
    }
    chan_send(p->done, true);
}

static void pong(struct ping *p)
{
    int v;
    for (int i = 0; i < p->rounds; i++) {
        CHECK_EQ(chan_recv(p->to, &v), 1);
        CHECK_EQ(v, i);
        CHECK_EQ(chan_send(p->from, v), 0);
    }
    chan_send(p->done, true);
}

static void *pong_thread(void *arg)
{
    pong(arg);
    return NULL;
}

/* Used for long by two goroutines, then by a thread, then by goroutines again, on any number of Ps. */
TEST(changing_hands)
{
    struct ping p = { chan_make(int, 0), chan_make(int, 0), 0, chan_make(bool, 2) };
    for (int round = 0; round < 12; round++) {
        pthread_t t;
        p.rounds = round % 3 == 1 ? 100 : 3000;
        if (round % 3 == 1)
            t = start(pong_thread, &p);
        else
            go(pong, &p);
        go(ping, &p);
        chan_recv(p.done, NULL);
        chan_recv(p.done, NULL);
        if (round % 3 == 1)
            pthread_join(t, NULL);
    }
    chan_unref(p.to), chan_unref(p.from), chan_unref(p.done);
}

/* While the number of Ps changes. */
TEST(changing_ps)
{
    enum { PAIRS = 6 };
    struct ping p[PAIRS];
    int old = go_maxprocs(0);
    for (int i = 0; i < PAIRS; i++) {
        p[i] = (struct ping){ chan_make(int, 0), chan_make(int, (size_t)i % 3), 2000, chan_make(bool, 2) };
        go(ping, &p[i]);
        go(pong, &p[i]);
    }
    for (int i = 0; i < 60; i++) {
        go_maxprocs(1 + i % 5);
        go_yield();
    }
    for (int i = 0; i < PAIRS; i++) {
        chan_recv(p[i].done, NULL);
        chan_recv(p[i].done, NULL);
        chan_unref(p[i].to), chan_unref(p[i].from), chan_unref(p[i].done);
    }
    go_maxprocs(old);
}

/* Who only looks takes no lock: ThreadSanitizer finds no race with what others do meanwhile. */
static void looks(chan(int) c, bool *looking, bool *closed)
{
    for (bool over = false; !over;) {
        over = __atomic_load_n(closed, __ATOMIC_RELAXED);
        for (int i = 0; i < 100; i++) {
            CHECK_EQ(chan_cap(c), 3);
            CHECK_EQ(chan_len(c), 0);
        }
        __atomic_store_n(looking, true, __ATOMIC_RELAXED); /* this must not put the threads in order */
        go_yield();
    }
    chan_unref(c);
}

TEST(looked_at_while_it_is_closed)
{
    static bool looking[20], closed[20];
    for (int i = 0; i < 20; i++) {
        chan(int) c = chan_make(int, 3);
        go(looks, chan_ref(c), &looking[i], &closed[i]);
        while (!__atomic_load_n(&looking[i], __ATOMIC_RELAXED))
            go_yield();
        CHECK_EQ(chan_close(c), 0);
        __atomic_store_n(&closed[i], true, __ATOMIC_RELAXED);
        chan_unref(c);
    }
}

/* --- cancellation --- */

static void cancelled_user(bool send, chan(int) c, int *v, int *result)
{
    *result = send ? chan_send(c, 5) : chan_recv(c, v);
}

TEST(cancelled_waits_have_done_nothing)
{
    for (int send = 0; send < 2; send++) {
        chan(int) c = chan_make(int, 0);
        int result = 1, v = 77;
        go_scope *s = go_scope_open();
        go_scope_go(s, cancelled_user, send, c, &v, &result);
        settle();
        go_scope_cancel(s);
        CHECK_EQ(go_scope_close(s), -ECANCELED);
        CHECK_EQ(result, -ECANCELED);
        CHECK_EQ(v, 77);
        CHECK_EQ(chan_try_send(c, 1), -EAGAIN);
        CHECK_EQ(chan_try_recv(c, &v), -EAGAIN);
        chan_unref(c);
    }
}

TEST(what_can_proceed_does_so_in_a_cancelled_scope)
{
    chan(int) c = chan_make(int, 1);
    int v = 0;
    go_scope *s = go_scope_open();
    go_scope_cancel(s);
    go_scope_enter(s);
    CHECK_EQ(chan_send(c, 3), 0);
    CHECK_EQ(chan_send(c, 4), -ECANCELED);
    CHECK_EQ(chan_recv(c, &v), 1);
    CHECK_EQ(v, 3);
    CHECK_EQ(chan_recv(c, &v), -ECANCELED);
    CHECK_EQ(v, 3);
    int n = 0;
    chan_range(c, &v)
        n++;
    CHECK_EQ(n, 0);
    CHECK_EQ(go_cancelled(), -ECANCELED);
    go_scope_leave(s);
    go_scope_close(s);
    chan_unref(c);
}

static void receive_all(chan(int) c, long *sum, int *count)
{
    int v;
    while (chan_recv(c, &v) == 1) {
        __atomic_add_fetch(sum, v, __ATOMIC_RELAXED);
        __atomic_add_fetch(count, 1, __ATOMIC_RELAXED);
    }
}

static void send_range(chan(int) c, int from, int to, int *next)
{
    int i = from;
    while (i < to && chan_send(c, i) == 0)
        i++;
    *next = i;
}

/* A value is either received or still with its sender. */
TEST(nothing_is_lost_at_a_cancellation)
{
    for (int round = 0; round < 100; round++) {
        chan(int) c = chan_make(int, (size_t)(round % 3));
        long sum = 0, expected = 0;
        int count = 0, next[4];
        go_scope *receivers = go_scope_open(), *senders = go_scope_open();
        for (int i = 0; i < 3; i++)
            go_scope_go(receivers, receive_all, c, &sum, &count);
        for (int i = 0; i < 4; i++)
            go_scope_go(senders, send_range, c, i * 1000000, i * 1000000 + 1000000, &next[i]);
        for (int i = 0; i < round % 7; i++)
            go_yield();
        go_scope_cancel(round % 2 ? receivers : senders);
        go_scope_close(round % 2 ? receivers : senders);
        go_scope_cancel(round % 2 ? senders : receivers);
        go_scope_close(round % 2 ? senders : receivers);
        int v;
        while (chan_try_recv(c, &v) == 1) {
            sum += v;
            count++;
        }
        for (int i = 0; i < 4; i++) {
            count -= next[i] - i * 1000000;
            for (int j = i * 1000000; j < next[i]; j++)
                expected += j;
        }
        CHECK_EQ(sum, expected);
        CHECK_EQ(count, 0);
        chan_unref(c);
    }
}
