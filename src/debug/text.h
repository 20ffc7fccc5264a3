// SPDX-License-Identifier: MIT
// Writing reports, and memory for what goes into them, without malloc and stdio: a report may be what is left to do
// in a process whose heap is broken, or whose thread was interrupted inside malloc.
#pragma once

#include <stdarg.h>

#include "base/compiler.h"

/* --- text --- */

struct out {
    int fd;
    int error;        /* the first one that write(2) gave, negative */
    size_t used;
    char buffer[4096];
};

void out_open(struct out *o, int fd);
void out_bytes(struct out *o, const char *text, size_t size);
void out_str(struct out *o, const char *text);
void out_u64(struct out *o, uint64_t n);
void out_hex(struct out *o, uint64_t n); /* with 0x */
void out_flush(struct out *o);

/* %s %d %u %lu (64 bits) %lx (64 bits, with 0x) %% and nothing else. */
void out_f(struct out *o, const char *format, ...);

/* A goroutine's name as it is kept beyond its life: cut at the end of a character of UTF-8, and zeros behind. NULL: none. */
#define NAME_MOST 48
void name_copy(char to[NAME_MOST], const char *name);

/* Text as part of a JSON string. */
void out_escaped(struct out *o, const char *text);

struct go_site;

/* `f at file:line`, or `f` for what is no statement (go_after_func); the words by `text`, out_str or out_escaped. */
void out_site(struct out *o, const struct go_site *site, void (*text)(struct out *, const char *));

/* --- memory --- */

/* Grows by touching; freed as one. */
struct arena {
    char *base;
    size_t used, size;
};

bool arena_open(struct arena *a, size_t reserve);
/* NULL when it is full. Zeroed, aligned to 16. */
void *arena_get(struct arena *a, size_t size);
void arena_close(struct arena *a);
