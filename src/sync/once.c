// SPDX-License-Identifier: MIT
// Once: a flag, and a mutex that is held while the function runs.
//
// A function that ends its goroutine with go_exit counts as done, as in Go, where deferred calls see to it. Here a
// deferred call does, too: it stands on the stack, which lasts until the deferred calls have run.
#include <goroutine/sync.h>

#include "sched/defer.h"
#include "sync/mutex.h"

static void finish(void *arg)
{
    go_once *once = arg;
    store_release(atomic_u32(&once->done), 1); /* pairs with the acquire in go_once_do */
    go_mutex_unlock(&once->running);
}

static noinline void do_slow(go_once *once, void (*fn)(void *), void *arg)
{
    mutex_lock(&once->running, WAIT_MUTEX);
    if (load_relaxed(atomic_u32(&once->done))) {
        go_mutex_unlock(&once->running);
        return;
    }
    struct deferred d = { .fn = finish, .arg = once, .on_stack = true };
    struct g *gp = m_self()->cur;
    defer_push(gp, &d);
    fn(arg);
    defer_remove(gp, &d);
    finish(once);
}

GO_EXPORT void go_once_do(go_once *once, void (*fn)(void *), void *arg)
{
    thread_known();
    if (unlikely(!load_acquire(atomic_u32(&once->done)))) /* pairs with the release in finish */
        do_slow(once, fn, arg);
}
