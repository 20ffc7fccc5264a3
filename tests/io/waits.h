// SPDX-License-Identifier: MIT
// What tests of descriptors ask of the poller.
#pragma once

#include "test.h"

#include "sched/netpoll.h"
#include "sched/wait_reason.h"

/* How many operations have begun to wait for fd. */
static inline uint32_t waits_at(int fd)
{
    struct poll_desc *d;
    REQUIRE(netpoll_begin(fd, &d) == 0);
    lock_take(&d->lock);
    uint32_t places = d->side[POLL_READ].places + d->side[POLL_WRITE].places;
    lock_release(&d->lock);
    return places;
}

/* How often goroutines have begun to wait for descriptors, while go_stats_detail is on. */
static inline uint64_t io_waits(void)
{
    go_statistics s;
    go_stats(&s);
    return s.parks[WAIT_IO];
}

/* How many wait to read from fd now. */
static inline int readers_of(int fd)
{
    struct poll_desc *d;
    int n = 0;
    REQUIRE(netpoll_begin(fd, &d) == 0);
    lock_take(&d->lock);
    for (struct netpoll_waiter *w = load_relaxed(&d->side[POLL_READ].first); w; w = w->next)
        n++;
    lock_release(&d->lock);
    return n;
}
