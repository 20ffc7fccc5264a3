// SPDX-License-Identifier: MIT
// Scopes, as the scheduler knows them: who is inside, and whether their waits are to end. The essay is in scope.c; the public
// functions are in sync/scope.c.
#pragma once

#include <goroutine/launch.h>

#include "os/lock.h"
#include "sched/g.h"
#include "sched/timer.h"

struct m;

/* Never freed, only reused: timers and late enders may come back to one. */
struct go_scope {
    _Atomic int cause;       /* 0, -ECANCELED or -ETIMEDOUT; written under scopes.lock, the first one stays */
    _Atomic uint32_t inside; /* goroutines launched inside and not ended, and entries not left */
    _Atomic bool open;       /* written under scopes.lock */

    struct lock lock;
    struct g *members; /* under lock: goroutines whose waits obey this scope */

    /* Under scopes.lock. */
    int result; /* what close will return */
    bool closing;
    _Atomic(struct go_scope *) parent; /* read by those inside it, too */
    struct go_scope *children, *next, *prev;
    struct g *closer; /* parked in close, with this ticket */
    uint64_t closer_ticket;
    bool armed; /* the deadline is set and has not come */
    int64_t due;
    struct timer deadline;
};

/* The tree of scopes, and how many wait in close. */
struct scopes {
    struct lock lock;
    _Atomic uint32_t closers;
    struct go_scope *free; /* under lock, by next */
};

extern struct scopes scopes;

/* go_scope_enter without leave. */
struct scope_entry {
    struct scope_entry *outer_entry;
    go_scope *outer; /* where the goroutine was before */
};

/* Why gp, which has just armed a wait, shall not wait: 0, -ECANCELED or -ETIMEDOUT. gp itself. */
int scope_cause_armed(struct g *gp);

/* A goroutine is about to be launched inside s, or the caller to enter it. In a section; gp->scope is where it is now. `what`: the
 * caller, for the message. */
void scope_count_in(struct g *gp, struct go_scope *s, const char *what);

/* Somebody waits in close, perhaps for s or for one above it, and may go on now. scopes.lock not held. In a section. */
void scope_wake_closers(struct m *mp, struct go_scope *s);

/* gp, which is itself the caller, obeys gp->scope from now on; or no more. In a section. */
void scope_join(struct g *gp);
void scope_part(struct g *gp);

/* The end of a goroutine in a scope: in the section that ends it. */
void scope_end(struct m *mp, struct g *gp);

/* Leaves what gp, the caller, has entered last, or all of that. Outside of a section. */
void scope_leave(struct g *gp);
void scope_leave_all(struct g *gp);

/* Ends the waits inside s and all scopes below it, unless s has a cause already. scopes.lock is held; returns those to be made ready,
 * by scope_ready, when it has been released: linked by g->link. In a section. */
struct g *scope_cancel_locked(struct go_scope *s, int cause, int result);
void scope_ready(struct m *mp, struct g *list);

/* Some goroutine is inside s or a scope below it. scopes.lock held. */
bool scope_busy_locked(struct go_scope *s);
