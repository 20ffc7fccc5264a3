// SPDX-License-Identifier: MIT
// The leak check: goroutines that are alive when they should not be, by where they were launched and what they wait for.
//
// A goroutine that waits for ever is not freed by anything: in C as in Go it is the commonest leak of a concurrent
// program. One that only needs a moment to end (a worker that has seen its channel closed) is not a leak; so while some goroutines are not
// waiting for anything, the check looks again, for a while.
#include <goroutine/debug.h>
#include <goroutine/scope.h>
#include <goroutine/time.h>

#include <errno.h>
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

static bool joins(const struct group *a, const struct group *b)
{
    return a->site == b->site && a->status == b->status && a->reason == b->reason && strcmp(a->name, b->name) == 0;
}

static uint64_t bucket_of(const struct group *g)
{
    return mix_text(mix(mix((uintptr_t)g->site, g->reason), g->status), g->name) % GROUP_BUCKETS;
}

/* Groups of one launching statement and one reason become one; each keeps the frames of its first. */
static void join(struct listing *l)
{
    struct group **at = &l->groups;
    memset(l->base_buckets, 0, sizeof l->base_buckets); /* what they were for is done */
    for (struct group *g; (g = *at) != NULL;) {
        struct group **bucket = &l->base_buckets[bucket_of(g)], *h = *bucket;
        while (h && !joins(h, g))
            h = h->base_chain;
        if (h) {
            h->count += g->count;
            *at = g->next;
            continue;
        }
        g->base_chain = *bucket;
        *bucket = g;
        at = &g->next;
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
            out_str(&r->out, " \""), out_escaped(&r->out, g->name), out_str(&r->out, "\"");
        out_str(&r->out, ": goroutine");
        unsigned told = 0;
        for (; told < FOLD && told < g->count && g->ids[told]; told++)
            out_f(&r->out, " %lu", g->ids[told]);
        out_str(&r->out, g->count > told ? " ...\n" : "\n");
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
            return -ENOMEM;
        system_stack_call(look, &c);
        if (!c.moving || (round >= ROUNDS && os_now() >= until))
            break;
        system_stack_call(free_report, c.report);
        go_shield_begin();
        go_sleep(PAUSE);
        go_shield_end();
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
    if (!load_relaxed(&sched.dying) && !load_relaxed(&sched.forked))
        leak_check("leak check at exit");
}

void leak_check_at_exit(void)
{
    atexit(at_exit);
}
