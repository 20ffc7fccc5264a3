/* SPDX-License-Identifier: MIT */
/* Logging in the format of Go's log package. */
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Writes "2006/01/02 15:04:05 message\n" to stderr, in local time, as log.Printf does: a newline is added if the
 * message does not end in one. A line goes out as a whole: those of different goroutines and threads do
 * not mix. Never parks, but blocks the thread for as long as stderr blocks; if stderr is a broken pipe, SIGPIPE is raised,
 * as in any program. From any thread.
 */
void go_logf(const char *format, ...) __attribute__((format(printf, 1, 2)));

#ifdef __cplusplus
}
#endif
