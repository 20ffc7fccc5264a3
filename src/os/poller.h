// SPDX-License-Identifier: MIT
//
// Readiness of descriptors. What an operating system must supply:
//   os_poller_open     once; 0 or -errno; !pwait2 forces the fallback, deadlines in whole milliseconds
//   os_poller_add      from now on each change of fd to ready for `what` (edge-triggered), and what it is ready for at once, is an
//                      event with this key; -EEXIST if it is registered, -EPERM if it is of a kind that is always ready
//   os_poller_again    the same for an fd that is registered, with a new `what` and key; -ENOENT if it is not
//   os_poller_remove   no more events. Closing the last descriptor of a file does it too
//   os_poller_wait     events, until the deadline (0: do not block; INT64_MAX: no deadline); the number, 0 when time is up or
//                      after os_poller_wake
//   os_poller_wake     a thread in os_poller_wait returns, or the next one to call it
//   os_poll            what of `events` (POLLIN …) fd is ready for at this moment, or -errno
//   os_is_open         fd is the number of a descriptor, of whatever kind
// All but os_poller_wait and os_poller_open may be called on a goroutine's stack; none touches errno.
#pragma once

#include "base/compiler.h"

#define OS_EVENT_READ (1u << 0)
#define OS_EVENT_WRITE (1u << 1)
#define OS_EVENT_HUNG_UP (1u << 2) /* the peer sends no more, or an error stands */
#define OS_EVENT_URGENT (1u << 3)  /* asked for alone: comes as READ and HUNG_UP */

struct os_event {
    uint32_t what;
    uint64_t key;
};

int os_poller_open(bool pwait2);
int os_poller_add(int fd, uint32_t what, uint64_t key);
int os_poller_again(int fd, uint32_t what, uint64_t key);
void os_poller_remove(int fd);
int os_poller_wait(struct os_event *events, int n, int64_t until);
void os_poller_wake(void);
int os_poll(int fd, int events);
bool os_is_open(int fd);
