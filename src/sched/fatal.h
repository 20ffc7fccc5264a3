// SPDX-License-Identifier: MIT
// The end of the process: misuse, no memory, a broken invariant. A message in Go's words, the goroutines, exit
// status 2 (or SIGABRT, with GOTRACEBACK=crash).
#pragma once

#include "base/compiler.h"

struct g;

/* Prints "fatal error: …" and the traceback. May be called anywhere but with sched.lock held;
 * with a p.lock held the report waits for that P in vain, and does without it. */
cold _Noreturn void fatal(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same without a traceback: the frames here, or main's, cannot be walked. */
cold _Noreturn void fatal_without_frames(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* For a message: `goroutine 7 "name"`, and `; created by f at file:line`, which is empty for main and without a place for
 * go_after_func. They are formats because where they are needed there may be no stack left to put text on. */
#define FATAL_WHO "goroutine %llu%s%s%s"
#define FATAL_WHO_OF(gp) \
    (unsigned long long)(gp)->id, (gp)->name ? " \"" : "", (gp)->name ? (gp)->name : "", (gp)->name ? "\"" : ""
#define FATAL_ORIGIN "%s%s%s%s%s%.0u"
#define FATAL_ORIGIN_OF(site) \
    (site) ? "; created by " : "", (site) ? (site)->function : "", (site) && (site)->line ? " at " : "", \
        (site) && (site)->line ? (site)->file : "", (site) && (site)->line ? ":" : "", (site) ? (site)->line : 0

/* gp has used more stack than it has. */
_Noreturn void fatal_stack_overflow(struct g *gp);

/* SIGQUIT came: the goroutines, and the end. By sysmon. */
cold _Noreturn void fatal_quit(void);

/* Waits while others end the process by a fatal error or SIGQUIT. At exit. */
void fatal_wait(void);

/* The same in a signal handler: otherwise the call that was interrupted would return with EINTR, and the program might end because
 * of that, with another status. For some seconds only: the thread may hold a lock that the report wants. */
void fatal_wait_in_handler(void);

/* The child of a fork called the library. */
_Noreturn void fatal_forked(void);

enum show {
    SHOW_NONE,
    SHOW_SELF, /* all, if the caller is no goroutine */
    SHOW_ALL,
};

/* src/debug supplies this: the goroutines, the caller's first, none with GOTRACEBACK=none; and the trace that GODEBUG asks for. On a
 * system stack. */
void traceback_at_end(enum show show);
