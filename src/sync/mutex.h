// SPDX-License-Identifier: MIT
// The quick ways of a mutex, for the others in this directory.
#pragma once

#include <goroutine/sync.h>

#include "sync/sema.h"

#define MUTEX_LOCKED 1u
#define MUTEX_STARVING 4u

void mutex_lock_slow(go_mutex *m, enum wait_reason reason);

/* `left` is the state after the lock was taken off. In a section. True: the caller should let others run. */
bool mutex_unlock_slow(struct m *mp, go_mutex *m, uint32_t left);
/* The same outside of a section; it lets others run by itself if that is due. May park. */
void mutex_unlock_waited(go_mutex *m, uint32_t left);

static always_inline void mutex_lock(go_mutex *m, enum wait_reason reason)
{
    uint32_t unlocked = 0;
    /* Acquire: pairs with the release of the unlock. */
    if (unlikely(!cas_acquire(atomic_u32(&m->state), &unlocked, MUTEX_LOCKED)))
        mutex_lock_slow(m, reason);
}

static always_inline bool mutex_trylock(go_mutex *m)
{
    /* A mutex in starvation mode, or one that is being handed over, is not free. */
    uint32_t old = load_relaxed(atomic_u32(&m->state));
    return (old & (MUTEX_LOCKED | MUTEX_STARVING)) == 0 &&
           cas_acquire(atomic_u32(&m->state), &old, old | MUTEX_LOCKED);
}
