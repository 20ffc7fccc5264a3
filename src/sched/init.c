// SPDX-License-Identifier: MIT
// The first call into the library: it reads the environment, makes the Ps, and makes the calling thread
// known. There is no set-up call, and nothing runs before main: a program that is linked with the library and
// does not use it starts no thread.
//
// "How main becomes a goroutine"
//
// The process's first thread is running main when it comes here. It gets a struct m, and main a struct g whose
// stack is the process's own. What is missing is g0, a stack to schedule on: a goroutine is started by
// hand, and its stack becomes g0. It never ends: its function is schedule, and the first goroutine it
// switches to is main, which finds itself where it was. From then on main is parked and resumed like
// any other, also on other threads; only its stack is never freed.
#include <goroutine/go.h>

#include <errno.h>
#include <pthread.h>

#include "base/options.h"
#include "sched/debug_hooks.h"
#include "sched/init.h"
#include "sched/fatal.h"
#include "sched/fiber.h"
#include "sched/g_cache.h"
#include "sched/runq.h"
#include "sched/sched.h"
#include "sched/section.h"
#include "sched/stack.h"

#define G0_STACK (256u << 10)

const void *main_stack_bottom;
size_t main_stack_size;
const char *main_frame;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct m m0;
struct g main_g = { .status = G_RUNNING, .flags = G_MAIN, .id = 1 };

static void after_fork_in_child(void)
{
    store_relaxed(&sched.forked, true);
    struct m *mp = m_self();
    or_seq(&mp->attention, ATTN_FORKED);
}

static void start(void)
{
    int kept = errno; /* the user's: files are opened here that may not be there */
    options_read();
    sched.start_time = os_now();
    store_relaxed(&sched.coarse_now, sched.start_time);
    store_relaxed(&sched.id_batches, 1);
    sched.light_fence_missing = !options.membarrier || !os_fence_init();
    runq_limit = options.runq;
    stack_init();
    options.stack_class = (uint8_t)stack_class_for(0);

    int procs = options.gomaxprocs ? options.gomaxprocs : os_cpu_limit();
    if (procs > PROCS_MAX)
        procs = PROCS_MAX;
    lock_take(&sched.lock);
    store_relaxed(&sched.procs, (uint32_t)procs);
    for (int i = 0; i < procs; i++) {
        struct p *pp = p_new_locked();
        if (!pp) {
            lock_release(&sched.lock);
            fatal("out of memory: no room for GOMAXPROCS=%d", procs);
        }
        p_idle_push_locked(pp);
    }
    sched.foreign = 1; /* the first thread, until it is goroutine 1 */
    lock_release(&sched.lock);

    foreign_init();
    overflow_init();
    if (pthread_atfork(NULL, NULL, after_fork_in_child) != 0)
        fatal("out of memory: cannot register the fork handler");
    sysmon_start();
    debug_start();
    errno = kept;
}

/* The function of the hand-made goroutine. */
static void first_g0(void)
{
    struct m *mp = &m0;
    struct g *self = mp->cur;
    mp->g0_bottom = self->run.stack->lo;
    mp->g0_size = (size_t)(self->run.stack->hi - self->run.stack->lo);
    mp->fiber = self->run.fiber;
    store_relaxed(&self->status, G_DEAD); /* not one of the user's */
    store_relaxed(&main_g.status, G_RUNNABLE);
    mp->cur = NULL;
    mp->picked = &main_g;
    schedule(mp);
    /* A goroutine ended that was locked to this thread. The process's first thread must not end. */
    m_tls = &m_stranger;
    lock_take(&sched.lock);
    sched.m_count--;
    sched.first_resting = true;
    deadlock_check_locked();
    lock_release(&sched.lock);
    for (;;)
        os_futex_wait(&mp->wake, load_relaxed(&mp->wake), 0);
}

static void main_adopt(void)
{
    static const struct go_site site = { .file = "", .function = "" };
    struct m *mp = &m0;
    thread_stack_bounds(&main_stack_bottom, &main_stack_size);
    main_frame = __builtin_frame_address(0);
    *mp = (struct m){ .attention = sched.light_fence_missing ? ATTN_FENCE : 0,
                      .prev = &main_g, /* it is still on its stack (overflow.c) */
                      .on_g0 = true,
                      .tid = os_gettid() };
    main_g.run.fiber = fiber_current();
    main_g.run.on_cpu = 1;
    lock_take(&sched.lock);
    mp->all = sched.all_ms;
    sched.all_ms = mp;
    sched.m_count++;
    sched.foreign--;
    struct p *pp = p_idle_pop_locked();
    lock_release(&sched.lock);
    m_tls = mp;
    thread_watch_end(mp);
    store_relaxed(&mp->in, 1);
    full_fence();
    signal_stack_set(mp);

    /* If others came first and all Ps are busy, main goes on without one until g0 is set up. */
    if (pp)
        p_attach(mp, pp);
    struct g *gp = g_alloc(mp);
    struct stack_cache cache = { 0 };
    struct stack *stack = stack_get(&cache, stack_class_for(G0_STACK));
    if (!stack)
        fatal("out of memory: no stack for the scheduler");
    stack_cache_flush(&cache);
    gp->stack_args = 0;
    gp->site = &site;
    gp->id = 0;
    gp->start.fn = first_g0;
    store_relaxed(&gp->status, G_NEW);
    g_count_foreign(1); /* main itself */
    mp->cur = gp;
    mp->starting = stack;
    mp->on_g0 = false;
    fiber_to_new(&main_g.run.fake_stack, mp, stack);
    arch_start(&main_g.run.sp, stack->hi, gp);
    fiber_here(main_g.run.fake_stack);
    switch_done(m_self());
    section_leave(m_self());
}

/* Stays set: it matters only while m_self() is the stranger. */
static __thread bool adopting;

struct m *thread_adopt(void)
{
    adopting = true;
    pthread_once(&once, start);
    if (os_is_first_thread())
        main_adopt();
    else
        foreign_adopt();
    return m_self();
}

void thread_make_known(void)
{
    if (m_self() == &m_stranger && !adopting)
        section_pass();
}
