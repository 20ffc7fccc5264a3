// SPDX-License-Identifier: MIT
//
// The hand-written loop: epoll ECHO, a thread for each of GOMAXPROCS with an epoll set and a listener of its own.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"

static int port;

static void check(int result, const char *what)
{
    if (result < 0) {
        perror(what);
        exit(1);
    }
}

static int listener(void)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    socklen_t size = sizeof at;
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    check(fd, "socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    check(bind(fd, (struct sockaddr *)&at, sizeof at), "bind");
    check(listen(fd, 4096), "listen");
    getsockname(fd, (struct sockaddr *)&at, &size);
    port = ntohs(at.sin_port);
    return fd;
}

static void *loop(void *arg)
{
    int listening = (int)(intptr_t)arg, one = 1;
    int ep = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event e = { .events = EPOLLIN, .data.fd = listening }, events[128];
    char buffer[4096];

    check(ep, "epoll_create1");
    epoll_ctl(ep, EPOLL_CTL_ADD, listening, &e);
    for (;;) {
        int ready = epoll_wait(ep, events, 128, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == listening) {
                while ((fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
                    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                    e = (struct epoll_event){ .events = EPOLLIN, .data.fd = fd };
                    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
                }
                continue;
            }
            ssize_t n = read(fd, buffer, sizeof buffer);
            if (n < 0 && errno == EAGAIN)
                continue;
            /* 64-byte answers always fit the socket's buffer; a real server would keep what is left over. */
            if (n <= 0 || write(fd, buffer, (size_t)n) != n)
                close(fd);
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    const char *procs = getenv("GOMAXPROCS");
    int threads = procs ? atoi(procs) : 1;
    pthread_t t;

    if (argc < 2 || strcmp(argv[1], "echo") != 0)
        return 2;
    int first = listener();
    for (int i = 1; i < threads; i++)
        pthread_create(&t, NULL, loop, (void *)(intptr_t)listener());
    printf("port %d\n", port);
    fflush(stdout);
    loop((void *)(intptr_t)first);
}
