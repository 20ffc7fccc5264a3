// SPDX-License-Identifier: MIT
// What GODEBUG asks the debugging parts to do from the start.
#pragma once

#include "base/compiler.h"

void leak_check_at_exit(void);

/* GODEBUG=trace=FILE: from the start to the end, whatever that is. */
void trace_from_start(void);
/* Writes the file if that was asked for. `stopped`: nobody runs any more, and nobody will. On a system stack. */
void trace_at_end(bool stopped);
