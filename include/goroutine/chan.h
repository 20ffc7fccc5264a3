/* SPDX-License-Identifier: MIT */
/*
 * Channels: values of one type on their way from goroutine to goroutine, first come, first served.
 *
 *	chan(int) c = chan_make(int, 16);
 *	go(worker, chan_ref(c));	// worker ends with chan_unref(c)
 *	chan_send(c, 42);
 *	chan_close(c);
 *	chan_unref(c);
 *
 * Everything here works from any thread, a goroutine's or a plain one. A channel counts references: chan_make gives
 * one, and the last chan_unref frees it. As long as a goroutine uses a channel, it or somebody else must hold a reference. Whoever
 * has received a value, or seen the close, may give back the last reference, even if the sender's or closer's call has not returned yet.
 *
 * On a NULL channel, send and receive block for ever (the try forms return -EAGAIN), length and capacity are 0, closing is
 * fatal, and chan_ref and chan_unref do nothing.
 *
 * What happens before: a send before the receive of its value; a close before the receive that tells of it; on an
 * unbuffered channel the receive before the end of the send; with capacity n, the k-th receive before the end of send k + n.
 *
 * "How a channel has a type"
 *
 * chan(T) is a pointer to a pointer to a function returning a pointer to T. Nothing of that sort is ever called or
 * read: it is the shape that counts. It names T without asking for a declaration, so that two mentions of chan(int)
 * in different files are the same type, to the compiler and to C's rules; T may be incomplete until a value is moved, so a
 * structure can contain a channel of itself; and T is what *(*c)(0) would be. A value is moved into a compound literal
 * T[1] by initialisation, which converts as an assignment does. The literal lives until the end of the enclosing
 * block, and so does one inside the value: with chan_send(c, &(struct job){ 1 }) the pointer stays valid that long.
 * An initialiser would also accept a value for a structure's first member instead of a whole structure: that is checked and refused.
 *
 * Each macro mentions its channel more than once, but evaluates it once; the same holds for values, and with GCC for pointers.
 *
 * With GO_NO_SHORT_NAMES the names are go_chan(T), go_chan_make, go_chan_send and so on.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A channel of any type. */
struct go_channel;

/* The type of a channel of T, an ordinary type. T may be any type but a function, void, or one that involves a variable-length array. */
#define go_chan(...) __typeof__(__typeof__(__VA_ARGS__) *(**)(struct go_channel *))

/*
 * chan(T) go_chan_make(T, size_t capacity): a new channel, unbuffered if capacity is 0. Returns NULL when the buffer's size
 * overflows, or for a capacity or an element of 4 GiB and more. Out of memory is fatal. Never parks.
 */
#define go_chan_make(T, capacity) ((go_chan(T))go_chan_make_(sizeof(T), (size_t)(capacity)))

/*
 * int go_chan_send(chan(T) c, T value): hands value to the goroutine that has waited longest for one, or puts it into
 * the buffer, or waits until one of these can be done. The value is evaluated once and converted as by assignment to a T.
 * Returns 0; -EPIPE if the channel was closed before the call or during the wait; -ECANCELED or -ETIMEDOUT from the goroutine's
 * scope: then nothing was sent. May park.
 */
#define go_chan_send(c, ...) go_chan_send_(GO_CHAN_CHECKED_(c, __VA_ARGS__), GO_CHAN_BOX_(c, __VA_ARGS__))

/* The same for a value in memory: pointer is a const T *. For large values and for arrays. May park. */
#define go_chan_send_from(c, pointer) go_chan_send_(GO_CHAN_(c), GO_CHAN_FROM_(c, pointer))

/* The same without waiting: -EAGAIN where go_chan_send would wait. Never parks. */
#define go_chan_try_send(c, ...) go_chan_try_send_(GO_CHAN_CHECKED_(c, __VA_ARGS__), GO_CHAN_BOX_(c, __VA_ARGS__))
#define go_chan_try_send_from(c, pointer) go_chan_try_send_(GO_CHAN_(c), GO_CHAN_FROM_(c, pointer))

/*
 * int go_chan_recv(chan(T) c, T *out): takes the oldest value and writes it to *out; out may be NULL. Waits while there
 * is none. Returns 1; 0 when the channel is closed and drained: then *out is zeroed; -ECANCELED or -ETIMEDOUT from the
 * goroutine's scope: then nothing was received and *out is untouched. May park.
 */
#define go_chan_recv(c, out) go_chan_recv_(GO_CHAN_(c), GO_CHAN_TO_(c, out))

/* The same without waiting: -EAGAIN where go_chan_recv would wait. Never parks. */
#define go_chan_try_recv(c, out) go_chan_try_recv_(GO_CHAN_(c), GO_CHAN_TO_(c, out))

/*
 * int go_chan_close(chan(T) c): ends sending. The values in the buffer can still be received. Waiting receivers get 0, waiting
 * senders get -EPIPE. Returns 0, or -EPIPE if the channel is closed already. Never parks.
 */
#define go_chan_close(c) go_chan_close_(GO_CHAN_(c))

/* size_t: how many values are in the buffer just now, and how many fit. Never park. */
#define go_chan_len(c) go_chan_len_(GO_CHAN_(c))
#define go_chan_cap(c) go_chan_cap_(GO_CHAN_(c))

/* chan(T) go_chan_ref(chan(T) c): one more reference; returns c. go_chan_unref gives one back. Never park. */
#define go_chan_ref(c) ((__typeof__(&*(c)))go_chan_ref_(GO_CHAN_(c)))
#define go_chan_unref(c) go_chan_unref_(GO_CHAN_(c))

/*
 * go_chan_range(c, T *out) { ... }: receives into *out and runs the block, until the channel is closed and drained, or the wait
 * is cancelled (go_cancelled tells). break and continue as in a for. c is evaluated once, out each time. May park.
 */
#define go_chan_range(c, out) GO_CHAN_RANGE_(c, out, __COUNTER__)

#ifndef GO_NO_SHORT_NAMES
#define chan(...) go_chan(__VA_ARGS__)
#define chan_make(T, capacity) go_chan_make(T, capacity)
#define chan_send(c, ...) go_chan_send(c, __VA_ARGS__)
#define chan_send_from(c, pointer) go_chan_send_from(c, pointer)
#define chan_try_send(c, ...) go_chan_try_send(c, __VA_ARGS__)
#define chan_try_send_from(c, pointer) go_chan_try_send_from(c, pointer)
#define chan_recv(c, out) go_chan_recv(c, out)
#define chan_try_recv(c, out) go_chan_try_recv(c, out)
#define chan_close(c) go_chan_close(c)
#define chan_len(c) go_chan_len(c)
#define chan_cap(c) go_chan_cap(c)
#define chan_ref(c) go_chan_ref(c)
#define chan_unref(c) go_chan_unref(c)
#define chan_range(c, out) go_chan_range(c, out)
#endif

/* Everything below serves the macros above and is not for use. */

/* The type T of a chan(T). */
#define GO_ELEMENT_(c) __typeof__(*(*(c))((struct go_channel *)0))

/* c as a struct go_channel *. Anything but a channel is refused, since nothing else can be dereferenced and called like this. */
#define GO_CHAN_(c) ((struct go_channel *)(1 ? (void *)(c) : (void *)(*(c))((struct go_channel *)0)))

/* A const T * to a T with the value; conversion as by assignment. */
#define GO_CHAN_BOX_(c, ...) ((GO_ELEMENT_(c)[1]){ (__VA_ARGS__) })

/*
 * Pointers to T, checked: the compiler complains about an initialization by another type. (Also where this is a system header: the
 * complaint is about the user's own expression.) GCC accepts a pointer to a
 * type of the other signedness here, but not where two pointers are compared.
 */
#ifdef __clang__
#define GO_POINTER_(type, pointer) ((type *){ (pointer) })
#else
#define GO_POINTER_(type, pointer) ((type *[1]){ (pointer) }[0 * sizeof((pointer) == *(type **)0)])
#endif
#define GO_CHAN_TO_(c, out) GO_POINTER_(GO_ELEMENT_(c), out)
#define GO_CHAN_FROM_(c, pointer) (__extension__ GO_POINTER_(const GO_ELEMENT_(c), pointer))

/* Without this Clang would warn that the second, unevaluated mention has side effects, and GCC that a float is widened. */
#ifdef __clang__
#define GO_UNEVALUATED_BEGIN_ \
	_Pragma("clang diagnostic push") _Pragma("clang diagnostic ignored \"-Wunevaluated-expression\"")
#define GO_UNEVALUATED_END_ _Pragma("clang diagnostic pop")
#else
#define GO_UNEVALUATED_BEGIN_ \
	_Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wdouble-promotion\"")
#define GO_UNEVALUATED_END_ _Pragma("GCC diagnostic pop")
#endif

/* As GO_CHAN_; and if T is a structure or union (classes 12 and 13), the value must be of that very type. */
#define GO_CHAN_CHECKED_(c, ...) \
	__extension__({ \
		GO_UNEVALUATED_BEGIN_ \
		_Static_assert(__builtin_classify_type(*(*(c))((struct go_channel *)0)) < 12 || \
				__builtin_classify_type(*(*(c))((struct go_channel *)0)) > 13 || \
				__builtin_types_compatible_p(__typeof__((void)0, (__VA_ARGS__)), GO_ELEMENT_(c)), \
			"the value is not of the channel's type"); \
		GO_UNEVALUATED_END_ \
		GO_CHAN_(c); \
	})

#define GO_CHAN_RANGE_(c, out, n) GO_CHAN_RANGE_N_(c, out, n)
#define GO_CHAN_RANGE_N_(c, out, n) \
	for (__typeof__(&*(c)) go_range_##n##_ = (c); go_chan_recv(go_range_##n##_, out) == 1;)

#ifdef __cplusplus
extern "C" {
#endif

struct go_channel *go_chan_make_(size_t size, size_t capacity);
int go_chan_send_(struct go_channel *c, const void *value);
int go_chan_try_send_(struct go_channel *c, const void *value);
int go_chan_recv_(struct go_channel *c, void *out);
int go_chan_try_recv_(struct go_channel *c, void *out);
int go_chan_close_(struct go_channel *c);
size_t go_chan_len_(const struct go_channel *c);
size_t go_chan_cap_(const struct go_channel *c);
struct go_channel *go_chan_ref_(struct go_channel *c);
void go_chan_unref_(struct go_channel *c);

#ifdef __cplusplus
}
#endif
