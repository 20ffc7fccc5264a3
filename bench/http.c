// SPDX-License-Identifier: MIT
//
// http: answers every request with "Hello, world!", on connections that stay, a goroutine for each. It reads what it must
// of HTTP/1.1: the end of the header, and whether the connection is to stay; there is no body in a GET. Pipelined
// requests are answered in order.
#include <goroutine.h>

#include "bench.h"

struct answer {
    go_time until; /* the Date is right until then */
    int length;
    char text[256];
};

static void answer_now(struct answer *a)
{
    go_time now = go_now();
    if (now < a->until)
        return;
    time_t seconds = time(NULL);
    struct tm tm;
    char date[64];
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&seconds, &tm));
    a->length = snprintf(a->text, sizeof a->text,
                         "HTTP/1.1 200 OK\r\nDate: %s\r\nContent-Length: 14\r\n"
                         "Content-Type: text/plain; charset=utf-8\r\n\r\nHello, world!\n",
                         date);
    a->until = now + GO_SECOND;
}

static void serve(int fd)
{
    struct answer a = { 0 };
    char buffer[8192];
    size_t have = 0;
    int stays = 1;

    while (stays && have < sizeof buffer - 1) {
        ssize_t n = go_read(fd, buffer + have, sizeof buffer - 1 - have);
        if (n <= 0)
            break;
        have += (size_t)n;
        buffer[have] = 0;
        char *end;
        while (stays && (end = strstr(buffer, "\r\n\r\n")) != NULL) {
            end[2] = 0;
            stays = strncmp(buffer, "GET ", 4) == 0 && strcasestr(buffer, "\r\nconnection: close\r\n") == NULL;
            answer_now(&a);
            if (go_write(fd, a.text, (size_t)a.length) < 0)
                stays = 0;
            have -= (size_t)(end + 4 - buffer);
            memmove(buffer, end + 4, have + 1);
        }
    }
    go_close(fd);
}

int main(void)
{
    char address[64];
    int listener = go_listen("tcp", "127.0.0.1:0");

    if (listener < 0 || go_local_address(listener, address, sizeof address) < 0)
        go_fatal("http: cannot listen");
    printf("port %s\n", strrchr(address, ':') + 1);
    fflush(stdout);
    for (;;) {
        int fd = go_accept(listener, NULL, NULL);
        if (fd < 0)
            go_fatal("http: accept: %s", strerror(-fd));
        go(serve, fd);
    }
}
