// SPDX-License-Identifier: MIT
// From addresses of code to functions and lines. No malloc, no locks, not even the dynamic linker's.
#pragma once

#include "debug/text.h"

#define MODULES_MOST 256

/* A file with code in this process. */
struct module {
    const char *path;       /* as /proc/self/maps has it */
    const char *image;      /* mapped; NULL: not looked at yet, or cannot be */
    size_t image_size;
    const char *debug;      /* the same for a file with its symbols, if they are in another one */
    size_t debug_size;
    bool opened, is_program;
};

struct symbol {
    uintptr_t pc;           /* the question */
    const char *function;   /* NULL: not known */
    uint32_t function_length;
    uintptr_t start;        /* of the function, as pc */
    uintptr_t in_module;    /* the address as the file counts, for addr2line */
    struct module *module;  /* NULL: not known */
    char *file;             /* NULL: not known */
    uint32_t line;
};

struct region {
    uintptr_t start, end, offset;
    struct module *module;
};

struct symbols {
    struct arena arena;
    struct module modules[MODULES_MOST];
    int module_count;
    struct region *regions;
    int region_count;
    struct symbol **table; /* by hash of pc */
    int symbol_count;
    struct module *library; /* the one this code is in */
};

#define SYMBOLS_MOST 16384 /* different addresses in one report; a power of two */

/* What the process has mapped now. False if there is no memory; without /proc nothing will be found. */
bool symbols_open(struct symbols *s);

/* Asks for pc; the answer is complete after symbols_resolve. NULL when there are too many. */
struct symbol *symbols_add(struct symbols *s, uintptr_t pc);

/* Answers whatever has been asked since the last time. */
void symbols_resolve(struct symbols *s);

void symbols_close(struct symbols *s);
