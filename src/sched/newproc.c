// SPDX-License-Identifier: MIT
// newproc: what a go statement calls. It puts the captured arguments into a G and the G on the run queue.
//
// "The way of the arguments"
//
// go(fn, args...) is a call of go_newproc with fn's own type (include/goroutine/launch.h). The assembly stub
// stores the argument registers into a struct arch_args and calls newproc. Here the registers the call can have
// used are copied into the G; if there are stack words, both go to a record instead. When the
// goroutine runs for the first time, goroutine_entry calls newproc_begin on the new stack, which copies all that
// back, and jumps to fn with the registers loaded: fn cannot tell the difference from a call.
//
// A G has no stack until then: ten million queued launches are ten million Gs and nothing else, and a goroutine
// that runs to its end leaves its stack, hot, to the next.
//
// "The short ways"
//
// What is rare about a launch, or about a beginning, takes a call; and a function that makes calls in its midst saves
// registers for them at its start, each time. So what is rare is looked for first, in one place, and has a function of its own,
// compiled from the same text: the usual way either jumps to that at once, or makes no call at all. (That saved 50 of the 400
// instructions of a launch, its end and its wait group.)
#include "base/options.h"
#include "sched/debug_hooks.h"
#include "sched/fatal.h"
#include "sched/fiber.h"
#include "sched/g_cache.h"
#include "sched/global.h"
#include "sched/runq.h"
#include "sched/sched.h"
#include "sched/scope.h"
#include "sched/section.h"

typedef uint64_t vector __attribute__((__vector_size__(16), __may_alias__));

static always_inline void copy_integer(uint64_t *to, const uint64_t *from)
{
    *to = *from;
    compiler_barrier(); /* or two become one */
}

static always_inline void copy_vector(struct arch_vector *to, const struct arch_vector *from)
{
    *(vector *)(void *)to = *(const vector *)(const void *)from;
}

/*
 * The argument registers that the call can have used, in groups: one argument takes two of each kind at most. No loops
 * and no memcpy; and each register with the size it was stored with, for a load of 16 bytes behind two stores of
 * 8 waits until both have reached the cache.
 */
static always_inline void copy_registers(struct arch_args *to, const struct arch_args *from,
                                         const struct go_site *site)
{
    if (site->integer_regs == 0)
        return; /* then there are no arguments at all */
#pragma GCC unroll 2
    for (size_t i = 0; i < array_length(to->first_integer); i++)
        copy_integer(&to->first_integer[i], &from->first_integer[i]);
#pragma GCC unroll 2
    for (size_t i = 0; i < array_length(to->first_vector); i++)
        copy_vector(&to->first_vector[i], &from->first_vector[i]);
    if (site->integer_regs <= 2)
        return;
#pragma GCC unroll 8
    for (size_t i = 0; i < array_length(to->integer); i++)
        copy_integer(&to->integer[i], &from->integer[i]);
#pragma GCC unroll 8
    for (size_t i = 0; i < array_length(to->vector); i++)
        copy_vector(&to->vector[i], &from->vector[i]);
}

/* n is small, and a multiple of eight: not worth a call of memcpy. */
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

static noinline void id_more(struct p *pp)
{
    pp->id_next = ID_BATCH * atomic_fetch_add_explicit(&sched.id_batches, 1, memory_order_relaxed);
    pp->id_left = ID_BATCH;
}

/* From the batch, which is not empty. */
static always_inline uint64_t id_hot(struct p *pp)
{
    pp->id_left--;
    return pp->id_next++;
}

static always_inline uint64_t id_next(struct p *pp)
{
    if (unlikely(pp->id_left == 0))
        id_more(pp);
    return id_hot(pp);
}

/* gp was launched by a thread without a P. Reports do not wait for such: they see gp once its status is set, and then all of it. */
static void submit_foreign(struct g *gp)
{
    gp->id = atomic_fetch_add_explicit(&sched.id_batches, 1, memory_order_relaxed) * ID_BATCH;
    store_release(&gp->status, G_NEW); /* pairs with the acquire in list_one */
    g_count_foreign(1);
    if (load_relaxed(&gp->flags) & G_SYSTEM)
        g_count_system(1);
    global_submit(gp);
}

static noinline void newproc_foreign(struct m *mp, struct g *gp)
{
    submit_foreign(gp);
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

static noinline void wake_and_leave(struct m *mp, struct p *pp)
{
    wake_for_launch(pp);
    section_leave(mp);
}

/* A G has room for the registers. With stack words, all arguments go to a record. */
static noinline void capture_record(struct m *mp, struct g *gp, const struct arch_args *regs,
                                    const void *words, size_t word_bytes)
{
    struct args_record *record = args_get(mp, sizeof *record + word_bytes);
    gp->start.args.record = record;
    copy_registers(&record->regs, regs, gp->site);
    copy_stack_words(record->words, words, word_bytes);
    fit_stack(gp, word_bytes);
}

/* "The short ways": nothing about this launch needs a call. */
static always_inline bool is_plain(const struct m *mp, const struct go_launch *launch, const void *words)
{
    const struct p *pp = mp->p;
    return likely(launch->fn != NULL) && likely(launch->options == NULL) && likely(launch->scope == NULL) &&
           likely(stack_bytes(launch, words) == 0) && likely(pp != NULL) && likely(pp->gfree != NULL) &&
           likely(pp->id_left > 0) && likely(mp->cur->scope == NULL) && likely(runq_has_room(pp)) &&
           likely(load_relaxed(&debug_hooks) == 0);
}

/* In a section, which it leaves. `plain` is constant, and what is_plain rules out is not compiled then. */
static always_inline void launch_in_section(struct m *mp, const struct go_launch *launch,
                                            const struct arch_args *regs, const void *words, bool plain)
{
    struct p *pp = mp->p;
    struct g *gp = plain ? g_alloc_hot(pp) : g_alloc(mp);
    const struct go_site *site = launch->site;
    size_t word_bytes = plain ? 0 : stack_bytes(launch, words);
    gp->stack_args = (uint32_t)word_bytes;
    gp->name = NULL;
    if (plain)
        store_relaxed(&gp->status, G_NEW);
    store_relaxed(&gp->flags, 0);
    gp->stack_class = options.stack_class;
    gp->site = site;
    gp->creator = mp->cur->id;
    gp->scope = plain ? NULL : mp->cur->scope;
    gp->start.fn = launch->fn;
    if (!plain && unlikely(launch->options != NULL))
        apply_options(gp, launch->options);
    if (!plain && unlikely(launch->scope != NULL))
        gp->scope = launch->scope;
    if (!plain && unlikely(gp->scope != NULL))
        scope_count_in(mp->cur, gp->scope, "go");

    if (likely(word_bytes == 0))
        copy_registers(&gp->start.args.regs, regs, site);
    else
        capture_record(mp, gp, regs, words, word_bytes);

    if (!plain && unlikely(!pp)) {
        newproc_foreign(mp, gp);
        return;
    }
    gp->id = plain ? id_hot(pp) : id_next(pp);
    if (!plain) {
        store_relaxed(&gp->status, G_NEW);
        if (unlikely(load_relaxed(&debug_hooks)))
            hook_launch(mp, gp);
    }
    bump_owner(&pp->launched, 1);
    if (plain)
        runq_put_next(pp, gp);
    else
        runq_push_next(pp, gp);
    if (unlikely(wake_is_due(pp)))
        wake_and_leave(mp, pp);
    else
        section_leave(mp);
}

static noinline void newproc_slow(const struct go_launch *launch, const struct arch_args *regs, const void *words)
{
    struct m *mp = section_enter();
    if (unlikely(!launch->fn))
        fatal("go of nil func value");
    launch_in_section(mp, launch, regs, words, false);
}

void newproc(const struct go_launch *launch, const struct arch_args *regs, const void *words)
{
    struct m *mp = m_self();
    if (likely(section_enter_quick(mp)) && likely(is_plain(mp, launch, words)))
        launch_in_section(mp, launch, regs, words, true);
    else
        newproc_slow(launch, regs, words);
}

void newproc_internal(struct m *mp, void (*fn)(void *), void *arg, const struct go_site *site,
                      unsigned flags)
{
    struct g *gp = g_alloc(mp);
    gp->stack_args = 0;
    gp->name = NULL;
    store_relaxed(&gp->flags, (uint8_t)flags);
    gp->stack_class = options.stack_class;
    gp->site = site;
    gp->creator = 0;
    gp->scope = NULL;
    gp->start.fn = (void (*)(void))(uintptr_t)fn;
    gp->start.args.regs.first_integer[0] = (uint64_t)(uintptr_t)arg;
    struct p *pp = mp->p;
    if (unlikely(!pp)) {
        submit_foreign(gp);
        return;
    }
    gp->id = id_next(pp);
    store_relaxed(&gp->status, G_NEW);
    if (unlikely(load_relaxed(&debug_hooks)))
        hook_launch(mp, gp);
    bump_owner(&pp->launched, 1);
    if (flags & G_SYSTEM)
        g_count_system(1);
    if (runq_push_next(pp, gp))
        wake_idle(pp);
}

static noinline void restore_record(struct m *mp, struct g *gp, struct args_record *record,
                                    struct arch_args *regs, void *words)
{
    copy_registers(regs, &record->regs, gp->site);
    copy_words(words, record->words, gp->stack_args);
    args_put(mp, record, sizeof *record + gp->stack_args);
}

/* "The short ways": nothing about this beginning needs a call. */
static always_inline bool begins_plain(const struct m *mp, const struct g *gp)
{
    const struct g *prev = mp->prev;
    return !HAVE_TSAN && !HAVE_ASAN && likely(gp->stack_args == 0) && likely(gp->scope == NULL) &&
           likely((mp->starting->flags & STACK_CANARY) == 0) && likely(load_relaxed(&debug_hooks) == 0) &&
           (!prev || likely(load_relaxed(&prev->status) != G_DEAD));
}

/* In the section that the switch was made in; leaves it. `plain` is constant, as above. */
static always_inline void (*begin(struct m *mp, struct g *gp, struct arch_args *regs, void *words, bool plain))(void)
{
    void (*fn)(void) = gp->start.fn;
    struct args_record *record = NULL;
    if (plain || likely(gp->stack_args == 0)) {
        copy_registers(regs, &gp->start.args.regs, gp->site);
        if (gp->site->integer_regs > 2)
            g_tidy(gp);
    } else {
        record = gp->start.args.record;
    }

    struct stack *s = mp->starting;
    g_init_run(gp, s);
    if (HAVE_TSAN || HAVE_ASAN)
        gp->run.fiber = mp->starting_fiber;
    if (!plain && unlikely(s->flags & STACK_CANARY))
        store_relaxed(&gp->flags, load_relaxed(&gp->flags) | G_CANARY);
    store_relaxed(&gp->status, G_RUNNING);
    if (!plain && unlikely(record != NULL))
        restore_record(mp, gp, record, regs, words);
    if (!plain && unlikely(gp->scope != NULL))
        scope_join(gp);
    if (plain)
        switch_done_plain(mp);
    else
        switch_done(mp);
    section_leave(mp);
    return fn;
}

static noinline void (*begin_slow(struct g *gp, struct arch_args *regs, void *words))(void)
{
    return begin(m_self(), gp, regs, words, false);
}

void (*newproc_begin(struct g *gp, struct arch_args *regs, void *words))(void)
{
    fiber_here(NULL);
    struct m *mp = m_self();
    if (likely(begins_plain(mp, gp)))
        return begin(mp, gp, regs, words, true);
    return begin_slow(gp, regs, words);
}
