/* SPDX-License-Identifier: MIT */
/* Time: 64-bit nanoseconds on a clock that never goes back and does not follow changes of the date. */
#pragma once

#include <stdint.h>

typedef int64_t go_time;     /* a point in time: nanoseconds since some point in the past */
typedef int64_t go_duration; /* a length of time: nanoseconds */

#define GO_NANOSECOND ((go_duration)1)
#define GO_MICROSECOND (1000 * GO_NANOSECOND)
#define GO_MILLISECOND (1000 * GO_MICROSECOND)
#define GO_SECOND (1000 * GO_MILLISECOND)
#define GO_MINUTE (60 * GO_SECOND)
#define GO_HOUR (60 * GO_MINUTE)

#ifdef __cplusplus
extern "C" {
#endif

/* The present time (CLOCK_MONOTONIC). Never parks; from any thread. */
go_time go_now(void);

/*
 * Lets at least d pass; others run meanwhile. 0 or less returns at once, INT64_MAX is for ever. Returns 0, or, where
 * the goroutine's scope has been cancelled or its deadline has passed, -ECANCELED or -ETIMEDOUT. May park; from any
 * thread. A goroutine that sleeps is no part of a deadlock.
 */
int go_sleep(go_duration d);

#ifdef __cplusplus
}
#endif
