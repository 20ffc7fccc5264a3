// SPDX-License-Identifier: MIT
// What tracebacks, the leak check and the page have in common: a list of all goroutines, those alike folded.
#pragma once

#include "debug/symbol.h"
#include "debug/unwind.h"

struct m;
struct g;
struct go_site;

#define FOLD 10        /* from so many alike on there is one entry */

/* Goroutines that are alike in all that is shown but their numbers. */
struct group {
    struct group *chain;  /* same hash */
    struct group *next;   /* all of them, as found */
    struct group *base_chain; /* same base_hash */
    uint64_t hash, base_hash; /* with the frames, and without */
    uint64_t count;
    uint64_t ids[FOLD];       /* of the lowest so many, rising; what follows goes with them */
    uint64_t creators[FOLD];
    int64_t since[FOLD];      /* waiting since, os_now's clock; 0 if it does not */
    const struct go_site *site;
    void (*fn)(void);         /* of those that have not run yet */
    uint8_t status, reason, flags;
    bool blocking;            /* between go_block_enter and leave */
    bool trim;                /* the innermost frames are the library's */
    bool unknown;             /* it runs, and nobody could ask it where */
    char name[NAME_MOST];
    uint32_t frame_count, elided;
    uint32_t first, end;      /* of the frames, those to show; set by listing_finish */
    uintptr_t *pc;
};

#define GROUP_BUCKETS 4096

struct listing {
    struct arena arena;
    struct group *groups, **last;
    struct group *buckets[GROUP_BUCKETS], *base_buckets[GROUP_BUCKETS];
    uint64_t unwound;
    uint64_t full;       /* goroutines that found no room */
    const struct g *leave_out;
};

static inline uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 29;
}

static inline uint64_t mix_text(uint64_t hash, const char *text)
{
    for (; *text; text++)
        hash = mix(hash, (unsigned char)*text);
    return hash;
}

/* Finds all symbols, folds what looks the same with them, and orders the groups by their first number. */
void listing_finish(struct listing *l, struct symbols *s);

/* "chan receive, 3 minutes" */
void group_state(struct out *o, const struct group *g, unsigned which, int64_t now);
/* Frames and origin. */
void group_frames(struct out *o, struct symbols *s, const struct group *g, unsigned which);

struct report {
    struct symbols symbols;
    struct listing listing;
    struct g *caller;    /* not in the listing; NULL: a plain thread */
    struct frames self;
    struct out out;
};

/* Collects all goroutines while the world is stopped, and lets it go on. NULL if there is no memory. Outside of a section; on any
 * stack. What follows wants a system stack, or a goroutine's of the default size, and `out` opened by the caller. */
struct report *report_take(void);
void report_write_all(struct report *r);
/* Flushes out; its error. */
int report_free(struct report *r);
