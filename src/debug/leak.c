// SPDX-License-Identifier: MIT
// The leak check: goroutines that are alive when they should not be, by where they were launched and what they wait for.
//
// A goroutine that waits for ever is not freed by anything: in C as in Go it is the commonest leak of a concurrent
// program. One that only needs a moment to end (a worker that has seen its channel closed) is none; so as long as some are not waiting
// for anything, the check looks again, for a while.
#include <goroutine/debug.h>
#include <goroutine/time.h>

#include <stdlib.h>
#include <string.h>

#include "debug/start.h"
#include "debug/traceback.h"
#include "sched/g.h"
#include "sched/sched.h"

#define PATIENCE GO_SECOND
#define ROUNDS 20 /* at least, however slow the machine is */
#define PAUSE (5 * GO_MILLISECOND)

struct check {
    struct report *report;
    const char *title;
    uint64_t leaked;
    bool moving;
};

/* Groups of one launching statement and one reason become one; each keeps the frames of its first. */
static void join(struct listing *l)
{
    for (struct group *g = l->groups; g; g = g->next) {
        struct group **at = &g->next;
        while (*at) {
            struct group *h = *at;
            if (h->site != g->site || h->status != g->status || h->reason != g->reason ||
                strcmp(h->name, g->name) != 0) {
                at = &h->next;
                continue;
            }
            g->count += h->count;
            *at = h->next;
        }
    }
}

static void look(void *arg)
{
    struct check *c = arg;
    struct listing *l = &c->report->listing;
    struct group **at = &l->groups;
    c->leaked = 0;
    c->moving = false;
    while (*at) {
        struct group *g = *at;
        if (g->flags & G_MAIN) {
            *at = g->next;
            continue;
        }
        c->leaked += g->count;
        c->moving |= g->status != G_WAITING;
        at = &g->next;
    }
    l->last = at;
}

static void write_leaks(void *arg)
{
    struct check *c = arg;
    struct report *r = c->report;
    int64_t now = os_now();
    out_open(&r->out, 2);
    out_f(&r->out, "%s: %lu goroutine%s still alive\n\n", c->title, c->leaked,
          c->leaked == 1 ? " is" : "s are");
    listing_finish(&r->listing, &r->symbols);
    join(&r->listing);
    for (const struct group *g = r->listing.groups; g; g = g->next) {
        out_f(&r->out, "%lu [", g->count);
        group_state(&r->out, g, 0, now);
        out_str(&r->out, "]");
        if (g->name[0])
            out_f(&r->out, " \"%s\"", g->name);
        out_str(&r->out, ": goroutine");
        for (unsigned i = 0; i < FOLD && i < g->count && g->ids[i]; i++)
            out_f(&r->out, " %lu", g->ids[i]);
        out_str(&r->out, g->count > FOLD ? " ...\n" : "\n");
        group_frames(&r->out, &r->symbols, g, 0);
        out_str(&r->out, "\n");
    }
}

static void free_report(void *arg)
{
    report_free(arg);
}

static int leak_check(const char *title)
{
    struct check c = { .title = title };
    int64_t until = os_now() + PATIENCE;
    for (int round = 1;; round++) {
        c.report = report_take();
        if (!c.report)
            return -12; /* ENOMEM */
        system_stack_call(look, &c);
        if (!c.moving || (round >= ROUNDS && os_now() >= until))
            break;
        system_stack_call(free_report, c.report);
        go_sleep(PAUSE);
    }
    if (c.leaked > 0)
        system_stack_call(write_leaks, &c);
    system_stack_call(free_report, c.report);
    return (int)c.leaked;
}

GO_EXPORT int go_leak_check(void)
{
    return leak_check("leak check");
}

static void at_exit(void)
{
    if (!load_relaxed(&sched.dying))
        leak_check("leak check at exit");
}

void leak_check_at_exit(void)
{
    atexit(at_exit);
}
