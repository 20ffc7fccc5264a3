// SPDX-License-Identifier: MIT
// Stacks for goroutines: lazy, guarded, cheap. The essay is in stack.c. Nothing here knows a G.
#pragma once

#include "base/atomic.h"
#include "base/compiler.h"
#include "base/options.h"

/* Class k has slots of 2 KiB << k. */
#define STACK_CLASSES 37
#define STACK_CLASS_GUARDED 4 /* the first with a guard: slots of 32 KiB, for 16 KiB */
#define STACK_CLASS_DEFAULT 7 /* slots of 256 KiB, of which 224 are to use */
#define STACK_CLASSES_CACHED 12
#define STACK_CACHE_MOST 32

enum stack_flags {
    STACK_CANARY = 1 << 0, /* no guard: canary words at lo, to be checked */
    STACK_CLEAN = 1 << 1,  /* its pages have been given back, or never touched */
};

/* Of guarded stacks it lies in an array beside the slab, so that a stack costs no page until it runs; of small ones at
 * the stack's own top. */
struct stack {
    char *lo;           /* lowest usable byte; constant */
    char *hi;           /* where the stack pointer starts, 16-byte aligned; constant */
    struct stack *next; /* on a list; guarded as that is */
    struct chunk *chunk; /* of small ones; constant */
    uint8_t class;      /* constant */
    uint8_t flags;      /* owner */
};

/* Of each P, owner only. Zero is ready. */
struct stack_cache {
    struct stack *list[STACK_CLASSES_CACHED];
    uint16_t count[STACK_CLASSES_CACHED];
};

struct stack_stats {
    uint64_t made;     /* ever carved from a slab; small ones anew after their chunk was given back */
    uint64_t idle;     /* in central lists, not given back */
    uint64_t given_back; /* times that a stack's pages went back to the system */
    uint64_t reserved; /* bytes of address space */
    enum stack_guard guard; /* in use now */
};

/* After options_read. */
void stack_init(void);

/* The class for stacks of `size` bytes; 0 means the default. What is impossibly large gets the last class, of which
 * there are none. */
unsigned stack_class_for(size_t size);

/* Bytes that a goroutine has, before its colour takes up to 15 cache lines of them. */
size_t stack_class_size(unsigned class);

/* From the cache or the system; NULL if there is no memory. Owner of the cache; on a system stack. */
struct stack *stack_get(struct stack_cache *cache, unsigned class);

/* Half of a cache that is full goes to the central list. */
void stack_put_slow(struct stack_cache *cache, struct stack *s);

void stack_cache_flush(struct stack_cache *cache);

enum scavenged {
    SCAVENGED_ALL,         /* no stack is idle */
    SCAVENGED_OTHERS_IDLE, /* some are, which may be given back at the next look */
    SCAVENGED_CUT_SHORT,   /* time was up */
};

/* Gives pages of stacks that were not wanted lately back to the system, until about `until` on os_now's clock. One thread,
 * every 100 ms or so. */
enum scavenged stack_scavenge(int64_t until);

struct stack_stats stack_stats(void);

/* True if a fault at this address means that s has overflowed. Async-signal-safe. */
bool stack_fault_in_guard(const struct stack *s, const void *address, const void *sp);

#define STACK_CANARY_WORD 0x5afec0de0ddba11ull

static inline bool stack_canary_ok(const struct stack *s)
{
    const uint64_t *canary = (const uint64_t *)(const void *)s->lo - 2;
    return !(s->flags & STACK_CANARY) ||
           (canary[0] == STACK_CANARY_WORD && canary[1] == STACK_CANARY_WORD);
}

/* From the cache only: NULL if it has none. Owner. */
static always_inline struct stack *stack_get_hot(struct stack_cache *cache, unsigned class)
{
    if (unlikely(class >= STACK_CLASSES_CACHED))
        return NULL;
    struct stack *s = cache->list[class];
    if (likely(s != NULL)) {
        cache->list[class] = s->next;
        cache->count[class]--;
    }
    return s;
}

/* Owner; not while anything runs on s. */
static always_inline void stack_put(struct stack_cache *cache, struct stack *s)
{
    unsigned class = s->class;
    if (unlikely(HAVE_ASAN || class >= STACK_CLASSES_CACHED ||
                 cache->count[class] >= STACK_CACHE_MOST)) {
        stack_put_slow(cache, s);
        return;
    }
    s->next = cache->list[class];
    cache->list[class] = s;
    cache->count[class]++;
}
