/* SPDX-License-Identifier: MIT */
/*
 * The errno of the present thread.
 *
 * A goroutine can wake up on another thread. The C library declares the function behind errno const, so a compiler
 * may keep its address across any call, also across one that parks, and would then read another
 * thread's errno. In files that include this header the address is asked for each time.
 */
#pragma once

#include <errno.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The address of the calling thread's errno. Never parks; from any thread, and from signal handlers. */
int *go_errno_location(void);

#ifdef __cplusplus
}
#endif

#undef errno
#define errno (*go_errno_location())
