// SPDX-License-Identifier: MIT
// Random programs of goroutines, threads, channels, selects, closes and cancellation, whose history is checked against a plain
// model of a channel.
//
// Each operation takes the time from one clock that all share before it begins and after it has ended, and leaves a
// record. When the program has ended, what is left in the channels is received too, and for each channel it must be
// true that there is a moment within each operation at which it could have happened, as a queue with a limit would have
// done it:
//   - what is sent is received once, what is not sent is not received; what failed has done nothing;
//   - a value sent after another one is not received before it;
//   - no more values are under way than the capacity allows;
//   - "closed" is said after the close only, and when all values have been taken; "would block" only if it could have.
// And no goroutine is left behind.
//
// MODEL_SEED=n runs that one program, MODEL_RUNS=n so many. A failure prints its seed.
#include <goroutine.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "test.h"

enum { CHANNELS = 4, WORKERS = 8, OPS = 24, CASES = 5, LOG = OPS * CASES };

#if HAVE_TSAN
#define ROUNDS 50 /* starting a goroutine is slow there */
#elif HAVE_ASAN
#define ROUNDS 200
#else
#define ROUNDS 2000
#endif

enum kind { SEND, RECEIVE, CLOSE };

struct record {
    enum kind kind;
    int channel, value, result; /* as of chan_send, chan_recv, chan_close */
    long start, end;
};

struct worker {
    struct program *program;
    uint64_t random;
    int id, sent, count, ops;
    go_scope *scope; /* a thread's: not a member, so it says when it is in */
    bool inside;
    struct record log[LOG];
};

struct program {
    chan(int) c[CHANNELS];
    int capacity[CHANNELS], channels, workers;
    struct worker worker[WORKERS + 2]; /* the goroutines, a thread, and the one who cleans up */
    long cancel_start;
    uint64_t seed;
    bool bad;
};

static long now(void)
{
    static long clock;
    return __atomic_add_fetch(&clock, 1, __ATOMIC_SEQ_CST);
}

/* splitmix64, by Vigna */
static unsigned draw(uint64_t *state, unsigned n)
{
    uint64_t x = *state += 0x9e3779b97f4a7c15;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return (unsigned)((x ^ x >> 31) % n);
}

static void note(struct worker *w, enum kind kind, int channel, int value, int result, long start, long end)
{
    w->log[w->count++] = (struct record){ kind, channel, value, result, start, end };
}

static int fresh_value(struct worker *w)
{
    return (w->id + 1) * 1000 + ++w->sent;
}

static int one_select(struct worker *w)
{
    struct program *p = w->program;
    go_case cases[CASES + 1];
    enum kind kind[CASES];
    int channel[CASES], value[CASES], n = 1 + (int)draw(&w->random, CASES);
    bool ok[CASES];
    for (int i = 0; i < n; i++) {
        channel[i] = (int)draw(&w->random, (unsigned)p->channels);
        kind[i] = draw(&w->random, 2) ? SEND : RECEIVE;
        ok[i] = false;
        if (kind[i] == SEND) {
            value[i] = fresh_value(w);
            cases[i] = case_send_from(p->c[channel[i]], &value[i], &ok[i]);
        } else {
            value[i] = -1;
            cases[i] = case_recv(p->c[channel[i]], &value[i], &ok[i]);
        }
    }
    unsigned last = draw(&w->random, 4);
    if (last == 0)
        cases[n] = case_default;
    else if (last == 1)
        cases[n] = case_after(draw(&w->random, 20) * GO_MICROSECOND);
    long start = now();
    int r = go_selectv(cases, (size_t)(n + (last < 2)));
    long end = now();
    for (int i = 0; i < n; i++) {
        int result;
        bool ran = r == i || (r == n && last == 0);
        if (r == i)
            result = kind[i] == SEND ? (ok[i] ? 0 : -EPIPE) : ok[i];
        else if (r == n && last == 0)
            result = -EAGAIN;
        else
            result = -ECANCELED; /* or not chosen: it has done nothing */
        note(w, kind[i], channel[i], value[i], result, ran ? start : 0, ran ? end : INT64_MAX);
        if (r != i && kind[i] == RECEIVE && value[i] != -1)
            w->program->bad = true; /* not chosen, and written to */
    }
    return r;
}

static void work(struct worker *w)
{
    struct program *p = w->program;
    for (int op = 0; op < w->ops; op++) {
        int channel = (int)draw(&w->random, (unsigned)p->channels), v = -1, r;
        chan(int) c = p->c[channel];
        long start = now();
        switch (draw(&w->random, 16)) {
        case 0: case 1: case 2:
            r = chan_send(c, v = fresh_value(w));
            note(w, SEND, channel, v, r, start, now());
            break;
        case 3: case 4: case 5:
            r = chan_recv(c, &v);
            note(w, RECEIVE, channel, v, r, start, now());
            break;
        case 6: case 7:
            r = chan_try_send(c, v = fresh_value(w));
            note(w, SEND, channel, v, r, start, now());
            break;
        case 8: case 9:
            r = chan_try_recv(c, &v);
            note(w, RECEIVE, channel, v, r, start, now());
            break;
        case 10:
            go_yield();
            r = 0;
            break;
        case 11:
            r = 0;
            if (draw(&w->random, 12) == 0) {
                r = chan_close(c);
                note(w, CLOSE, channel, 0, r, start, now());
            }
            break;
        default:
            r = one_select(w);
        }
        if (r == -ECANCELED || r == -ETIMEDOUT)
            break;
    }
}

/* --- the model --- */

#define MUST(cond)                                                                                                     \
    do {                                                                                                               \
        if (!(cond)) {                                                                                                 \
            test_failed(__FILE__, __LINE__, "seed %llu, channel %d: %s is false", (unsigned long long)p->seed, at,     \
                        #cond);                                                                                        \
            p->bad = true;                                                                                             \
        }                                                                                                              \
    } while (0)

enum { ALL = (WORKERS + 2) * LOG };

static void check_channel(struct program *p, int at)
{
    static const struct record *sent[ALL], *received[ALL], *other[ALL];
    static const struct record *taken_by[ALL]; /* by sent[i] */
    int sends = 0, receives = 0, others = 0, closes = 0;
    long close_start = INT64_MAX, close_end = INT64_MAX;
    for (int i = 0; i < WORKERS + 2; i++)
        for (int j = 0; j < p->worker[i].count; j++) {
            const struct record *r = &p->worker[i].log[j];
            if (r->channel != at)
                continue;
            if (r->kind == SEND && r->result == 0) {
                sent[sends++] = r;
            } else if (r->kind == RECEIVE && r->result == 1) {
                received[receives++] = r;
            } else if (r->kind == CLOSE && r->result == 0) {
                closes++;
                close_start = r->start;
                close_end = r->end;
            } else {
                other[others++] = r;
            }
        }
    MUST(closes <= 1);
    MUST(sends == receives);
    for (int i = 0; i < sends; i++) {
        taken_by[i] = NULL;
        for (int j = 0; j < receives; j++)
            if (received[j]->value == sent[i]->value) {
                MUST(taken_by[i] == NULL);
                taken_by[i] = received[j];
            }
        MUST(taken_by[i] != NULL);
        if (p->bad)
            return;
        MUST(sent[i]->start < taken_by[i]->end);
        MUST(sent[i]->start < close_end);
    }
    for (int i = 0; i < sends; i++) {
        int before = 0;
        for (int j = 0; j < sends; j++) {
            if (sent[i]->end < sent[j]->start)
                MUST(!(taken_by[j]->end < taken_by[i]->start));
            before += sent[j]->end <= sent[i]->end;
            before -= received[j]->start < sent[i]->end;
        }
        MUST(before <= p->capacity[at]);
    }
    for (int i = 0; i < others; i++) {
        const struct record *r = other[i];
        int perhaps = 0;
        for (int j = 0; j < sends; j++) {
            MUST(r->kind != SEND || sent[j]->value != r->value);
            perhaps += sent[j]->start < r->end && taken_by[j]->end > r->start;
            if (r->kind == RECEIVE && (r->result == 0 || r->result == -EAGAIN) && sent[j]->end < r->start)
                MUST(taken_by[j]->start < r->end);
        }
        switch (r->result) {
        case 0: /* receive: closed */
            MUST(close_start < r->end);
            MUST(r->value == 0);
            break;
        case -EPIPE:
            MUST(close_start < r->end);
            break;
        case -EAGAIN:
            MUST(r->start < close_end);
            if (r->kind == SEND)
                MUST(perhaps >= p->capacity[at]);
            MUST(r->kind != RECEIVE || r->value == -1);
            break;
        case -ECANCELED:
            MUST(p->cancel_start < r->end);
            MUST(r->kind != RECEIVE || r->value == -1);
            break;
        default:
            MUST(!"a result that cannot be");
        }
    }
}

static void work_inside(struct worker *w)
{
    go_scope_enter(w->scope);
    __atomic_store_n(&w->inside, true, __ATOMIC_RELEASE);
    work(w);
    go_scope_leave(w->scope);
}

static void *work_thread(void *arg)
{
    struct worker *w = arg;
    work_inside(w);
    return NULL;
}

static bool run_program(uint64_t seed)
{
    static struct program p;
    uint64_t random = seed;
    static int before;
    if (before == 0)
        before = go_count();
    p = (struct program){ .seed = seed, .channels = 1 + (int)draw(&random, CHANNELS), .workers = 2 + (int)draw(&random, WORKERS - 1) };
    for (int i = 0; i < p.channels; i++) {
        p.capacity[i] = (int)draw(&random, 4);
        p.c[i] = chan_make(int, p.capacity[i]);
    }
    go_scope *s = go_scope_open();
    for (int i = 0; i < p.workers; i++) {
        struct worker *w = &p.worker[i];
        *w = (struct worker){ .program = &p, .random = random ^ (uint64_t)i << 32, .id = i, .ops = 1 + (int)draw(&random, OPS) };
        go_scope_go(s, work, w);
    }
    pthread_t thread;
    bool has_thread = draw(&random, 20) == 0;
    unsigned patience = draw(&random, 60);
    if (has_thread) {
        struct worker *w = &p.worker[WORKERS];
        *w = (struct worker){ .program = &p, .random = random, .id = WORKERS, .ops = OPS / 2, .scope = s };
        has_thread = pthread_create(&thread, NULL, work_thread, w) == 0;
    }
    while (has_thread && !__atomic_load_n(&p.worker[WORKERS].inside, __ATOMIC_ACQUIRE))
        go_yield();
    for (unsigned i = 0; i < patience; i++)
        go_yield();
    p.cancel_start = now();
    go_scope_cancel(s);
    if (has_thread)
        pthread_join(thread, NULL);
    int r = go_scope_close(s);
    CHECK_EQ(r, -ECANCELED);
    for (int i = 0; i < p.channels; i++) {
        int v = -1;
        long start = now();
        while ((r = chan_try_recv(p.c[i], &v)) == 1) {
            note(&p.worker[WORKERS + 1], RECEIVE, i, v, r, start, now());
            start = now();
            v = -1;
        }
        note(&p.worker[WORKERS + 1], RECEIVE, i, v, r, start, now());
        CHECK_EQ(chan_try_send(p.c[i], 1) == -EAGAIN, p.capacity[i] == 0 && r != 0); /* nobody waits any more */
    }
    for (int i = 0; i < p.channels; i++)
        check_channel(&p, i);
    for (int i = 0; i < p.channels; i++)
        chan_unref(p.c[i]);
    /* A goroutine has left its scope before it is counted as ended. */
    for (int i = 0; go_count() != before && i < 10000; i++)
        go_sleep(GO_MILLISECOND);
    if (go_count() != before)
        test_failed(__FILE__, __LINE__, "seed %llu: %d goroutines are left", (unsigned long long)seed, go_count() - before);
    if (p.bad)
        test_failed(__FILE__, __LINE__, "run again with MODEL_SEED=%llu", (unsigned long long)seed);
    return !p.bad;
}

TEST(random_programs)
{
    const char *one = getenv("MODEL_SEED"), *runs = getenv("MODEL_RUNS");
    uint64_t first = one ? strtoull(one, NULL, 10) : (uint64_t)go_now();
    long n = runs ? strtol(runs, NULL, 10) : one ? 1 : ROUNDS;
    printf("seeds from %llu\n", (unsigned long long)first);
    for (long i = 0; i < n; i++)
        if (!run_program(first + (uint64_t)i))
            break;
}

/* Without concurrency a channel does exactly what a queue with a limit does. */
TEST(alone_it_is_a_queue)
{
    uint64_t random = (uint64_t)go_now();
    printf("seed %llu\n", (unsigned long long)random);
    for (int round = 0; round < 300; round++) {
        int capacity = (int)draw(&random, 6), queue[8], length = 0, next = 1;
        bool closed = false;
        chan(int) c = chan_make(int, capacity);
        for (int op = 0; op < 100; op++) {
            int v = -1, r, expected;
            bool ok = false, full = length == capacity;
            switch (draw(&random, 9)) {
            case 0: case 1: case 2: case 3:
                expected = closed ? -EPIPE : full ? -EAGAIN : 0;
                if (draw(&random, 2)) {
                    r = chan_try_send(c, next);
                } else {
                    r = go_select(case_send(c, next, &ok), case_default);
                    r = r ? -EAGAIN : ok ? 0 : -EPIPE;
                }
                CHECK_EQ(r, expected);
                if (r == 0)
                    queue[length++] = next++;
                break;
            case 8:
                if (draw(&random, 30) == 0) {
                    CHECK_EQ(chan_close(c), closed ? -EPIPE : 0);
                    closed = true;
                }
                break;
            default:
                expected = length ? 1 : closed ? 0 : -EAGAIN;
                if (draw(&random, 2)) {
                    r = chan_try_recv(c, &v);
                } else {
                    r = go_select(case_default, case_recv(c, &v, &ok));
                    r = r == 0 ? -EAGAIN : ok;
                }
                CHECK_EQ(r, expected);
                CHECK_EQ(v, length ? queue[0] : closed ? 0 : -1);
                if (r == 1) {
                    length--;
                    for (int i = 0; i < length; i++)
                        queue[i] = queue[i + 1];
                }
            }
            CHECK_EQ(chan_len(c), length);
        }
        chan_unref(c);
    }
}
