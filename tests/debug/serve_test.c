// SPDX-License-Identifier: MIT
#include <goroutine.h>

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "json.h"
#include "test.h"

static char address[64], reply[4 << 20];
static int listener;

static void nap(void)
{
    go_sleep(1000 * GO_SECOND);
    __asm__ volatile("");
}

/* What the server says to a request line; its body. */
static const char *ask(const char *line, const char *status)
{
    int fd = go_dial("tcp", address);
    REQUIRE(fd >= 0);
    static char request[32000];
    int n = snprintf(request, sizeof request, "%s HTTP/1.1\r\nHost: localhost\r\n\r\n", line);
    CHECK_EQ(go_write(fd, request, (size_t)n), n);
    size_t used = 0;
    ssize_t got;
    while (used < sizeof reply - 1 && (got = go_read(fd, reply + used, sizeof reply - 1 - used)) > 0)
        used += (size_t)got;
    reply[used] = 0;
    go_close(fd);
    CHECK_CONTAINS(reply, status);
    const char *body = strstr(reply, "\r\n\r\n");
    REQUIRE(body);
    const char *length = strstr(reply, "Content-Length: ");
    REQUIRE(length);
    CHECK_EQ(strtol(length + 16, NULL, 10), strlen(body + 4));
    return body + 4;
}

static void start(void)
{
    if (listener > 0)
        return;
    listener = go_debug_serve("127.0.0.1:0");
    REQUIRE(listener >= 0);
    REQUIRE(go_local_address(listener, address, sizeof address) > 0);
    for (int i = 0; i < 12; i++)
        go_with(((go_options){ .name = "\"napper\"" }), nap);
    for (go_statistics waits = { 0 }; waits.waiting < 12; go_stats(&waits))
        go_sleep(GO_MILLISECOND);
}

TEST(page)
{
    start();
    const char *body = ask("GET /", "HTTP/1.1 200 OK\r\nContent-Type: text/html");
    CHECK(!strncmp(body, "<!doctype html>", 15));
    CHECK_CONTAINS(body, "</html>\n");
    CHECK(!strstr(body, "://cdn") && !strstr(body, "src="));
}

TEST(goroutines)
{
    start();
    const char *body = ask("GET /goroutines", "HTTP/1.1 200 OK\r\nContent-Type: text/plain");
    CHECK_CONTAINS(body, "goroutine 1 [");
    CHECK_CONTAINS(body, "]: \"\\\"napper\\\"\",");
    CHECK(!strstr(body, "go_debug_serve"));
    body = ask("GET /goroutines.json", "HTTP/1.1 200 OK\r\nContent-Type: application/json");
    CHECK(is_json(body));
    CHECK_CONTAINS(body, "\"name\":\"\\\"napper\\\"\"");
    CHECK_CONTAINS(body, "\"origin\":\"created by start at ");
    CHECK_CONTAINS(body, "\"frames\":[\"go_sleep");
}

/* Names that are no text, and requests that are longer than anybody needs. */
TEST(odd_names_and_requests)
{
    static char line[30000];
    start();
    go_scope *s = go_scope_open();
    go_with(((go_options){ .name = "bad \xff\xc3( \xed\xa0\x80 \xe2\x82\xac", .scope = s }), nap);
    const char *body = ask("GET /goroutines.json", "HTTP/1.1 200 OK");
    CHECK(is_json(body));
    CHECK_CONTAINS(body, "\"name\":\"bad \\ufffd\\ufffd( \\ufffd\\ufffd\\ufffd \xe2\x82\xac\"");
    go_scope_cancel(s);
    go_scope_close(s);
    memset(line, 'x', sizeof line - 1);
    memcpy(line, "GET /stats.json HTTP/1.1\r\nCookie: ", 34);
    CHECK(is_json(ask(line, "HTTP/1.1 200 OK")));
}

static __attribute__((noinline)) int deep(int n)
{
    int r = n > 0 ? deep(n - 1) : go_sleep(1000 * GO_SECOND);
    __asm__ volatile("" : "+r"(r)); /* no tail call */
    return r;
}

/* Each launches the next: of many such chains most goroutines have not begun. */
static void chain(atomic_bool *stop)
{
    if (!atomic_load(stop))
        go(chain, stop);
}

/* What the text says of a stack that is too deep, and of what has not begun, the other form says, too. */
TEST(frames_left_out_and_unbegun)
{
    start();
    atomic_bool stop = false;
    go_scope *s = go_scope_open();
    go_scope_go(s, deep, 300);
    for (int i = 0; i < 64; i++)
        go_scope_go(s, chain, &stop);
    const char *body;
    int patience = 200;
    do
        body = ask("GET /goroutines.json", "HTTP/1.1 200 OK");
    while (!strstr(body, "elided") && --patience > 0); /* it is on its way down */
    CHECK(is_json(body));
    CHECK_CONTAINS(body, ",\"...");
    CHECK_CONTAINS(body, " frames elided...\",\"deep");
    CHECK_CONTAINS(body, "\"frames\":[\"chain");
    atomic_store(&stop, true);
    go_scope_cancel(s);
    CHECK_EQ(go_scope_close(s), -ECANCELED);
}

TEST(stats)
{
    start();
    const char *body = ask("GET /stats.json", "HTTP/1.1 200 OK\r\nContent-Type: application/json");
    CHECK(is_json(body));
    CHECK_CONTAINS(body, "\"goroutines\":13,");
    CHECK_CONTAINS(body, "\"parks\":{\"");
    CHECK_CONTAINS(body, "\"wake_latency\":[0,");
    CHECK_CONTAINS(body, "\"procs\":[{\"running\":");
}

static void dumps(int fd, go_waitgroup *done)
{
    CHECK_EQ(go_trace_dump(fd), 0);
    go_close(fd);
    go_waitgroup_done(done);
}

TEST(trace)
{
    start();
    const char *body = ask("GET /trace?ms=20", "HTTP/1.1 200 OK\r\nContent-Type: application/json");
    CHECK(is_json(body));
    CHECK_CONTAINS(body, "\"traceEvents\":[");
    CHECK_EQ(go_trace_stop(), -EALREADY);
}

static void asks_for_a_trace(void)
{
    CHECK(is_json(ask("GET /trace?ms=100", "HTTP/1.1 200 OK\r\nContent-Type: application/json")));
}

static void quick(go_waitgroup *done)
{
    go_waitgroup_done(done);
}

/* The page's timelines and the program's recording do not disturb each other. */
TEST(trace_beside_another)
{
    start();
    int fds[2];
    go_waitgroup done = { 0 };
    static char text[1 << 20];
    go_scope *s = go_scope_open();
    CHECK_EQ(go_trace_start(0), 0);
    go_waitgroup_add(&done, 1);
    go_with(((go_options){ .name = "recorded" }), quick, &done);
    go_waitgroup_wait(&done);
    CHECK_EQ(go_trace_stop(), 0);
    asks_for_a_trace();
    go_scope_go(s, asks_for_a_trace);
    go_sleep(20 * GO_MILLISECOND);
    CHECK_EQ(go_trace_stop(), -EALREADY);
    REQUIRE(pipe(fds) == 0);
    go_waitgroup_add(&done, 1);
    go(dumps, fds[1], &done);
    size_t used = 0;
    for (ssize_t n; (n = go_read(fds[0], text + used, sizeof text - 1 - used)) > 0;)
        used += (size_t)n;
    text[used] = 0;
    go_waitgroup_wait(&done);
    CHECK(is_json(text));
    CHECK_CONTAINS(text, "\"name\":\"recorded ");
    CHECK(!strstr(text, "asks_for_a_trace"));
    CHECK_EQ(go_trace_start(0), 0);
    go_scope_close(s);
    CHECK_EQ(go_trace_stop(), 0);
    go_close(fds[0]);
}

TEST(refused)
{
    start();
    ask("GET /nothing", "HTTP/1.1 404 ");
    ask("POST /", "HTTP/1.1 405 ");
    int fd = go_dial("tcp", address);
    REQUIRE(fd >= 0);
    char zeros[5000] = { 0 };
    go_write(fd, zeros, sizeof zeros);
    while (go_read(fd, zeros, sizeof zeros) > 0)
        ;
    go_close(fd);
    CHECK(go_debug_serve("nonsense") < 0);
}

/* The answer reaches who has sent more than was wanted. */
static void sends_too_much(const char *begin, const char *status)
{
    static char request[300000]; /* more than it reads */
    int fd = go_dial("tcp", address);
    REQUIRE(fd >= 0);
    memset(request, 'x', sizeof request);
    memcpy(request, begin, strlen(begin));
    CHECK_EQ(go_write(fd, request, sizeof request), sizeof request);
    size_t used = 0;
    ssize_t got;
    while ((got = go_read(fd, reply + used, sizeof reply - 1 - used)) > 0)
        used += (size_t)got;
    CHECK_EQ(got, 0);
    reply[used] = 0;
    CHECK_CONTAINS(reply, status);
    go_close(fd);
}

TEST(refused_and_not_read)
{
    start();
    sends_too_much("POST / HTTP/1.1\r\n\r\n", "HTTP/1.1 405 ");
    sends_too_much("GET / HTTP/1.1\r\nCookie: ", "HTTP/1.1 431 ");
}

TEST(not_counted)
{
    start();
    CHECK_EQ(go_count(), 13);
}

/* The service waits for a free descriptor; then its listener is closed, and the next one has the number. */
CHILD(closed_while_it_has_no_descriptor)
{
    struct sockaddr_storage there;
    socklen_t size = sizeof there;
    struct rlimit limit;
    int service = go_debug_serve("127.0.0.1:0"), last = -1, fd, fds[2];
    getsockname(service, (struct sockaddr *)&there, &size);
    REQUIRE(pipe(fds) == 0);
    go_fd_deadline(fds[0], go_now() + GO_MILLISECOND, 0);
    CHECK_EQ(go_read(fds[0], reply, 1), -ETIMEDOUT); /* what the library needs to wait is open */
    int client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = 64;
    setrlimit(RLIMIT_NOFILE, &limit);
    while ((fd = open("/dev/null", O_RDONLY)) >= 0)
        last = fd;
    connect(client, (struct sockaddr *)&there, size);
    go_sleep(30 * GO_MILLISECOND);
    CHECK_EQ(go_close(service), 0);
    for (int i = 0; i < 10; i++)
        close(last - i);
    int own = go_listen("tcp", "127.0.0.1:0");
    CHECK_EQ(own, service);
    go_local_address(own, address, sizeof address);
    client = go_dial("tcp", address);
    CHECK_EQ(go_write(client, "GET / HTTP/1.1\r\n\r\n", 18), 18);
    go_fd_deadline(client, go_now() + 100 * GO_MILLISECOND, 0);
    CHECK_EQ(go_read(client, reply, sizeof reply), -ETIMEDOUT);
    go_fd_deadline(own, go_now() + GO_SECOND, 0);
    CHECK(go_accept(own, NULL, NULL) >= 0);
}

TEST(closed_listener_is_left_alone)
{
    struct test_result r = test_run_child("closed_while_it_has_no_descriptor", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_STR(r.output, "");
}

TEST(ends)
{
    start();
    CHECK_EQ(go_close(listener), 0);
    go_sleep(10 * GO_MILLISECOND);
    CHECK(go_dial("tcp", address) < 0);
    listener = 0;
}
