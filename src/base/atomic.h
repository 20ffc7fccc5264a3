// SPDX-License-Identifier: MIT
// Atomics with their order in the name. A call site that needs more than relaxed says in a comment
// which other access it pairs with.
#pragma once

#include <stdatomic.h>

#define load_relaxed(p) atomic_load_explicit(p, memory_order_relaxed)
#define load_acquire(p) atomic_load_explicit(p, memory_order_acquire)
#define store_relaxed(p, v) atomic_store_explicit(p, v, memory_order_relaxed)
#define store_release(p, v) atomic_store_explicit(p, v, memory_order_release)
#define add_relaxed(p, v) atomic_fetch_add_explicit(p, v, memory_order_relaxed)
#define or_seq(p, v) atomic_fetch_or_explicit(p, v, memory_order_seq_cst)
#define and_release(p, v) atomic_fetch_and_explicit(p, v, memory_order_release)
#define cas_acq_rel(p, expected, v)                                                                \
    atomic_compare_exchange_strong_explicit(p, expected, v, memory_order_acq_rel,                  \
                                            memory_order_acquire)
#define cas_acquire(p, expected, v)                                                                \
    atomic_compare_exchange_strong_explicit(p, expected, v, memory_order_acquire,                  \
                                            memory_order_relaxed)
#define full_fence() atomic_thread_fence(memory_order_seq_cst)

/* A counter that one thread writes and others read: no read-modify-write is needed. */
#define bump_owner(p, v) store_relaxed(p, load_relaxed(p) + (v))
#define bump_owner_release(p, v) store_release(p, load_relaxed(p) + (v))
