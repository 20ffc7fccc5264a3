// SPDX-License-Identifier: MIT
// Timers in order: a heap of those that are near, buckets of those that are far.
//
// Invariants
//   - What is in a bucket is due at horizon + HORIZON_STEP or later; what is in the heap may be due at any time.
//   - The time of an entry in bucket (level, slot) agrees with the horizon in all digits above `level`; its digit at `level`
//     is `slot`, which is larger than the horizon's.
//   - An entry whose `when` is not its timer's is out of date and means nothing. An armed timer has an entry that is not.
//
// Problem. A million sleepers, and time limits that are nearly always cancelled: setting and cancelling must be cheap and
// local, also when the canceller is on another P; and times are exact, and between them nothing happens.
//
// Rejected. A timing wheel: its ticks wake an idle process or round the times. Heap positions kept in the timers:
// each sift writes to as many timers as it moves entries, a cache miss each, and a cancel must own the
// heap. A red-black tree: the same misses. One heap for all that there are: with a million each step down it is a miss,
// and these misses were a third of what a sleeper took.
//
// The way. Heap and buckets hold pairs (when, timer): sifting compares and moves within the array only, and four
// children lie in two cache lines at most. What is far is put into a bucket, which costs a store and keeps no order: this is a
// radix heap [Ahuja, Mehlhorn, Orlin, Tarjan 1990] with digits of six bits, the lowest of which counts quarters of a millisecond, about.
// When the beginning of the earliest bucket has come, and nothing in the heap is due before that, the horizon moves
// there, and what is in the bucket goes to the heap, or to buckets of lower levels: for hours that happens four or five times
// to a timer, for a second two or three times, and all others are left in peace. (A bucket is emptied at once, whatever is in it: some
// nanoseconds each.) This causes no wake-ups: each bucket knows its least time, and until then the M can sleep.
// Few timers need no buckets: they are in the heap, whenever they are due.
//
// Whoever has slept for long is in no cache. What comes from a lowest bucket is fetched together, so that the misses overlap: the
// descriptors of a batch first, and then what they point to. The step of a bucket is such that with a million sleepers
// a bucket's worth of them stays in the second-level cache until they have run.
//
// Entries of buckets lie in batches, and batches come from blocks of 64 KiB, which go back only when nothing is far any more: a queue that
// always has something far keeps as many as it ever needed, some 17 bytes for each timer. Rejected: a malloc for each batch, see
// struct timer_block; giving back a block when its last batch is free, which every batch would have to count.
//
// Cancelling is one compare-and-swap on the timer, and leaves the entry, out of date, until it is to go to the heap, or
// comes to the top, or half of all are out of date: then the owner sweeps them out, and packs what is left. So there are
// never more than twice as many entries as timers.
#include "sched/timer_queue.h"

#include <stdlib.h>

#include "sched/fatal.h"
#include "sched/sched.h"
#include "sched/timer.h"

#define ARITY 4
#define HEAP_LOOK 100 /* entries that a deep check goes through */
#define CAPACITY_FIRST 64
#define SWEEP_MIN 64
#define NEAR_ALONE 256 /* no buckets for fewer: the heap is within the first-level cache, four steps high */
#define HORIZON_BITS 18
#define HORIZON_STEP ((int64_t)1 << HORIZON_BITS) /* ns */
#define DIGIT_BITS 6
#define SLOTS (1 << DIGIT_BITS)
#define LEVELS 8 /* 18 + 8 * 6 bits are more than 63 */
#define BATCH 31
#define BLOCK 127 /* batches, nearly 64 KiB */

/* Entries of a bucket. */
struct timer_batch {
    struct timer_batch *next;
    uint32_t count;
    struct timer_entry entries[BATCH];
};

struct bucket {
    struct timer_batch *first; /* the only one that may have room */
    int64_t least;             /* the least `when`; valid while it is not empty */
};

/* Many batches in one piece. The C library's heaps, all but the first thread's, grow by a page at a time, by mprotect, which waits until
 * no page fault is under way. */
struct timer_block {
    struct timer_block *next;
    struct timer_batch batches[BLOCK];
};

struct timer_far {
    struct timer_block *blocks; /* newest first; all but one go when nothing is far any more */
    uint32_t carved;            /* of the newest one: batches in use or on `spare` */
    struct timer_batch *spare;
    uint32_t levels;            /* a bit for each that has something */
    uint64_t used[LEVELS];      /* a bit for each slot that has something */
    struct bucket buckets[LEVELS][SLOTS];
};

static bool up_to_date(const struct timer_entry *e)
{
    return load_relaxed(&timer_of(e)->when) == e->when;
}

/* --- the heap --- */

static void sift_up(struct timer_entry *e, uint32_t i, struct timer_entry x)
{
    while (i > 0) {
        uint32_t up = (i - 1) / ARITY;
        if (e[up].when <= x.when)
            break;
        e[i] = e[up];
        i = up;
    }
    e[i] = x;
}

static void sift_down(struct timer_entry *e, uint32_t count, uint32_t i, struct timer_entry x)
{
    for (;;) {
        uint32_t child = i * ARITY + 1, least = child;
        if (child >= count)
            break;
        uint32_t end = child + ARITY < count ? child + ARITY : count;
        while (++child < end)
            if (e[child].when < e[least].when)
                least = child;
        if (e[least].when >= x.when)
            break;
        e[i] = e[least];
        i = least;
    }
    e[i] = x;
}

/* Looks at the first HEAP_LOOK only: there may be many thousands. */
static bool heap_ok(const struct timer_queue *q)
{
    for (uint32_t i = 1; i < q->near_count && i < HEAP_LOOK; i++)
        if (q->near[(i - 1) / ARITY].when > q->near[i].when)
            return false;
    return true;
}

static void near_pop(struct timer_queue *q)
{
    struct timer_entry last = q->near[--q->near_count];
    if (q->near_count > 0)
        sift_down(q->near, q->near_count, 0, last);
    check_deep(heap_ok(q));
}

/* On a system stack. */
static void near_grow(void *arg)
{
    struct timer_queue *q = arg;
    uint32_t capacity = q->near_capacity ? q->near_capacity * 2 : CAPACITY_FIRST;
    struct timer_entry *near = realloc(q->near, capacity * sizeof *near);
    if (!near)
        fatal("out of memory: no room for %u timers", capacity);
    q->near = near;
    q->near_capacity = capacity;
}

static void near_put(struct timer_queue *q, struct timer_entry x)
{
    if (unlikely(q->near_count == q->near_capacity))
        system_stack_call(near_grow, q);
    sift_up(q->near, q->near_count++, x);
    check_deep(heap_ok(q));
}

/* --- buckets --- */

/* One more block, and the buckets if there are none. On a system stack. */
static void far_grow(void *arg)
{
    struct timer_queue *q = arg;
    struct timer_block *k = malloc(sizeof *k);
    if (!q->far)
        q->far = calloc(1, sizeof *q->far);
    if (!k || !q->far)
        fatal("out of memory: no room for %u timers", q->near_count + q->far_count + 1);
    k->next = q->far->blocks;
    q->far->blocks = k;
    q->far->carved = 0;
}

static struct timer_batch *batch_get(struct timer_queue *q)
{
    struct timer_far *far = q->far;
    struct timer_batch *b = far->spare;
    if (b) {
        far->spare = b->next;
        return b;
    }
    if (unlikely(far->carved == BLOCK))
        system_stack_call(far_grow, q);
    return &far->blocks->batches[far->carved++];
}

static void batch_put(struct timer_far *far, struct timer_batch *b)
{
    b->next = far->spare;
    far->spare = b;
}

/* When nothing is far any more. */
static void blocks_back(struct timer_far *far)
{
    struct timer_block *k;
    while ((k = far->blocks->next)) {
        far->blocks->next = k->next;
        free(k);
    }
    far->carved = 0;
    far->spare = NULL;
}

static void far_put(struct timer_queue *q, struct timer_entry x)
{
    uint64_t differ = (uint64_t)(x.when ^ q->horizon) >> HORIZON_BITS;
    unsigned level = (63 - (unsigned)__builtin_clzll(differ)) / DIGIT_BITS;
    unsigned slot = (uint64_t)x.when >> (HORIZON_BITS + level * DIGIT_BITS) & (SLOTS - 1);
    if (unlikely(!q->far))
        system_stack_call(far_grow, q);
    struct timer_far *far = q->far;
    struct bucket *k = &far->buckets[level][slot];
    struct timer_batch *b = k->first;
    if (!b)
        k->least = x.when;
    if (!b || b->count == BATCH) {
        struct timer_batch *more = batch_get(q);
        more->next = b;
        more->count = 0;
        k->first = b = more;
        far->used[level] |= (uint64_t)1 << slot;
        far->levels |= 1u << level;
    }
    b->entries[b->count++] = x;
    if (x.when < k->least)
        k->least = x.when;
    q->far_count++;
}

/* The bucket that begins first; there must be one. */
static struct bucket *far_first(const struct timer_queue *q, unsigned *level, unsigned *slot)
{
    *level = (unsigned)__builtin_ctz(q->far->levels);
    *slot = (unsigned)__builtin_ctzll(q->far->used[*level]);
    return &q->far->buckets[*level][*slot];
}

static int64_t bucket_begin(const struct timer_queue *q, unsigned level, unsigned slot)
{
    unsigned shift = HORIZON_BITS + level * DIGIT_BITS;
    return (int64_t)((((uint64_t)q->horizon >> shift & ~(uint64_t)(SLOTS - 1)) | slot) << shift);
}

static void bucket_unmark(struct timer_far *far, unsigned level, unsigned slot)
{
    far->used[level] &= ~((uint64_t)1 << slot);
    if (far->used[level] == 0)
        far->levels &= ~(1u << level);
}

/* The first bucket's entries come nearer. On a system stack. */
static void far_advance(struct timer_queue *q)
{
    unsigned level, slot;
    struct bucket *k = far_first(q, &level, &slot);
    struct timer_batch *b = k->first;
    q->horizon = bucket_begin(q, level, slot);
    k->first = NULL;
    bucket_unmark(q->far, level, slot);
    while (b) {
        struct timer_batch *next = b->next;
        q->far_count -= b->count;
        for (uint32_t i = 0; level == 0 && i < b->count; i++)
            prefetch(timer_of(&b->entries[i]), sizeof(struct timer));
        for (uint32_t i = 0; i < b->count; i++) {
            struct timer_entry x = b->entries[i];
            if (x.when - q->horizon >= HORIZON_STEP) {
                far_put(q, x); /* without a look at the timer, which would be a miss, and there may be a million here */
            } else if (!up_to_date(&x)) {
                timer_queue_stale_less(q);
            } else {
                if (x.timer & TIMER_OF_GOROUTINE)
                    wait_warm(timer_of(&x));
                near_put(q, x);
            }
        }
        batch_put(q->far, b);
        b = next;
    }
    if (q->far_count == 0)
        blocks_back(q->far);
}

/* --- both --- */

static void publish_next(struct timer_queue *q)
{
    int64_t next = q->near_count > 0 ? q->near[0].when : TIME_NEVER;
    unsigned level, slot;
    if (q->far_count > 0) {
        int64_t far = far_first(q, &level, &slot)->least;
        if (far < next)
            next = far;
    }
    store_relaxed(&q->next, next);
}

/* Drops what is out of date and packs the rest: `to` is filled from the batches that follow. */
static void sweep_bucket(struct timer_queue *q, unsigned level, unsigned slot)
{
    struct bucket *k = &q->far->buckets[level][slot];
    struct timer_batch *b = k->first, *to = NULL;
    k->first = NULL;
    k->least = TIME_NEVER;
    while (b) {
        struct timer_batch *next = b->next;
        uint32_t count = b->count;
        b->count = 0;
        if (!to)
            to = b;
        for (uint32_t i = 0; i < count; i++) {
            struct timer_entry x = b->entries[i];
            if (!up_to_date(&x)) {
                q->far_count--;
                continue;
            }
            if (to->count == BATCH) { /* then b is another batch: its entries are overwritten only after they have been read */
                to->next = k->first;
                k->first = to;
                to = b;
            }
            to->entries[to->count++] = x;
            if (x.when < k->least)
                k->least = x.when;
        }
        if (to != b)
            batch_put(q->far, b);
        b = next;
    }
    if (to && to->count > 0) {
        to->next = k->first;
        k->first = to;
    } else if (to) {
        batch_put(q->far, to);
    }
    if (!k->first)
        bucket_unmark(q->far, level, slot);
}

/* Drops every entry that is out of date. On a system stack. */
static void sweep(void *arg)
{
    struct timer_queue *q = arg;
    uint32_t n = 0;
    for (uint32_t i = 0; i < q->near_count; i++)
        if (up_to_date(&q->near[i]))
            q->near[n++] = q->near[i];
    q->near_count = n;
    for (uint32_t i = n / ARITY + 1; i-- > 0;)
        if (i < n)
            sift_down(q->near, n, i, q->near[i]);
    if (q->far_count > 0)
        for (unsigned level = 0; level < LEVELS; level++)
            for (uint64_t left = q->far->used[level]; left; left &= left - 1)
                sweep_bucket(q, level, (unsigned)__builtin_ctzll(left));
    if (q->far && q->far_count == 0)
        blocks_back(q->far);
    store_relaxed(&q->stale, 0);
    publish_next(q);
}

void timer_queue_put(struct timer_queue *q, struct timer_entry x, int64_t now)
{
    uint32_t stale = load_relaxed(&q->stale);
    if (unlikely(stale > SWEEP_MIN && stale > (q->near_count + q->far_count) / 2))
        system_stack_call(sweep, q);
    if (q->far_count == 0)
        q->horizon = now & -HORIZON_STEP;
    if ((q->near_count >= NEAR_ALONE || q->far_count > 0) && x.when - q->horizon >= HORIZON_STEP)
        far_put(q, x);
    else
        near_put(q, x);
    if (x.when < load_relaxed(&q->next))
        store_relaxed(&q->next, x.when);
}

bool timer_queue_take(struct timer_queue *q, int64_t now, struct timer_entry *out)
{
    for (;;) {
        if (q->far_count > 0) {
            unsigned level, slot;
            far_first(q, &level, &slot);
            int64_t begin = bucket_begin(q, level, slot);
            if (begin <= now && (q->near_count == 0 || begin <= q->near[0].when)) {
                far_advance(q);
                continue;
            }
        }
        if (q->near_count == 0)
            break;
        struct timer_entry top = q->near[0];
        bool valid = up_to_date(&top);
        if (valid && top.when > now)
            break;
        near_pop(q);
        if (valid) {
            *out = top;
            return true;
        }
        timer_queue_stale_less(q);
    }
    publish_next(q);
    return false;
}

bool timer_queue_any(const struct timer_queue *q, bool (*visit)(void *arg, struct timer_entry), void *arg)
{
    for (uint32_t i = 0; i < q->near_count; i++)
        if (up_to_date(&q->near[i]) && visit(arg, q->near[i]))
            return true;
    if (q->far_count == 0)
        return false;
    for (unsigned level = 0; level < LEVELS; level++)
        for (uint64_t left = q->far->used[level]; left; left &= left - 1) {
            const struct timer_batch *b = q->far->buckets[level][__builtin_ctzll(left)].first;
            for (; b; b = b->next)
                for (uint32_t i = 0; i < b->count; i++)
                    if (up_to_date(&b->entries[i]) && visit(arg, b->entries[i]))
                        return true;
        }
    return false;
}

void timer_queue_move(struct timer_queue *q, struct timer_queue *all)
{
    *all = (struct timer_queue){
        .near = q->near,
        .near_count = q->near_count,
        .far_count = q->far_count,
        .far = q->far,
    };
    q->near = NULL;
    q->near_count = q->near_capacity = q->far_count = 0;
    q->far = NULL;
    store_relaxed(&q->stale, 0);
    publish_next(q);
}

void timer_queue_free(struct timer_queue *q)
{
    if (q->far) {
        blocks_back(q->far);
        free(q->far->blocks);
    }
    free(q->far);
    free(q->near);
}
