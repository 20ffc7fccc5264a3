// SPDX-License-Identifier: MIT
// G: a goroutine.
#pragma once

#include <goroutine/launch.h>

#include "arch/arch.h"
#include "base/atomic.h"
#include "base/compiler.h"
#include "sched/g_offsets.h"
#include "sched/stack.h"
#include "sched/timer.h"
#include "sched/wait_reason.h"

struct m;

/*
 * A status says who owns the goroutine's stack, which queue it is on, and who must act next.
 *
 *  G_DEAD      no stack (or an M about to take it away). On a list of free Gs. newproc acts next.
 *  G_NEW       no stack; `start` is valid. On exactly one run queue. An M picks it.
 *  G_RUNNABLE  its stack holds a saved context (once on_cpu is 0). On exactly one run queue.
 *  G_RUNNING   an M runs on its stack: in user code or in the library. On no queue.
 *  G_WAITING   parked, or about to be: until on_cpu is 0 the parking M is still on the stack. Known
 *              only to what it waits for; whoever claims its token must call ready.
 */
enum g_status { G_DEAD, G_NEW, G_RUNNABLE, G_RUNNING, G_WAITING };

enum g_flags {
    G_LOCKED = 1 << 0, /* go_lock_thread: runs only on run.locked_m */
    G_THREAD = 1 << 1, /* stands for a plain thread: parks on a futex, runs on no M */
    G_MAIN = 1 << 2,   /* goroutine 1, on the stack of the process */
    G_CANARY = 1 << 3, /* its stack has a canary, not a guard: check it at each switch */
    G_UNTIDY = 1 << 4, /* it has used some of the third line of its G, to be zeroed when it ends: g_tidy */
    G_SYSTEM = 1 << 5, /* the library's own: not counted, not shown */
    G_NOTED = 1 << 7,  /* the flight recorder has noted where it was launched */
    G_BLOCKING = 1 << 6, /* between go_block_enter and leave: m.blocking follows it to each M that runs it */
};

/* All arguments of a launch that has some on the stack; `words` are those, g->stack_args bytes. */
struct args_record {
    struct arch_args regs;
    char words[] __attribute__((aligned(16)));
};

/*
 * Type-stable: a struct g is never freed, only reused, so that a stale pointer to one (in a timer
 * heap, in the hand of a late waker) always finds a token to compare. 256 bytes on x86-64.
 *
 * The second part is a union, because the captured arguments are dead once the function has begun, and
 * nothing of `run` is alive before. (But the third cache line is 0 up to `shield` unless there are arguments in it: see g_tidy.)
 */
struct g {
    uint32_t stack_args;     /* bytes of stack arguments, a multiple of 16; constant once queued */
    _Atomic uint8_t status;  /* enum g_status; by whoever the status says acts next */
    uint8_t wait_reason;     /* by itself, before it parks */
    uint8_t stack_class;     /* constant once queued */
    _Atomic uint8_t flags;   /* enum g_flags; by itself */
    struct g *link;          /* next on its queue or free list; guarded as that queue is */
    const struct go_site *site; /* the go statement; NULL for main and plain threads */
    uint64_t id;             /* constant once queued; main is 1, plain threads 0 */
    uint64_t creator;        /* id of the launching goroutine */
    _Atomic uint64_t token;  /* "One wake-up" in park.h; survives reuse */
    const char *name;        /* from go_options, or NULL */
    go_scope *scope;
    union {
        struct {
            _Atomic int64_t timer_when; /* run.timer.when, which a stale heap entry may read: 0 */
            void (*fn)(void);
            union {
                struct arch_args regs __attribute__((aligned(16)));
                struct args_record *record; /* if stack_args is not 0: from args_get */
            } args;
        } start;
        struct {
            /* A launch with two arguments at most, its end, and a wait without a deadline touch the first two cache lines of
             * a G, and no more. */
            union {
                struct timer timer;   /* of go_sleep, and of waits with a deadline */
                struct {
                    _Atomic int64_t timer_when;
                    struct stack *stack; /* NULL for main and plain threads; where the timer has no `fire`: timer_set_wait */
                };
            };
            void *sp;                 /* saved context; valid while on_cpu is 0 and not running */
            int64_t wait_since;       /* coarse time of parking */
            _Atomic uint32_t on_cpu;  /* 1 from being picked until its context is saved: release by the
                                         M that left it, acquire by the one that picks it up */
            _Atomic int32_t wait_result; /* 0, or why nobody woke it; by whoever claims its token */
            _Atomic bool cancellable; /* the present wait; itself, before the token */
            uint32_t block_depth;     /* go_block_enter minus go_block_leave; itself */

            /* From here to `shield`: 0 unless G_UNTIDY is set. */
            uint32_t lock_count;      /* go_lock_thread minus go_unlock_thread; itself */
            uint32_t local_count;
            struct deferred *defers;  /* itself */
            void **locals;            /* itself */
            struct scope_entry *entered; /* go_scope_enter without leave, the last one first; itself */
            _Atomic uint32_t shield;  /* go_shield_begin minus go_shield_end; itself, read by cancellers */
            _Atomic uint32_t wake;    /* plain threads: the futex they sleep on */
            struct m *locked_m;       /* under G_LOCKED */
            _Atomic int64_t wait_until; /* when `timer` shall end the wait; itself, before timer.ticket */

            struct g *scope_next, *scope_prev; /* the list of its scope; under the scope's lock */
            void *fiber;              /* sanitizers' idea of this stack */
            void *fake_stack;
        } run;
    };
} __attribute__((aligned(CACHE_LINE)));

_Static_assert(offsetof(struct g, stack_args) == G_STACK_ARGS, "g_offsets.h");
_Static_assert(offsetof(struct g, site) == G_SITE, "g_offsets.h");
_Static_assert(offsetof(struct go_launch, site) == LAUNCH_SITE, "g_offsets.h");
_Static_assert(offsetof(struct go_site, integer_regs) == SITE_INTEGER_REGS, "g_offsets.h");
_Static_assert(offsetof(struct go_site, x87_results) == SITE_X87_RESULTS, "g_offsets.h");
_Static_assert(offsetof(struct g, start.timer_when) == offsetof(struct g, run.timer.when),
               "the armed state of a timer survives the change from start to run and back");
_Static_assert(offsetof(struct g, run.stack) == offsetof(struct g, run.timer.fire), "where nobody looks for it");
_Static_assert(offsetof(struct g, run.lock_count) == 2 * CACHE_LINE, "what a wait touches");
_Static_assert(offsetof(struct g, start.args.regs.integer) >= 2 * CACHE_LINE, "what a launch touches");
#ifdef __x86_64__
_Static_assert(sizeof(struct g) == 256, "ten million queued launches are counted in these bytes");
#endif

/* Frees a G that stood for a plain thread, whose end is not counted. Any thread. */
void g_free_thread(struct g *gp);

/* By gp itself, before it uses any of the fields that g_tidy sets to 0. */
static always_inline void g_untidy(struct g *gp)
{
    store_relaxed(&gp->flags, load_relaxed(&gp->flags) | G_UNTIDY);
}

/* gp has ended, or these fields held arguments. */
static always_inline void g_tidy(struct g *gp)
{
    gp->run.lock_count = 0;
    gp->run.local_count = 0;
    gp->run.defers = NULL;
    gp->run.locals = NULL;
    gp->run.entered = NULL;
    store_relaxed(&gp->run.shield, 0);
}

static inline bool g_is_tidy(const struct g *gp)
{
    return gp->run.lock_count == 0 && gp->run.local_count == 0 && !gp->run.defers && !gp->run.locals && !gp->run.entered &&
           load_relaxed(&gp->run.shield) == 0;
}

/* Makes gp, fresh from g_alloc and tidy, a running one. `stack` may be NULL. */
static always_inline void g_init_run(struct g *gp, struct stack *stack)
{
    gp->run.stack = stack;
    store_relaxed(&gp->run.timer.ticket, 0); /* it was an argument, which a late wait_time_up must not take for a ticket */
    gp->run.wait_since = 0; /* so was this, which the figures take for the beginning of a wait */
    store_relaxed(&gp->run.on_cpu, 1);
    gp->run.block_depth = 0;
}

/* Records for stack arguments. In a section. */
void *args_get(struct m *mp, size_t size);
void args_put(struct m *mp, void *args, size_t size);

/* Calls visit for main, once it is a goroutine, and then for every G there ever was, dead ones included. */
void g_for_each(void (*visit)(struct g *, void *), void *arg);

/* pp's free Gs and records go where others find them. Owner; on a system stack. */
struct p;
void g_cache_flush(struct p *pp);

/* n goroutines were launched, or -n ended, without a P to count them. */
void g_count_foreign(int n);

/* n of those counted are the library's own, or -n not any more. */
void g_count_system(int n);

/* Goroutines alive: launched and not ended. Exact when nothing else runs. */
int64_t g_count(void);
