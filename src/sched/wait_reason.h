// SPDX-License-Identifier: MIT
// Why a goroutine waits: one table for tracebacks, traces and debuggers. The words are Go's where Go
// has the case.
#pragma once

#define WAIT_REASONS(_)                                                                            \
    _(WAIT_NONE, "")                                                                               \
    _(WAIT_SLEEP, "sleep")                                                                         \
    _(WAIT_RESOLVE, "name lookup")                                                                 \
    _(WAIT_IO, "IO wait")                                                                          \
    _(WAIT_FOREVER, "select (no cases)")                                                           \
    _(WAIT_MUTEX, "sync.Mutex.Lock")                                                               \
    _(WAIT_RWMUTEX_RLOCK, "sync.RWMutex.RLock")                                                    \
    _(WAIT_RWMUTEX_LOCK, "sync.RWMutex.Lock")                                                      \
    _(WAIT_COND, "sync.Cond.Wait")                                                                 \
    _(WAIT_WAITGROUP, "sync.WaitGroup.Wait")                                                       \
    _(WAIT_SEM, "semacquire")                                                                      \
    _(WAIT_SCOPE, "scope close")                                                                   \
    _(WAIT_CHAN_RECEIVE, "chan receive")                                                           \
    _(WAIT_CHAN_SEND, "chan send")                                                                 \
    _(WAIT_CHAN_RECEIVE_NULL, "chan receive (nil chan)")                                           \
    _(WAIT_CHAN_SEND_NULL, "chan send (nil chan)")                                                 \
    _(WAIT_SELECT, "select")

enum wait_reason {
#define _(name, text) name,
    WAIT_REASONS(_)
#undef _
    WAIT_REASON_COUNT,
};

const char *wait_reason_text(enum wait_reason reason);
