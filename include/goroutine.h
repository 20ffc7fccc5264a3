/* SPDX-License-Identifier: MIT */
/*
 * libgoroutine: Go's goroutines for C.
 *
 * Every function says what it does, what it returns, whether it may park the calling goroutine (let others run
 * until something happens), and who may call it. On a plain thread a call that would park blocks the thread.
 * (A goroutine that has lost its processor, because it computed for a long time while others waited, waits for its turn at its
 * next call, whatever that is, and may go on in another thread. "Never parks" means that the call waits for nothing else.)
 * Errors are negative errno values; the library neither reads nor writes errno. None of the functions but
 * go_errno_location may be called from a signal handler. Misuse ends the process: a message on stderr in Go's words, all goroutines,
 * exit status 2.
 */
#pragma once

#include <goroutine/chan.h>
#include <goroutine/child.h>
#include <goroutine/debug.h>
#include <goroutine/errno.h>
#include <goroutine/go.h>
#include <goroutine/io.h>
#include <goroutine/launch.h>
#include <goroutine/log.h>
#include <goroutine/scope.h>
#include <goroutine/select.h>
#include <goroutine/signal.h>
#include <goroutine/sync.h>
#include <goroutine/time.h>
