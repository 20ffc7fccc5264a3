// SPDX-License-Identifier: MIT
// The flight recorder's other half: what the hooks have noted (events.c) becomes a timeline.
//
// The rings are copied while the world is stopped, which is quick, and made into JSON when it goes on. The events of all
// Ps are taken in the order of their times: a goroutine is made ready on one P and runs on another, and the arrow
// between the two needs both. A goroutine's label is its name, or the function it was launched with, or the
// statement that launched it, whichever is known first.
#include <goroutine/debug.h>
#include <goroutine/time.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "arch/arch.h"
#include "base/options.h"
#include "debug/events.h"
#include "debug/start.h"
#include "debug/symbol.h"
#include "os/linux/syscall.h"
#include "os/os.h"
#include "sched/debug_hooks.h"
#include "sched/sched.h"
#include "sched/section.h"
#include "sched/world.h"

#define EVENTS_DEFAULT (1u << 16)
#define EVENTS_WHOLE_RUN (1u << 20)
#define EVENTS_LEAST 1024u
#define EVENTS_MOST (1u << 24)
#define ARENA (1ull << 36) /* address space only */

/* The same moment on both clocks. */
struct moment {
    uint64_t ticks;
    int64_t time;
};

/* The program's recording, and those of the page that are under way beside it, on the same rings. In a stopped world. */
static struct moment started; /* what is older belongs to an earlier recording */
static uint64_t stop_ticks;   /* meaningful while it is off */
static bool on;
static uint32_t windows;

static struct moment moment_now(void)
{
    struct moment m = { .time = os_now() };
    m.ticks = arch_ticks();
    return m;
}

/* The world is stopped: the timeline begins with those that run. */
static struct moment begin_recording(void)
{
    struct moment begun = moment_now();
    uint32_t count = load_acquire(&sched.p_count);
    for (uint32_t i = 0; i < count; i++)
        events_note_running(load_acquire(&sched.ps[i]));
    or_seq(&debug_hooks, HOOK_TRACE);
    return begun;
}

static void end_recording(void)
{
    if (!on && windows == 0)
        and_release(&debug_hooks, (uint8_t)~HOOK_TRACE);
}

static void switch_on(struct m *mp, void *arg)
{
    (void)mp;
    *(int *)arg = on ? -EALREADY : 0;
    if (on)
        return;
    for (uint32_t i = 0, count = load_acquire(&sched.p_count); i < count; i++) {
        struct proc_events *e = load_acquire(&sched.ps[i])->events;
        if (e)
            e->begun = e->next;
    }
    started = begin_recording();
    on = true;
}

static void switch_off(struct m *mp, void *arg)
{
    (void)mp;
    *(int *)arg = on ? 0 : -EALREADY;
    if (!on)
        return;
    stop_ticks = arch_ticks();
    on = false;
    end_recording();
}

static void set_size(size_t events)
{
    uint64_t size = EVENTS_LEAST, none = 0;
    while (size < (events ? events : EVENTS_DEFAULT))
        size *= 2;
    atomic_compare_exchange_strong(&events_size, &none, size);
}

GO_EXPORT int go_trace_start(size_t events)
{
    section_pass(); /* may be the first call */
    if (events > EVENTS_MOST)
        return -EINVAL;
    int result;
    set_size(events);
    world_call(switch_on, &result);
    return result;
}

GO_EXPORT int go_trace_stop(void)
{
    section_pass();
    int result;
    world_call(switch_off, &result);
    return result;
}

/* --- copying --- */

struct copy {
    struct event *events;
    uint64_t count, at;
    struct birth *births;
    uint64_t birth_count;
    uint64_t dropped;
    /* While the timeline is put together: */
    uint64_t running, since; /* 0: nobody */
};

struct trace {
    struct arena arena;
    struct symbols symbols;
    struct out out;
    struct copy *procs;
    uint32_t proc_count;
    uint64_t event_count;
    uint64_t from, to;       /* ticks */
    int64_t from_time, to_time;
    struct person **people;  /* by hash of id */
    uint64_t people_mask;
    struct place *places[256]; /* by hash of from */
    uint64_t flows;
    struct moment since;     /* of a window; ticks 0: the program's recording */
    bool full, first;
    int result, fd;
};

/* A statement that launched a goroutine of the rings, as it is in memory now. */
struct place {
    const struct go_site *from;
    struct go_site site;
    struct place *next;
};

/* A goroutine of the timeline. */
struct person {
    uint64_t id;
    const struct go_site *site;
    void (*fn)(void);
    char name[NAME_MOST];
    bool known;
    /* Woken or launched, and has not run since: */
    uint64_t ready_at;
    uint32_t ready_by; /* P */
    bool ready_arrow;  /* a goroutine ran there */
};

static struct person *person_of(struct trace *t, uint64_t id)
{
    uint64_t at = (id * 0x9e3779b97f4a7c15u >> 20) & t->people_mask;
    for (; t->people[at]; at = (at + 1) & t->people_mask)
        if (t->people[at]->id == id)
            return t->people[at];
    struct person *p = arena_get(&t->arena, sizeof *p);
    if (!p) {
        t->full = true;
        return NULL;
    }
    p->id = id;
    t->people[at] = p;
    return p;
}

/* The last n of a ring, oldest first. */
static void *copy_ring(struct trace *t, const void *ring, uint64_t mask, uint64_t next, size_t size,
                       uint64_t *count)
{
    uint64_t n = next < mask + 1 ? next : mask + 1, first = (next - n) & mask;
    char *to = arena_get(&t->arena, n * size);
    *count = to ? n : 0;
    t->full |= !to;
    if (!to || n == 0)
        return to;
    uint64_t until_end = mask + 1 - first < n ? mask + 1 - first : n;
    memcpy(to, (const char *)ring + first * size, until_end * size);
    memcpy(to + until_end * size, ring, (n - until_end) * size);
    return to;
}

static void copy_g(struct g *gp, void *arg)
{
    struct trace *t = arg;
    if (load_relaxed(&gp->status) == G_DEAD || gp->id == 0)
        return;
    struct birth *b = arena_get(&t->arena, sizeof *b); /* they lie one after another */
    if (!b)
        return;
    b->id = gp->id;
    b->site = gp->site;
    name_copy(b->name, gp->name);
    t->procs[t->proc_count].birth_count++;
}

/* The world is stopped. */
static void copy_all(struct m *mp, void *arg)
{
    (void)mp;
    struct trace *t = arg;
    struct moment now = moment_now(), begun = t->since.ticks ? t->since : started;
    uint64_t stopped = t->since.ticks || on ? 0 : stop_ticks;
    t->to_time = now.time;
    t->to = now.ticks;
    t->from = begun.ticks;
    t->from_time = begun.time;
    uint32_t count = load_acquire(&sched.p_count);
    t->procs = arena_get(&t->arena, (count + 1) * sizeof *t->procs);
    if (!t->procs) {
        t->full = true;
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct proc_events *e = load_acquire(&sched.ps[i])->events;
        struct copy *c = &t->procs[i];
        t->proc_count = i + 1;
        if (!e || !e->ring)
            continue;
        c->events = copy_ring(t, e->ring, e->ring_mask, e->next, sizeof *c->events, &c->count);
        c->births = copy_ring(t, e->births, e->birth_mask, e->next_birth, sizeof *c->births,
                              &c->birth_count);
        uint64_t first = e->next - c->count;
        if (c->count > 0 && first > e->begun && c->events[0].when >= t->from) /* or those before are of another recording */
            c->dropped = first - (t->since.ticks ? 0 : e->begun);
        t->event_count += c->count;
    }
    struct copy *alive = &t->procs[t->proc_count];
    alive->births = (void *)(t->arena.base + t->arena.used);
    g_for_each(copy_g, t);
    if (stopped)
        t->to_time = t->from_time + (int64_t)((double)(stopped - t->from) * (double)(t->to_time - t->from_time) /
                                              (double)(t->to - t->from));
    if (stopped)
        t->to = stopped;
}

/* --- the timeline --- */

/* False if there is nothing at `from` any more. */
static bool read_memory(void *to, const void *from, size_t size)
{
    struct iovec here = { to, size }, there = { (void *)from, size };
    long n = SYSCALL6(SYS_process_vm_readv, SYSCALL0(SYS_getpid), &here, 1, &there, 1, 0);
    bool refused = n == -ENOSYS || n == -EPERM; /* it cannot be asked */
    if (refused)
        memcpy(to, from, size);
    return n == (long)size || refused;
}

/* In pieces that lie in one page each; cut if it is very long. NULL: it is not there. */
static const char *read_text(struct trace *t, const char *from)
{
    enum { PIECE = 64 };
    char *text = from ? arena_get(&t->arena, 8 * PIECE) : NULL; /* NULL: something else is where the statement was */
    size_t used = 0;
    while (text && used < 7 * PIECE) {
        size_t size = PIECE - (uintptr_t)(from + used) % PIECE;
        if (!read_memory(text + used, from + used, size))
            return NULL;
        if (memchr(text + used, 0, size))
            return text;
        used += size;
    }
    return text; /* the arena is zeroed */
}

/* A ring remembers statements in libraries that may have been unloaded since. NULL: that one has. */
static const struct go_site *site_now(struct trace *t, const struct go_site *from)
{
    struct place **bucket = &t->places[((uintptr_t)from >> 4) % array_length(t->places)], *p;
    for (p = *bucket; p && p->from != from; p = p->next)
        ;
    if (!p && (p = arena_get(&t->arena, sizeof *p))) {
        p->from = from;
        p->next = *bucket;
        *bucket = p;
        if (!read_memory(&p->site, from, sizeof p->site) || !(p->site.function = read_text(t, p->site.function)) ||
            (p->site.line && !(p->site.file = read_text(t, p->site.file))))
            p->site.function = NULL;
    }
    return p && p->site.function ? &p->site : NULL;
}

static void know(struct trace *t, const struct birth *b)
{
    struct person *p = person_of(t, b->id);
    if (!p)
        return;
    p->known = true;
    if (b->site)
        p->site = site_now(t, b->site);
    if (b->fn) {
        p->fn = b->fn;
        symbols_add(&t->symbols, (uintptr_t)b->fn);
    }
    if (b->name[0] && !p->name[0])
        memcpy(p->name, b->name, sizeof p->name);
}

static void know_people(struct trace *t)
{
    for (uint32_t i = 0; i <= t->proc_count; i++) /* the last are those alive */
        for (uint64_t j = 0; j < t->procs[i].birth_count; j++)
            know(t, &t->procs[i].births[j]);
    symbols_resolve(&t->symbols);
}

static void label(struct trace *t, const struct person *p)
{
    struct out *o = &t->out;
    const struct symbol *q = p->fn ? symbols_add(&t->symbols, (uintptr_t)p->fn) : NULL;
    if (p->name[0])
        out_escaped(o, p->name);
    else if (p->id == 1)
        out_str(o, "main");
    else if (q && q->function)
        out_bytes(o, q->function, q->function_length);
    else if (p->site) {
        out_escaped(o, p->site->function);
        if (p->site->line)
            out_f(o, ":%u", p->site->line);
    } else {
        out_str(o, "goroutine");
    }
    out_f(o, " %lu", p->id);
}

/* Nanoseconds since the beginning. */
static uint64_t ns_at(const struct trace *t, uint64_t ticks)
{
    if (ticks <= t->from || t->to <= t->from)
        return 0;
    return (uint64_t)((double)(ticks - t->from) * (double)(t->to_time - t->from_time) / (double)(t->to - t->from));
}

/* As microseconds, with three decimals. */
static void microseconds_out(struct trace *t, uint64_t ns)
{
    out_u64(&t->out, ns / 1000);
    char decimals[4] = { '.', (char)('0' + ns / 100 % 10), (char)('0' + ns / 10 % 10),
                         (char)('0' + ns % 10) };
    out_bytes(&t->out, decimals, 4);
}

/* The common beginning of an entry; what follows is its own. */
static void begin(struct trace *t, const char *phase, uint32_t proc, uint64_t ticks)
{
    out_f(&t->out, "%s\n{\"ph\":\"%s\",\"pid\":1,\"tid\":%u,\"ts\":", t->first ? "" : ",", phase, proc + 1);
    t->first = false;
    microseconds_out(t, ns_at(t, ticks));
}

static const char *left_text(uint8_t left)
{
    return left == LEFT_ENDED ? "ended" : left == LEFT_READY || left == LEFT_NONE ? "runnable" : wait_reason_text(left);
}

static void slice(struct trace *t, uint32_t proc, uint64_t until, uint8_t left)
{
    struct copy *c = &t->procs[proc];
    struct person *p = c->running ? person_of(t, c->running) : NULL;
    /* A processor whose counter is slow, such as an AArch64 one, sees short runs take no time at all. */
    if (p && until >= c->since) {
        begin(t, "X", proc, c->since);
        out_str(&t->out, ",\"dur\":");
        microseconds_out(t, ns_at(t, until) - ns_at(t, c->since)); /* by difference of the rounded ends: slices never overlap */
        out_str(&t->out, ",\"name\":\"");
        label(t, p);
        out_f(&t->out, "\",\"args\":{\"goroutine\":%lu", p->id);
        if (p->site) {
            out_str(&t->out, ",\"created by\":\"");
            out_site(&t->out, p->site, out_escaped);
            out_str(&t->out, "\"");
        }
        out_f(&t->out, ",\"then\":\"%s\"}}", left_text(left));
    }
    c->running = 0;
}

static void arrow(struct trace *t, struct person *p, uint32_t proc, uint64_t ran_at)
{
    if (p->ready_at && p->ready_arrow) {
        t->flows++;
        begin(t, "s", p->ready_by, p->ready_at);
        out_f(&t->out, ",\"id\":%lu,\"name\":\"wakes\",\"cat\":\"wake\"}", t->flows);
        begin(t, "f", proc, ran_at);
        out_f(&t->out, ",\"id\":%lu,\"name\":\"wakes\",\"cat\":\"wake\",\"bp\":\"e\"}", t->flows);
    }
    p->ready_at = 0;
}

static void one_event(struct trace *t, uint32_t proc, const struct event *e)
{
    struct copy *c = &t->procs[proc];
    uint64_t id = e->what >> 16;
    uint8_t detail = (uint8_t)e->what;
    struct person *p;
    switch ((e->what >> 8) & 0xff) {
    case EVENT_RUN:
        if (c->running == id && detail == LEFT_NONE)
            break; /* the beginning of another recording */
        slice(t, proc, e->when, detail);
        c->running = id;
        c->since = e->when;
        if ((p = person_of(t, id)))
            arrow(t, p, proc, e->when);
        break;
    case EVENT_IDLE:
        slice(t, proc, e->when, detail);
        break;
    case EVENT_END:
        slice(t, proc, e->when, LEFT_ENDED);
        break;
    case EVENT_LAUNCH:
    case EVENT_READY:
        if ((p = person_of(t, id))) {
            p->ready_at = e->when;
            p->ready_by = proc;
            p->ready_arrow = c->running != 0;
        }
        break;
    }
}

static void timeline(struct trace *t)
{
    uint64_t dropped = 0;
    for (;;) {
        uint32_t best = t->proc_count;
        uint64_t when = UINT64_MAX;
        for (uint32_t i = 0; i < t->proc_count; i++) {
            struct copy *c = &t->procs[i];
            while (c->at < c->count && c->events[c->at].when < t->from)
                c->at++;
            if (c->at < c->count && c->events[c->at].when < when) {
                best = i;
                when = c->events[c->at].when;
            }
        }
        if (best == t->proc_count)
            break;
        const struct event *e = &t->procs[best].events[t->procs[best].at++];
        if (e->when <= t->to) /* a later one is from a P that had not yet learnt of the recording's end */
            one_event(t, best, e);
    }
    for (uint32_t i = 0; i < t->proc_count; i++) {
        slice(t, i, t->to, LEFT_NONE);
        dropped += t->procs[i].dropped;
        begin(t, "M", i, t->from);
        out_f(&t->out, ",\"name\":\"thread_name\",\"args\":{\"name\":\"P%u\"}}", i);
    }
    begin(t, "M", 0, t->from);
    out_str(&t->out, ",\"name\":\"process_name\",\"args\":{\"name\":\"goroutines\"}}");
    out_f(&t->out, "\n],\n\"otherData\":{\"events too old to be kept\":\"%lu\"}}\n", dropped);
}

static bool trace_open(struct trace *t)
{
    return arena_open(&t->arena, ARENA) || arena_open(&t->arena, ARENA >> 6);
}

static void trace_write(struct trace *t)
{
    uint64_t room = 1024, most = t->event_count;
    for (uint32_t i = 0; i <= t->proc_count && !t->full; i++)
        most += t->procs[i].birth_count;
    while (room < 2 * most)
        room *= 2;
    t->people = arena_get(&t->arena, room * sizeof *t->people);
    t->people_mask = room - 1;
    if (t->full || !t->people || !symbols_open(&t->symbols)) {
        t->result = -ENOMEM;
        return;
    }
    out_open(&t->out, t->fd);
    t->first = true;
    know_people(t);
    out_str(&t->out, "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[");
    timeline(t);
    out_flush(&t->out);
    t->result = t->out.error;
    symbols_close(&t->symbols);
}

struct dump {
    struct trace *trace;
    struct arena memory;
};

static void dump_open(void *arg)
{
    struct dump *d = arg;
    d->trace = NULL;
    if (!arena_open(&d->memory, sizeof *d->trace + 16))
        return;
    struct trace *t = arena_get(&d->memory, sizeof *t);
    if (trace_open(t))
        d->trace = t;
    else
        arena_close(&d->memory);
}

static void dump_write(void *arg)
{
    struct dump *d = arg;
    trace_write(d->trace);
}

static void dump_close(void *arg)
{
    struct dump *d = arg;
    arena_close(&d->trace->arena);
    arena_close(&d->memory);
}

static int dump(int fd, struct moment since)
{
    struct dump d;
    system_stack_call(dump_open, &d);
    if (!d.trace)
        return -ENOMEM;
    d.trace->fd = fd;
    d.trace->since = since;
    world_call(copy_all, d.trace);
    system_stack_call(dump_write, &d);
    int result = d.trace->result;
    system_stack_call(dump_close, &d);
    return result;
}

static void look_begun(struct m *mp, void *arg)
{
    (void)mp;
    *(bool *)arg = started.ticks != 0;
}

GO_EXPORT int go_trace_dump(int fd)
{
    bool begun;
    section_pass();
    world_call(look_begun, &begun);
    return begun ? dump(fd, (struct moment){ 0 }) : -ENODATA;
}

/* --- windows --- */

static void window_opens(struct m *mp, void *arg)
{
    (void)mp;
    windows++;
    *(struct moment *)arg = begin_recording();
}

static void window_closes(struct m *mp, void *arg)
{
    (void)mp, (void)arg;
    windows--;
    end_recording();
}

int trace_window(int fd, int64_t length)
{
    struct moment begun;
    section_pass();
    set_size(0);
    world_call(window_opens, &begun);
    go_sleep(length);
    int result = dump(fd, begun);
    world_call(window_closes, NULL);
    return result;
}

/* --- GODEBUG=trace=FILE --- */

static int file_open(void)
{
    return (int)SYSCALL4(SYS_openat, AT_FDCWD, options.trace_file,
                         O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
}

static void complain(int error)
{
    struct out o;
    out_open(&o, 2);
    out_f(&o, "GODEBUG=trace=%s: error %d\n", options.trace_file, -error);
    out_flush(&o);
}

void trace_at_end(bool stopped)
{
    static struct trace trace;
    static _Atomic bool done;
    if (!options.trace_file[0] || atomic_exchange(&done, true))
        return;
    int fd = file_open();
    if (fd < 0) {
        complain(fd);
        return;
    }
    int result;
    if (stopped) {
        result = -ENOMEM;
        trace.fd = fd;
        if (trace_open(&trace)) {
            copy_all(NULL, &trace);
            trace_write(&trace);
            result = trace.result;
        }
    } else {
        result = go_trace_dump(fd);
    }
    if (result < 0)
        complain(result);
    SYSCALL1(SYS_close, fd);
}

static void at_exit(void)
{
    if (!load_relaxed(&sched.dying) && !load_relaxed(&sched.forked))
        trace_at_end(false);
}

void trace_from_start(void)
{
    store_relaxed(&events_size, EVENTS_WHOLE_RUN);
    started = moment_now();
    on = true;
    or_seq(&debug_hooks, HOOK_TRACE);
    atexit(at_exit);
}
