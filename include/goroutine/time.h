/* SPDX-License-Identifier: MIT */
/* Time: 64-bit nanoseconds on a clock that never goes back and does not follow changes of the date. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef int64_t go_time;     /* a point in time: nanoseconds since some point in the past */
typedef int64_t go_duration; /* a length of time: nanoseconds */

#define GO_NANOSECOND ((go_duration)1)
#define GO_MICROSECOND (1000 * GO_NANOSECOND)
#define GO_MILLISECOND (1000 * GO_MICROSECOND)
#define GO_SECOND (1000 * GO_MILLISECOND)
#define GO_MINUTE (60 * GO_SECOND)
#define GO_HOUR (60 * GO_MINUTE)

/* After the types, which it may need itself. */
#include <goroutine/chan.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct go_timer go_timer;

/* The present time (CLOCK_MONOTONIC). Never parks; from any thread. */
go_time go_now(void);

/*
 * Lets at least d pass; others run meanwhile. 0 or less returns at once, INT64_MAX is for ever. Returns 0, or, where
 * the goroutine's scope has been cancelled or its deadline has passed, -ECANCELED or -ETIMEDOUT. May park; from any
 * thread. While a goroutine sleeps there is no deadlock to report.
 */
int go_sleep(go_duration d);

/*
 * A channel that gets one value when d has passed, the time at that moment, and nothing more. The reference is the caller's:
 * chan_unref it. Durations of 0 or less have passed at once; INT64_MAX is for ever. Out of memory is fatal, for all of these.
 * Never parks; from any thread. In a select case_after is simpler and cheaper.
 */
go_chan(go_time) go_after(go_duration d);

/*
 * When d has passed, fn(arg) is called in a goroutine of its own, outside of every scope. Free the result by go_timer_free, also
 * after it has fired. A NULL fn is fatal. Never parks; from any thread.
 */
go_timer *go_after_func(go_duration d, void (*fn)(void *), void *arg);

/*
 * A timer whose channel gets the time when d has passed; a ticker whose channel gets it every period, and which
 * stays in step when it is late. Nobody waits for a slow receiver: a tick not received when the next is due stands for both. A period
 * of 0 or less is fatal. Never park; from any thread.
 */
go_timer *go_timer_new(go_duration d);
go_timer *go_ticker_new(go_duration period);

/* Its channel, borrowed until go_timer_free; NULL for go_after_func. The channel is never closed. Never parks; from any thread. */
go_chan(go_time) go_timer_chan(go_timer *t);

/*
 * stop: it will not fire. reset: it fires when d has passed from now on, a ticker every d (0 or less is fatal for it). True if it
 * was pending: it had not fired, or its value had not been received. After they return no earlier value is received, and
 * go_after_func's fn is not launched any more (it may be running). Never park; from any thread.
 */
bool go_timer_stop(go_timer *t);
bool go_timer_reset(go_timer *t, go_duration d);

/* Stops and frees it. Its channel goes with it, unless somebody has another reference. NULL does nothing. Never parks; from any thread. */
void go_timer_free(go_timer *t);

#ifdef __cplusplus
}
#endif
