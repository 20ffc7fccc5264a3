// SPDX-License-Identifier: MIT
// Taking a free G and putting it back: the P's own list, hot first, and behind it the central one in g.c.
#pragma once

#include "base/check.h"
#include "sched/m.h"
#include "sched/p.h"

/* Free Gs a P keeps, and how many of them go to the central list when there are more. */
#define G_CACHE_MOST 4096
#define G_GIVE_BACK 512

struct g *g_alloc_slow(struct m *mp);
void g_give_back(struct p *pp);

/* From pp's list, which is not empty. Owner. */
static always_inline struct g *g_alloc_hot(struct p *pp)
{
    struct g *gp = pp->gfree;
    struct g *next = gp->link;
    prefetch(next, 2 * CACHE_LINE);
    pp->gfree = next;
    pp->gfree_count--;
    return gp;
}

/* Never NULL: out of memory is fatal. In a section; mp->p may be NULL. */
static always_inline struct g *g_alloc(struct m *mp)
{
    struct p *pp = mp->p;
    return likely(pp && pp->gfree) ? g_alloc_hot(pp) : g_alloc_slow(mp);
}

/* gp's stack must have been taken from it, and pp's list have room. Owner. */
static always_inline void g_free_hot(struct p *pp, struct g *gp)
{
    check(load_relaxed(&gp->run.timer.when) == 0 && g_is_tidy(gp));
    store_relaxed(&gp->status, G_DEAD);
    gp->link = pp->gfree;
    pp->gfree = gp;
    pp->gfree_count++;
}

/* The same; if pp's list is then full, part of it goes to the central one. */
static always_inline void g_free(struct p *pp, struct g *gp)
{
    g_free_hot(pp, gp);
    if (unlikely(pp->gfree_count >= G_CACHE_MOST))
        g_give_back(pp);
}
