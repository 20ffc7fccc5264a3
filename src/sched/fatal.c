// SPDX-License-Identifier: MIT
#include "sched/fatal.h"

#include <goroutine/go.h>

#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/options.h"
#include "sched/debug_hooks.h"
#include "sched/sched.h"
#include "sched/section.h"

struct report {
    const char *format;
    va_list args;
    bool frames; /* can be walked */
};

#define HANDLERS_WAIT 5000000000 /* ns */

static _Atomic int reporter; /* thread id of whoever reports, or 0 */

/* Perhaps nobody reads stderr any more: even then the process must not end by SIGPIPE. */
static void write_last(const char *text, size_t size)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    os_write(2, text, size);
}

static bool others_report(void)
{
    return !load_relaxed(&sched.forked) && load_relaxed(&reporter) != os_gettid() &&
           (load_relaxed(&sched.dying) || load_relaxed(&debug_pending));
}

void fatal_wait(void)
{
    if (others_report())
        atexit(fatal_wait); /* for another thread that calls exit now: this entry has been taken off the list */
    while (others_report())
        pause();
}

void fatal_wait_in_handler(void)
{
    if (!others_report())
        return;
    static _Atomic int64_t until; /* for all together: a handler that waits may be interrupted by another */
    _Atomic uint32_t nobody_wakes = 0;
    int64_t now = os_now(), none = 0;
    cas_acq_rel(&until, &none, now + HANDLERS_WAIT);
    for (; now < load_relaxed(&until) && others_report(); now = os_now())
        os_futex_wait(&nobody_wakes, 0, now + 1000000); /* a raw call: errno belongs to the code that was interrupted */
}

/* One fatal error is reported; a second one, on another thread, waits for the end of the process. */
static void become_reporter(void)
{
    int none = 0, self = os_gettid();
    if (cas_acq_rel(&reporter, &none, self)) {
        store_relaxed(&sched.dying, true);
        return;
    }
    if (none == self)
        _exit(2); /* an error in the report */
    for (;;)
        pause();
}

_Noreturn static void die(void)
{
    if (options.traceback == TRACEBACK_CRASH) {
        signal(SIGABRT, SIG_DFL);
        abort();
    }
    _exit(2);
}

/* On a system stack. */
static void report(void *arg)
{
    struct report *r = arg;
    char text[2048];
    int n = snprintf(text, sizeof text, "fatal error: ");
    int m = vsnprintf(text + n, sizeof text - (size_t)n - 1, r->format, r->args);
    if (m > 0)
        n += m;
    if (n > (int)sizeof text - 3)
        n = (int)sizeof text - 3;
    text[n++] = '\n';
    if (options.traceback != TRACEBACK_NONE && r->frames)
        text[n++] = '\n';
    write_last(text, (size_t)n);
    bool single = options.traceback_given && options.traceback == TRACEBACK_SINGLE;
    traceback_at_end(!r->frames ? SHOW_NONE : single ? SHOW_SELF : SHOW_ALL);
    die();
}

static _Noreturn void end_by(bool frames, const char *format, va_list args)
{
    if (load_relaxed(&sched.forked))
        fatal_forked();
    thread_make_known();
    become_reporter();
    struct report r = { .format = format, .frames = frames };
    va_copy(r.args, args);
    system_stack_call(report, &r);
    die();
}

_Noreturn void fatal(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    end_by(true, format, args);
}

_Noreturn void fatal_without_frames(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    end_by(false, format, args);
}

GO_EXPORT _Noreturn void go_fatal(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    end_by(true, format, args);
}

_Noreturn void fatal_quit(void)
{
    static const char text[] = "SIGQUIT: quit\n\n";
    become_reporter();
    write_last(text, sizeof text - 1 - (options.traceback == TRACEBACK_NONE)); /* no empty line before nothing */
    traceback_at_end(SHOW_ALL);
    die();
}

_Noreturn void fatal_forked(void)
{
    /* Other threads' locks may be held for ever here: no traceback, no stdio. */
    static const char text[] =
        "fatal error: the child of a fork may only call exec or _exit: "
        "the goroutines and threads of its parent do not exist in it\n";
    write_last(text, sizeof text - 1);
    _exit(2);
}

_Noreturn void fatal_stack_overflow(struct g *gp)
{
    if (load_relaxed(&gp->flags) & G_MAIN)
        fatal("stack overflow: goroutine 1 has used up the stack of the process (ulimit -s sets another size)");
    fatal("stack overflow: " FATAL_WHO " has used up its %zu bytes of stack" FATAL_ORIGIN " (go_options.stack_size sets another size)",
          FATAL_WHO_OF(gp), gp->run.stack ? stack_class_size(gp->run.stack->class) : 0, FATAL_ORIGIN_OF(gp->site));
}

_Noreturn void check_failed(const char *file, int line, const char *what)
{
    /* The library itself is broken: say where, and leave a core. */
    char text[512];
    int n = snprintf(text, sizeof text, "libgoroutine: %s:%d: check failed: %s\n", file, line, what);
    write_last(text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
    abort();
}
