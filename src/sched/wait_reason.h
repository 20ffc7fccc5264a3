// SPDX-License-Identifier: MIT
// Why a goroutine waits: one table for tracebacks, traces and debuggers. The words are Go's where Go
// has the case.
#pragma once

#define WAIT_REASONS(_)                                                                            \
    _(WAIT_NONE, "")                                                                               \
    _(WAIT_SLEEP, "sleep")                                                                         \
    _(WAIT_FOREVER, "select (no cases)")                                                           \
    _(WAIT_WORLD, "GOMAXPROCS updated")

enum wait_reason {
#define _(name, text) name,
    WAIT_REASONS(_)
#undef _
};

const char *wait_reason_text(enum wait_reason reason);
