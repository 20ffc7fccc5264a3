// SPDX-License-Identifier: MIT
// One table of waiters, by address, so that locks need room for their state only.
//
// Invariants
//   - A waiter is in the bucket of its address exactly while w->queued, which changes under the bucket's lock.
//   - The first waiter of each address is in the bucket's tree; the others hang on its list, in the order they will be
//     served.
//   - Whoever takes a waiter off claims its ticket (or learns that its scope has) before it lets go of the lock.
//
// Problem. A mutex of eight bytes has no room for a queue, and a program may have millions of them, all but a few idle;
// or a million goroutines may wait at a million addresses.
//
// Rejected. A queue in each lock: 24 bytes more for each, and a lock to guard it. Chains in the buckets: slow once there are
// more addresses than buckets. A balanced tree, as Go's treap: rotations, for nothing, because addresses can be
// scrambled well.
//
// The way. 256 buckets, and in each a digital search tree: the address times an odd constant gives 64 bits, different for
// different addresses; eight of them choose the bucket and each of the rest whether to go left or right at one level
// of the tree. A node may stand anywhere on the path of its bits, so a node is removed by putting any
// leaf below it into its place. Nothing is ever rotated, no path is longer than 56, and with a million addresses it is
// about twelve. The nodes are the waiters themselves, on their stacks.
//
// The nasty race. A waiter's scope may end its wait while a waker has it in hand. Both want its ticket; one gets it. If it
// is the scope, the waiter wakes up and takes the bucket's lock to see whether it is still queued, so it cannot leave its
// stack frame while the waker, who holds that lock, looks at it.
#include "sync/sema.h"

#include "sched/runq.h"

#define BUCKET_BITS 8

static struct sema_bucket table[1 << BUCKET_BITS] = {
    [0 ...(1 << BUCKET_BITS) - 1] = { .lock = LOCK_INIT(RANK_SEMA) },
};

static inline uint64_t scramble(const void *address)
{
    return (uint64_t)(uintptr_t)address * 0x9e3779b97f4a7c15; /* 2^64 / golden ratio, odd */
}

struct sema_bucket *sema_lock(const void *address)
{
    struct sema_bucket *b = &table[scramble(address) >> (64 - BUCKET_BITS)];
    lock_take(&b->lock);
    return b;
}

/* The place in the tree where the first waiter of address is, or would be. */
static struct sema_waiter **find(struct sema_bucket *b, const void *address)
{
    uint64_t bits = scramble(address) << BUCKET_BITS;
    struct sema_waiter **at = &b->root;
    while (*at && (*at)->address != address) {
        at = &(*at)->child[bits >> 63];
        bits <<= 1;
    }
    return at;
}

/* `by` takes the place of *at in the tree. */
static void replace(struct sema_waiter **at, struct sema_waiter *by)
{
    struct sema_waiter *old = *at;
    by->child[0] = old->child[0];
    by->child[1] = old->child[1];
    *at = by;
}

void sema_enqueue_locked(struct sema_bucket *b, struct sema_waiter *w, const void *address, bool first)
{
    struct sema_waiter **at = find(b, address), *head = *at;
    w->address = address;
    w->next = w->prev = NULL;
    w->queued = true;
    if (!head) {
        w->child[0] = w->child[1] = NULL;
        w->last = w;
        *at = w;
    } else if (first) {
        replace(at, w);
        w->last = head->last;
        w->next = head;
        head->prev = w;
    } else {
        w->prev = head->last;
        head->last->next = w;
        head->last = w;
    }
}

struct sema_waiter *sema_first_locked(struct sema_bucket *b, const void *address)
{
    return *find(b, address);
}

/* Takes the lone waiter *at out of the tree. */
static void remove_node(struct sema_waiter **at)
{
    struct sema_waiter **leaf_at = at;
    for (;;) {
        struct sema_waiter *w = *leaf_at;
        if (w->child[0])
            leaf_at = &w->child[0];
        else if (w->child[1])
            leaf_at = &w->child[1];
        else
            break;
    }
    struct sema_waiter *leaf = *leaf_at;
    *leaf_at = NULL;
    if (leaf_at != at)
        replace(at, leaf);
}

void sema_dequeue_locked(struct sema_bucket *b, struct sema_waiter *w)
{
    check(w->queued);
    w->queued = false;
    if (w->prev) {
        w->prev->next = w->next;
        if (w->next)
            w->next->prev = w->prev;
        else
            (*find(b, w->address))->last = w->prev;
        return;
    }
    struct sema_waiter **at = find(b, w->address);
    check(*at == w);
    if (!w->next) {
        remove_node(at);
        return;
    }
    replace(at, w->next);
    w->next->last = w->last;
    w->next->prev = NULL;
}

bool sema_wake_locked(struct sema_bucket *b, struct sema_waiter *w, struct sema_woken *woken)
{
    sema_dequeue_locked(b, w);
    if (!wait_claim(w->gp, w->ticket))
        return false;
    w->next = NULL;
    *woken->end = w;
    woken->end = &w->next;
    return true;
}

void sema_ready(struct m *mp, struct sema_woken *woken)
{
    struct sema_waiter *w = woken->first;
    uint32_t n = 0; /* not plain threads: they are on no queue */
    while (w) {
        struct sema_waiter *next = w->next; /* w is gone once its owner runs */
        n += (load_relaxed(&w->gp->flags) & G_THREAD) == 0;
        ready(mp, w->gp);
        w = next;
    }
    if (n > 1 && mp->p)
        runq_keep_order(mp->p);
}

void sema_acquire(uint32_t *count, bool first, enum wait_reason reason)
{
    struct m *mp = section_enter();
    struct sema_bucket *b = sema_lock(count);
    if (*count > 0) {
        --*count;
        lock_release(&b->lock);
        section_leave(mp);
        return;
    }
    struct g *gp = mp->cur;
    struct sema_waiter w;
    w.gp = gp;
    w.ticket = wait_arm(gp, reason);
    sema_enqueue_locked(b, &w, count, first);
    lock_release(&b->lock);
    wait_park(mp, gp);
    section_leave(m_self());
}

void sema_release(struct m *mp, uint32_t *count, uint32_t n)
{
    struct sema_woken woken;
    sema_woken_init(&woken);
    struct sema_bucket *b = sema_lock(count);
    while (n > 0) {
        struct sema_waiter *w = sema_first_locked(b, count);
        if (!w)
            break;
        if (sema_wake_locked(b, w, &woken))
            n--;
    }
    /* Only if somebody is still on the way to the queue: otherwise *count may be gone already. */
    if (n > 0)
        *count += n;
    lock_release(&b->lock);
    sema_ready(mp, &woken);
}
