// SPDX-License-Identifier: MIT
// The global queue: the goroutines that are ready and on no P's ring.
//
// It has three parts, taken in this order, except that a round takes from the first two in turn and a fair pick takes a hog that
// is due: `global`, those that have been made ready; `unbegun`, those that have not begun yet and
// were too many for a ring, with those that have yielded to them; and `hogs`, those that have had much time ("Time" in
// fair.c). All are under sched.lock; head and length are atomic for those who only look.
#include "sched/global.h"

#include "sched/runq.h"

#define QUEUE_LOOK 64 /* goroutines that a deep check goes through */

/* Looks at the first QUEUE_LOOK only: there may be many thousands. */
static bool queue_ok(const struct g_queue *q)
{
    uint32_t n = 0, length = load_relaxed(&q->length);
    for (const struct g *gp = load_relaxed(&q->head); gp && n < QUEUE_LOOK; gp = gp->link, n++) {
        uint8_t status = load_relaxed(&gp->status);
        if ((status != G_NEW && status != G_RUNNABLE) || (gp->link == NULL) != (gp == q->tail))
            return false;
    }
    return n == (length < QUEUE_LOOK ? length : QUEUE_LOOK);
}

static void queue_append_locked(struct g_queue *q, const struct g_list *list)
{
    if (list->length == 0)
        return;
    if (q->tail)
        q->tail->link = list->first;
    else
        store_relaxed(&q->head, list->first);
    q->tail = list->last;
    bump_owner(&q->length, list->length);
    check_deep(queue_ok(q));
}

static void queue_push_locked(struct g_queue *q, struct g *gp)
{
    struct g_list one = { 0 };
    g_list_add(&one, gp);
    queue_append_locked(q, &one);
}

void global_push_locked(struct g *gp)
{
    queue_push_locked(&sched.global, gp);
}

void global_append_locked(const struct g_list *list)
{
    queue_append_locked(&sched.global, list);
}

void global_push_hog_locked(struct g *gp)
{
    queue_push_locked(&sched.hogs, gp);
}

static struct g *queue_pop_locked(struct g_queue *q)
{
    struct g *gp = load_relaxed(&q->head);
    if (!gp)
        return NULL;
    store_relaxed(&q->head, gp->link);
    if (!gp->link)
        q->tail = NULL;
    bump_owner(&q->length, -1u);
    check_deep(queue_ok(q));
    return gp;
}

/* Takes up to n from q: the first one to *first, if that is NULL, the others to pp's ring, which has room. Returns how many. */
static uint32_t queue_take_locked(struct g_queue *q, struct p *pp, uint32_t n, struct g **first)
{
    struct g *gp = load_relaxed(&q->head);
    uint32_t taken = 0, tail = load_relaxed(&pp->tail);
    for (; gp && taken < n; taken++) {
        struct g *next = gp->link;
        prefetch(next, 2 * CACHE_LINE);
        if (*first)
            pp->ring[tail++ % RUNQ_SIZE] = gp;
        else
            *first = gp;
        gp = next;
    }
    store_relaxed(&pp->tail, tail);
    store_relaxed(&q->head, gp);
    if (!gp)
        q->tail = NULL;
    bump_owner(&q->length, -taken);
    check_deep(queue_ok(q));
    return taken;
}

struct g *global_take_one(bool unbegun)
{
    if (global_others() == 0)
        return NULL;
    lock_take(&sched.lock);
    struct g *gp = queue_pop_locked(unbegun ? &sched.unbegun : &sched.global);
    if (!gp)
        gp = queue_pop_locked(unbegun ? &sched.global : &sched.unbegun);
    lock_release(&sched.lock);
    return gp;
}

void runq_overflow(struct p *pp)
{
    struct g_list begun = { 0 }, unbegun = { 0 };
    for (uint32_t n = runq_length(pp) / 2 + 1; n > 0; n--) {
        struct g *gp = runq_pop(pp);
        g_list_add(load_relaxed(&gp->status) == G_NEW ? &unbegun : &begun, gp);
    }
    lock_take(&sched.lock);
    queue_append_locked(&sched.unbegun, &unbegun);
    queue_append_locked(&sched.global, &begun);
    lock_release(&sched.lock);
}

void global_push_yielded(struct g *gp)
{
    lock_take(&sched.lock);
    queue_push_locked(load_relaxed(&sched.unbegun.head) ? &sched.unbegun : &sched.global, gp);
    lock_release(&sched.lock);
}

struct g *global_take_hog(void)
{
    if (load_relaxed(&sched.hogs.length) == 0)
        return NULL;
    lock_take(&sched.lock);
    struct g *gp = queue_pop_locked(&sched.hogs);
    lock_release(&sched.lock);
    return gp;
}

static void submit(struct g_queue *q, struct g *gp)
{
    lock_take(&sched.lock);
    queue_push_locked(q, gp);
    struct p *pp = p_idle_pop_locked();
    lock_release(&sched.lock);
    if (pp)
        m_start(pp, false, NULL);
}

void global_submit(struct g *gp)
{
    submit(&sched.global, gp);
}

void global_submit_hog(struct g *gp)
{
    submit(&sched.hogs, gp);
}

struct g *global_take(struct p *pp, uint32_t most)
{
    if (global_others() == 0)
        return NULL;
    struct g *first = NULL;
    lock_take(&sched.lock);
    uint32_t n = global_others() / load_relaxed(&sched.procs) + 1;
    uint32_t room = runq_limit - runq_length(pp);
    if (n > most)
        n = most;
    if (n > room / 2 + 1)
        n = room / 2 + 1;
    n -= queue_take_locked(&sched.global, pp, n, &first);
    queue_take_locked(&sched.unbegun, pp, n, &first);
    lock_release(&sched.lock);
    return first;
}
