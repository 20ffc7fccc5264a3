// SPDX-License-Identifier: MIT
//
// The seam to the outside: time, sleeping and waking, threads, processors, randomness. The
// scheduler, locks and timers reach the kernel through these functions only, so a build can put another world
// under them (virtual time, a seeded schedule) by linking other definitions. src/io and src/debug make Linux calls of their own.
//
// What an operating system must supply:
//   os_now            a clock that never goes back and does not count suspended time
//   os_futex_*        sleep while a word has a value; wakes may be spurious
//   os_fence_*        an asymmetric fence, or false from os_fence_init
//   os_thread_start   a detached thread
//   os_signal_*       signals for the library's own use
//   os_cpu_limit      how many processors this process may use
// None of them allocates on the caller's stack beyond a few hundred bytes, because they are called
// on goroutine stacks of 2 KiB; os_thread_start, os_cpu_limit and os_executable_stacks are the exceptions and run on
// system stacks. Only those three touch errno, for all others make raw system calls; and system_stack_call restores it.
#pragma once

#include "base/compiler.h"
#include "base/atomic.h"

int64_t os_now(void); /* nanoseconds, monotonic */

/* Sleeps while *word == expected, until woken or until `deadline` on os_now's clock (0: for ever).
 * Returns false when the deadline passed. */
bool os_futex_wait(_Atomic uint32_t *word, uint32_t expected, int64_t deadline);
void os_futex_wake(_Atomic uint32_t *word, int n);

#if HAVE_TSAN
/* ThreadSanitizer puts a signal's handler off until the thread calls a function that ThreadSanitizer knows; a thread that sleeps
 * in a raw system call never does. So such sleeps are cut into slices, and this is called before each: it returns the end of the
 * next slice, `deadline` at the latest. */
int64_t os_tsan_signals(int64_t deadline);
#endif

/* An asymmetric fence: after os_fence_others() each thread of the process has gone through a full
 * memory barrier, so the other side of a Dekker pair needs only compiler_barrier(). */
bool os_fence_init(void);
void os_fence_others(void);

/* 0 or -errno. The thread begins with all signals blocked but those of its own faults: the program's handlers are not for its
 * small stack, and what the program waits for with sigwait is not its to take. */
int os_thread_start(void *(*fn)(void *), void *arg, size_t stack_size);
void os_thread_yield(void);
int os_gettid(void);
bool os_is_first_thread(void);
bool os_executable_stacks(void); /* the program or a library of it wants them, for GCC's pointers to nested functions */
int os_thread_count(void); /* of this process; 0: unknown */

/* min(affinity mask, cgroup quota rounded up), at least 1. */
int os_cpu_limit(void);

/* For code that gives signals handlers: what it has seen of a signal is still true when it does so. */
extern struct lock os_signal_lock;
struct sigaction;
/* Gives the highest real-time signal without a handler this one: it is the library's own from now on. 0 if there is none. Under the
 * lock. */
int os_signal_take(const struct sigaction *action);
bool os_signal_is_own(int signo);

uint64_t os_random(void);

/* Writes all of it, best effort; keeps errno. */
void os_write(int fd, const void *buffer, size_t size);
