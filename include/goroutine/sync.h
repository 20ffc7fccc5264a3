/* SPDX-License-Identifier: MIT */
/*
 * Locks and the like, for goroutines and plain threads at once. Zero-initialised memory is ready for use, except for a
 * semaphore that is not to begin at 0. None may be copied or moved while in use. They hold no memory of their
 * own: one that is not in use may simply be freed. It is in use until every call on it has returned; a wait group only until the
 * last wait has returned, even if the call of done that ended the wait has not.
 *
 * What happens before an unlock, a done, a signal or a release is seen after the lock, the wait or the acquire
 * that it lets go on.
 *
 * Waits for locks cannot be cancelled: go_mutex_lock, go_rwmutex_*lock, go_once_do, go_waitgroup_wait. Waits for conditions
 * and semaphores can.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The fields are the library's. */
typedef struct go_mutex {
	uint32_t state, waiters;
} go_mutex;

typedef struct go_rwmutex {
	go_mutex writers;
	uint32_t writer_waits, readers_wait;
	int32_t readers, departing;
} go_rwmutex;

typedef struct go_cond {
	uint32_t waiters;
} go_cond;

typedef struct go_waitgroup {
	uint64_t state;
	uint32_t waiters;
} go_waitgroup;

typedef struct go_once {
	uint32_t done;
	go_mutex running;
} go_once;

typedef struct go_sem {
	int64_t state;
} go_sem;

/*
 * One holder at a time; another goroutine or thread may unlock it. Mostly whoever comes first gets it, but one that has
 * waited for a millisecond gets it next: nobody starves. Unlocking what is not locked is fatal. lock may park, and so
 * may unlock, to let others run; trylock never does; from any thread. (A plain thread that does nothing but unlock does
 * not count for the deadlock report, here and below.)
 */
void go_mutex_lock(go_mutex *m);
bool go_mutex_trylock(go_mutex *m); /* true if it was free and is now the caller's */
void go_mutex_unlock(go_mutex *m);

/*
 * A lock that many readers or one writer hold. A writer that waits keeps new readers out, so a reader must not lock it
 * again. Unlocking what is not locked in that way is fatal. rlock and lock may park, and so may
 * unlock and a trylock that fails, to let others run; from any thread.
 */
void go_rwmutex_rlock(go_rwmutex *rw);
bool go_rwmutex_tryrlock(go_rwmutex *rw);
void go_rwmutex_runlock(go_rwmutex *rw);
void go_rwmutex_lock(go_rwmutex *rw);
bool go_rwmutex_trylock(go_rwmutex *rw);
void go_rwmutex_unlock(go_rwmutex *rw);

/*
 * Unlocks m, waits for a signal or broadcast that comes after the call, and locks m again. The condition must be checked
 * again afterwards: others may have been first. Returns 0, or -ECANCELED or -ETIMEDOUT where the caller's scope ended the wait, and
 * then it has taken no signal from others; m is held again in every case. Calling it without m locked is fatal. May park; from
 * any thread.
 */
int go_cond_wait(go_cond *c, go_mutex *m);

/* Lets the one that has waited longest go on, or all. The mutex may be held or not. Never park; from any thread. */
void go_cond_signal(go_cond *c);
void go_cond_broadcast(go_cond *c);

/*
 * A counter that can be waited for. add changes it by n, which may be negative; done by -1; wait waits until it is 0. Fatal: a
 * counter below 0; raising it from 0 while somebody waits, or before all waits that it has ended have returned. wait may
 * park; from any thread.
 */
void go_waitgroup_add(go_waitgroup *wg, int n);
void go_waitgroup_done(go_waitgroup *wg);
void go_waitgroup_wait(go_waitgroup *wg);

/*
 * Calls fn(arg) if this is the first call for this go_once; calls that come meanwhile wait until it is done. If fn calls go_exit, or
 * ends its thread by pthread_exit, it counts as done. A call from within fn waits for ever. Fatal if fn is NULL when it would be
 * called, or if memory runs out. May park; from any thread.
 */
void go_once_do(go_once *once, void (*fn)(void *), void *arg);

/* Sets the initial count to n (2^62 - 1 if n is more; a negative n is fatal); without this call it is 0. Not while in
 * use. Never parks; from any thread. */
void go_sem_init(go_sem *s, int64_t n);

/*
 * Takes n, waiting until that much is available; those that wait are served in the order they came, even if one further back could
 * be served at once. Returns 0, or -ECANCELED or -ETIMEDOUT where the caller's scope ended the wait: then nothing was taken,
 * and those behind are let in. A negative n is fatal. May park; from any thread.
 */
int go_sem_acquire(go_sem *s, int64_t n);

/* True if that much is available and nobody waits: then n is taken, otherwise nothing. A negative n is fatal. Never parks; from any
 * thread. */
bool go_sem_try_acquire(go_sem *s, int64_t n);

/* Gives n back. Negative n, or more than 2^62 - 1 in all, is fatal. Never parks; from any thread. */
void go_sem_release(go_sem *s, int64_t n);

#ifdef __cplusplus
}
#endif
