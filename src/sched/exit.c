// SPDX-License-Identifier: MIT
// The end of a goroutine: deferred calls, goroutine-local values, and then G and stack go back, hot.
//
// A function that returns and a call of go_exit come to the same place, end(), while the goroutine is still
// whole: deferred calls may park, launch, defer, and call go_exit themselves, which goes on with those
// that are left. Each is taken off the list before it is called. A return that has nothing of that to do takes a shorter way.
#include <goroutine/go.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sched/defer.h"
#include "sched/fatal.h"
#include "sched/init.h"
#include "sched/sched.h"
#include "sched/scope.h"
#include "sched/section.h"
#include "sched/switch.h"

/* POSIX asks for four rounds of destructors, which may set values again. */
#define DESTROY_ROUNDS 4

static struct {
    struct lock lock;
    void (**destroy)(void *); /* under lock; grows only */
    uint32_t count;           /* under lock */
} keys = { .lock = LOCK_INIT(RANK_LOCALS) };

/* The calling goroutine, or what stands for the calling thread. */
static struct g *self(void)
{
    struct m *mp = section_enter();
    struct g *gp = mp->cur;
    section_leave(mp);
    return gp;
}

struct deferred *defer_push(struct g *gp, void (*fn)(void *), void *arg)
{
    struct deferred *d = system_stack_realloc(NULL, sizeof *d);
    if (!d)
        return NULL;
    *d = (struct deferred){ .next = gp->run.defers, .fn = fn, .arg = arg };
    g_untidy(gp);
    gp->run.defers = d;
    return d;
}

void defer_remove(struct g *gp, struct deferred *d)
{
    struct deferred **at = &gp->run.defers;
    while (*at != d)
        at = &(*at)->next;
    *at = d->next;
    system_stack_call(free, d);
}

GO_EXPORT int go_defer(void (*fn)(void *), void *arg)
{
    struct g *gp = self();
    if (!fn)
        return -EINVAL;
    return defer_push(gp, fn, arg) ? 0 : -ENOMEM;
}

struct new_key {
    void (*destroy)(void *);
    go_key key;
};

static void key_add(void *arg)
{
    struct new_key *k = arg;
    lock_take(&keys.lock);
    void *grown = realloc(keys.destroy, (keys.count + 1) * sizeof *keys.destroy);
    k->key = -ENOMEM;
    if (grown) {
        keys.destroy = grown;
        keys.destroy[keys.count] = k->destroy;
        k->key = (go_key)keys.count++;
    }
    lock_release(&keys.lock);
}

GO_EXPORT go_key go_key_new(void (*destroy)(void *))
{
    struct new_key k = { .destroy = destroy };
    self();
    system_stack_call(key_add, &k);
    return k.key;
}

GO_EXPORT void *go_local(go_key key)
{
    struct g *gp = self();
    if (key < 0 || (uint32_t)key >= gp->run.local_count)
        return NULL;
    return gp->run.locals[key];
}

GO_EXPORT int go_set_local(go_key key, void *value)
{
    struct g *gp = self();
    lock_take(&keys.lock);
    uint32_t count = keys.count;
    lock_release(&keys.lock);
    if (key < 0 || (uint32_t)key >= count)
        return -EINVAL;
    if ((uint32_t)key >= gp->run.local_count) {
        if (!value)
            return 0;
        void **locals = system_stack_realloc(gp->run.locals, count * sizeof *locals);
        if (!locals)
            return -ENOMEM;
        memset(locals + gp->run.local_count, 0,
               (count - gp->run.local_count) * sizeof *locals);
        g_untidy(gp);
        gp->run.locals = locals;
        gp->run.local_count = count;
    }
    gp->run.locals[key] = value;
    return 0;
}

static noinline void destroy_locals(struct g *gp)
{
    bool again = true;
    for (int round = 0; again && round < DESTROY_ROUNDS; round++) {
        again = false;
        for (uint32_t i = 0; i < gp->run.local_count; i++) {
            void *value = gp->run.locals[i];
            lock_take(&keys.lock);
            void (*destroy)(void *) = keys.destroy[i];
            lock_release(&keys.lock);
            gp->run.locals[i] = NULL;
            if (value && destroy) {
                destroy(value);
                again = true;
            }
        }
    }
    void **locals = gp->run.locals;
    gp->run.locals = NULL;
    gp->run.local_count = 0;
    system_stack_call(free, locals);
}

static noinline void run_defers(struct g *gp)
{
    while (gp->run.defers) {
        struct deferred d = *gp->run.defers;
        system_stack_call(free, gp->run.defers);
        gp->run.defers = d.next;
        d.fn(d.arg);
    }
}

void goroutine_clean_up(struct g *gp)
{
    /* A destructor may defer, a deferred call may set a value. */
    while (gp->run.defers || gp->run.locals) {
        run_defers(gp);
        if (gp->run.locals)
            destroy_locals(gp);
    }
    scope_leave_all(gp);
    g_tidy(gp);
}

static noinline void end_specially(struct m *mp, struct g *gp)
{
    uint8_t flags = load_relaxed(&gp->flags);
    if (flags & G_LOCKED) {
        mp->locked_g = NULL;
        mp->ends = true;
    }
    if (flags & G_SYSTEM)
        g_count_system(-1);
    if (flags & G_MAIN) {
        lock_take(&sched.lock);
        sched.main_ended = true;
        lock_release(&sched.lock);
    }
}

/* In a section; gp is tidy. */
_Noreturn static noinline void end_tidy(struct m *mp, struct g *gp)
{
    if (unlikely(gp->run.block_depth > 0))
        fatal("goroutine ended between go_block_enter and go_block_leave");
    if (unlikely(load_relaxed(&gp->flags) & (G_LOCKED | G_MAIN | G_SYSTEM)))
        end_specially(mp, gp);
    /* Before the scope lets go of those who wait for it: go_count is right then. Release: pairs with the acquire in g_count. */
    bump_owner_release(&mp->p->ended, 1);
    if (unlikely(gp->scope != NULL))
        scope_end(mp, gp);
    end_into_new(mp, gp);
    park_for_ever(mp, gp);
}

_Noreturn static noinline void end(struct g *gp)
{
    if (load_relaxed(&gp->flags) & G_UNTIDY)
        goroutine_clean_up(gp);
    end_tidy(section_enter(), gp);
}

_Noreturn static noinline void return_slow(void)
{
    struct m *mp = section_enter();
    struct g *gp = mp->cur;
    if ((load_relaxed(&gp->flags) & G_UNTIDY) == 0)
        end_tidy(mp, gp);
    section_leave(mp);
    end(gp);
}

/* goroutine_entry comes here when the function has returned. As "The short ways" in newproc.c. */
_Noreturn void goroutine_return(void)
{
    struct m *mp = m_self();
    if (likely(section_enter_quick(mp))) {
        struct g *gp = mp->cur;
        if (likely(load_relaxed(&gp->flags) == 0) && likely(!gp->scope)) {
            bump_owner_release(&mp->p->ended, 1); /* as in end_tidy */
            end_into_new(mp, gp);
            park_for_ever(mp, gp);
        }
    }
    return_slow();
}

GO_EXPORT _Noreturn void go_exit(void)
{
    struct g *gp = self();
    if (load_relaxed(&gp->flags) & G_THREAD)
        thread_exit(gp);
    end(gp);
}
