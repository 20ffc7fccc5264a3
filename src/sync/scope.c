// SPDX-License-Identifier: MIT
// The public side of scopes: opening, closing, deadlines, entering, shields. How waits are ended is told in sched/scope.c.
//
// A deadline is a timer in the scope. Its firing may be under way while the scope is closed, opened again for somebody else
// and given another deadline; so the timer only makes somebody look: what counts is `armed` and `due`, under the lock.
#include <goroutine/scope.h>

#include <errno.h>
#include <stdlib.h>

#include "sched/fatal.h"
#include "sched/park.h"
#include "sched/scope.h"
#include "sched/section.h"

static void deadline_fire(struct m *mp, struct timer *t);

static void make(void *arg)
{
    struct go_scope *s = calloc(1, sizeof *s);
    if (!s)
        fatal("out of memory: no room for a scope");
    s->lock = (struct lock)LOCK_INIT(RANK_SCOPE);
    s->deadline.fire = deadline_fire; /* for good: a firing that is late by a life still reads it */
    *(struct go_scope **)arg = s;
}

static void check_open(struct go_scope *s, const char *what)
{
    if (unlikely(!s || !load_relaxed(&s->open)))
        fatal("%s: the scope is closed", what);
}

/* Makes parent, which may be NULL, the one that s is a child of. scopes.lock held. */
static void link_locked(struct go_scope *s, struct go_scope *parent)
{
    store_relaxed(&s->parent, parent);
    s->prev = s->next = NULL;
    if (!parent)
        return;
    s->next = parent->children;
    if (s->next)
        s->next->prev = s;
    parent->children = s;
}

static void unlink_locked(struct go_scope *s)
{
    struct go_scope *parent = load_relaxed(&s->parent);
    if (s->prev)
        s->prev->next = s->next;
    else if (parent)
        parent->children = s->next;
    if (s->next)
        s->next->prev = s->prev;
}

/* Ends, with -ETIMEDOUT, the uppermost of s and the scopes above it whose deadline has passed, even if nobody has noticed the timer
 * yet: so the clock decides, however busy the Ps are. Returns those to be made ready, as scope_cancel_locked does. scopes.lock
 * held. */
static struct g *notice_locked(struct go_scope *s)
{
    struct go_scope *late = NULL;
    for (; s; s = load_relaxed(&s->parent))
        if (s->armed && os_now() >= s->due)
            late = s;
    return late ? scope_cancel_locked(late, -ETIMEDOUT, -ETIMEDOUT) : NULL;
}

GO_EXPORT go_scope *go_scope_open(void)
{
    struct m *mp = section_enter();
    struct go_scope *parent = mp->cur->scope;
    lock_take(&scopes.lock);
    struct go_scope *s = scopes.free;
    if (s) {
        scopes.free = s->next;
    } else {
        lock_release(&scopes.lock);
        system_stack_call(make, &s);
        lock_take(&scopes.lock);
    }
    check(!s->members && load_relaxed(&s->inside) == 0 && !s->armed && !s->closing);
    s->children = NULL;
    struct g *list = notice_locked(parent);
    link_locked(s, parent);
    int cause = parent ? load_relaxed(&parent->cause) : 0;
    s->result = cause;
    store_relaxed(&s->cause, cause);
    store_relaxed(&s->open, true);
    lock_release(&scopes.lock);
    scope_ready(mp, list);
    section_leave(mp);
    return s;
}

/* True if s is one of the scopes that gp is inside of, or above one of them. scopes.lock held. */
static bool is_inside_locked(struct g *gp, struct go_scope *s)
{
    struct scope_entry *e = gp->run.entered;
    struct go_scope *in = gp->scope;
    for (;;) {
        for (struct go_scope *t = in; t; t = load_relaxed(&t->parent))
            if (t == s)
                return true;
        if (!e)
            return false;
        in = e->outer;
        e = e->outer_entry;
    }
}

static noinline struct m *wait_for_all_locked(struct m *mp, struct g *gp, struct go_scope *s)
{
    atomic_fetch_add(&scopes.closers, 1); /* before looking again: see scope_count_out */
    while (scope_busy_locked(s)) {
        s->closer_ticket = wait_arm(gp, WAIT_SCOPE);
        s->closer = gp;
        lock_release(&scopes.lock);
        wait_park(mp, gp);
        mp = m_self();
        lock_take(&scopes.lock);
    }
    atomic_fetch_sub(&scopes.closers, 1);
    return mp;
}

GO_EXPORT int go_scope_close(go_scope *s)
{
    struct m *mp = section_enter();
    struct g *gp = mp->cur;
    check_open(s, "go_scope_close");
    lock_take(&scopes.lock);
    bool open = load_relaxed(&s->open), busy = scope_busy_locked(s);
    bool inside = busy && is_inside_locked(gp, s);
    if (unlikely(!open || inside || s->closing)) {
        lock_release(&scopes.lock);
        fatal("go_scope_close: %s", !open    ? "the scope is closed"
                                    : inside ? "the caller is inside the scope"
                                             : "the scope is being closed already");
    }
    s->closing = true;
    if (busy)
        mp = wait_for_all_locked(mp, gp, s);
    struct g *list = notice_locked(s);
    int result = s->result;
    s->armed = false;
    timer_cancel(&s->deadline);
    unlink_locked(s);
    struct go_scope *above = load_relaxed(&s->parent);
    /* Scopes that were opened inside and not closed live on, below the one above. */
    while (s->children) {
        struct go_scope *child = s->children;
        s->children = child->next;
        link_locked(child, above);
    }
    store_relaxed(&s->parent, NULL);
    store_relaxed(&s->open, false);
    s->closing = false;
    s->next = scopes.free;
    scopes.free = s;
    lock_release(&scopes.lock);
    scope_ready(mp, list);
    /* The last one to leave s may not have looked yet, and can no longer get from s to those who wait above it. */
    if (above && atomic_load(&scopes.closers) > 0)
        scope_wake_closers(mp, above);
    section_leave(mp);
    return result;
}

static void end_waits(struct go_scope *s, int cause, int result, const char *what)
{
    struct m *mp = section_enter();
    check_open(s, what);
    lock_take(&scopes.lock);
    struct g *list = notice_locked(s);
    if (!list)
        list = scope_cancel_locked(s, cause, result); /* does nothing if the time was up */
    lock_release(&scopes.lock);
    scope_ready(mp, list);
    section_leave(mp);
}

GO_EXPORT void go_scope_cancel(go_scope *s)
{
    end_waits(s, -ECANCELED, -ECANCELED, "go_scope_cancel");
}

GO_EXPORT void go_scope_fail(go_scope *s, int error)
{
    if (error != 0)
        end_waits(s, -ECANCELED, error, "go_scope_fail");
}

static void deadline_fire(struct m *mp, struct timer *t)
{
    struct go_scope *s = container_of(t, struct go_scope, deadline);
    struct g *list = NULL;
    lock_take(&scopes.lock);
    if (s->armed && os_now() >= s->due) {
        s->armed = false;
        list = scope_cancel_locked(s, -ETIMEDOUT, -ETIMEDOUT);
    }
    lock_release(&scopes.lock);
    scope_ready(mp, list);
}

GO_EXPORT void go_scope_deadline(go_scope *s, go_time when)
{
    struct m *mp = section_enter();
    check_open(s, "go_scope_deadline");
    bool past = when <= os_now(), sets = !past && when != TIME_NEVER, borrows = sets && !mp->p;
    struct p *pp = borrows ? timer_borrow_p() : mp->p;
    lock_take(&scopes.lock);
    struct g *list = notice_locked(s);
    s->armed = false;
    timer_cancel(&s->deadline);
    if (past && !list) {
        list = scope_cancel_locked(s, -ETIMEDOUT, -ETIMEDOUT);
    } else if (sets && load_relaxed(&s->cause) == 0) {
        s->armed = true;
        s->due = when;
        timer_set_on(pp, &s->deadline, when);
    }
    lock_release(&scopes.lock);
    if (borrows)
        timer_return_p(pp, when);
    scope_ready(mp, list);
    section_leave(mp);
}

GO_EXPORT int go_cancelled(void)
{
    struct m *mp = section_enter();
    struct g *gp = mp->cur;
    int cause = 0;
    if (gp->scope && load_relaxed(&gp->run.shield) == 0)
        cause = load_acquire(&gp->scope->cause);
    section_leave(mp);
    return cause;
}

GO_EXPORT void go_shield_begin(void)
{
    struct m *mp = section_enter();
    g_untidy(mp->cur);
    bump_owner(&mp->cur->run.shield, 1);
    section_leave(mp);
}

GO_EXPORT void go_shield_end(void)
{
    struct m *mp = section_enter();
    if (unlikely(load_relaxed(&mp->cur->run.shield) == 0))
        fatal("go_shield_end without go_shield_begin");
    bump_owner(&mp->cur->run.shield, -1u);
    section_leave(mp);
}

GO_EXPORT void go_scope_enter(go_scope *s)
{
    struct m *mp = section_enter();
    struct g *gp = mp->cur;
    check_open(s, "go_scope_enter");
    struct scope_entry *e = system_stack_realloc(NULL, sizeof *e);
    if (!e)
        fatal("out of memory: no room to enter a scope");
    e->outer = gp->scope;
    e->outer_entry = gp->run.entered;
    if (gp->scope)
        scope_part(gp);
    scope_count_in(gp, s, "go_scope_enter");
    g_untidy(gp);
    gp->run.entered = e;
    gp->scope = s;
    scope_join(gp);
    section_leave(mp);
}

GO_EXPORT void go_scope_leave(go_scope *s)
{
    struct m *mp = section_enter();
    struct g *gp = mp->cur;
    if (unlikely(!gp->run.entered))
        fatal("go_scope_leave without go_scope_enter");
    if (unlikely(gp->scope != s))
        fatal("go_scope_leave: another scope was entered last");
    section_leave(mp);
    scope_leave(gp);
}
