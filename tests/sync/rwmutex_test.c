// SPDX-License-Identifier: MIT
// go_rwmutex: readers together, writers alone, writers preferred, misuse.
#include <goroutine.h>

#include "test.h"

/* A goroutine's start is slow under ThreadSanitizer. */
#define SLOW (HAVE_TSAN ? 10 : 1)

static void hold_read(go_rwmutex *rw, go_sem *in, go_sem *out, go_sem *done)
{
    go_rwmutex_rlock(rw);
    go_sem_release(in, 1);
    go_sem_acquire(out, 1);
    go_rwmutex_runlock(rw);
    go_sem_release(done, 1);
}

/* All readers are inside at the same time. */
TEST(readers_share)
{
    enum { N = 10 };
    go_rwmutex rw = { 0 };
    go_sem in = { 0 }, out = { 0 }, done = { 0 };
    for (int i = 0; i < N; i++)
        go(hold_read, &rw, &in, &out, &done);
    CHECK_EQ(go_sem_acquire(&in, N), 0);
    CHECK(!go_rwmutex_trylock(&rw));
    go_sem_release(&out, N);
    CHECK_EQ(go_sem_acquire(&done, N), 0);
    CHECK(go_rwmutex_trylock(&rw));
    CHECK(!go_rwmutex_tryrlock(&rw));
    CHECK(!go_rwmutex_trylock(&rw));
    go_rwmutex_unlock(&rw);
}

struct activity {
    go_rwmutex rw;
    int readers, writers; /* atomic */
    go_sem done;
};

static void reader(struct activity *a, int n)
{
    for (int i = 0; i < n; i++) {
        go_rwmutex_rlock(&a->rw);
        int r = __atomic_add_fetch(&a->readers, 1, __ATOMIC_SEQ_CST);
        CHECK(r >= 1 && __atomic_load_n(&a->writers, __ATOMIC_SEQ_CST) == 0);
        if (i % 8 == 0)
            go_yield();
        __atomic_sub_fetch(&a->readers, 1, __ATOMIC_SEQ_CST);
        go_rwmutex_runlock(&a->rw);
    }
    go_sem_release(&a->done, 1);
}

static void writer(struct activity *a, int n)
{
    for (int i = 0; i < n; i++) {
        go_rwmutex_lock(&a->rw);
        CHECK_EQ(__atomic_add_fetch(&a->writers, 1, __ATOMIC_SEQ_CST), 1);
        CHECK_EQ(__atomic_load_n(&a->readers, __ATOMIC_SEQ_CST), 0);
        if (i % 8 == 0)
            go_yield();
        __atomic_sub_fetch(&a->writers, 1, __ATOMIC_SEQ_CST);
        go_rwmutex_unlock(&a->rw);
    }
    go_sem_release(&a->done, 1);
}

static void hammer(int readers, int n)
{
    struct activity a = { 0 };
    go(writer, &a, n);
    int i = 0;
    for (; i < readers / 2; i++)
        go(reader, &a, n);
    go(writer, &a, n);
    for (; i < readers; i++)
        go(reader, &a, n);
    CHECK_EQ(go_sem_acquire(&a.done, readers + 2), 0);
    CHECK_EQ(a.rw.readers, 0);
    CHECK_EQ(a.rw.departing, 0);
}

TEST(one_reader)
{
    hammer(1, 1000);
}

TEST(ten_readers)
{
    hammer(10, 300);
}

TEST(hundred_readers)
{
    hammer(100 / SLOW, 30);
}

static void note(go_rwmutex *rw, bool write, int me, int *order, int *n, go_sem *done)
{
    if (write)
        go_rwmutex_lock(rw);
    else
        go_rwmutex_rlock(rw);
    order[__atomic_fetch_add(n, 1, __ATOMIC_SEQ_CST)] = me;
    if (write)
        go_rwmutex_unlock(rw);
    else
        go_rwmutex_runlock(rw);
    go_sem_release(done, 1);
}

/* A waiting writer goes before readers that come after it. */
TEST(writers_first)
{
    go_rwmutex rw = { 0 };
    go_sem done = { 0 };
    int order[3], n = 0;
    go_rwmutex_rlock(&rw);
    go(note, &rw, true, 1, order, &n, &done);
    while (__atomic_load_n(&rw.readers, __ATOMIC_RELAXED) > 0)
        go_yield(); /* until the writer has announced itself */
    CHECK(!go_rwmutex_tryrlock(&rw));
    go(note, &rw, false, 2, order, &n, &done);
    go(note, &rw, false, 3, order, &n, &done);
    while (__atomic_load_n(&rw.readers, __ATOMIC_RELAXED) + (1 << 30) < 3)
        go_yield();
    CHECK_EQ(__atomic_load_n(&n, __ATOMIC_SEQ_CST), 0);
    go_rwmutex_runlock(&rw);
    CHECK_EQ(go_sem_acquire(&done, 3), 0);
    CHECK_EQ(order[0], 1);
}

CHILD(unlock_unlocked)
{
    go_rwmutex rw = { 0 };
    go_rwmutex_unlock(&rw);
}

CHILD(unlock_read)
{
    go_rwmutex rw = { 0 };
    go_rwmutex_rlock(&rw);
    go_rwmutex_unlock(&rw);
}

CHILD(runlock_unlocked)
{
    go_rwmutex rw = { 0 };
    go_rwmutex_runlock(&rw);
}

CHILD(runlock_written)
{
    go_rwmutex rw = { 0 };
    go_rwmutex_lock(&rw);
    go_rwmutex_runlock(&rw);
}

CHILD(runlock_twice)
{
    go_rwmutex rw = { 0 };
    go_rwmutex_rlock(&rw);
    go_rwmutex_runlock(&rw);
    go_rwmutex_runlock(&rw);
}

static void reads(go_rwmutex *rw)
{
    go_rwmutex_rlock(rw);
    go_rwmutex_runlock(rw);
}

static void writes(go_rwmutex *rw)
{
    go_rwmutex_lock(rw);
    go_rwmutex_unlock(rw);
}

/* Until fn waits. */
static void beside(void (*fn)(go_rwmutex *), go_rwmutex *rw)
{
    go(fn, rw);
    for (go_statistics s = { 0 }; s.waiting == 0; go_stats(&s))
        go_yield();
}

CHILD(runlock_written_while_a_reader_waits)
{
    go_rwmutex rw = { 0 };
    go_rwmutex_lock(&rw);
    beside(reads, &rw);
    go_rwmutex_runlock(&rw);
}

CHILD(runlock_written_by_try)
{
    go_rwmutex rw = { 0 };
    go_rwmutex_trylock(&rw);
    beside(reads, &rw);
    go_rwmutex_runlock(&rw);
}

CHILD(unlock_read_while_a_writer_waits)
{
    go_rwmutex rw = { 0 };
    go_rwmutex_rlock(&rw);
    beside(writes, &rw);
    go_rwmutex_unlock(&rw);
}

CHILD(write_twice)
{
    go_rwmutex rw = { 0 };
    go_rwmutex_lock(&rw);
    go_rwmutex_lock(&rw);
}

CHILD(read_written)
{
    go_rwmutex rw = { 0 };
    go_rwmutex_lock(&rw);
    go_rwmutex_rlock(&rw);
}

TEST(misuse_is_fatal)
{
    static const struct {
        const char *child, *text;
    } cases[] = {
        { "unlock_unlocked", "fatal error: sync: Unlock of unlocked RWMutex\n" },
        { "unlock_read", "fatal error: sync: Unlock of unlocked RWMutex\n" },
        { "runlock_unlocked", "fatal error: sync: RUnlock of unlocked RWMutex\n" },
        { "runlock_written", "fatal error: sync: RUnlock of unlocked RWMutex\n" },
        { "runlock_written_while_a_reader_waits", "fatal error: sync: RUnlock of unlocked RWMutex\n" },
        { "runlock_written_by_try", "fatal error: sync: RUnlock of unlocked RWMutex\n" },
        { "unlock_read_while_a_writer_waits", "fatal error: sync: Unlock of unlocked RWMutex\n" },
        { "runlock_twice", "fatal error: sync: RUnlock of unlocked RWMutex\n" },
        { "write_twice", "[sync.RWMutex.Lock]" },
        { "read_written", "[sync.RWMutex.RLock]" },
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct test_result r = test_run_child(cases[i].child, NULL);
        CHECK_EQ(r.status, 2);
        CHECK_CONTAINS(r.output, cases[i].text);
    }
}
