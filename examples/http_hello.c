// SPDX-License-Identifier: MIT
//
// An HTTP server that greets: a goroutine for each connection, which stays open as HTTP/1.1 has it; requests may be pipelined.
//
//     http_hello [ADDRESS]         the default is 127.0.0.1:8080
//     curl http://127.0.0.1:8080/
//
// A connection that sends nothing for a minute is closed: a deadline on the descriptor. On SIGTERM the server takes no more
// connections and requests, and ends when the last answer is out.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memmem */
#endif
#include <goroutine.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define REQUEST_MOST 8192
#define IDLE_MOST (60 * GO_SECOND)

#define BODY "Hello, world!\n"
#define TEXT_(n) #n
#define TEXT(n) TEXT_(n)
#define LENGTH 14
_Static_assert(sizeof BODY - 1 == LENGTH, "Content-Length");

static const char hello[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: " TEXT(LENGTH) "\r\n\r\n" BODY;
static const char hello_close[] = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: " TEXT(
    LENGTH) "\r\n\r\n" BODY;
static const char bad[] = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
static const char too_large[] = "HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

struct request {
    size_t head, body; /* bytes */
    bool ok, is_head, keep;
};

/* The value of a header line, or NULL; lines end with \r\n, the last one is empty. */
static const char *header(const char *at, const char *end, const char *name)
{
    size_t length = strlen(name);
    while (at < end) {
        const char *line_end = memchr(at, '\r', (size_t)(end - at));
        if (!line_end || line_end == at)
            return NULL;
        if ((size_t)(line_end - at) > length && at[length] == ':' && strncasecmp(at, name, length) == 0) {
            at += length + 1;
            while (*at == ' ' || *at == '\t')
                at++;
            return at;
        }
        at = line_end + 2;
    }
    return NULL;
}

/* The first request in text, or head = 0 if it is not all there. */
static struct request parse(const char *text, size_t size)
{
    struct request r = { 0 };
    const char *end = memmem(text, size, "\r\n\r\n", 4);
    if (!end)
        return r;
    end += 4;
    r.head = (size_t)(end - text);
    const char *line_end = memchr(text, '\r', r.head), *fields = line_end + 2, *value;
    bool http11 = line_end - text > 9 && memcmp(line_end - 8, "HTTP/1.1", 8) == 0;
    r.ok = http11 || (line_end - text > 9 && memcmp(line_end - 8, "HTTP/1.0", 8) == 0);
    r.is_head = memcmp(text, "HEAD ", 5) == 0;
    r.keep = http11;
    if ((value = header(fields, end, "Connection")))
        r.keep = strncasecmp(value, "close", 5) != 0 && (http11 || strncasecmp(value, "keep-alive", 10) == 0);
    if ((value = header(fields, end, "Content-Length")))
        r.body = strtoul(value, NULL, 10);
    if (header(fields, end, "Transfer-Encoding"))
        r.ok = false;
    return r;
}

/* Reads and forgets what is left of a body. */
static bool skip(int fd, size_t size)
{
    char part[1024];
    while (size > 0) {
        ssize_t n = go_read(fd, part, size < sizeof part ? size : sizeof part);
        if (n <= 0)
            return false;
        size -= (size_t)n;
    }
    return true;
}

/* Answers what has been read, all of it that is complete; false when the connection shall end. */
static bool answer(int fd, char *buffer, size_t *have)
{
    char out[4096];
    size_t used = 0, size = 0;
    bool keep = true;
    while (keep && used < *have) {
        struct request r = parse(buffer + used, *have - used);
        if (r.head == 0)
            break;
        const char *text = !r.ok ? bad : r.keep ? hello : hello_close;
        size_t length = !r.ok ? sizeof bad - 1 : (r.keep ? sizeof hello : sizeof hello_close) - 1;
        if (r.ok && r.is_head)
            length -= LENGTH;
        if (size + length > sizeof out) {
            if (go_write(fd, out, size) < 0)
                return false;
            size = 0;
        }
        memcpy(out + size, text, length);
        size += length;
        keep = r.ok && r.keep;
        used += r.head;
        size_t there = *have - used < r.body ? *have - used : r.body;
        used += there;
        if (keep && !skip(fd, r.body - there))
            return false;
    }
    *have -= used;
    memmove(buffer, buffer + used, *have);
    return (size == 0 || go_write(fd, out, size) >= 0) && keep;
}

static void talk(int fd)
{
    char buffer[REQUEST_MOST];
    size_t have = 0;
    go_time deadline = 0;
    for (;;) {
        /* Moved on only now and then: a clock and a lock for each request would be seen. */
        go_time now = go_now();
        if (deadline - now < IDLE_MOST / 2)
            go_fd_deadline(fd, deadline = now + IDLE_MOST, 0);
        ssize_t n = go_read(fd, buffer + have, sizeof buffer - have);
        if (n <= 0)
            break;
        have += (size_t)n;
        if (!answer(fd, buffer, &have))
            break;
        if (have == sizeof buffer) {
            go_write(fd, too_large, sizeof too_large - 1);
            break;
        }
    }
    go_close(fd);
}

static void serve(int listener)
{
    for (;;) {
        int fd = go_accept(listener, NULL, NULL);
        if (fd >= 0) {
            go(talk, fd);
        } else if (go_cancelled()) {
            return;
        } else {
            go_logf("accept: %s", strerror(-fd));
            go_sleep(10 * GO_MILLISECOND);
        }
    }
}

int main(int argc, char **argv)
{
    char address[128];
    int listener = go_listen("tcp", argc > 1 ? argv[1] : "127.0.0.1:8080");
    if (listener < 0) {
        fprintf(stderr, "http_hello: %s\n", strerror(-listener));
        return 1;
    }
    chan(int) stop = chan_make(int, 1);
    go_signal_notify(stop, SIGTERM, SIGINT, 0);

    go_scope *connections = go_scope_open();
    go_scope_go(connections, serve, listener);
    go_local_address(listener, address, sizeof address);
    printf("listening on %s\n", address);
    fflush(stdout);

    chan_recv(stop, NULL);
    go_scope_cancel(connections);
    go_scope_close(connections);
    go_close(listener);
    printf("bye\n");
    chan_unref(stop);
    return 0;
}
