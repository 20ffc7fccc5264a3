// SPDX-License-Identifier: MIT
// What the environment says: GOMAXPROCS, GODEBUG, GOTRACEBACK. Read once, before anything else.
#pragma once

#include "base/compiler.h"

enum traceback_level { TRACEBACK_NONE, TRACEBACK_SINGLE, TRACEBACK_ALL, TRACEBACK_CRASH };
enum stack_guard { GUARD_AUTO, GUARD_MADVISE, GUARD_MPROTECT, GUARD_CANARY };

/* Constant after the start. The words are those of GODEBUG. */
struct options {
    int gomaxprocs;        /* 0: not given */
    int schedtrace;        /* ms between lines; 0: none */
    bool scheddetail;
    bool leakcheck;        /* report goroutines alive at exit */
    char trace_file[256];  /* timeline of the whole run; empty: none */
    bool stats;            /* count parks and latencies */
    bool preempt;          /* take Ps from hogs; default true */
    enum traceback_level traceback;
    bool traceback_given;

    /* For tests: the rare path, always. */
    bool membarrier;       /* 0: each section does its own fence */
    bool process_madvise;  /* 0: guards one by one */
    bool huge_pages;       /* 0: none, key hugepages */
    enum stack_guard guard; /* madvise, mprotect, canary */
    uint32_t runq;         /* usable places of a ring */
    uint32_t fair_every;   /* picks between two fair ones; 0: every pick on g0 */
    bool steal_always;     /* look at other Ps before one's own queue */
    bool pidfd;            /* 0: children are waited for by threads */
    bool epoll_pwait2;     /* 0: descriptors and timers in whole milliseconds */
    int64_t slice;         /* ns before a hog loses its P; GODEBUG gives it in µs */

    /* Not from the environment, but wanted as often. */
    uint8_t stack_class;   /* of goroutines that do not ask; not from the environment: init.c sets it */
};

extern struct options options;

/* Unknown keys and values that make no sense are ignored, as in Go. */
void options_read(void);
