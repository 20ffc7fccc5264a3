// SPDX-License-Identifier: MIT
// Once: a flag, and a mutex that is held while the function runs.
//
// A function that ends its goroutine with go_exit counts as done, as in Go. There and here a deferred call sees to
// that. Its record is not on the stack, which a thread that ends by pthread_exit has left by then.
#include <goroutine/sync.h>

#include "sched/defer.h"
#include "sched/fatal.h"
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
    if (!fn)
        fatal("go_once_do: the function is NULL");
    struct g *gp = m_self()->cur;
    struct deferred *d = defer_push(gp, finish, once);
    if (!d)
        fatal("out of memory: go_once_do has no room for a deferred call");
    fn(arg);
    defer_remove(gp, d);
    finish(once);
}

GO_EXPORT void go_once_do(go_once *once, void (*fn)(void *), void *arg)
{
    thread_known();
    if (unlikely(!load_acquire(atomic_u32(&once->done)))) /* pairs with the release in finish */
        do_slow(once, fn, arg);
}
