// SPDX-License-Identifier: MIT
// The frames of a goroutine, as bare addresses.
#pragma once

#include "base/atomic.h"
#include "base/compiler.h"

struct g;

#define FRAMES_TOP 50    /* as Go: so many of each end of a deep stack */
#define FRAMES_BOTTOM 50

/*
 * Innermost first. An address is where the frame goes on, one more where it stands at an instruction that has not been
 * executed; so one less always lies inside of the call or the instruction that is meant.
 */
struct frames {
    uint32_t count;    /* in pc */
    uint32_t elided;   /* left out after the first FRAMES_TOP */
    bool interrupted;  /* the first one is code that did not call anything */
    uintptr_t pc[FRAMES_TOP + FRAMES_BOTTOM];
};

/* The caller's own, this function's and up. In one of the handlers that unwind.c names: those of what was interrupted. */
void unwind_self(struct frames *f);

/* Those of a goroutine that is not running and stays so. */
void unwind_parked(struct frames *f, void *sp);

/* Those of gp, which runs on the thread tid: that thread is interrupted to tell. False if it does not answer. One
 * caller at a time. */
bool unwind_running(struct frames *f, struct g *gp, int tid);

/* Set by the report of the process's end before it asks: who has answered waits for the end in the handler. */
extern _Atomic bool unwind_dying;
