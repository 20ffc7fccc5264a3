// SPDX-License-Identifier: MIT
// What src/debug supplies, so that the scheduler need not include it.
#pragma once

#include "base/atomic.h"
#include "base/compiler.h"

/* Set by whoever wants sysmon to call debug_work at its next look; sysmon_hurry makes that soon. */
extern _Atomic bool debug_pending;

/* At the first call into the library, when all else is ready. */
void debug_start(void);

/* What is due. By sysmon, without a P. */
void debug_work(void);
