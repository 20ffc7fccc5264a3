// SPDX-License-Identifier: MIT
// What src/debug supplies, so that the scheduler need not include it.
#pragma once

#include "base/atomic.h"
#include "base/compiler.h"

struct g;
struct m;
struct p;

/* Which of these want to hear of events. Nearly always 0: the paths that ask load it once and predict right. */
enum debug_hook { HOOK_TRACE = 1 << 0, HOOK_STATS = 1 << 1 };
extern _Atomic uint8_t debug_hooks;

/* Called if any of them is set: all but hook_taken in a section, perhaps on a goroutine's small stack. mp->p is NULL only where said. */
void hook_launch(struct m *mp, struct g *gp);  /* gp is about to be queued; with a P */
void hook_ready(struct m *mp, struct g *gp);   /* gp is about to be made ready; perhaps no P, or no mp */
void hook_switch(struct m *mp, struct g *prev); /* from prev (NULL: g0) to mp->cur (NULL: g0) */
void hook_end(struct m *mp, struct g *gp);     /* gp has ended */
void hook_taken(struct p *pp);                 /* pp, seized by the caller, is taken from its M, whose goroutine goes on without a P */
void hook_regained(struct m *mp);              /* mp has a P again, without a switch */

/* Set by whoever wants sysmon to call debug_work at its next look; sysmon_hurry makes that soon. */
extern _Atomic bool debug_pending;

/* At the first call into the library, when all else is ready. */
void debug_start(void);

/* The handler of SIGQUIT that debug_start has installed, NULL if it has not. */
extern void (*quit_handler)(int);

/* In the handler of a fault; `mask` is the signal mask of the interrupted code (a ucontext's). Does not return if that code was a walk
 * along a stack that somebody has written over. */
void debug_fault(const void *mask);

/* What is due. By sysmon, without a P. */
void debug_work(void);
