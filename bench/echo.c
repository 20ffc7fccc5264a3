// SPDX-License-Identifier: MIT
//
// echo: a TCP server that sends back what it gets, a goroutine for each connection. bench/load.c drives it.
#include <goroutine.h>

#include "bench.h"

static void serve(int fd)
{
    char buffer[4096];
    ssize_t n;

    while ((n = go_read(fd, buffer, sizeof buffer)) > 0)
        if (go_write(fd, buffer, (size_t)n) < 0)
            break;
    go_close(fd);
}

int main(void)
{
    char address[64];
    int listener = go_listen("tcp", "127.0.0.1:0");

    if (listener < 0 || go_local_address(listener, address, sizeof address) < 0)
        go_fatal("echo: cannot listen");
    printf("port %s\n", strrchr(address, ':') + 1);
    fflush(stdout);
    for (;;) {
        int fd = go_accept(listener, NULL, NULL);
        if (fd < 0)
            go_fatal("echo: accept: %s", strerror(-fd));
        go(serve, fd);
    }
}
