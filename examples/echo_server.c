// SPDX-License-Identifier: MIT
//
// An echo server: a goroutine for each connection, written as if each had the machine for itself.
//
//     echo_server [ADDRESS]        the default is 127.0.0.1:7007; port 0 takes a free one
//     nc 127.0.0.1 7007
//
// On SIGTERM or Ctrl-C the scope that all connections live in is cancelled: each read that waits returns -ECANCELED, each
// goroutine closes its connection and ends, and go_scope_close returns when the last one has.
#include <goroutine.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void echo(int fd)
{
    char buffer[4096];
    ssize_t n;
    while ((n = go_read(fd, buffer, sizeof buffer)) > 0)
        if (go_write(fd, buffer, (size_t)n) < 0)
            break;
    go_close(fd);
}

static void serve(int listener)
{
    for (;;) {
        int fd = go_accept(listener, NULL, NULL);
        if (fd >= 0) {
            go(echo, fd); /* inside the scope that serve is in */
        } else if (go_cancelled()) {
            return;
        } else {
            go_logf("accept: %s", strerror(-fd));
            go_sleep(10 * GO_MILLISECOND); /* out of descriptors, say: others will close some */
        }
    }
}

int main(int argc, char **argv)
{
    char address[128];
    int listener = go_listen("tcp", argc > 1 ? argv[1] : "127.0.0.1:7007");
    if (listener < 0) {
        fprintf(stderr, "echo_server: %s\n", strerror(-listener));
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
