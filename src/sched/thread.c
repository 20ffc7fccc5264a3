// SPDX-License-Identifier: MIT
// Threads: making Ms, plain threads that call the library, and goroutines that care which thread they are on.
#include <goroutine/go.h>

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/options.h"
#include "sched/fatal.h"
#include "sched/fiber.h"
#include "sched/g_cache.h"
#include "sched/global.h"
#include "sched/init.h"
#include "sched/sched.h"
#include "sched/section.h"

/* For malloc, printf and the dynamic linker, called on g0 for goroutines with little stack. */
#define M_STACK (256u << 10)

struct m m_stranger = { .attention = ATTN_STRANGER };
__thread struct m *m_tls __attribute__((tls_model("initial-exec"))) = &m_stranger;

struct m *m_new(void)
{
    lock_take(&sched.lock);
    struct m *mp = sched.free_ms;
    if (mp)
        sched.free_ms = mp->all;
    lock_release(&sched.lock);
    if (!mp)
        mp = aligned_alloc(_Alignof(struct m), sizeof *mp);
    if (!mp)
        return NULL;
    /* sysmon may still be looking at the M that this was. It reads these fields, so they are written atomically. */
    store_relaxed(&mp->in, 0);
    store_relaxed(&mp->attention, sched.light_fence_missing ? ATTN_FENCE : 0);
    store_relaxed(&mp->blocking, false);
    memset(&mp->cur, 0, offsetof(struct m, blocking) - offsetof(struct m, cur));
    memset(&mp->spinning, 0, sizeof *mp - offsetof(struct m, spinning));
    mp->on_g0 = true;
    lock_take(&sched.lock);
    mp->all = sched.all_ms;
    sched.all_ms = mp;
    sched.m_count++;
    lock_release(&sched.lock);
    return mp;
}

/* mp has no thread, or not for much longer. Its memory stays an M's: sysmon may be looking at it. */
static void m_free(struct m *mp)
{
    lock_take(&sched.lock);
    for (struct m **at = &sched.all_ms; *at; at = &(*at)->all)
        if (*at == mp) {
            *at = mp->all;
            break;
        }
    mp->all = sched.free_ms;
    sched.free_ms = mp;
    sched.m_count--;
    deadlock_check_locked();
    lock_release(&sched.lock);
}

void thread_stack_bounds(const void **bottom, size_t *size)
{
#if HAVE_ASAN
    pthread_attr_t attr;
    void *at;
    if (pthread_getattr_np(pthread_self(), &attr) == 0) {
        pthread_attr_getstack(&attr, &at, size);
        *bottom = at;
        pthread_attr_destroy(&attr);
    }
#else
    (void)bottom, (void)size;
#endif
}

static pthread_key_t end_key;

void thread_watch_end(struct m *mp)
{
    if (pthread_setspecific(end_key, mp) != 0 && mp)
        fatal("out of memory: no room for a thread's end to be noticed");
}

/* The signal mask of the thread that made the first call. Every M begins with it, whoever creates the M. */
static sigset_t first_mask;

static void *m_main(void *arg)
{
    struct m *mp = arg;
    pthread_sigmask(SIG_SETMASK, &first_mask, NULL);
    m_tls = mp;
    mp->tid = os_gettid();
    mp->fiber = fiber_current();
    thread_stack_bounds(&mp->g0_bottom, &mp->g0_size);
    signal_stack_set(mp);
    thread_watch_end(mp);
    schedule(mp);
    thread_watch_end(NULL);
    m_tls = &m_stranger;
    signal_stack_free(mp);
    m_free(mp);
    return NULL;
}

int m_start_thread(struct m *mp)
{
    int error = os_thread_start(m_main, mp, M_STACK);
    if (error)
        m_free(mp);
    return error;
}

/* --- plain threads --- */

static void thread_ended(void *arg)
{
    struct m *mp = arg;
    struct g *gp = mp->cur;
    if (!(load_relaxed(&mp->attention) & ATTN_FOREIGN)) {
        static const char text[] =
            "pthread_exit on a thread of goroutines: in " FATAL_WHO FATAL_ORIGIN " (go_exit ends a goroutine, or main)";
        mp->on_g0 = true; /* the frames of g0 are gone: we are where they were */
        if (os_is_first_thread() && gp != &main_g)
            fatal_without_frames(text, FATAL_WHO_OF(gp), FATAL_ORIGIN_OF(gp->site)); /* we are where main's were */
        fatal(text, FATAL_WHO_OF(gp), FATAL_ORIGIN_OF(gp->site));
    }
    thread_watch_end(mp); /* a deferred function that calls go_exit begins this anew */
    goroutine_clean_up(gp);
    thread_watch_end(NULL);
    m_tls = &m_stranger;
    lock_take(&sched.lock);
    if (--sched.foreign == 0)
        deadlock_check_locked();
    lock_release(&sched.lock);
    g_free_thread(gp);
    free(mp);
}

void foreign_init(void)
{
    pthread_sigmask(SIG_SETMASK, NULL, &first_mask);
    if (pthread_key_create(&end_key, thread_ended) != 0)
        fatal("no thread-specific key left for the library");
}

void foreign_adopt(void)
{
    struct m *mp = aligned_alloc(_Alignof(struct m), sizeof *mp);
    if (!mp)
        fatal("out of memory: no room for what stands for a thread");
    *mp = (struct m){ .attention = ATTN_FOREIGN, .tid = os_gettid() };
    struct g *gp = g_alloc(mp);
    g_init_run(gp, NULL);
    store_relaxed(&gp->run.wake, 0);
    gp->site = NULL;
    gp->name = NULL;
    gp->scope = NULL;
    gp->id = gp->creator = 0;
    store_relaxed(&gp->flags, G_THREAD);
    store_release(&gp->status, G_RUNNING); /* as in submit_foreign */
    mp->cur = gp;
    lock_take(&sched.lock);
    sched.foreign++;
    lock_release(&sched.lock);
    m_tls = mp;
    thread_watch_end(mp);
}

_Noreturn void thread_exit(struct g *gp)
{
    goroutine_clean_up(gp);
    pthread_exit(NULL);
}

/* --- goroutines that care about their thread --- */

GO_EXPORT void go_lock_thread(void)
{
    struct m *mp = section_enter();
    struct g *gp = mp->cur;
    if (mp->p && gp->run.lock_count++ == 0) {
        g_untidy(gp);
        gp->run.locked_m = mp;
        mp->locked_g = gp;
        store_relaxed(&gp->flags, load_relaxed(&gp->flags) | G_LOCKED);
    }
    section_leave(mp);
}

GO_EXPORT void go_unlock_thread(void)
{
    struct m *mp = section_enter();
    struct g *gp = mp->cur;
    if (mp->p) {
        if (gp->run.lock_count == 0)
            fatal("go_unlock_thread without go_lock_thread");
        if (--gp->run.lock_count == 0) {
            gp->run.locked_m = NULL;
            mp->locked_g = NULL;
            store_relaxed(&gp->flags, load_relaxed(&gp->flags) & (uint8_t)~G_LOCKED);
        }
    }
    section_leave(mp);
}

GO_EXPORT void go_block_enter(void)
{
    struct m *mp = section_enter();
    struct p *pp = mp->p;
    struct g *gp = mp->cur;
    if (pp && gp->run.block_depth++ == 0) {
        store_relaxed(&gp->flags, load_relaxed(&gp->flags) | G_BLOCKING);
        store_relaxed(&mp->blocking, true);
        /* Others wait for this P: sysmon shall look soon. */
        if (load_relaxed(&pp->tail) != load_relaxed(&pp->head) || load_relaxed(&pp->runnext) ||
            global_size() > 0)
            sysmon_hurry();
    }
    section_leave(mp);
}

GO_EXPORT void go_block_leave(void)
{
    struct m *mp = section_enter();
    struct g *gp = mp->cur;
    if (mp->p) {
        if (gp->run.block_depth == 0)
            fatal("go_block_leave without go_block_enter");
        if (--gp->run.block_depth == 0) {
            store_relaxed(&gp->flags, load_relaxed(&gp->flags) & (uint8_t)~G_BLOCKING);
            store_relaxed(&mp->blocking, false);
        }
    }
    section_leave(mp);
}
