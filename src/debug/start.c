// SPDX-License-Identifier: MIT
// What the debugging parts do by themselves: SIGQUIT (Ctrl-\) prints all goroutines and ends the process, as in Go.
//
// The handler may have interrupted anything, an M in its section or malloc, so it only tells sysmon, which holds nothing
// that a report could need. (The child of a fork has none: there the signal ends it as usual.) A program that handles or ignores
// SIGQUIT itself when it first calls the library, or later, keeps that.
#include <signal.h>
#include <stdlib.h>

#include "base/options.h"
#include "debug/start.h"
#include "sched/debug_hooks.h"
#include "sched/fatal.h"
#include "sched/sched.h"

_Atomic bool debug_pending;
void (*quit_handler)(int);

static void on_quit(int signo)
{
    if (load_relaxed(&sched.forked)) { /* no sysmon is there: as if there had been no handler, once this one returns */
        signal(signo, SIG_DFL);
        raise(signo);
        return;
    }
    store_release(&debug_pending, true); /* pairs with the acquire in sysmon */
    sysmon_hurry();
    struct m *mp = m_self();
    if (mp == &m_stranger || !load_relaxed(&mp->in)) /* `in` of all strangers together says nothing */
        fatal_wait_in_handler();
    compiler_barrier(); /* no tail call: unwind.c knows the frame */
}

void debug_start(void)
{
    if (options.leakcheck)
        leak_check_at_exit();
    if (options.trace_file[0])
        trace_from_start();
    if (options.stats)
        or_seq(&debug_hooks, HOOK_STATS);
    struct sigaction old;
    if (sigaction(SIGQUIT, NULL, &old) == 0 && !(old.sa_flags & SA_SIGINFO) && old.sa_handler == SIG_DFL) {
        struct sigaction action = { .sa_handler = on_quit, .sa_flags = SA_ONSTACK | SA_RESTART };
        sigemptyset(&action.sa_mask);
        quit_handler = on_quit;
        sigaction(SIGQUIT, &action, NULL);
    }
    atexit(fatal_wait);
}

void debug_work(void)
{
    fatal_quit();
}
