/* SPDX-License-Identifier: MIT */
/*
 * Select: waits for the first of several things that can happen.
 *
 *	switch (go_select(case_recv(in, &v, &ok), case_send(out, x), case_readable(fd), case_after(GO_SECOND))) {
 *	case 0: ...
 *	}
 *
 * If several cases can run at once, one of them is chosen at random, each with the same probability; if none can, the call waits
 * until one can. If one event then makes several possible (the same channel in several cases, equal times, descriptors found
 * ready together), the choice is random, too; if others serve several channels one after the other, the first one counts. The same
 * channel may occur in several cases, even in both directions: a select never serves itself. A case with a NULL channel never runs.
 */
#pragma once

#include <goroutine/chan.h>
#include <goroutine/time.h>

/*
 * One case. Made by the macros below and by nothing else; a zeroed one never runs. case_send keeps its value in a
 * compound literal of the enclosing block: a case that is to outlive the block must be made with case_send_from.
 */
typedef struct go_case {
	union {
		struct go_channel *chan_;
		int64_t time_;
	};
	int kind_;
	int fd_;
	const void *value_; /* not in a union: static analysers see there that the address escapes */
	_Bool *ok_;
} go_case;

/*
 * go_case_recv(chan(T) c, T *out), go_case_recv(c, out, bool *ok): receives a value. out and ok may be NULL. When the channel
 * is closed and drained, *out is zeroed and *ok set to false; otherwise *ok is set to true.
 */
#define go_case_recv(c, ...) GO_CASE_RECV_(c, __VA_ARGS__, ((void *)0), ~)

/*
 * go_case_send(chan(T) c, T value), go_case_send(c, value, bool *ok): sends the value, which is evaluated whether the case
 * is chosen or not. If the channel is closed, *ok is set to false, otherwise to true; without ok the select then returns
 * -EPIPE. A compound literal with several fields needs parentheses.
 */
#define go_case_send(c, ...) GO_CASE_SEND_(c, __VA_ARGS__, ((void *)0), ~)

/* The same for a value that lies in memory, to be read when the case is chosen: pointer is a const T *. */
#define go_case_send_from(c, ...) GO_CASE_SEND_FROM_(c, __VA_ARGS__, ((void *)0), ~)

/* Runs when no other case can: the select does not wait then. */
#define go_case_default ((go_case){ .kind_ = GO_CASE_DEFAULT_ })

/* Runs when the duration has passed since the beginning of the select, or at a point in time. INT64_MAX: never. */
#define go_case_after(duration) ((go_case){ .kind_ = GO_CASE_AFTER_, .time_ = (duration) })
#define go_case_until(time) ((go_case){ .kind_ = GO_CASE_UNTIL_, .time_ = (time) })

/* Run when reading from fd, or writing to it, would not block; also when it would fail, or fd is at its end. */
#define go_case_readable(fd) ((go_case){ .kind_ = GO_CASE_READABLE_, .fd_ = (fd) })
#define go_case_writable(fd) ((go_case){ .kind_ = GO_CASE_WRITABLE_, .fd_ = (fd) })

/*
 * int go_select(go_case...): runs one of the cases and returns its position, from 0. Without cases, or with none that can
 * ever run, it waits for ever. -EPIPE: the case chosen is a send without ok, and its channel is closed; -EBADF: a descriptor is bad
 * or was closed meanwhile; -EMFILE, -ENFILE, -ENOMEM, -ENOSPC: a descriptor cannot be waited for; -ECANCELED or -ETIMEDOUT from the
 * goroutine's scope: then no case has run. May park; from any thread. With up to 8 cases it allocates nothing; with more, out of
 * memory is fatal.
 */
#define go_select(...) \
	go_selectv((go_case[]){ { .chan_ = 0 }, __VA_ARGS__ } + 1, __extension__({ \
		GO_UNEVALUATED_BEGIN_ \
		sizeof((go_case[]){ { .chan_ = 0 }, __VA_ARGS__ }) / sizeof(go_case) - 1; \
		GO_UNEVALUATED_END_ \
	}))

#ifdef __cplusplus
extern "C" {
#endif

/* The same for an array of n cases. -EINVAL if n is more than 65536. May park; from any thread. */
int go_selectv(go_case *cases, size_t n);

#ifdef __cplusplus
}
#endif

#ifndef GO_NO_SHORT_NAMES
#define case_recv(c, ...) go_case_recv(c, __VA_ARGS__)
#define case_send(c, ...) go_case_send(c, __VA_ARGS__)
#define case_send_from(c, ...) go_case_send_from(c, __VA_ARGS__)
#define case_default go_case_default
#define case_after(duration) go_case_after(duration)
#define case_until(time) go_case_until(time)
#define case_readable(fd) go_case_readable(fd)
#define case_writable(fd) go_case_writable(fd)
#endif

/* Everything below serves the macros above and is not for use. */

enum {
	GO_CASE_NEVER_,
	GO_CASE_SEND_KIND_,
	GO_CASE_RECV_KIND_,
	GO_CASE_DEFAULT_,
	GO_CASE_AFTER_,
	GO_CASE_UNTIL_,
	GO_CASE_READABLE_,
	GO_CASE_WRITABLE_,
};

#define GO_CASE_OK_(ok) ((_Bool *){ (ok) })
#define GO_CASE_RECV_(c, out, ok, ...) \
	((go_case){ .chan_ = GO_CHAN_(c), .kind_ = GO_CASE_RECV_KIND_, .value_ = GO_CHAN_TO_(c, out), .ok_ = GO_CASE_OK_(ok) })
#define GO_CASE_SEND_(c, value, ok, ...) \
	((go_case){ .chan_ = GO_CHAN_CHECKED_(c, value), .kind_ = GO_CASE_SEND_KIND_, .value_ = GO_CHAN_BOX_(c, value), \
		.ok_ = GO_CASE_OK_(ok) })
#define GO_CASE_SEND_FROM_(c, pointer, ok, ...) \
	((go_case){ .chan_ = GO_CHAN_(c), .kind_ = GO_CASE_SEND_KIND_, .value_ = GO_CHAN_FROM_(c, pointer), \
		.ok_ = GO_CASE_OK_(ok) })
