// SPDX-License-Identifier: MIT
//
// "Sections"
//
// A section is a stretch of library code in which an M touches its P. It is open from the first
// line of a library function to its last, or, when the goroutine is switched out, until the next one
// has been switched in: it belongs to the M, not to the goroutine.
//
// Invariants
//   - Only the M in a section touches the fields of m->p that are marked `owner`.
//   - Another thread touches them only with p->lock held and p->m == NULL, or after p_seize.
//   - p->m and m->p change only under p->lock.
//   - A goroutine that is parked is in no section, for that goes with the M; and no user code runs inside one.
//
// Problem. It must be possible to take the P from an M at any moment, for its goroutine may compute for ever
// without a call or sit in a system call (design.md, "Nothing waits for a hog"); and thieves must be able to
// take work from its queue. Yet a launch or a yield may take 10 ns or so, and one atomic
// read-modify-write costs much of that (measured: compare-and-swap 2 to 9 ns, lock and unlock 4 to 18, by machine).
//
// Rejected: Go's way, a lock-free ring whose owner pops by compare-and-swap: that alone is the whole
// budget, and it protects the ring only, not caches, timers and counters. A lock per P: twice that. Chase
// and Lev's deque: its owner's fence costs as much, and it is last in, first out. Stopping the owner by a
// signal: a page of code, a system call per theft, and interrupted system calls in user code.
//
// The way. The fence moves to the rare side. The owner stores m->in = 1, then loads m->attention;
// between the two only the compiler is fenced. The other side sets ATTN_SEIZED in m->attention,
// makes every thread of the process go through a full fence with membarrier(2) (0.2 to 0.6 µs; some
// µs where a virtual machine's other processors must be interrupted), and then
// waits until it reads m->in == 0. Either the owner's load came after that fence, and the owner saw the
// attention and waits; or the owner's store came before it, and the other side sees in == 1. The wait is
// bounded: an M can be put off its processor inside a section, so a thief gives up and tries elsewhere.
// Leaving is a release store, read by the seizer's acquire: what the owner did is seen. The seizer's
// release of ATTN_SEIZED is read by the owner's acquire of attention.
//
// The nasty race. The M that is being seized may, inside its section, give its P away (it is about to sleep)
// and the seizer would act on a P that belongs to nobody or to another M. Therefore p->m changes only
// under p->lock, which the seizer holds from the reading of p->m to the end; the M that wants to give
// its P away waits for the lock in its section, the seizer waits for the section: so the seizer's
// wait must be bounded, and it is.
//
// Where the kernel has no membarrier, ATTN_FENCE stays set in each M, and the slow way in does the
// fence. GODEBUG=membarrier=0 forces that.
#pragma once

#include "sched/m.h"

struct m *section_enter_slow(void);

/* Adopts the calling thread, unless that is under way. In init.c. */
void thread_make_known(void);

/* Until mp is not seized any more. Outside of a section. */
void section_wait(struct m *mp);

/* Opens a section. mp->p is NULL on a plain thread only. May park the goroutine first, if its P has
 * been taken away. */
static always_inline struct m *section_enter(void)
{
    struct m *mp = m_self();
    store_relaxed(&mp->in, 1);
    compiler_barrier(); /* pairs with os_fence_others in p_seize */
    if (unlikely(load_acquire(&mp->attention) != 0))
        return section_enter_slow();
    return mp;
}

/* The same without a call; false if one is needed. section_enter may follow, both after false and as long as nothing has been touched
 * in the section. */
static always_inline bool section_enter_quick(struct m *mp)
{
    store_relaxed(&mp->in, 1);
    compiler_barrier(); /* as above */
    return load_acquire(&mp->attention) == 0;
}

static always_inline void section_leave(struct m *mp)
{
    store_release(&mp->in, 0); /* pairs with the acquire in p_seize */
}

/* Enters a section and leaves it at once: the calling thread is known then, and a goroutine whose P was taken away has one again. May
 * park. */
static always_inline void section_pass(void)
{
    section_leave(section_enter());
}

/* For public functions that need no section and never park: a plain thread counts from its first call on (deadlock.c). */
static always_inline void thread_calls(void)
{
    if (unlikely(m_self() == &m_stranger))
        thread_make_known();
}
