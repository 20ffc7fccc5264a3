/* SPDX-License-Identifier: MIT */
/*
 * Scopes: goroutines that belong together, are waited for together, and are told together to stop.
 *
 *     go_scope *s = go_scope_open();
 *     go_scope_deadline(s, go_now() + GO_SECOND);
 *     for (int i = 0; i < n; i++)
 *         go_scope_go(s, fetch, s, i);
 *     int err = go_scope_close(s);
 *
 * A goroutine is inside the scope it was launched in: with go_scope_go or go_with, or with go() by one that is inside. When the
 * scope is cancelled, by go_scope_cancel, by go_scope_fail or because its deadline has passed, every wait inside ends with
 * -ECANCELED or -ETIMEDOUT, if the header says that it can, and so does every later one; a wait that ends this way has consumed, sent
 * and acquired nothing. Calls that need not wait work as before. The goroutines themselves must see to it that they end.
 *
 * A scope opened inside another is its child. If the other is cancelled, for whatever reason, or its deadline passes, before the
 * child is opened or while it is open, the child is cancelled too, with -ECANCELED or -ETIMEDOUT. This ends when the other is
 * closed. Nothing goes upwards.
 *
 * go_scope_go(s, fn, args...) and go_options.scope are in launch.h. Using a closed scope is fatal if the library notices, but it
 * may not: whoever launches into a scope, or enters it, from outside must be sure that it is not being closed.
 */
#pragma once

#include <goroutine/launch.h>
#include <goroutine/time.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A new scope, a child of the caller's. The caller stays outside. Somebody must close it. Out of memory is fatal. Never parks;
 * from any thread. */
go_scope *go_scope_open(void);

/*
 * Waits until all goroutines inside, and inside scopes below, have ended, deferred calls included, and all callers that entered
 * have left; then frees s. The wait cannot be cancelled. Returns what came first: the error of go_scope_fail, -ECANCELED, -ETIMEDOUT; or 0.
 * Closing a scope that one is inside of, or that somebody else is closing, is fatal. May park; from any thread.
 */
int go_scope_close(go_scope *s);

/* Ends the waits inside s and the scopes below with -ECANCELED. The first cause stays. Never parks; from any thread. */
void go_scope_cancel(go_scope *s);

/* The same, and go_scope_close will return error, which may be any number but 0, unless s had a cause already. With 0 it does
 * nothing. Never parks; from any thread. */
void go_scope_fail(go_scope *s, int error);

/* At that time the waits inside s and the scopes below end with -ETIMEDOUT; at once, if it has passed. A later call sets another
 * time, INT64_MAX none. Never parks; from any thread. */
void go_scope_deadline(go_scope *s, go_time when);

/* Whether the caller's waits would end: 0, -ECANCELED or -ETIMEDOUT; 0 outside of scopes and within a shield. Never parks;
 * from any thread. */
int go_cancelled(void);

/* Between the two the caller's waits are not cancelled: for work that must be done in any case. Pairs nest. An end without a
 * begin is fatal. Never park; from any thread. */
void go_shield_begin(void);
void go_shield_end(void);

/* Between the two the caller, goroutine or thread, is inside s and not inside the scope it was in before. Pairs nest; leaving
 * a scope other than the one entered last is fatal. A goroutine that ends leaves the scopes it has entered. Out of memory
 * is fatal. Never park; from any thread. */
void go_scope_enter(go_scope *s);
void go_scope_leave(go_scope *s);

#ifdef __cplusplus
}
#endif
