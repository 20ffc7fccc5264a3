// SPDX-License-Identifier: MIT
// The queue of timers against a plain model, on a clock that the test turns: thousands of random histories of setting,
// cancelling and the passing of time, from nanoseconds to years. Each prints its seed when it fails: TIMER_SEED=n runs that one.
// test: procs=1 timeout=300
#include <goroutine.h>

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"

#include "sched/timer.h"

#define TIMERS 3000
#define BEGIN ((int64_t)1 << 50)

static struct timer timers[TIMERS];
static uint64_t seed, state;

static uint64_t draw(uint64_t below)
{
    state = state * 6364136223846793005u + 1442695040888963407u; /* Knuth's */
    return (state >> 16) % below;
}

/* So that each order of magnitude comes as often as any other. */
static int64_t draw_span(void)
{
    return (int64_t)(((uint64_t)1 << draw(47)) + draw((uint64_t)1 << draw(47)));
}

static int64_t when_of(int i)
{
    return load_relaxed(&timers[i].when);
}

static int64_t earliest(int64_t after)
{
    int64_t least = TIME_NEVER;
    for (int i = 0; i < TIMERS; i++)
        if (when_of(i) > after && when_of(i) < least)
            least = when_of(i);
    return least;
}

static uint32_t armed(void)
{
    uint32_t n = 0;
    for (int i = 0; i < TIMERS; i++)
        n += when_of(i) != 0;
    return n;
}

static bool counted(void *arg, struct timer_entry x)
{
    (void)x;
    ++*(uint32_t *)arg;
    return false;
}

static void put(struct timer_queue *q, int i, int64_t when, int64_t now)
{
    store_relaxed(&timers[i].when, when);
    timer_queue_put(q, (struct timer_entry){ when, (uintptr_t)&timers[i] }, now);
}

static void cancel(struct timer_queue *q, int i)
{
    if (when_of(i) == 0)
        return;
    store_relaxed(&timers[i].when, 0);
    store_relaxed(&q->stale, load_relaxed(&q->stale) + 1);
}

/* Everything that is due, in order and nothing else; false when that is not so. */
static bool pass(struct timer_queue *q, int64_t now)
{
    struct timer_entry x;
    int64_t last = 0;
    while (timer_queue_take(q, now, &x)) {
        struct timer *t = timer_of(&x);
        if (load_relaxed(&t->when) != x.when || x.when > now || x.when < last) {
            printf("seed %llu: taken at %lld: %lld, of a timer for %lld, after %lld\n", (unsigned long long)seed, (long long)now,
                   (long long)x.when, (long long)load_relaxed(&t->when), (long long)last);
            return false;
        }
        last = x.when;
        store_relaxed(&t->when, 0);
    }
    int64_t left = earliest(0);
    if (left <= now || load_relaxed(&q->next) > left || load_relaxed(&q->next) <= 0) {
        printf("seed %llu: at %lld, next %lld, left is one at %lld\n", (unsigned long long)seed, (long long)now,
               (long long)load_relaxed(&q->next), (long long)left);
        return false;
    }
    return true;
}

static bool history(uint64_t with)
{
    struct timer_queue q = { .next = TIME_NEVER };
    int64_t now = BEGIN;
    bool fine = true;
    seed = with;
    state = with * 0x9e3779b97f4a7c15u;
    memset(timers, 0, sizeof timers);
    uint64_t timers_used = draw(2) ? TIMERS : 1 + draw(400), cancels = draw(40), passes = draw(4);
    for (int step = 0; step < 6000 && fine; step++) {
        int i = (int)draw(timers_used);
        if (draw(40) < cancels)
            cancel(&q, i);
        else if (when_of(i) == 0)
            put(&q, i, now + draw_span(), now);
        if (draw(100) < passes) {
            int64_t to = draw(2) ? now + draw_span() / 64 : earliest(0);
            if (to != TIME_NEVER)
                now = to > now ? to : now;
            fine = pass(&q, now);
        }
        /* What is out of date is half of it at most, but for the last few. */
        uint32_t entries = q.near_count + q.far_count, n = armed();
        if (step % 64 == 0 && entries > 2 * n + 130) {
            printf("seed %llu: %u entries for %u timers\n", (unsigned long long)seed, entries, n);
            fine = false;
        }
        uint32_t seen = 0;
        if (step % 512 == 0 && (timer_queue_any(&q, counted, &seen) || seen < n)) {
            printf("seed %llu: %u timers seen of %u\n", (unsigned long long)seed, seen, n);
            fine = false;
        }
    }
    if (fine && draw(2)) { /* to another queue, as of a P that goes */
        struct timer_queue all, other = { .next = TIME_NEVER };
        timer_queue_move(&q, &all);
        CHECK_EQ(q.near_count + q.far_count, 0);
        CHECK_EQ(load_relaxed(&q.next), TIME_NEVER);
        for (int i = 0; i < TIMERS; i++)
            if (when_of(i) != 0)
                timer_queue_put(&other, (struct timer_entry){ when_of(i), (uintptr_t)&timers[i] }, now);
        timer_queue_free(&all);
        timer_queue_free(&q);
        q = other;
    }
    while (fine && (now = earliest(0)) != TIME_NEVER)
        fine = pass(&q, now + (int64_t)draw((uint64_t)1 << draw(40)));
    if (fine) {
        CHECK(pass(&q, now - 1));
        CHECK_EQ(q.near_count + q.far_count, 0);
    }
    timer_queue_free(&q);
    return fine;
}

TEST(random_histories)
{
    const char *one = getenv("TIMER_SEED");
    if (one) {
        CHECK(history(strtoull(one, NULL, 10)));
        return;
    }
    const char *slow = getenv("TEST_SLOW");
    uint64_t runs = 500 / (slow && atoi(slow) > 0 ? (uint64_t)atoi(slow) : 1);
    for (uint64_t s = 1; s <= runs; s++)
        if (!history(s)) {
            CHECK_EQ(s, 0);
            return;
        }
}

/* What is far stays out of the heap, comes there a little at a time, and leaves it for good. */
TEST(the_heap_stays_small)
{
    struct timer_queue q = { .next = TIME_NEVER };
    memset(timers, 0, sizeof timers);
    for (int i = 0; i < TIMERS; i++)
        put(&q, i, BEGIN + GO_SECOND + i * GO_MILLISECOND / 3, BEGIN);
    CHECK_EQ(q.near_count, 256);
    CHECK_EQ(q.near_count + q.far_count, TIMERS);
    CHECK_EQ(load_relaxed(&q.next), BEGIN + GO_SECOND);
    uint32_t most = 0;
    struct timer_entry x;
    for (int i = 0; i < TIMERS; i++) {
        int64_t when = BEGIN + GO_SECOND + i * GO_MILLISECOND / 3;
        CHECK(!timer_queue_take(&q, when - 1, &x));
        CHECK_EQ(load_relaxed(&q.next), when);
        CHECK(timer_queue_take(&q, when, &x));
        CHECK_EQ(x.when, when);
        if (i > 256 && q.near_count > most)
            most = q.near_count;
    }
    CHECK(most <= 1); /* of a quarter of a millisecond, about */
    CHECK_EQ(q.near_count + q.far_count, 0);
    timer_queue_free(&q);
}

/* Time limits that all are cancelled leave nothing behind. */
TEST(cancelled_ones_are_swept_out)
{
    struct timer_queue q = { .next = TIME_NEVER };
    memset(timers, 0, sizeof timers);
    for (int i = 0; i < TIMERS; i++)
        put(&q, i, BEGIN + GO_HOUR, BEGIN);
    for (int i = 0; i < TIMERS; i++)
        cancel(&q, i);
    for (int round = 0; round < 100; round++) {
        for (int i = 0; i < 200; i++)
            put(&q, i, BEGIN + GO_MINUTE + round, BEGIN);
        for (int i = 0; i < 200; i++)
            cancel(&q, i);
    }
    CHECK(q.near_count + q.far_count <= 400);
    CHECK(pass(&q, BEGIN + 2 * GO_HOUR));
    CHECK_EQ(q.near_count + q.far_count, 0);
    timer_queue_free(&q);
}

static size_t allocated(void)
{
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}

/* Memory for many timers that are far is taken by the block, used again, and all but one block goes back when they have passed. */
TEST(memory_goes_back)
{
    enum { MANY = 40000, BLOCK_BYTES = 64 << 10 };
    struct timer_queue q = { .next = TIME_NEVER };
    struct timer *many = calloc(MANY, sizeof *many);
    size_t before = allocated(), most = 0;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < MANY; i++) {
            int64_t when = BEGIN + round * GO_HOUR + GO_SECOND + i * GO_MICROSECOND;
            store_relaxed(&many[i].when, when);
            timer_queue_put(&q, (struct timer_entry){ when, (uintptr_t)&many[i] }, BEGIN + round * GO_HOUR);
        }
        size_t now = allocated();
        if (round == 0)
            most = now;
        CHECK(now - before <= most - before + BLOCK_BYTES);
        int64_t end = BEGIN + round * GO_HOUR + GO_MINUTE;
        struct timer_entry x;
        int taken = 0;
        for (; timer_queue_take(&q, end, &x); taken++)
            store_relaxed(&timer_of(&x)->when, 0);
        CHECK_EQ(taken, MANY);
        CHECK_EQ(q.far_count, 0);
    }
    /* What is left: a block, the buckets, and the heap, which held all of them at most. */
    size_t heap = q.near_capacity * sizeof(struct timer_entry);
    CHECK(allocated() - before <= heap + BLOCK_BYTES + 16384);
    timer_queue_free(&q);
    CHECK(allocated() - before <= 4096);
    free(many);
}
