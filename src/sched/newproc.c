// SPDX-License-Identifier: MIT
// newproc: what a go statement calls. It puts the captured arguments into a G and the G on the run queue.
//
// "The way of the arguments"
//
// go(fn, args...) is a call of go_newproc with fn's own type (include/goroutine/launch.h). The assembly stub
// stores the argument registers into a struct arch_args and calls newproc. Here the registers the call can have
// used are copied into the G, and the stack words behind them; what does not fit goes to a record. When the
// goroutine runs for the first time, goroutine_entry calls newproc_begin on the new stack, which copies all that
// back, and jumps to fn with the registers loaded: fn cannot tell the difference from a call.
//
// A G has no stack until then: ten million queued launches are ten million Gs and nothing else, and a goroutine
// that runs to its end leaves its stack, hot, to the next.
#include <string.h>

#include "base/options.h"
#include "sched/debug_hooks.h"
#include "sched/fatal.h"
#include "sched/fiber.h"
#include "sched/runq.h"
#include "sched/sched.h"
#include "sched/scope.h"
#include "sched/section.h"

/* Bytes of arguments below this go to the G; see G_ARGS_INLINE. */
struct args_layout {
    size_t integers, vectors, words, total;
};

static always_inline struct args_layout args_layout(const struct go_site *site, size_t words)
{
    struct args_layout l = {
        .integers = site->integer_regs * sizeof ((struct arch_args *)0)->integer[0],
        .vectors = site->vector_regs * sizeof ((struct arch_args *)0)->vector[0],
        .words = words,
    };
    l.total = l.integers + l.vectors + l.words;
    return l;
}

/* Small, and a multiple of eight: worth more than a call of memcpy. */
static always_inline void copy_words(void *to, const void *from, size_t n)
{
    uint64_t *t = to;
    const uint64_t *f = from;
    for (size_t i = 0; i < n / 8; i++) {
        t[i] = f[i];
        __asm__ volatile("" ::: "memory"); /* or the compiler makes it a call of memcpy */
    }
}

/*
 * The launcher's stack words. Not memcpy, and out of the sanitizers' sight: what lies between the arguments and the limit
 * may be poisoned for ASan, and be variables that others write to, which is no race.
 */
#if HAVE_ASAN
__attribute__((no_sanitize("address")))
#elif HAVE_TSAN
__attribute__((no_sanitize("thread")))
#endif
static noinline void
copy_stack_words(char *to, const char *from, size_t n)
{
    copy_words(to, from, n);
}

/* How many bytes from `words` on hold all stack arguments ("How a go statement is compiled" in launch.h), rounded up to
 * what the ABI aligns a stack to. */
static always_inline size_t stack_bytes(const struct go_launch *launch, const void *words)
{
    size_t n = launch->site->stack_bytes;
    if (n == 0)
        return 0;
    const void *limit = launch->limit;
    if (launch->site->limit != GO_LIMIT_END && (uintptr_t)limit <= (uintptr_t)words)
        limit = launch->site->limit == GO_LIMIT_FRAME ? launch->frame : launch;
    size_t below = (size_t)((const char *)limit - (const char *)words);
    return ((below < n ? below : n) + 15) & ~(size_t)15;
}

static uint64_t id_next(struct p *pp)
{
    if (unlikely(pp->id_left == 0)) {
        pp->id_next = ID_BATCH * atomic_fetch_add_explicit(&sched.id_batches, 1,
                                                           memory_order_relaxed);
        pp->id_left = ID_BATCH;
    }
    pp->id_left--;
    return pp->id_next++;
}

static noinline void newproc_foreign(struct m *mp, struct g *gp)
{
    gp->id = atomic_fetch_add_explicit(&sched.id_batches, 1, memory_order_relaxed) * ID_BATCH;
    g_count_foreign(1);
    global_submit(gp);
    section_leave(mp);
}

static noinline void apply_options(struct g *gp, const go_options *options)
{
    gp->name = options->name;
    if (options->scope)
        gp->scope = options->scope;
    gp->stack_class = (uint8_t)stack_class_for(options->stack_size);
}

/* The arguments need room on the new stack besides what fn itself needs. */
static noinline void fit_stack(struct g *gp, size_t total)
{
    size_t size = stack_class_size(gp->stack_class);
    if (total > size / 4)
        gp->stack_class = (uint8_t)stack_class_for(size + total);
}

void newproc(const struct go_launch *launch, const struct arch_args *regs, const void *words)
{
    struct m *mp = section_enter();
    if (unlikely(!launch->fn))
        fatal("go of nil func value");
    struct g *gp = g_alloc(mp);
    const struct go_site *site = launch->site;
    struct args_layout l = args_layout(site, stack_bytes(launch, words));
    gp->stack_args = (uint32_t)l.words;
    store_relaxed(&gp->status, G_NEW);
    store_relaxed(&gp->flags, 0);
    gp->stack_class = options.stack_class;
    gp->site = site;
    gp->creator = mp->cur->id;
    gp->name = NULL;
    gp->scope = mp->cur->scope;
    gp->start.fn = launch->fn;
    if (unlikely(launch->options != NULL))
        apply_options(gp, launch->options);
    if (unlikely(launch->scope != NULL))
        gp->scope = launch->scope;
    if (unlikely(gp->scope != NULL))
        scope_count_in(gp->scope, "go");

    char *args = gp->start.args.bytes;
    if (unlikely(l.total > G_ARGS_INLINE)) {
        gp->start.args.record = args = args_get(mp, l.total);
        fit_stack(gp, l.total);
    }
    copy_words(args, regs->integer, l.integers);
    copy_words(args + l.integers, regs->vector, l.vectors);
    if (unlikely(l.words > 0))
        copy_stack_words(args + l.integers + l.vectors, words, l.words);

    struct p *pp = mp->p;
    if (unlikely(!pp)) {
        newproc_foreign(mp, gp);
        return;
    }
    gp->id = id_next(pp);
    if (unlikely(load_relaxed(&debug_hooks)))
        hook_launch(mp, gp);
    bump_owner(&pp->launched, 1);
    runq_push_next(pp, gp);
    wake_idle(pp);
    section_leave(mp);
}

void newproc_internal(struct m *mp, void (*fn)(void *), void *arg, const struct go_site *site,
                      unsigned flags)
{
    struct g *gp = g_alloc(mp);
    gp->stack_args = 0;
    store_relaxed(&gp->status, G_NEW);
    store_relaxed(&gp->flags, (uint8_t)flags);
    gp->stack_class = options.stack_class;
    gp->site = site;
    gp->creator = 0;
    gp->name = NULL;
    gp->scope = NULL;
    gp->start.fn = (void (*)(void))(uintptr_t)fn;
    *(uint64_t *)(void *)gp->start.args.bytes = (uint64_t)(uintptr_t)arg;
    struct p *pp = mp->p;
    if (unlikely(!pp)) {
        gp->id = atomic_fetch_add_explicit(&sched.id_batches, 1, memory_order_relaxed) * ID_BATCH;
        g_count_foreign(1);
        if (flags & G_SYSTEM)
            g_count_system(1);
        global_submit(gp);
        return;
    }
    gp->id = id_next(pp);
    bump_owner(&pp->launched, 1);
    if (flags & G_SYSTEM)
        g_count_system(1);
    if (runq_push_next(pp, gp))
        wake_idle(pp);
}

void (*newproc_begin(struct g *gp, struct arch_args *regs, void *words))(void)
{
    fiber_here(NULL);
    struct m *mp = m_self();
    struct args_layout l = args_layout(gp->site, gp->stack_args);
    char *record = NULL, *args = gp->start.args.bytes;
    void (*fn)(void) = gp->start.fn;
    if (unlikely(l.total > G_ARGS_INLINE))
        args = record = gp->start.args.record;
    copy_words(regs->integer, args, l.integers);
    copy_words(regs->vector, args + l.integers, l.vectors);
    if (unlikely(l.words > 0))
        copy_words(words, args + l.integers + l.vectors, l.words);

    struct stack *s = mp->starting;
    g_init_run(gp);
    gp->run.stack = s;
    gp->run.fiber = mp->starting_fiber;
    if (unlikely(s->flags & STACK_CANARY))
        store_relaxed(&gp->flags, load_relaxed(&gp->flags) | G_CANARY);
    store_relaxed(&gp->status, G_RUNNING);
    if (unlikely(gp->scope != NULL))
        scope_join(gp);
    if (unlikely(record != NULL))
        args_put(mp, record, l.total);
    switch_done(mp);
    section_leave(mp);
    return fn;
}
