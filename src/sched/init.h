// SPDX-License-Identifier: MIT
// The parts that init.c starts, and those of a thread's life that several files share.
#pragma once

#include <signal.h>

#include "sched/m.h"

/* thread.c */
void foreign_init(void);
void foreign_adopt(void);

/* The calling thread's end is to be noticed: a plain thread's, or, on a thread of goroutines, a mistaken pthread_exit. NULL: no longer. */
void thread_watch_end(struct m *mp);
_Noreturn void thread_exit(struct g *gp);
/* The calling thread's stack, for ASan; untouched without it. */
void thread_stack_bounds(const void **bottom, size_t *size);

/* A frame on main's stack: what lies above has been touched. */
extern const char *main_frame;

/* overflow.c: the handler that tells a stack overflow from other faults, and its stack for each M. */
void overflow_init(void);
/* For debug/unwind.c, "Whose handler". It is known by its start: cold as a whole, so that no part of it is split off. */
cold void fault_handler(int signo, siginfo_t *info, void *context);
extern _Atomic bool overflow_reported; /* it has begun that report, which does not return */
void signal_stack_set(struct m *mp);
void signal_stack_free(struct m *mp);

/* exit.c: runs what gp has deferred, and destroys its locals. Outside of a section; may park. */
void goroutine_clean_up(struct g *gp);
