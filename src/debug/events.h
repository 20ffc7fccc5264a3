// SPDX-License-Identifier: MIT
// What each P notes while somebody wants to know: counters for go_stats, and the flight recorder's rings.
#pragma once

#include <goroutine/debug.h>

#include "base/atomic.h"
#include "base/compiler.h"
#include "debug/text.h"

struct go_site;

enum event_type {
    EVENT_RUN = 1, /* goroutine `id` begins to run; detail: how the one before it left */
    EVENT_IDLE,    /* nobody runs; detail the same; id: the one that left */
    EVENT_READY,   /* the running goroutine (or the scheduler) has made `id` ready */
    EVENT_LAUNCH,  /* and this: it has launched `id` */
    EVENT_END,     /* the running goroutine has ended */
};

/* How a goroutine left, in `detail`: a wait reason, or one of these. */
#define LEFT_ENDED 0xff
#define LEFT_READY 0xfe /* it yielded, or was woken at once */
#define LEFT_NONE 0xfd  /* nobody was there */

struct event {
    uint64_t when; /* arch_ticks */
    uint64_t what; /* id << 16 | type << 8 | detail */
};

/* So that the timeline can name a goroutine that has ended since. */
struct birth {
    _Alignas(16) uint64_t id; /* aligned as the arena's pieces are: copies lie one after another */
    const struct go_site *site;
    void (*fn)(void);
    char name[NAME_MOST]; /* a copy: the pointer is valid only while the goroutine lives */
};

struct proc_events {
    _Atomic uint64_t parks[GO_STATS_WAITS];
    _Atomic uint64_t wake_latency[GO_STATS_STEPS];
    struct event *ring; /* NULL: none; owner of the P */
    struct birth *births;
    uint64_t ring_mask, birth_mask;
    uint64_t next, next_birth; /* owner of the P, ever growing */
    uint64_t begun;            /* next when the program's recording began; in a stopped world */
};

struct p;

/* Notes who runs on pp, as if it had just begun. The world is stopped, or pp is the caller's; on a system stack. */
void events_note_running(struct p *pp);

/* Records for `length` ns, beside whatever else is recorded, and writes that to fd. As go_trace_dump; parks. */
int trace_window(int fd, int64_t length);

/* Events that each P's ring holds, a power of two. */
extern _Atomic uint64_t events_size;
