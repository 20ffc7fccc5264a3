// SPDX-License-Identifier: MIT
// M: an OS thread that takes part. Each plain thread that has called the library has a struct m, too: it
// never gets a P, and has a G (G_THREAD) that stands for the thread.
#pragma once

#include "base/atomic.h"
#include "base/compiler.h"
#include "sched/g.h"

/* Reasons for the slow way into a section. Set by others, cleared as noted. */
enum attention {
    ATTN_SEIZED = 1 << 0,   /* somebody else touches our P: wait. Cleared by the seizer */
    ATTN_DETACHED = 1 << 1, /* our P was taken away: get in line. Cleared by the M */
    ATTN_YIELD = 1 << 2,    /* preempt=0: asked to let others run. Cleared by the M */
    ATTN_FENCE = 1 << 3,    /* no membarrier here: do the fence ourselves. Never cleared */
    ATTN_FOREIGN = 1 << 4,  /* a plain thread. Never cleared */
    ATTN_STRANGER = 1 << 5, /* this thread has no struct m: adopt it */
    ATTN_FORKED = 1 << 6,   /* the child of a fork. Never cleared */
};

struct m {
    _Atomic uint32_t in;        /* 1 in a section: itself, plain stores; release on the way out */
    _Atomic uint32_t attention; /* enum attention */
    struct g *cur;              /* the goroutine it runs, NULL on g0; itself */
    struct p *p;                /* itself in a section; the one who detaches it */
    struct g *prev;             /* the goroutine it has just left, until the other side has seen it */
    struct g *picked;           /* picked but to be started or resumed from g0 */
    struct stack *starting;     /* the stack of the G that newproc_begin is about to see */
    void *starting_fiber;       /* and its fiber */
    void *g0_sp;                /* the scheduler's context while a goroutine runs */
    bool on_g0;                 /* runs on the system stack: scheduling, or system_stack_call */
    _Atomic bool blocking;      /* its goroutine is between go_block_enter and leave */
    bool hog;                   /* its P was taken away because it computed; set by the taker, read after ATTN_DETACHED */
    bool spinning;              /* counted in sched.spinning; itself */
    bool ends;                  /* its locked goroutine ended: the thread ends too; itself */
    struct g *locked_g;         /* runs this G only; itself */
    int fired;                  /* timers since it last slept; itself */
    struct p *woken_by;         /* for whose work it was woken, while spinning */
    int tid;

    _Atomic uint32_t wake __attribute__((aligned(CACHE_LINE))); /* futex: 1 when there is news */
    struct p *next_p;           /* handed over by who wakes it, under sched.lock */
    int64_t sleeps_until;       /* of a timekeeper, or 0; under sched.lock */
    bool idle;                  /* under sched.lock */
    struct m *link;             /* idle list, under sched.lock */
    struct m *all;              /* every M, under sched.lock */
    void *signal_stack;
    void *fiber;                /* sanitizers' idea of g0 */
    void *fake_stack;
    const void *g0_bottom;      /* bounds of the system stack, for ASan */
    size_t g0_size;
} __attribute__((aligned(CACHE_LINE)));

/* What m_self() finds on a thread that never called the library. */
extern struct m m_stranger;
extern __thread struct m *m_tls __attribute__((tls_model("initial-exec")));
