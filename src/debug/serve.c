// SPDX-License-Identifier: MIT
// The page: goroutines, Ps and figures of the running program, by HTTP.
//
// It is served by goroutines of the library itself, which are left out of all they show except the timeline. An answer is first
// written to a file in memory, by the same code that writes it to a descriptor elsewhere, so that no client, however slow, sees the
// world stopped, and its length is known. Only GET is answered, and no request changes the program, except that a trace
// switches the recorder on while it lasts.
#include <goroutine/debug.h>
#include <goroutine/io.h>
#include <goroutine/time.h>

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "debug/events.h"
#include "debug/page.h"
#include "debug/traceback.h"
#include "io/io.h"
#include "os/linux/syscall.h"
#include "sched/sched.h"
#include "sched/section.h"

#define LINE_MOST 2000
#define REQUEST_MOST (256 << 10)
#define PATIENCE (10 * GO_SECOND)
#define REST_MOST (1 << 20)
#define REST_PATIENCE GO_SECOND
#define TRACE_MOST 60000 /* ms */

static const struct go_site serve_site = { .file = __FILE__, .function = "go_debug_serve", .integer_regs = 1 };

/* --- what is answered --- */

static void write_frame(struct out *o, const char *before, struct symbols *s, uintptr_t pc)
{
    const struct symbol *q = symbols_add(s, pc);
    out_f(o, "%s\"", before);
    if (q && q->function)
        out_bytes(o, q->function, q->function_length);
    else if (q)
        out_str(o, "?");
    else
        out_hex(o, pc);
    if (q && q->file) {
        out_str(o, "  ");
        out_escaped(o, q->file);
        out_f(o, ":%u", q->line);
    }
    out_str(o, "\"");
}

static void write_group(struct report *r, const struct group *g, int64_t now)
{
    struct out *o = &r->out;
    out_f(o, "{\"count\":%lu,\"state\":\"", g->count);
    group_state(o, g, 0, now);
    out_str(o, "\",\"name\":\"");
    out_escaped(o, g->name);
    out_str(o, "\",\"origin\":\"");
    if (g->site) {
        out_str(o, "created by ");
        out_site(o, g->site, out_escaped);
    } else {
        out_str(o, "main");
    }
    out_str(o, "\",\"ids\":[");
    for (unsigned i = 0; i < FOLD && i < g->count; i++)
        out_f(o, "%s%lu", i ? "," : "", g->ids[i]);
    out_str(o, "],\"frames\":[");
    const char *before = "";
    for (uint32_t i = g->first; i < g->end; i++) {
        if (g->elided && i == FRAMES_TOP) {
            out_f(o, "%s\"...%u frames elided...\"", before, g->elided);
            before = ",";
        }
        write_frame(o, before, &r->symbols, g->pc[i] - 1);
        before = ",";
    }
    if (g->status == G_NEW)
        write_frame(o, before, &r->symbols, (uintptr_t)g->fn);
    if (g->unknown)
        out_str(o, "\"running on other thread; stack unavailable\"");
    out_str(o, "]}");
}

static int write_goroutines(int fd, bool json)
{
    struct report *r = report_take();
    if (!r)
        return -ENOMEM;
    out_open(&r->out, fd);
    if (json) {
        int64_t now = os_now();
        listing_finish(&r->listing, &r->symbols);
        out_str(&r->out, "[");
        for (const struct group *g = r->listing.groups; g; g = g->next) {
            if (g != r->listing.groups)
                out_str(&r->out, ",\n");
            write_group(r, g, now);
        }
        out_str(&r->out, "]\n");
    } else {
        report_write_all(r);
    }
    return report_free(r);
}

static int write_stats(int fd)
{
    go_statistics s;
    struct out o;
    go_stats(&s);
    out_open(&o, fd);
    out_f(&o, "{\"now\":%lu,\"gomaxprocs\":%d,\"idle_procs\":%d,\"threads\":%d,\"idle_threads\":%d,\"foreign_threads\":%d,",
          (uint64_t)go_now(), s.gomaxprocs, s.idle_procs, s.threads, s.idle_threads, s.foreign_threads);
    out_f(&o, "\"goroutines\":%lu,\"running\":%lu,\"runnable\":%lu,\"waiting\":%lu,\"launches\":%lu,\"ends\":%lu,", s.goroutines,
          s.running, s.runnable, s.waiting, s.launches, s.ends);
    out_f(&o, "\"switches\":%lu,\"steals\":%lu,\"hand_offs\":%lu,\"stack_bytes\":%lu,\"stacks_made\":%lu,\"stacks_idle\":%lu,",
          s.switches, s.steals, s.hand_offs, s.stack_bytes, s.stacks_made, s.stacks_idle);
    out_f(&o, "\"stacks_given_back\":%lu,\"parks\":{", s.stacks_given_back);
    const char *before = "", *reason;
    for (int i = 1; (reason = go_stats_wait(i)); i++, before = ",")
        out_f(&o, "%s\"%s\":%lu", before, reason, s.parks[i]);
    out_str(&o, "},\"wake_latency\":[");
    for (int i = 0; i < GO_STATS_STEPS; i++)
        out_f(&o, "%s%lu", i ? "," : "", s.wake_latency[i]);
    out_str(&o, "],\"procs\":[");
    go_proc_statistics p;
    for (int i = 0; go_stats_proc(i, &p) == 0; i++)
        out_f(&o, "%s{\"running\":%d,\"queue\":%u,\"switches\":%lu,\"launches\":%lu,\"steals\":%lu}", i ? "," : "", p.running,
              p.queue, p.switches, p.launches, p.steals);
    out_str(&o, "]}\n");
    out_flush(&o);
    return o.error;
}

static int write_trace(int fd, const char *query)
{
    uint64_t ms = 1000;
    if (!strncmp(query, "?ms=", 4))
        for (ms = 0, query += 4; *query >= '0' && *query <= '9' && ms < TRACE_MOST; query++)
            ms = ms * 10 + (uint64_t)(*query - '0');
    return trace_window(fd, (int64_t)(ms < TRACE_MOST ? ms : TRACE_MOST) * GO_MILLISECOND);
}

static int write_page(int fd)
{
    struct out o;
    out_open(&o, fd);
    out_str(&o, debug_page);
    out_flush(&o);
    return o.error;
}

/* --- HTTP, as much as is needed --- */

static void send_text(int fd, const char *text)
{
    go_write(fd, text, strlen(text));
}

static void send_file(int fd, int file, const char *type)
{
    struct out head;
    char buffer[8192];
    long size = SYSCALL3(SYS_lseek, file, 0, SEEK_END), n;
    out_open(&head, -1); /* of which only the buffer is used: it holds it all */
    out_f(&head, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %lu\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n",
          type, (uint64_t)size);
    go_fd_deadline(fd, 0, go_now() + PATIENCE);
    ssize_t r = go_write(fd, head.buffer, head.used);
    /* A file in memory: reading it blocks nobody. */
    for (long at = 0; r >= 0 && (n = SYSCALL4(SYS_pread64, file, buffer, sizeof buffer, at)) > 0; at += n) {
        go_fd_deadline(fd, 0, go_now() + PATIENCE); /* for each part */
        r = go_write(fd, buffer, (size_t)n);
    }
}

static bool is(const char *path, const char *name)
{
    size_t n = strlen(name);
    return !strncmp(path, name, n) && (path[n] == ' ' || path[n] == '?');
}

static void answer(int fd, const char *request)
{
    if (strncmp(request, "GET ", 4) != 0) {
        send_text(fd, "HTTP/1.1 405 Method Not Allowed\r\nAllow: GET\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        return;
    }
    const char *path = request + 4, *type = "application/json";
    int file = (int)SYSCALL2(SYS_memfd_create, "answer", MFD_CLOEXEC);
    int error = file;
    if (is(path, "/")) {
        type = "text/html; charset=utf-8";
        error = write_page(file);
    } else if (is(path, "/goroutines")) {
        type = "text/plain; charset=utf-8";
        error = write_goroutines(file, false);
    } else if (is(path, "/goroutines.json")) {
        error = write_goroutines(file, true);
    } else if (is(path, "/stats.json")) {
        error = write_stats(file);
    } else if (is(path, "/trace")) {
        error = write_trace(file, path + 6);
    } else {
        error = -ENOENT;
    }
    if (error == -ENOENT)
        send_text(fd, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    else if (error < 0)
        send_text(fd, "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    else
        send_file(fd, file, type);
    if (file >= 0)
        SYSCALL1(SYS_close, file);
}

/* Had the client sent more than was read, closing at once would reset the connection, and the answer be lost to it. */
static void read_rest(int fd)
{
    char part[4096];
    ssize_t n;
    SYSCALL2(SYS_shutdown, fd, SHUT_WR);
    go_fd_deadline(fd, go_now() + REST_PATIENCE, 0);
    for (size_t all = 0; all < REST_MOST && (n = go_read(fd, part, sizeof part)) > 0;)
        all += (size_t)n;
}

static void connection(void *arg)
{
    int fd = (int)(intptr_t)arg;
    static const char end[] = "\r\n\r\n";
    char line[LINE_MOST + 1], part[1024];
    size_t used = 0, all = 0, matched = 0;
    ssize_t n = 0;
    go_fd_deadline(fd, go_now() + PATIENCE, 0);
    /* Of what a browser sends, cookies and all, the first line is wanted. */
    for (; matched < 4 && all < REQUEST_MOST && (n = go_read(fd, part, sizeof part)) > 0; all += (size_t)n)
        for (ssize_t i = 0; i < n && matched < 4; i++) {
            if (used < LINE_MOST)
                line[used++] = part[i];
            matched = part[i] == end[matched] ? matched + 1 : part[i] == '\r';
        }
    line[used] = 0;
    if (matched == 4) {
        answer(fd, line);
    } else if (n > 0) {
        go_fd_deadline(fd, 0, go_now() + PATIENCE);
        send_text(fd, "HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }
    if (matched == 4 || n > 0)
        read_rest(fd);
    go_close(fd);
}

static void launch(void (*fn)(void *), uintptr_t arg)
{
    struct m *mp = section_enter();
    newproc_internal(mp, fn, (void *)arg, &serve_site, G_SYSTEM);
    section_leave(mp);
}

#define GENERATION_SHIFT 32 /* in serve's argument, beside the descriptor */

static void serve(void *arg)
{
    struct poll_desc *d;
    if (netpoll_begin((int)(uint32_t)(uintptr_t)arg, &d) < 0)
        return;
    for (;;) {
        int fd = io_accept(d, (uint32_t)((uintptr_t)arg >> GENERATION_SHIFT));
        if (fd >= 0)
            launch(connection, (uintptr_t)fd);
        else if (fd == -EBADF || fd == -EINVAL || fd == -ENOTSOCK) /* closed or shut down */
            return;
        else
            go_sleep(10 * GO_MILLISECOND); /* out of descriptors, or the client has gone */
    }
}

GO_EXPORT int go_debug_serve(const char *address)
{
    struct poll_desc *d;
    int fd = go_listen("tcp", address);
    if (fd >= 0 && netpoll_begin(fd, &d) == 0) /* go_listen has been there already */
        launch(serve, (uintptr_t)load_relaxed(&d->generation) << GENERATION_SHIFT | (uintptr_t)fd);
    return fd;
}
