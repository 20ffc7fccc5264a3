// SPDX-License-Identifier: MIT
// What the compiler is asked for in more words than one would like to read inline.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/sanitized.h"

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define noinline __attribute__((__noinline__))
#define cold __attribute__((__cold__, __noinline__))
#define always_inline inline __attribute__((__always_inline__))
#define array_length(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* The public functions: everything else is hidden (-fvisibility=hidden). */
#define GO_EXPORT __attribute__((visibility("default")))

#define CACHE_LINE 64

/* The compiler may not move memory accesses across it; the processor may. */
#define compiler_barrier() __asm__ volatile("" ::: "memory")

/* Fetches so many bytes into the cache, the page table's entries included. Any address will do. */
static always_inline void prefetch(const void *address, size_t size)
{
    for (size_t at = 0; at < size; at += CACHE_LINE)
        __builtin_prefetch((const void *)((uintptr_t)address + at));
}
