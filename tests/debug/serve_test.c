// SPDX-License-Identifier: MIT
#include <goroutine.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    char request[256];
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
    go_sleep(10 * GO_MILLISECOND);
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
    CHECK_CONTAINS(body, "]: \"\"napper\"\",");
    CHECK(!strstr(body, "go_debug_serve"));
    body = ask("GET /goroutines.json", "HTTP/1.1 200 OK\r\nContent-Type: application/json");
    CHECK(is_json(body));
    CHECK_CONTAINS(body, "\"name\":\"\\\"napper\\\"\"");
    CHECK_CONTAINS(body, "\"origin\":\"created by start at ");
    CHECK_CONTAINS(body, "\"frames\":[\"go_sleep");
}

TEST(stats)
{
    start();
    const char *body = ask("GET /stats.json", "HTTP/1.1 200 OK\r\nContent-Type: application/json");
    CHECK(is_json(body));
    CHECK_CONTAINS(body, "\"goroutines\":13,");
    CHECK_CONTAINS(body, "\"procs\":[{\"running\":");
}

TEST(trace)
{
    start();
    const char *body = ask("GET /trace?ms=20", "HTTP/1.1 200 OK\r\nContent-Type: application/json");
    CHECK(is_json(body));
    CHECK_CONTAINS(body, "\"traceEvents\":[");
    CHECK_EQ(go_trace_stop(), -EALREADY);
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

TEST(not_counted)
{
    start();
    CHECK_EQ(go_count(), 13);
}

TEST(ends)
{
    start();
    CHECK_EQ(go_close(listener), 0);
    go_sleep(10 * GO_MILLISECOND);
    CHECK(go_dial("tcp", address) < 0);
    listener = 0;
}
