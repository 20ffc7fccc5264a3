// SPDX-License-Identifier: MIT
// What tests of descriptors ask of the poller.
#pragma once

#include "test.h"

#include "sched/netpoll.h"

/* How often somebody has begun to wait for fd. */
static inline uint32_t waits_at(int fd)
{
    struct poll_desc *d;
    REQUIRE(netpoll_begin(fd, &d) == 0);
    lock_take(&d->lock);
    uint32_t parks = d->parks;
    lock_release(&d->lock);
    return parks;
}
