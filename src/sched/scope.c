// SPDX-License-Identifier: MIT
// Scopes: counting who is inside, and ending their waits.
//
// Invariants
//   - A goroutine is on the list of members of gp->scope while that is not NULL, from its first run to its end.
//   - s->inside counts the goroutines launched in s that have not ended, those queued for their first run too, and entries
//     not left; so while it is above 0 nobody may free s. While somebody is inside a scope below s, s is not freed either.
//   - If a scope has a cause, so have all scopes below it.
//   - What is in struct go_scope stays a go_scope for ever.
//
// Problem. Cancelling a scope must end every wait inside it, of any kind, at once; each wait must return exactly once, with its
// value or cancelled; and a wait in a scope that is never cancelled should cost nothing.
//
// Rejected. A list of the waits of each scope: two locked list operations for each wait. A channel that is closed, as in Go's
// context: every wait becomes a select. A flag that sleepers look at: polling.
//
// The way. A scope lists its goroutines, not their waits: joined at the first run, left at the end. The canceller stores the
// cause, then goes through the list and claims the ticket of each goroutine that is in a wait that may be cancelled. The
// ticket is the same that a partner would claim ("One wake-up" in park.h), so a value handed over at that moment is
// either received, or still the sender's.
//
// The nasty race. A goroutine arms a wait just when its scope is cancelled:
//
//     waiter:    store the ticket · fence · is there a cause? then claim the ticket oneself
//     canceller: store the cause · fence · is there a ticket? then claim it
//
// Of the two, one sees the other. The waiter's fence is the compiler's only: the canceller, who is rare, pays for
// both (os_fence_others). Whether the wait may be cancelled and whether it is shielded is written before the ticket and read after
// it: if what is read belongs to a later wait, the ticket is out of date by then, and the claim fails.
//
// The tree has one lock for the whole process. It is taken to open, to close and to cancel, by the last one that
// leaves a scope if somebody waits in close, and by who launches across the tree; all other launches and ends use the counter and the
// lock of their scope.
//
// "Nobody is inside"
//
// Close goes through the tree and reads one counter after the other, and that is no snapshot: what has been read as 0 must stay 0. A
// goroutine inside the tree could spoil that by launching into a scope that was already read (one above its own, or beside it), and
// ending before its own is read. So such a launch takes the tree's lock, and waits for the end of the walk; few programs do it. A launch
// into the launcher's own scope needs no lock, for a scope that was read as 0 has nobody inside to launch. Nor does one into a child
// of that scope, for scopes are read before their children: if the launcher was seen to have gone, what it launched is seen in the child.
// A launcher that has entered a scope takes the lock for a child, too: it is counted in other places as well, which may be read later
// than the child.
#include "sched/scope.h"

#include "sched/fatal.h"
#include "sched/park.h"
#include "sched/section.h"

#include <stdlib.h>

struct scopes scopes = { .lock = LOCK_INIT(RANK_SCOPES) };

int scope_cause_armed(struct g *gp)
{
    if (unlikely(sched.light_fence_missing))
        full_fence(); /* pairs with the full fence in scope_cancel_locked */
    else
        compiler_barrier(); /* pairs with os_fence_others there */
    return load_relaxed(&gp->run.shield) > 0 ? 0 : load_acquire(&gp->scope->cause);
}

/* "Nobody is inside" */
void scope_count_in(struct g *gp, struct go_scope *s, const char *what)
{
    struct go_scope *own = gp->scope;
    bool across = own && own != s && (gp->run.entered || own != load_relaxed(&s->parent));
    if (unlikely(across))
        lock_take(&scopes.lock);
    bool open = load_relaxed(&s->open);
    if (likely(open))
        atomic_fetch_add_explicit(&s->inside, 1, memory_order_relaxed);
    if (unlikely(across))
        lock_release(&scopes.lock);
    if (unlikely(!open))
        fatal("%s: the scope is closed", what);
}

void scope_join(struct g *gp)
{
    struct go_scope *s = gp->scope;
    lock_take(&s->lock);
    gp->run.scope_prev = NULL;
    gp->run.scope_next = s->members;
    if (s->members)
        s->members->run.scope_prev = gp;
    s->members = gp;
    lock_release(&s->lock);
}

void scope_part(struct g *gp)
{
    struct go_scope *s = gp->scope;
    lock_take(&s->lock);
    struct g *next = gp->run.scope_next, *prev = gp->run.scope_prev;
    if (prev)
        prev->run.scope_next = next;
    else
        s->members = next;
    if (next)
        next->run.scope_prev = prev;
    lock_release(&s->lock);
}

/* The scope after s in a walk through all below top, top first. Scopes are seen before their children. */
static struct go_scope *walk(struct go_scope *top, struct go_scope *s)
{
    if (s->children)
        return s->children;
    while (s != top && !s->next)
        s = load_relaxed(&s->parent);
    return s == top ? NULL : s->next;
}

bool scope_busy_locked(struct go_scope *top)
{
    for (struct go_scope *s = top; s; s = walk(top, s))
        /* Sequentially consistent: pairs with scope_count_out. */
        if (atomic_load(&s->inside) > 0)
            return true;
    return false;
}

/* Nobody is inside s any more, and somebody waits in close: perhaps for s, or for one above it. s may be closed by now, and
 * even be another one: then this does nothing. */
noinline void scope_wake_closers(struct m *mp, struct go_scope *s)
{
    struct g *list = NULL;
    lock_take(&scopes.lock);
    for (; s; s = load_relaxed(&s->parent))
        if (s->closer && !scope_busy_locked(s) && wait_claim(s->closer, s->closer_ticket)) {
            s->closer->link = list;
            list = s->closer;
            s->closer = NULL;
        }
    lock_release(&scopes.lock);
    scope_ready(mp, list);
}

/* A goroutine has ended inside s, or has left it. */
static void scope_count_out(struct m *mp, struct go_scope *s)
{
    /* The leaver: count down, then look for closers. The closer: announce itself, then look at the count. All of it is
     * sequentially consistent, so one sees the other. */
    if (atomic_fetch_sub(&s->inside, 1) == 1 && atomic_load(&scopes.closers) > 0)
        scope_wake_closers(mp, s);
}

void scope_end(struct m *mp, struct g *gp)
{
    struct go_scope *s = gp->scope;
    scope_part(gp);
    gp->scope = NULL;
    scope_count_out(mp, s);
}

void scope_leave(struct g *gp)
{
    struct scope_entry *e = gp->run.entered;
    struct m *mp = section_enter();
    struct go_scope *s = gp->scope;
    scope_part(gp);
    gp->scope = e->outer;
    gp->run.entered = e->outer_entry;
    if (gp->scope)
        scope_join(gp);
    scope_count_out(mp, s);
    section_leave(mp);
    system_stack_call(free, e);
}

void scope_leave_all(struct g *gp)
{
    while (gp->run.entered)
        scope_leave(gp);
}

struct g *scope_cancel_locked(struct go_scope *top, int cause, int result)
{
    if (load_relaxed(&top->cause) != 0)
        return NULL;
    for (struct go_scope *s = top; s; s = walk(top, s))
        if (load_relaxed(&s->cause) == 0) {
            s->result = s == top ? result : cause;
            s->armed = false; /* nor does its deadline wake anybody any more */
            timer_cancel(&s->deadline);
            store_release(&s->cause, cause); /* pairs with the acquire in scope_cause_armed */
        }
    if (unlikely(sched.light_fence_missing))
        full_fence();
    else
        os_fence_others();
    struct g *list = NULL, **end = &list;
    for (struct go_scope *s = top; s; s = walk(top, s)) {
        lock_take(&s->lock);
        for (struct g *gp = s->members; gp; gp = gp->run.scope_next) {
            uint64_t ticket = load_acquire(&gp->token); /* pairs with the release in wait_arm_as */
            if (!(ticket & TOKEN_ARMED) || !load_relaxed(&gp->run.cancellable) ||
                load_relaxed(&gp->run.shield) > 0 || !wait_claim(gp, ticket))
                continue;
            store_relaxed(&gp->run.wait_result, load_relaxed(&s->cause));
            gp->link = NULL;
            *end = gp;
            end = &gp->link;
        }
        lock_release(&s->lock);
    }
    return list;
}

void scope_ready(struct m *mp, struct g *list)
{
    while (list) {
        struct g *next = list->link;
        ready(mp, list);
        list = next;
    }
}
