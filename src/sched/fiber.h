// SPDX-License-Identifier: MIT
// What the sanitizers are told about each switch of stacks: TSan keeps a history for each fiber, ASan the
// bounds of the stack and a fake stack. Nothing, in other builds. The caller switches right after
// fiber_to_*, and calls fiber_here first thing on the other side.
#pragma once

#include "base/compiler.h"
#include "sched/g.h"
#include "sched/m.h"

#if HAVE_TSAN

void *__tsan_get_current_fiber(void);
void *__tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void *fiber);
void __tsan_switch_to_fiber(void *fiber, unsigned flags);

static inline void *fiber_current(void)
{
    return __tsan_get_current_fiber();
}
static inline void *fiber_new(void)
{
    return __tsan_create_fiber(0);
}
static inline void fiber_free(void *fiber)
{
    __tsan_destroy_fiber(fiber);
}
#define FIBER_SWITCH(fiber, save, bottom, size) ((void)(save), __tsan_switch_to_fiber(fiber, 0))
#define FIBER_HERE(fake)

#elif HAVE_ASAN

void __sanitizer_start_switch_fiber(void **fake_stack_save, const void *bottom, size_t size);
void __sanitizer_finish_switch_fiber(void *fake_stack_save, const void **bottom_old,
                                     size_t *size_old);
#define FIBER_SWITCH(fiber, save, bottom, size) __sanitizer_start_switch_fiber(save, bottom, size)
#define FIBER_HERE(fake) __sanitizer_finish_switch_fiber(fake, NULL, NULL)

#else
#define FIBER_SWITCH(fiber, save, bottom, size) ((void)(save))
#define FIBER_HERE(fake)
#endif

#if !HAVE_TSAN
static inline void *fiber_current(void)
{
    return NULL;
}
static inline void *fiber_new(void)
{
    return NULL;
}
static inline void fiber_free(void *fiber)
{
    (void)fiber;
}
#endif

/* The process's own stack, on which main runs. */
extern const void *main_stack_bottom;
extern size_t main_stack_size;

/* Where gp, which is about to be left, keeps its fake stack; NULL if it is left for good. */
static inline void **fiber_save(struct g *gp)
{
    if (HAVE_ASAN)
        return load_relaxed(&gp->status) == G_DEAD ? NULL : &gp->run.fake_stack;
    return NULL;
}

/* `save` is as fiber_save says. */
static inline void fiber_to_g(void **save, struct g *gp)
{
    struct stack *s = gp->run.stack;
    (void)s;
    FIBER_SWITCH(gp->run.fiber, save, s ? s->lo : main_stack_bottom,
                 s ? (size_t)(s->hi - s->lo) : main_stack_size);
}

static inline void fiber_to_new(void **save, struct m *mp, struct stack *s)
{
    (void)s;
    mp->starting_fiber = fiber_new();
    FIBER_SWITCH(mp->starting_fiber, save, s->lo, (size_t)(s->hi - s->lo));
}

static inline void fiber_to_g0(void **save, struct m *mp)
{
    (void)mp;
    FIBER_SWITCH(mp->fiber, save, mp->g0_bottom, mp->g0_size);
}

/* system_stack_call: to g0's stack and back, on the same fiber. */
static inline void fiber_bounce_to(void **save, struct m *mp)
{
#if HAVE_ASAN
    fiber_to_g0(save, mp);
#else
    (void)save, (void)mp;
#endif
}

static inline void fiber_bounce_back(void **save, struct g *gp)
{
#if HAVE_ASAN
    fiber_to_g(save, gp);
#else
    (void)save, (void)gp;
#endif
}

static inline void fiber_here(void *fake)
{
    (void)fake;
    FIBER_HERE(fake);
}
