/* SPDX-License-Identifier: MIT */
/*
 * Goroutines. The go statement itself is in launch.h.
 *
 * main is goroutine 1 from its first call into the library; the process ends when main returns. Any other thread
 * may call everything here: it stands for itself, has go_id() 0, and what would park a goroutine blocks it.
 */
#pragma once

#include <goroutine/launch.h>

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A key for goroutine-local values. */
typedef int go_key;

/* Lets the goroutines that are ready run first. On a plain thread: sched_yield. May park; from any thread. */
void go_yield(void);

/*
 * Ends the calling goroutine; its deferred calls run first. In main: the others go on, and when none is left the
 * process ends with the deadlock report. On a plain thread: ends the thread. Deferred calls may park; from any thread.
 * (Threads that run goroutines, main's included, are the library's: calling pthread_exit on one is fatal.)
 */
_Noreturn void go_exit(void);

/* The number of the calling goroutine, unique in the process; main is 1; 0 on a plain thread. Never parks; from any thread. */
uint64_t go_id(void);

/* How many goroutines there are: launched, main included, and not ended. Never parks; from any thread. */
int go_count(void);

/*
 * How many goroutines may run at the same time, GOMAXPROCS. Sets it if n >= 1 (at most 4096) and returns
 * the value before. At first: the environment's GOMAXPROCS, or the smaller of the processors the process may
 * use and its cgroup's CPU limit. Goroutines in a blocking call, and those that compute for a long time while
 * others wait, do not count. Nor do those that are computing when the number is lowered, until they next call the library, even
 * with GODEBUG=preempt=0. Out of memory is fatal. May park, if the caller's own P is one of those that are removed; from any thread.
 */
int go_maxprocs(int n);

/*
 * fn(arg) will be called when the calling goroutine ends, by return or by go_exit. What was deferred last is
 * called first. fn may park, launch, and defer. In main: at go_exit, not at its return, which ends the process. On a plain thread: when
 * the thread ends. Returns 0, -EINVAL if fn is NULL, or -ENOMEM. Never parks; from any thread.
 */
int go_defer(void (*fn)(void *), void *arg);

/*
 * From here to the matching go_unlock_thread the calling goroutine stays on its present thread, and no other
 * goroutine runs there. Calls nest. If the goroutine ends while locked, so does its thread (the process's first one rests instead,
 * and its thread-specific values are not destroyed). Needed around waits during which something belongs to the thread: a library's
 * thread-local state; the lock of a FILE, a rwlock, or a recursive, error-checking or robust mutex, which a library holds while it calls
 * back and the callback parks (SQLite's busy handler, fopencookie); uselocale; the signal mask. A plain mutex may be held. Costs
 * two switches of threads for each wait. Unlocking what is not locked is fatal. No effect on a plain thread. Never parks; from any thread.
 */
void go_lock_thread(void);
void go_unlock_thread(void);

/*
 * A new key; every goroutine has a value for it, NULL at first. destroy, if not NULL, is called when a goroutine with
 * a value other than NULL ends, after its deferred calls. Returns the key, or -ENOMEM. Keys are for ever. Never parks;
 * from any thread.
 */
go_key go_key_new(void (*destroy)(void *));

/* The calling goroutine's value; NULL if there is no such key. Never parks; from any thread. */
void *go_local(go_key key);

/* Sets it. Returns 0, -EINVAL if there is no such key, or -ENOMEM. Never parks; from any thread. */
int go_set_local(go_key key, void *value);

/*
 * Put these around a call that may block its thread for long: read(2), a database client, flock. Others then get
 * the processor without waiting for the scheduler to notice by itself, which takes some 10 ms. The two cost a few
 * nanoseconds if the call does not block. Calls nest. Look at errno before go_block_leave: it is the thread's, and the goroutine
 * may continue on another thread. To leave without having entered is fatal, and so is ending in between; on a plain thread both have
 * no effect. go_block_leave may park; from any thread.
 */
void go_block_enter(void);
void go_block_leave(void);

/*
 * Prints "fatal error: " and the message, then the goroutines that GOTRACEBACK asks for, and ends the process with status 2.
 * From any thread.
 */
__attribute__((format(printf, 1, 2))) _Noreturn void go_fatal(const char *format, ...);

/*
 * Writes a report on every goroutine to fd, the caller's first: number, state, how long it has waited, name, frames, and the
 * statement that launched it; ten or more that are alike share one entry. The others are held at their next call into
 * the library while their frames are collected, a few microseconds for each, and go on while the report is
 * written. Threads that run a goroutine are interrupted by a signal to ask for its frames; as with any signal, their sleeping system
 * calls may return EINTR. Returns 0, what write(2) said, as a negative errno, or -ENOMEM. Never parks; from any thread.
 */
int go_traceback(int fd);

#ifdef __cplusplus
}
#endif
