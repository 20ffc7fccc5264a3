/* SPDX-License-Identifier: MIT */
/* Signals as values on channels. */
#pragma once

#include <goroutine/chan.h>

#include <signal.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * From now on each of the signals, given by their numbers and a final 0, is sent to c when it comes. Its default action no
 * longer happens; a handler that the program had installed is still called. Several channels may listen to one signal.
 * Nobody waits for a full channel: it misses the signal, so it needs at least one place for each signal that must not be missed. Keeps a
 * reference to c. Returns 0; -EINVAL for a NULL channel, no signal at all, a number that is not a signal's, or one that cannot be caught
 * (SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGFPE, SIGILL); -EBUSY for a real-time signal that the library has begun to use itself (it takes
 * the highest ones without a handler); -ENOMEM, -EMFILE, -ENFILE. Never parks; from any thread.
 */
int go_signal_notify(go_chan(int) c, int signo, ...);

/* c gets the signals that came before the call, and none after it has returned; its reference is given back. Signals that nobody
 * listens to any more do what they did before. Returns 0, or -ENOENT if c did not listen. Never parks, but yields while one that
 * came before is on its way to c; from any thread. */
int go_signal_stop(go_chan(int) c);

#ifdef __cplusplus
}
#endif
