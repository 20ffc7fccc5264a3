// SPDX-License-Identifier: MIT
// The table of waiters that everything in sync.h shares. The essay is in sema.c.
#pragma once

#include "os/lock.h"
#include "sched/park.h"
#include "sched/section.h"

/*
 * One that waits; this lies on its own stack. Under the lock of its address's bucket until it has been taken off; then it is
 * its waker's until it is made ready.
 */
struct sema_waiter {
    struct g *gp;
    uint64_t ticket;
    const void *address;
    struct sema_waiter *next, *prev; /* those of the same address; next also links a list of woken ones */
    struct sema_waiter *last;        /* of the first one of an address */
    struct sema_waiter *child[2];    /* of the first one: other addresses */
    int64_t n;                       /* its user's */
    bool queued;
};

struct sema_bucket {
    struct lock lock;
    struct sema_waiter *root;
} __attribute__((aligned(CACHE_LINE)));

/* Woken ones, to be made ready when the lock is free again. */
struct sema_woken {
    struct sema_waiter *first, **end;
};

/* A pointer to a field of a public structure, which C++ must understand, too. */
static inline _Atomic uint32_t *atomic_u32(uint32_t *p)
{
    return (_Atomic uint32_t *)(void *)p;
}

static inline _Atomic int32_t *atomic_i32(int32_t *p)
{
    return (_Atomic int32_t *)(void *)p;
}

/* False if thread_known would have something to do. */
static always_inline bool thread_is_known(void)
{
    return (load_relaxed(&m_self()->attention) & (ATTN_STRANGER | ATTN_DETACHED | ATTN_YIELD)) == 0;
}

/*
 * As thread_calls, for the quick paths of what may park: a goroutine whose P was taken away gets in line. Otherwise one that does
 * little but lock and unlock would run for ever beside the others of that P.
 */
static always_inline void thread_known(void)
{
    if (unlikely(!thread_is_known()))
        section_pass();
}

/* The bucket of an address, locked. In a section, as all below. */
struct sema_bucket *sema_lock(const void *address);

/* Adds w as the last, or as the first, of those who wait at address. */
void sema_enqueue_locked(struct sema_bucket *b, struct sema_waiter *w, const void *address, bool first);

/* Who waits longest there, or NULL. */
struct sema_waiter *sema_first_locked(struct sema_bucket *b, const void *address);

void sema_dequeue_locked(struct sema_bucket *b, struct sema_waiter *w);

/* Takes w off and claims it; if its scope was faster, false. */
bool sema_wake_locked(struct sema_bucket *b, struct sema_waiter *w, struct sema_woken *woken);

static inline void sema_woken_init(struct sema_woken *woken)
{
    woken->first = NULL;
    woken->end = &woken->first;
}

/* No locks held. */
void sema_ready(struct m *mp, struct sema_woken *woken);

/*
 * Counting semaphores for the others. *count is under the bucket's lock.
 * acquire: waits until the count is above 0 and takes one from it; `first`: waits before all others. May park. Opens and
 * closes its own section. A release hands its one to the waiter directly, if there is one.
 */
void sema_acquire(uint32_t *count, bool first, enum wait_reason reason);
void sema_release(struct m *mp, uint32_t *count, uint32_t n);
