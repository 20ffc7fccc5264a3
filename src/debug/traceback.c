// SPDX-License-Identifier: MIT
// The traceback: which goroutine, where it waits, since when, and which line launched it.
//
// "Two halves"
//
// What needs the others to hold still is short: for each goroutine its state and the addresses of its frames are copied
// into a list, goroutines that are alike into one entry (listing_take). Finding functions and lines and writing them out is
// long, and is done when the world goes on again. A process that dies of a fatal error stops the world and does not
// start it again. Its own frames are written before that, so that they are there whatever happens next.
//
// "Whose frames are shown"
//
// The library's own goroutines are left out, and so are its frames above the public function that was called. In a
// shared library its frames are those in its file. For programs linked statically the build puts the archive's code into
// sections of its own, go_text and go_cold. Without that (another build, link-time optimisation) the first function named
// go_* counts as the one called, where it is known that the goroutine is inside of the library.
//
// A million goroutines must not hold up the program for seconds: beyond UNWIND_MOST, those that wait at the same
// place and were launched by the same statement as one that was walked are counted as alike.
#include "debug/traceback.h"

#include <goroutine/go.h>

#include <errno.h>
#include <string.h>

#include "arch/arch.h"
#include "base/options.h"
#include "debug/start.h"
#include "sched/fatal.h"
#include "sched/sched.h"
#include "sched/section.h"
#include "sched/world.h"

#define ARENA (1u << 30) /* address space only */
#define UNWIND_MOST 20000
#define PATIENCE_DYING 200000000ll /* ns to stop the world */
#define MINUTE 60000000000ll

/* --- the list --- */

static bool listing_open(struct listing *l)
{
    memset(l, 0, sizeof *l);
    l->last = &l->groups;
    return arena_open(&l->arena, ARENA) || arena_open(&l->arena, ARENA >> 6);
}

static void listing_close(struct listing *l)
{
    arena_close(&l->arena);
}

static bool alike(const struct group *g, const struct group *key, const struct frames *f, bool frames_too)
{
    if (g->site != key->site || g->status != key->status || g->reason != key->reason ||
        g->flags != key->flags || g->fn != key->fn || g->blocking != key->blocking ||
        strcmp(g->name, key->name) != 0)
        return false;
    return !frames_too || (g->frame_count == f->count && g->elided == f->elided && g->unknown == key->unknown &&
                           !memcmp(g->pc, f->pc, f->count * sizeof f->pc[0]));
}

/* The hash of what alike() compares besides the frames. */
static uint64_t hash_of(const struct group *key)
{
    uint64_t hash = mix(mix((uintptr_t)key->site, (uintptr_t)key->fn), key->reason);
    hash = mix(hash, (uint64_t)key->blocking << 16 | (uint64_t)key->status << 8 | key->flags);
    return mix_text(hash, key->name);
}

static struct group *group_new(struct listing *l, const struct group *key, const struct frames *f)
{
    struct group *g = arena_get(&l->arena, sizeof *g);
    uintptr_t *pc = arena_get(&l->arena, f->count * sizeof *pc);
    if (!g || !pc)
        return NULL;
    *g = *key;
    memcpy(pc, f->pc, f->count * sizeof *pc);
    g->pc = pc;
    g->frame_count = f->count;
    g->elided = f->elided;
    g->chain = l->buckets[g->hash % GROUP_BUCKETS];
    l->buckets[g->hash % GROUP_BUCKETS] = g;
    g->base_chain = l->base_buckets[g->base_hash % GROUP_BUCKETS];
    l->base_buckets[g->base_hash % GROUP_BUCKETS] = g;
    *l->last = g;
    l->last = &g->next;
    return g;
}

/* What the owners of Gs write in their sections is read here when these are over, or, if the world would not stop in time,
 * for what it is worth. ThreadSanitizer knows nothing of sections. */
#define READS_OTHERS __attribute__((no_sanitize("thread")))

READS_OTHERS static void describe(struct group *key, struct g *gp, uint8_t status)
{
    memset(key, 0, sizeof *key);
    key->site = gp->site;
    key->status = status;
    key->flags = load_relaxed(&gp->flags) & (G_LOCKED | G_MAIN);
    if (status == G_WAITING)
        key->reason = gp->wait_reason;
    if (status == G_NEW)
        key->fn = gp->start.fn;
    name_copy(key->name, gp->name);
}

static void add_id(struct group *g, uint64_t id, uint64_t creator, int64_t since)
{
    unsigned n = g->count < FOLD ? (unsigned)g->count : FOLD;
    unsigned at = n;
    g->count++;
    while (at > 0 && g->ids[at - 1] > id)
        at--;
    if (at == FOLD)
        return;
    for (unsigned i = n < FOLD ? n : FOLD - 1; i > at; i--) {
        g->ids[i] = g->ids[i - 1];
        g->creators[i] = g->creators[i - 1];
        g->since[i] = g->since[i - 1];
    }
    g->ids[at] = id;
    g->creators[at] = creator;
    g->since[at] = since;
}

READS_OTHERS static noinline void list_one(struct g *gp, void *arg)
{
    struct listing *l = arg;
    uint8_t status = load_acquire(&gp->status);
    uint8_t flags = load_relaxed(&gp->flags);
    if (status == G_DEAD || (flags & (G_SYSTEM | G_THREAD)) || gp == l->leave_out || gp->id == 0)
        return;
    struct group key;
    struct frames f;
    describe(&key, gp, status);
    f.count = f.elided = 0;
    bool held = status == G_WAITING || status == G_RUNNABLE;
    /* Acquire: pairs with the release in switch_done; the context is saved. */
    held = held && load_acquire(&gp->run.on_cpu) == 0;
    void *sp = held ? gp->run.sp : NULL;
    held = sp && load_acquire(&gp->status) == status; /* unless the world has stopped, run.sp may be an argument by now */
    bool walk = l->unwound < UNWIND_MOST;
    if (held && walk) {
        unwind_parked(&f, sp);
        l->unwound++;
        key.trim = true;
    } else if (status == G_RUNNING || (!held && status != G_NEW)) {
        int tid = 0;
        struct m *mp = world_find_m(gp, &tid);
        key.status = G_RUNNING;
        key.reason = 0;
        key.blocking = mp && load_relaxed(&mp->blocking);
        key.trim = mp && load_relaxed(&mp->in) != 0;
        key.unknown = !mp || !unwind_running(&f, gp, tid);
        if (key.unknown)
            f.count = f.elided = 0;
    }
    key.hash = key.base_hash = hash_of(&key);
    for (uint32_t i = 0; i < f.count; i++)
        key.hash = mix(key.hash, f.pc[i]);
    struct group *g;
    if (walk || !held) {
        for (g = l->buckets[key.hash % GROUP_BUCKETS]; g; g = g->chain)
            if (g->hash == key.hash && alike(g, &key, &f, true))
                break;
    } else {
        for (g = l->base_buckets[key.base_hash % GROUP_BUCKETS]; g; g = g->base_chain)
            if (g->base_hash == key.base_hash && alike(g, &key, NULL, false))
                break;
    }
    if (!g)
        g = group_new(l, &key, &f);
    if (!g) {
        l->full++;
        return;
    }
    /* It may be negative if the goroutine has become ready meanwhile: see events.c. */
    int64_t since = key.status == G_WAITING ? __atomic_load_n(&gp->run.wait_since, __ATOMIC_RELAXED) : 0;
    add_id(g, gp->id, gp->creator, since > 0 ? since : 0);
}

/* All goroutines but leave_out; the world is stopped, or as good as. On a system stack. */
static void listing_take(struct listing *l)
{
    g_for_each(list_one, l);
}

/* --- what is shown of it --- */

static bool named(const struct symbol *q, const char *name)
{
    size_t n = strlen(name);
    return q && q->function && q->function_length >= n && !strncmp(q->function, name, n);
}

static bool is_named(const struct symbol *q, const char *name)
{
    return named(q, name) && q->function_length == strlen(name);
}

/* The bounds of the archive's code, made by the linker where there is such a section. */
extern const char __start_go_text[] __attribute__((weak, visibility("hidden")));
extern const char __stop_go_text[] __attribute__((weak, visibility("hidden")));
extern const char __start_go_cold[] __attribute__((weak, visibility("hidden")));
extern const char __stop_go_cold[] __attribute__((weak, visibility("hidden")));

static bool is_shared(const struct symbols *s)
{
    return !__start_go_text && s->library && !s->library->is_program;
}

/* Is pc code of the library? q describes it. NULL: there was no room for it, and where the library is a shared one the answer is no
 * then. */
static bool own_code(const struct symbols *s, const struct symbol *q, uintptr_t pc)
{
    if (is_shared(s))
        return q && q->module == s->library;
    return (pc >= (uintptr_t)__start_go_text && pc < (uintptr_t)__stop_go_text) ||
           (pc >= (uintptr_t)__start_go_cold && pc < (uintptr_t)__stop_go_cold);
}

/* Sets which frames to show: from g->first up to, not including, g->end. */
static void trim(struct symbols *s, struct group *g)
{
    uint32_t first = 0, end = g->frame_count;
    uint32_t i;
    for (i = 0; i < end; i++) {
        struct symbol *q = symbols_add(s, g->pc[i] - 1);
        if (is_named(q, "goroutine_entry") || is_named(q, "goroutine_return"))
            end = i;
        else if ((g->flags & G_MAIN) && is_named(q, "main"))
            end = i + 1;
    }
    if (is_shared(s) || __start_go_text) {
        for (i = 0; i < end && own_code(s, symbols_add(s, g->pc[i] - 1), g->pc[i] - 1);)
            i++;
        /* The public function's frame stays; if there are only frames of the library, the last one. */
        if (i > 0 && (i == end || named(symbols_add(s, g->pc[i - 1] - 1), "go_")))
            i--;
        first = i;
        while (end > first + 1 && own_code(s, symbols_add(s, g->pc[end - 1] - 1), g->pc[end - 1] - 1))
            end--; /* the library's callers of the goroutine's or a deferred function */
    } else if (g->trim) {
        for (i = 0; i < end; i++)
            if (named(symbols_add(s, g->pc[i] - 1), "go_"))
                break;
        if (i < end)
            first = i;
    }
    g->first = first;
    g->end = end;
}

/* How a frame looks to the reader: all places in the library's public function look the same. */
static uint64_t frame_key(struct symbols *s, const struct group *g, uint32_t i)
{
    struct symbol *q = i == g->first && g->trim ? symbols_add(s, g->pc[i] - 1) : NULL;
    return q && q->start ? q->start : g->pc[i];
}

static bool look_alike(struct symbols *s, const struct group *a, const struct group *b)
{
    if (a->end - a->first != b->end - b->first || a->elided != b->elided || a->unknown != b->unknown ||
        !alike(a, b, NULL, false))
        return false;
    for (uint32_t i = 0; i < a->end - a->first; i++)
        if (frame_key(s, a, a->first + i) != frame_key(s, b, b->first + i))
            return false;
    return true;
}

/* Groups that differ only in what is not shown become one. */
static void fold_again(struct listing *l, struct symbols *s)
{
    struct group *next, *list = l->groups;
    memset(l->buckets, 0, sizeof l->buckets);
    l->groups = NULL;
    l->last = &l->groups;
    for (struct group *g = list; g; g = next) {
        struct group *h;
        next = g->next;
        g->next = NULL;
        g->hash = g->base_hash;
        for (uint32_t i = g->first; i < g->end; i++)
            g->hash = mix(g->hash, frame_key(s, g, i));
        for (h = l->buckets[g->hash % GROUP_BUCKETS]; h; h = h->chain)
            if (h->hash == g->hash && look_alike(s, h, g))
                break;
        if (h) {
            uint64_t rest = g->count > FOLD ? g->count - FOLD : 0;
            for (unsigned i = 0; i < FOLD && i < g->count; i++)
                add_id(h, g->ids[i], g->creators[i], g->since[i]);
            h->count += rest;
            continue;
        }
        g->chain = l->buckets[g->hash % GROUP_BUCKETS];
        l->buckets[g->hash % GROUP_BUCKETS] = g;
        *l->last = g;
        l->last = &g->next;
    }
}

static void listing_sort(struct listing *l)
{
    /* Goroutines come in slabs, newest slab first, each in order: merging lists is quick then. */
    struct group *list = l->groups;
    for (size_t width = 1; list; width *= 2) {
        struct group *in = list, **out = &list;
        int merges = 0;
        while (in) {
            struct group *a = in, *b = in;
            size_t a_size = 0, b_size = width;
            merges++;
            while (a_size < width && b) {
                b = b->next;
                a_size++;
            }
            while (a_size > 0 || (b_size > 0 && b)) {
                bool from_a = a_size > 0 && (b_size == 0 || !b || a->ids[0] <= b->ids[0]);
                struct group **from = from_a ? &a : &b;
                *out = *from;
                out = &(*from)->next;
                *from = (*from)->next;
                from_a ? a_size-- : b_size--;
            }
            in = b;
        }
        *out = NULL;
        if (merges <= 1)
            break;
    }
    l->groups = list;
}

void listing_finish(struct listing *l, struct symbols *s)
{
    for (struct group *g = l->groups; g; g = g->next) {
        for (uint32_t i = 0; i < g->frame_count; i++)
            symbols_add(s, g->pc[i] - 1);
        if (g->status == G_NEW)
            symbols_add(s, (uintptr_t)g->fn);
    }
    symbols_resolve(s);
    for (struct group *g = l->groups; g; g = g->next)
        trim(s, g);
    fold_again(l, s);
    listing_sort(l);
}

/* --- writing --- */

void group_state(struct out *o, const struct group *g, unsigned which, int64_t now)
{
    if (g->status == G_WAITING)
        out_str(o, wait_reason_text(g->reason));
    else if (g->status == G_RUNNING)
        out_str(o, g->blocking ? "syscall" : "running");
    else
        out_str(o, "runnable");
    int64_t minutes = g->since[which] ? (now - g->since[which]) / MINUTE : 0;
    if (minutes > 0)
        out_f(o, ", %lu minutes", (uint64_t)minutes);
    if (g->flags & G_LOCKED)
        out_str(o, ", locked to thread");
}

static void frame(struct out *o, struct symbols *s, uintptr_t pc)
{
    const struct symbol *q = symbols_add(s, pc);
    if (q && q->function) {
        out_bytes(o, q->function, q->function_length);
        out_str(o, "()\n\t");
    } else {
        out_str(o, "?()\n\t");
    }
    if (q && q->file)
        out_f(o, "%s:%u", q->file, q->line);
    else if (q && q->module)
        out_f(o, "%s+%lx", q->module->path, (uint64_t)(q->in_module ? q->in_module : pc));
    else
        out_hex(o, pc);
    if (q && q->function)
        out_f(o, " +%lx", (uint64_t)(pc + 1 - q->start));
    out_str(o, "\n");
}

void group_frames(struct out *o, struct symbols *s, const struct group *g, unsigned which)
{
    for (uint32_t i = g->first; i < g->end; i++) {
        if (g->elided && i == FRAMES_TOP)
            out_f(o, "...%u frames elided...\n", g->elided);
        frame(o, s, g->pc[i] - 1);
    }
    if (g->status == G_NEW)
        frame(o, s, (uintptr_t)g->fn);
    if (g->unknown)
        out_str(o, "\tgoroutine running on other thread; stack unavailable\n");
    if (g->site) {
        out_str(o, "created by ");
        out_site(o, g->site, out_str);
        if (g->creators[which])
            out_f(o, " in goroutine %lu", g->creators[which]);
        out_str(o, "\n");
    }
}

static void entry(struct out *o, struct symbols *s, const struct group *g, unsigned which, bool folded,
                  int64_t now)
{
    out_f(o, "goroutine %lu [", g->ids[which]);
    group_state(o, g, which, now);
    out_str(o, "]:");
    if (g->name[0])
        out_str(o, " \""), out_escaped(o, g->name), out_str(o, "\"");
    if (folded) {
        out_f(o, "%s %lu alike:", g->name[0] ? "," : "", g->count);
        for (unsigned i = 0; i < FOLD && i < g->count; i++)
            out_f(o, " %lu", g->ids[i]);
        if (g->count > FOLD)
            out_str(o, " ...");
    }
    out_str(o, "\n");
    group_frames(o, s, g, which);
    out_str(o, "\n");
}

static void listing_write(struct out *o, struct symbols *s, struct listing *l)
{
    int64_t now = os_now();
    listing_finish(l, s);
    for (const struct group *g = l->groups; g; g = g->next) {
        bool folded = g->count >= FOLD;
        for (unsigned i = 0; i < (folded ? 1 : g->count); i++)
            entry(o, s, g, i, folded, now);
    }
    if (l->full > 0)
        out_f(o, "(no room for %lu more goroutines)\n", l->full);
}

/* The calling goroutine's entry. */
static void write_self(struct out *o, struct symbols *s, struct g *gp, const struct frames *f)
{
    struct group g;
    describe(&g, gp, G_RUNNING);
    g.ids[0] = gp->id;
    g.creators[0] = gp->creator;
    g.count = 1;
    g.trim = !f->interrupted;
    g.pc = (uintptr_t *)(uintptr_t)f->pc;
    g.frame_count = f->count;
    g.elided = f->elided;
    for (uint32_t i = 0; i < f->count; i++)
        symbols_add(s, f->pc[i] - 1);
    symbols_resolve(s);
    trim(s, &g);
    entry(o, s, &g, 0, false, 0);
}

/* A goroutine that runs, and not a plain thread or a scheduler. */
static struct g *shown_caller(struct m *mp)
{
    struct g *gp = mp ? mp->cur : NULL;
    return gp && gp->id != 0 && !(load_relaxed(&gp->flags) & (G_THREAD | G_SYSTEM)) ? gp : NULL;
}

static void close_report(struct report *r)
{
    out_flush(&r->out);
    listing_close(&r->listing);
    symbols_close(&r->symbols);
}

static void stop_for_good(struct m *mp)
{
    int64_t until = os_now() + PATIENCE_DYING;
    while (!world_try() && os_now() < until)
        os_thread_yield();
    world_stop(mp, PATIENCE_DYING);
}

void traceback_at_end(enum show show)
{
    static struct report report; /* one process dies but once, and its stack may be short */
    struct report *r = &report;
    struct m *mp = m_self();
    struct g *self = shown_caller(mp);
    bool wanted = options.traceback != TRACEBACK_NONE && show != SHOW_NONE;
    store_relaxed(&mp->in, mp != &m_stranger); /* others keep off our P */
    out_open(&r->out, 2);
    if (wanted && (!symbols_open(&r->symbols) || !listing_open(&r->listing))) {
        out_str(&r->out, "(no memory for a traceback)\n");
        wanted = false;
    }
    if (wanted && self) {
        unwind_self(&r->self);
        write_self(&r->out, &r->symbols, self, &r->self);
        out_flush(&r->out);
    }
    bool all = wanted && (show == SHOW_ALL || !self);
    if (all || options.trace_file[0])
        stop_for_good(mp);
    if (all) {
        store_relaxed(&unwind_dying, true); /* the world has stopped: nobody else asks now, or not for long */
        r->listing.leave_out = self;
        listing_take(&r->listing);
        listing_write(&r->out, &r->symbols, &r->listing);
    }
    close_report(r);
    trace_at_end(true);
}

static void prepare(void *arg)
{
    struct report **to = arg;
    struct arena memory;
    *to = NULL;
    if (!arena_open(&memory, sizeof **to + 16))
        return;
    struct report *r = arena_get(&memory, sizeof *r);
    if (!symbols_open(&r->symbols) || !listing_open(&r->listing)) {
        symbols_close(&r->symbols);
        arena_close(&memory);
        return;
    }
    *to = r;
}

static void take(struct m *mp, void *arg)
{
    struct report *r = arg;
    r->listing.leave_out = r->caller = shown_caller(mp);
    unwind_self(&r->self);
    listing_take(&r->listing);
}

struct report *report_take(void)
{
    struct report *r;
    section_pass(); /* may be the first call */
    system_stack_call(prepare, &r);
    if (r)
        world_call(take, r);
    return r;
}

void report_write_all(struct report *r)
{
    if (r->caller)
        write_self(&r->out, &r->symbols, r->caller, &r->self);
    listing_write(&r->out, &r->symbols, &r->listing);
}

int report_free(struct report *r)
{
    close_report(r);
    int error = r->out.error;
    struct arena memory = { .base = (char *)r, .size = sizeof *r + 16 };
    arena_close(&memory);
    return error;
}

struct traceback {
    int fd, result;
    struct report *report;
};

static void traceback(void *arg)
{
    struct traceback *t = arg;
    out_open(&t->report->out, t->fd);
    report_write_all(t->report);
    t->result = report_free(t->report);
}

GO_EXPORT int go_traceback(int fd)
{
    struct traceback t = { .fd = fd, .report = report_take() };
    if (!t.report)
        return -ENOMEM;
    system_stack_call(traceback, &t);
    return t.result;
}
