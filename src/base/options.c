// SPDX-License-Identifier: MIT
#include "base/options.h"

#include <stdlib.h>
#include <string.h>

#if GO_HAVE_VALGRIND
#include <valgrind/valgrind.h>
#endif

struct options options = {
    .preempt = true,
    .traceback = TRACEBACK_SINGLE,
    .membarrier = true,
    .process_madvise = true,
    .huge_pages = true,
    .pidfd = true,
    .epoll_pwait2 = true,
    .runq = 256,
    .fair_every = 60,
    .slice = 10000000,
};

static bool equals(const char *text, size_t length, const char *word)
{
    return strlen(word) == length && memcmp(text, word, length) == 0;
}

/* A non-negative decimal number, or -1. */
static long number(const char *text, size_t length)
{
    long n = 0;
    if (length == 0 || length > 9)
        return -1;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -1;
        n = n * 10 + (text[i] - '0');
    }
    return n;
}

static void debug_option(const char *key, size_t key_length, const char *value, size_t length)
{
#define KEY(word) equals(key, key_length, word)
    long n = number(value, length);
    if (KEY("guard")) {
        options.guard = equals(value, length, "madvise")    ? GUARD_MADVISE
                        : equals(value, length, "mprotect") ? GUARD_MPROTECT
                        : equals(value, length, "canary")   ? GUARD_CANARY
                                                            : GUARD_AUTO;
        return;
    }
    if (KEY("trace") && length < sizeof options.trace_file) {
        memcpy(options.trace_file, value, length);
        options.trace_file[length] = 0;
        return;
    }
    if (n < 0)
        return;
    if (KEY("schedtrace"))
        options.schedtrace = (int)n;
    else if (KEY("scheddetail"))
        options.scheddetail = n != 0;
    else if (KEY("leakcheck"))
        options.leakcheck = n != 0;
    else if (KEY("stats"))
        options.stats = n != 0;
    else if (KEY("preempt"))
        options.preempt = n != 0;
    else if (KEY("asyncpreemptoff")) /* Go's name for the same thing */
        options.preempt = n == 0;
    else if (KEY("membarrier"))
        options.membarrier = n != 0;
    else if (KEY("process_madvise"))
        options.process_madvise = n != 0;
    else if (KEY("hugepages"))
        options.huge_pages = n != 0;
    else if (KEY("pidfd"))
        options.pidfd = n != 0;
    else if (KEY("epoll_pwait2"))
        options.epoll_pwait2 = n != 0;
    else if (KEY("runq"))
        options.runq = n < 2 ? 2 : n > 256 ? 256 : (uint32_t)n;
    else if (KEY("fair"))
        options.fair_every = (uint32_t)n;
    else if (KEY("steal"))
        options.steal_always = n != 0;
    else if (KEY("slice"))
        options.slice = n < 1 ? 1000 : n * 1000;
#undef KEY
}

static void read_debug(const char *at)
{
    while (*at) {
        size_t length = strcspn(at, ",");
        const char *equal = memchr(at, '=', length);
        if (equal) {
            size_t key_length = (size_t)(equal - at);
            debug_option(at, key_length, equal + 1, length - key_length - 1);
        }
        at += length;
        at += *at == ',';
    }
}

void options_read(void)
{
    const char *value = getenv("GODEBUG");
    if (value)
        read_debug(value);
#if GO_HAVE_VALGRIND
    if (RUNNING_ON_VALGRIND) /* it complains aloud of calls it does not know */
        options.process_madvise = options.pidfd = options.epoll_pwait2 = false;
#endif
    value = getenv("GOTRACEBACK");
    if (value && *value) {
        options.traceback_given = true;
        if (!strcmp(value, "none") || !strcmp(value, "0"))
            options.traceback = TRACEBACK_NONE;
        else if (!strcmp(value, "all") || !strcmp(value, "1") || !strcmp(value, "system") ||
                 !strcmp(value, "2"))
            options.traceback = TRACEBACK_ALL;
        else if (!strcmp(value, "crash"))
            options.traceback = TRACEBACK_CRASH;
        else
            options.traceback = TRACEBACK_SINGLE;
    }
    /* As in Go: what is not a number above 0 is as if it were not there. */
    value = getenv("GOMAXPROCS");
    if (value) {
        long n = number(value, strlen(value));
        if (n > 0)
            options.gomaxprocs = (int)n;
    }
}
