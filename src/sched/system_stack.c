// SPDX-License-Identifier: MIT
// Calling what needs room. A goroutine may have 2 KiB of stack; malloc, stdio, thread creation and the dynamic
// linker may want more. While a goroutine runs, the stack of its M's g0 is free below the saved
// context of the scheduler: there such calls are made. Nothing is switched: to the scheduler it is
// still the goroutine that runs, and therefore what is called in this way must not park. Whatever the C library leaves in errno there,
// the user's errno is kept.
#include <errno.h>
#include <stdlib.h>

#include "arch/arch.h"
#include "sched/sched.h"

#include "sched/fiber.h"

#if GO_HAVE_VALGRIND
#include <valgrind/memcheck.h>
/* It believes that what lies below the scheduler's frames is gone. */
#define STACK_BELOW(top) VALGRIND_MAKE_MEM_UNDEFINED((top) - (32 << 10), 32 << 10)
#else
#define STACK_BELOW(top) ((void)0)
#endif

#define RED_ZONE 256

struct bounce {
    void (*fn)(void *);
    void *arg;
    struct m *mp;
};

static void bounce(void *arg)
{
    struct bounce *b = arg;
    struct m *mp = b->mp;
    mp->on_g0 = true; /* not sooner: the call is the deepest the goroutine's own stack goes (overflow.c) */
    fiber_here(mp->fake_stack);
    b->fn(b->arg);
    fiber_bounce_back(&mp->fake_stack, mp->cur);
    mp->on_g0 = false;
}

/* Not to be inlined by link-time optimisation: its caller may park between two calls, and errno's address is the thread's. */
noinline void system_stack_call(void (*fn)(void *), void *arg)
{
    struct m *mp = m_self();
    struct g *gp = mp->cur;
    int kept = errno;
    /* Strangers, plain threads and main are on stacks of the usual size already. */
    if (mp->on_g0 || !gp || (load_relaxed(&gp->flags) & (G_THREAD | G_MAIN))) {
        fn(arg);
        errno = kept;
        return;
    }
    struct bounce b = { fn, arg, mp };
    void *fake = NULL;
    uintptr_t top = ((uintptr_t)mp->g0_sp - RED_ZONE) & ~(uintptr_t)63;
    fiber_bounce_to(&fake, mp);
    STACK_BELOW(top);
    arch_call_on_stack((void *)top, bounce, &b);
    fiber_here(fake);
    (void)fake;
    errno = kept;
}

struct memory {
    void *start;
    size_t size;
};

static void call_realloc(void *arg)
{
    struct memory *m = arg;
    m->start = realloc(m->start, m->size);
}

void *system_stack_realloc(void *old, size_t size)
{
    struct memory m = { old, size };
    system_stack_call(call_realloc, &m);
    return m.start;
}
