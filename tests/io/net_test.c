// SPDX-License-Identifier: MIT
// Listening, dialling, accepting; what goes wrong with it; many connections.
#include <goroutine.h>

#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"
#include "waits.h"

#include "sched/netpoll.h"
#include "sched/sched.h"

static void settle(void)
{
    for (int i = 0; i < 20; i++)
        go_yield();
    go_sleep(2 * GO_MILLISECOND);
}

static void echo(int fd)
{
    char buffer[1024];
    ssize_t n;
    while ((n = go_read(fd, buffer, sizeof buffer)) > 0)
        if (go_write(fd, buffer, (size_t)n) < 0)
            break;
    go_close(fd);
}

static void serve(int listener, int *served, go_waitgroup *done)
{
    int fd;
    while ((fd = go_accept(listener, NULL, NULL)) >= 0) {
        (*served)++;
        go(echo, fd);
    }
    go_waitgroup_done(done);
}

static int listen_local(char *address, size_t size)
{
    int l = go_listen("tcp", "127.0.0.1:0");
    REQUIRE(l >= 0);
    REQUIRE(go_local_address(l, address, size) > 0);
    return l;
}

/* By accept(2), when the connection is there: a listener of the library's does not block. */
static int plain_accept(int l)
{
    CHECK_EQ(go_wait_fd(l, POLLIN), POLLIN);
    return accept(l, NULL, NULL);
}

static int option(int fd, int level, int name)
{
    int v = -1;
    socklen_t size = sizeof v;
    getsockopt(fd, level, name, &v, &size);
    return v;
}

TEST(tcp_echo)
{
    char address[64], peer[64], buffer[64];
    int served = 0;
    go_waitgroup done = { 0 };
    int l = listen_local(address, sizeof address);
    go_waitgroup_add(&done, 1);
    go(serve, l, &served, &done);
    for (int i = 0; i < 20; i++) {
        int fd = go_dial("tcp", address);
        REQUIRE(fd >= 0);
        CHECK_EQ(go_write(fd, "hello", 5), 5);
        CHECK_EQ(go_recv(fd, buffer, 5, MSG_WAITALL), 5);
        CHECK(memcmp(buffer, "hello", 5) == 0);
        CHECK(go_peer_address(fd, peer, sizeof peer) > 0);
        CHECK_STR(peer, address);
        CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
        CHECK_EQ(option(fd, IPPROTO_TCP, TCP_NODELAY), 1);
        CHECK_EQ(option(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
        CHECK_EQ(go_close(fd), 0);
    }
    CHECK_EQ(option(l, SOL_SOCKET, SO_REUSEADDR), 1);
    CHECK_EQ(go_close(l), 0);
    go_waitgroup_wait(&done);
    CHECK_EQ(served, 20);
}

TEST(accepted_sockets_inherit)
{
    char address[64];
    int l = listen_local(address, sizeof address);
    int c = go_dial("tcp", address);
    struct sockaddr_in from;
    socklen_t size = sizeof from;
    int s = go_accept(l, (struct sockaddr *)&from, &size);
    CHECK(s >= 0);
    CHECK_EQ(size, sizeof from);
    CHECK_EQ(from.sin_family, AF_INET);
    CHECK_EQ(fcntl(s, F_GETFD), FD_CLOEXEC);
    CHECK_EQ(option(s, IPPROTO_TCP, TCP_NODELAY), 1);
    CHECK_EQ(option(s, SOL_SOCKET, SO_KEEPALIVE), 1);
    CHECK_EQ(fcntl(s, F_GETFL) & O_NONBLOCK, 0);
    CHECK_EQ(fcntl(c, F_GETFL) & O_NONBLOCK, 0);
    go_close(c);
    go_close(s);
    go_close(l);
}

/* A listener of the program's own, in blocking mode, which stays so; several goroutines accept from it. */
TEST(accept_from_a_blocking_listener)
{
    int l = socket(AF_INET, SOCK_STREAM, 0), served[3] = { 0 };
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    go_waitgroup done = { 0 };
    REQUIRE(bind(l, (struct sockaddr *)&a, sizeof a) == 0 && listen(l, 64) == 0);
    char address[64], c;
    go_local_address(l, address, sizeof address);
    for (int i = 0; i < 3; i++) {
        go_waitgroup_add(&done, 1);
        go(serve, l, &served[i], &done);
    }
    settle();
    for (int i = 0; i < 30; i++) {
        int fd = go_dial("tcp", address);
        REQUIRE(fd >= 0);
        go_write(fd, "x", 1);
        CHECK_EQ(go_read(fd, &c, 1), 1);
        go_close(fd);
    }
    CHECK_EQ(fcntl(l, F_GETFL) & O_NONBLOCK, 0);
    go_close(l);
    go_waitgroup_wait(&done);
    CHECK_EQ(served[0] + served[1] + served[2], 30);
}

static void accept_and_close(int listener, go_waitgroup *done)
{
    int fd = go_accept(listener, NULL, NULL);
    CHECK(fd >= 0);
    go_close(fd);
    go_waitgroup_done(done);
}

/* A connection wakes one of those who wait for it, and whoever looks once more in vain. */
TEST(a_blocking_listener_wakes_one)
{
    enum { MANY = 100 };
    char address[64];
    int l = listen_local(address, sizeof address);
    CHECK_EQ(fcntl(l, F_SETFL, fcntl(l, F_GETFL) & ~O_NONBLOCK), 0);
    go_waitgroup done = { 0 };
    go_waitgroup_add(&done, MANY);
    for (int i = 0; i < MANY; i++)
        go(accept_and_close, l, &done);
    while (readers_of(l) < MANY)
        go_yield();
    go_stats_detail(1);
    uint64_t before = io_waits();
    for (int i = 0; i < MANY; i++) {
        int a = go_dial("tcp", address);
        CHECK(a >= 0);
        go_close(a);
        while (readers_of(l) > MANY - 1 - i)
            go_yield();
    }
    go_waitgroup_wait(&done);
    CHECK(io_waits() - before <= 2 * MANY);
    go_stats_detail(0);
    go_close(l);
}

/* From a listener in blocking mode one at a time takes, and who found another one at it learns that there may be more, although he is
 * not queued yet. */
TEST(accepts_that_meet)
{
    char address[64];
    int l = listen_local(address, sizeof address);
    struct poll_desc *d;
    CHECK_EQ(fcntl(l, F_SETFL, fcntl(l, F_GETFL) & ~O_NONBLOCK), 0);
    CHECK_EQ(netpoll_begin(l, &d), 0);
    int a = go_dial("tcp", address), b = go_dial("tcp", address);
    struct poll_seen seen = netpoll_see(d, POLL_READ); /* as he did, before */
    struct poll_turn turn = { .state = TURN_FIRST };
    int c = go_accept(l, NULL, NULL);
    CHECK(c >= 0);
    uint32_t before = waits_at(l);
    CHECK_EQ(netpoll_wait(d, POLL_READ, seen, &turn), 0); /* and now he waits */
    CHECK_EQ(waits_at(l), before);
    int e = go_accept(l, NULL, NULL);
    CHECK(e >= 0);
    go_close(a), go_close(b), go_close(c), go_close(e), go_close(l);
}

TEST(unix_sockets)
{
    char path[64], abstract[64], name[128], c;
    snprintf(path, sizeof path, "/tmp/go_net_test_%d", (int)getpid());
    snprintf(abstract, sizeof abstract, "@go_net_test_%d", (int)getpid());
    const char *addresses[] = { path, abstract };
    for (int i = 0; i < 2; i++) {
        unlink(path);
        int l = go_listen("unix", addresses[i]);
        REQUIRE(l >= 0);
        CHECK(go_local_address(l, name, sizeof name) > 0);
        CHECK_STR(name, addresses[i]);
        int fd = go_dial("unix", addresses[i]);
        REQUIRE(fd >= 0);
        int s = go_accept(l, NULL, NULL);
        CHECK_EQ(go_write(fd, "u", 1), 1);
        CHECK_EQ(go_read(s, &c, 1), 1);
        CHECK_EQ(c, 'u');
        CHECK_EQ(go_listen("unix", addresses[i]), -EADDRINUSE);
        go_close(fd);
        go_close(s);
        go_close(l);
    }
    int l = go_listen("unix", path);
    go_close(l);
    CHECK_EQ(go_dial("unix", path), -ECONNREFUSED);
    unlink(path);
    CHECK_EQ(go_dial("unix", path), -ENOENT);
}

static void receive(int fd, char *buffer, size_t size, struct sockaddr_in *from, ssize_t *result, go_waitgroup *done)
{
    socklen_t length = sizeof *from;
    *result = go_recvfrom(fd, buffer, size, 0, (struct sockaddr *)from, &length);
    go_waitgroup_done(done);
}

TEST(udp)
{
    char address[64], buffer[64], empty;
    struct sockaddr_in from = { 0 };
    ssize_t got = -1;
    go_waitgroup done = { 0 };
    int s = go_listen("udp", "127.0.0.1:0");
    REQUIRE(s >= 0);
    go_local_address(s, address, sizeof address);
    int c = go_dial("udp", address), broadcasts = 0;
    socklen_t size = sizeof broadcasts;
    REQUIRE(c >= 0);
    CHECK_EQ(getsockopt(c, SOL_SOCKET, SO_BROADCAST, &broadcasts, &size), 0);
    CHECK_EQ(broadcasts, 1);
    go_waitgroup_add(&done, 1);
    go(receive, s, buffer, sizeof buffer, &from, &got, &done);
    settle();
    CHECK_EQ(go_write(c, "datagram", 8), 8);
    go_waitgroup_wait(&done);
    CHECK_EQ(got, 8);
    CHECK_EQ(go_sendto(s, "back", 4, 0, (struct sockaddr *)&from, sizeof from), 4);
    CHECK_EQ(go_sendto(s, "again", 5, 0, (struct sockaddr *)&from, sizeof from), 5);
    /* A short datagram says nothing about the next one. */
    CHECK_EQ(go_read(c, buffer, sizeof buffer), 4);
    CHECK_EQ(go_read(c, buffer, sizeof buffer), 5);
    CHECK_EQ(go_write(c, &empty, 0), 0);
    CHECK_EQ(go_recv(s, buffer, sizeof buffer, 0), 0);
    go_close(s);
    go_close(c);
}

TEST(addresses_that_make_no_sense)
{
    CHECK_EQ(go_listen("tcp", "127.0.0.1"), -EINVAL);
    CHECK_EQ(go_listen("tcp", "::1:80"), -EINVAL);
    CHECK_EQ(go_listen("tcp", "[[::1]]:80"), -EINVAL);
    CHECK_EQ(go_dial("tcp", "[::1]:80]:1"), -EINVAL);
    CHECK_EQ(go_listen("tcp", "127.0.0.1:99999"), -EINVAL);
    CHECK_EQ(go_listen("tcp", "127.0.0.1:+80"), -EINVAL);
    CHECK_EQ(go_listen("tcp", ": 80"), -EINVAL);
    CHECK_EQ(go_dial("udp", "127.0.0.1:-1"), -EINVAL);
    CHECK_EQ(go_listen("carrier pigeon", "127.0.0.1:0"), -EPROTONOSUPPORT);
    CHECK_EQ(go_listen("tcp6", "127.0.0.1:0"), -EAFNOSUPPORT);
    CHECK_EQ(go_dial("tcp6", "127.1:80"), -EAFNOSUPPORT);
    CHECK_EQ(go_listen("tcp", NULL), -EINVAL);
    CHECK_EQ(go_dial("unix", ""), -EINVAL);
    char buffer[8];
    int l = go_listen("tcp", "127.0.0.1:0");
    CHECK_EQ(go_local_address(l, buffer, sizeof buffer), -ENOSPC);
    CHECK_EQ(go_peer_address(l, buffer, sizeof buffer), -ENOTCONN);
    CHECK_EQ(go_local_address(-1, buffer, sizeof buffer), -EBADF);
    go_close(l);
    CHECK_EQ(go_listen("tcp6", "[::ffff:127.0.0.1]:0"), -EAFNOSUPPORT);
    pid_t thread = gettid();
    errno = 4711;
    CHECK_EQ(go_dial("tcp", "127.0.0.1:1000000000000000000000080"), -EINVAL); /* more than a long holds */
    CHECK_EQ(go_listen("tcp", "127.0.0.1:1000000000000000000000080"), -EINVAL);
    if (gettid() == thread)
        CHECK_EQ(errno, 4711);
    CHECK_EQ(go_listen("tcp", "127.0.0.1:18446744073709551616"), -EINVAL); /* 2^64 is not 0 */
}

TEST(any_address_and_names)
{
    char address[64], target[80];
    int l = go_listen("tcp", ":0");
    REQUIRE(l >= 0);
    go_local_address(l, address, sizeof address);
    const char *port = strrchr(address, ':');
    snprintf(target, sizeof target, "localhost%s", port);
    int fd = go_dial("tcp", target);
    CHECK(fd >= 0);
    int s = go_accept(l, NULL, NULL);
    CHECK(s >= 0);
    go_close(fd);
    go_close(s);
    fd = go_dial("tcp", port);
    CHECK(fd >= 0);
    go_close(fd);
    fd = go_dial("tcp4", target);
    CHECK(fd >= 0);
    go_close(fd);
    go_close(l);
    l = go_listen("tcp", "[::ffff:127.0.0.1]:0");
    REQUIRE(l >= 0);
    CHECK(go_local_address(l, address, sizeof address) > 0);
    CHECK(strncmp(address, "127.0.0.1:", 10) == 0);
    go_close(l);
    l = go_listen("tcp", "[::]:0"); /* as ":0" where there is IPv6 */
    if (l >= 0) {
        go_local_address(l, address, sizeof address);
        snprintf(target, sizeof target, "127.0.0.1%s", strrchr(address, ':'));
        fd = go_dial("tcp", target);
        CHECK(fd >= 0);
        go_close(fd);
        go_close(l);
    }
    /* Without a name server this takes seconds; the scope does not wait for it. */
    go_scope *scope = go_scope_open();
    go_scope_deadline(scope, go_now() + 50 * GO_MILLISECOND);
    go_scope_enter(scope);
    int r = go_dial("tcp", "no-such-name.invalid:80");
    CHECK(r == -ENOENT || r == -EAGAIN || r == -ETIMEDOUT);
    go_scope_leave(scope);
    go_scope_close(scope);
}

/* In front of the C library's: of two names that it does not know one takes a while. */
static atomic_bool answered;

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **list)
{
    if (name && !strcmp(name, "no-such-name.test"))
        return EAI_NONAME;
    if (name && !strcmp(name, "slow-name.test")) {
        while (!atomic_load(&answered))
            usleep(1000);
        return EAI_NONAME;
    }
    __typeof__(&getaddrinfo) next = (__typeof__(&getaddrinfo))dlsym(RTLD_NEXT, "getaddrinfo");
    return next ? next(name, service, hints, list) : EAI_FAIL;
}

static void dials_slow_name(int *result)
{
    *result = go_dial("tcp", "slow-name.test:1");
}

/* One thread is idle, and two names are asked for: the second does not wait for the first. */
CHILD(asks_for_two_names)
{
    int slow = 1;
    CHECK_EQ(go_dial("tcp", "no-such-name.test:1"), -ENOENT);
    go_sleep(20 * GO_MILLISECOND); /* the thread has become idle */
    go_scope *all = go_scope_open(), *s = go_scope_open();
    go_scope_deadline(s, go_now() + 10 * GO_SECOND); /* what fails here waits for ever */
    go_scope_go(all, dials_slow_name, &slow);
    go_yield(); /* it asks */
    go_scope_enter(s);
    CHECK_EQ(go_dial("tcp", "no-such-name.test:1"), -ENOENT);
    go_scope_leave(s);
    go_scope_close(s);
    atomic_store(&answered, true);
    go_scope_close(all);
    CHECK_EQ(slow, -ENOENT);
    puts("both");
}

TEST(a_slow_name_holds_up_no_other)
{
    struct test_result r = test_run_child("asks_for_two_names", "GOMAXPROCS=1", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_STR(r.output, "both\n");
}

/* The port by its name means the same as by its number: every address. */
TEST(any_address_and_a_service)
{
    static const char *const names[] = { "postgresql", "mysql", "x11", "rsync", "nfs", "sip" };
    char address[64], target[32];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct servent *service = getservbyname(names[i], "tcp");
        if (!service || ntohs(service->s_port) < 1024)
            continue;
        snprintf(target, sizeof target, ":%u", ntohs(service->s_port));
        int l = go_listen("tcp", target);
        if (l < 0)
            continue; /* somebody else's */
        struct sockaddr_storage by_number = { 0 }, by_name = { 0 };
        socklen_t size = sizeof by_number;
        CHECK_EQ(getsockname(l, (struct sockaddr *)&by_number, &size), 0);
        go_close(l);
        snprintf(target, sizeof target, ":%s", names[i]);
        l = go_listen("tcp", target);
        if (l == -EADDRINUSE)
            continue; /* by now */
        REQUIRE(l >= 0);
        size = sizeof by_name;
        CHECK_EQ(getsockname(l, (struct sockaddr *)&by_name, &size), 0);
        CHECK(memcmp(&by_number, &by_name, sizeof by_name) == 0);
        CHECK(go_local_address(l, address, sizeof address) > 0);
        int fd = go_dial("tcp4", target);
        CHECK(fd >= 0);
        go_close(fd);
        go_close(l);
        return;
    }
    SKIP("no service of a free port is known here");
}

/* A child with a network of its own; its status is 77 where that cannot be. */
static void run_in_a_network(const char *child)
{
    struct test_result r = test_run_child(child, NULL);
    if (r.status == 77)
        SKIP("no network of its own");
    CHECK_EQ(r.status, 0);
    CHECK_STR(r.output, "");
}

/* Where there are two ports for who dials. */
CHILD(two_ports)
{
    struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP };
    struct {
        struct in6_addr address;
        uint32_t prefix;
        int index;
    } link_local = { { { { 0xfe, 0x80, [15] = 1 } } }, 64, 1 };
    if (unshare(CLONE_NEWNET) != 0)
        _exit(77);
    int s = socket(AF_INET, SOCK_DGRAM, 0), ports = open("/proc/sys/net/ipv4/ip_local_port_range", O_WRONLY);
    if (ioctl(s, SIOCSIFFLAGS, &lo) != 0 || ports < 0 || write(ports, "40000 40001", 11) != 11)
        _exit(77);
    for (int i = 0; i < 40; i++)
        CHECK(go_dial("tcp", i % 2 ? "127.0.0.1:40001" : "127.0.0.1:40000") < 0);
    close(s);
    s = socket(AF_INET6, SOCK_DGRAM, 0);
    if (ioctl(s, SIOCSIFADDR, &link_local) == 0) {
        char address[64];
        int l = go_listen("tcp", "[fe80::1%lo]:0");
        for (int i = 0; l == -EADDRNOTAVAIL && i < 1000; i++) { /* it is not there at once */
            go_sleep(10 * GO_MILLISECOND);
            l = go_listen("tcp", "[fe80::1%lo]:0");
        }
        CHECK(go_local_address(l, address, sizeof address) > 0);
        CHECK(strncmp(address, "[fe80::1%lo]:", 13) == 0);
        CHECK(go_dial("tcp", address) >= 0);
    }
}

/* What listens "everywhere" is reached by that address where there is no IPv6, too. */
CHILD(ipv6_switched_off)
{
    struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP };
    char address[64];
    if (unshare(CLONE_NEWNET) != 0)
        _exit(77);
    int s = socket(AF_INET, SOCK_DGRAM, 0), off = open("/proc/sys/net/ipv6/conf/all/disable_ipv6", O_WRONLY);
    if (ioctl(s, SIOCSIFFLAGS, &lo) != 0 || off < 0 || write(off, "1", 1) != 1)
        _exit(77);
    int l = go_listen("tcp", "[::]:0");
    if (l < 0)
        _exit(77);
    CHECK(go_local_address(l, address, sizeof address) > 0);
    CHECK(strncmp(address, "[::]:", 5) == 0);
    CHECK(go_dial("tcp", address) >= 0);
    CHECK(go_dial("udp", address) >= 0);
    CHECK_EQ(go_dial("tcp6", address), -EADDRNOTAVAIL);
}

TEST(everywhere_without_ipv6)
{
    run_in_a_network("ipv6_switched_off");
}

/* Neither is a socket connected to itself, nor does an address lose its zone on the way to text and back. */
TEST(in_a_small_network)
{
    run_in_a_network("two_ports");
}

/* localhost has two addresses or one; somebody listens on one of them only. */
TEST(all_addresses_are_tried)
{
    char address[64], target[80];
    int l = listen_local(address, sizeof address);
    snprintf(target, sizeof target, "localhost%s", strrchr(address, ':'));
    int fd = go_dial("tcp", target);
    CHECK(fd >= 0);
    go_close(fd);
    go_close(l);
}

TEST(refused_and_cancelled)
{
    char address[64];
    int l = listen_local(address, sizeof address);
    go_close(l);
    CHECK_EQ(go_dial("tcp", address), -ECONNREFUSED);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    a.sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1));
    CHECK_EQ(go_connect(fd, (struct sockaddr *)&a, sizeof a), -ECONNREFUSED);
    CHECK_EQ(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    go_close(fd);
}

/* As connect(2): a refusal is over with the call that tells it. */
TEST(connect_again_after_a_refusal)
{
    for (int nonblocking = 0; nonblocking < 2; nonblocking++) {
        struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t size = sizeof a;
        int l = socket(AF_INET, SOCK_STREAM, 0), s = socket(AF_INET, SOCK_STREAM | (nonblocking ? SOCK_NONBLOCK : 0), 0);
        REQUIRE(bind(l, (struct sockaddr *)&a, size) == 0 && getsockname(l, (struct sockaddr *)&a, &size) == 0);
        CHECK_EQ(go_connect(s, (struct sockaddr *)&a, size), -ECONNREFUSED);
        CHECK_EQ(go_connect(s, (struct sockaddr *)&a, size), -ECONNREFUSED);
        REQUIRE(listen(l, 5) == 0);
        CHECK_EQ(go_connect(s, (struct sockaddr *)&a, size), 0);
        CHECK_EQ(go_connect(s, (struct sockaddr *)&a, size), -EISCONN);
        CHECK_EQ(go_close(s), 0);
        CHECK_EQ(go_close(l), 0);
    }
}

static void connects(int s, const struct sockaddr_un *a, int *result, go_waitgroup *done)
{
    *result = go_connect(s, (const struct sockaddr *)a, sizeof *a);
    go_waitgroup_done(done);
}

/* Many at once on a socket in blocking mode, which stays so: none of them blocks its thread until there is room. */
TEST(connects_that_meet)
{
    enum { MANY = 100 };
    int l = socket(AF_UNIX, SOCK_STREAM, 0), first = socket(AF_UNIX, SOCK_STREAM, 0), s = socket(AF_UNIX, SOCK_STREAM, 0);
    int result[MANY];
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    go_waitgroup done = { 0 };
    snprintf(a.sun_path + 1, sizeof a.sun_path - 1, "goroutine-meet-%d", (int)getpid());
    REQUIRE(bind(l, (struct sockaddr *)&a, sizeof a) == 0 && listen(l, 0) == 0);
    REQUIRE(connect(first, (struct sockaddr *)&a, sizeof a) == 0); /* the queue is full */
    CHECK_EQ(go_fd_deadline(s, 0, go_now() + 300 * GO_MILLISECOND), 0);
    go_waitgroup_add(&done, MANY);
    for (int i = 0; i < MANY; i++)
        go(connects, s, &a, &result[i], &done);
    go_waitgroup_wait(&done);
    for (int i = 0; i < MANY; i++)
        CHECK_EQ(result[i], -ETIMEDOUT);
    CHECK_EQ(fcntl(s, F_GETFL) & O_NONBLOCK, 0);
    go_close(s), go_close(first), go_close(l);
}

/* Its mode is that of the file, whatever the number stands for by then. */
static atomic_int mode_fd, mode_round, mode_reopened;

static void *closes_and_opens(void *path)
{
    go_now(); /* the library knows this thread from here on */
    for (int round = 1; round <= 1000; round++) {
        while (atomic_load(&mode_round) < round)
            sched_yield();
        for (volatile int i = 0; i < round * 4; i++)
            ;
        go_close(atomic_load(&mode_fd));
        atomic_store(&mode_reopened, open(path, O_WRONLY | O_APPEND));
        atomic_store(&mode_fd, -1);
    }
    return NULL;
}

TEST(closed_during_a_connect)
{
    char path[] = "/tmp/goroutine-net-XXXXXX", address[64];
    int file = mkstemp(path), l = go_listen("tcp", "127.0.0.1:0"), lost = 0, left = 0;
    REQUIRE(file >= 0 && l >= 0 && go_local_address(l, address, sizeof address) > 0);
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    a.sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1));
    pthread_t thread;
    REQUIRE(pthread_create(&thread, NULL, closes_and_opens, path) == 0);
    for (int round = 1; round <= 1000; round++) {
        int s = socket(AF_INET, SOCK_STREAM, 0), same = dup(s);
        atomic_store(&mode_fd, s);
        atomic_store(&mode_round, round);
        go_connect(s, (struct sockaddr *)&a, sizeof a);
        while (atomic_load(&mode_fd) >= 0)
            sched_yield();
        lost += !(fcntl(mode_reopened, F_GETFL) & O_APPEND);
        left += (fcntl(same, F_GETFL) & O_NONBLOCK) != 0;
        close(mode_reopened);
        close(same);
        while ((s = accept(l, NULL, NULL)) >= 0) /* go_listen's do not block */
            close(s);
    }
    pthread_join(thread, NULL);
    CHECK_EQ(lost, 0);
    CHECK_EQ(left, 0);
    go_close(l);
    close(file);
    unlink(path);
}

/* Who waits for a Unix socket's listener to catch up does not connect what has the number next. */
TEST(closed_while_the_listener_is_behind)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    snprintf(a.sun_path + 1, sizeof a.sun_path - 1, "libgoroutine-behind-%d", (int)getpid());
    int l = socket(AF_UNIX, SOCK_STREAM, 0), first = socket(AF_UNIX, SOCK_STREAM, 0), s = socket(AF_UNIX, SOCK_STREAM, 0), r = 1;
    REQUIRE(bind(l, (struct sockaddr *)&a, sizeof a) == 0 && listen(l, 0) == 0);
    REQUIRE(go_connect(first, (struct sockaddr *)&a, sizeof a) == 0); /* and now it is full */
    go_waitgroup done = { 0 };
    go_waitgroup_add(&done, 1);
    go(connects, s, &a, &r, &done);
    for (go_statistics waits = { 0 }; waits.waiting == 0; go_stats(&waits))
        go_yield();
    CHECK_EQ(go_close(s), 0);
    CHECK_EQ(socket(AF_UNIX, SOCK_STREAM, 0), s);
    CHECK_EQ(close(plain_accept(l)), 0);
    go_waitgroup_wait(&done);
    CHECK_EQ(r, -EBADF);
    CHECK_EQ(go_connect(s, (struct sockaddr *)&a, sizeof a), 0); /* it is not connected yet */
    CHECK_EQ(go_close(s) + go_close(first) + go_close(l), 0);
}

/* A number that stood for something whose writes are cut, closed in the plain way. */
TEST(messages_are_not_cut)
{
    static char message[8000], got[9000];
    uint64_t one = 1;
    int e = eventfd(0, 0), pair[2], rest;
    CHECK_EQ(go_write(e, &one, sizeof one), 8);
    close(e);
    REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0);
    rest = pair[0] == e ? pair[1] : pair[0];
    CHECK(pair[0] == e || pair[1] == e);
    CHECK_EQ(go_write(e, message, sizeof message), 8000);
    CHECK_EQ(go_read(rest, got, sizeof got), 8000);
    CHECK_EQ(go_close(e) + go_close(rest), 0);
}

/* A listener whose queue is full takes no more: SYNs are dropped, and connects hang. */
TEST(connect_deadline)
{
    int l = socket(AF_INET, SOCK_STREAM, 0), fill[8];
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof a;
    REQUIRE(bind(l, (struct sockaddr *)&a, sizeof a) == 0 && listen(l, 0) == 0);
    getsockname(l, (struct sockaddr *)&a, &size);
    int hung = 0;
    for (int i = 0; i < 8; i++) {
        fill[i] = socket(AF_INET, SOCK_STREAM, 0);
        go_fd_deadline(fill[i], 0, go_now() + 30 * GO_MILLISECOND);
        int r = go_connect(fill[i], (struct sockaddr *)&a, sizeof a);
        CHECK(r == 0 || r == -ETIMEDOUT);
        hung += r == -ETIMEDOUT;
    }
    CHECK(hung > 0);
    /* One that has been ended goes on being made, and may be waited for again. */
    for (int i = 0; i < 8; i++) {
        go_fd_deadline(fill[i], 0, go_now() + 30 * GO_MILLISECOND);
        int r = go_connect(fill[i], (struct sockaddr *)&a, sizeof a);
        CHECK(r == 0 || r == -EISCONN || r == -ETIMEDOUT);
    }
    for (int i = 0; i < 8; i++)
        go_close(fill[i]);
    go_close(l);
}

static void dial(const char *address, int *result, go_waitgroup *done)
{
    *result = go_dial("tcp", address);
    go_waitgroup_done(done);
}

static void read_one(int fd, ssize_t *result, go_waitgroup *done)
{
    char c;
    *result = go_read(fd, &c, 1);
    go_waitgroup_done(done);
}

static void accept_one(int fd, ssize_t *result, go_waitgroup *done)
{
    *result = go_accept(fd, NULL, NULL);
    go_waitgroup_done(done);
}

TEST(scopes_end_waits)
{
    char address[64], c;
    ssize_t r[3] = { 1, 1, 1 };
    go_waitgroup done = { 0 };
    int l = listen_local(address, sizeof address);
    int a = go_dial("tcp", address), b = go_accept(l, NULL, NULL);
    go_scope *s = go_scope_open();
    go_waitgroup_add(&done, 3);
    go_scope_go(s, read_one, a, &r[0], &done);
    go_scope_go(s, read_one, b, &r[1], &done);
    go_scope_go(s, accept_one, l, &r[2], &done);
    settle();
    go_scope_cancel(s);
    go_waitgroup_wait(&done);
    CHECK_EQ(go_scope_close(s), -ECANCELED);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(r[i], -ECANCELED);
    /* What can be done at once is done in a cancelled scope too. */
    s = go_scope_open();
    go_scope_cancel(s);
    go_scope_enter(s);
    CHECK_EQ(go_read(b, &c, 1), -ECANCELED);
    CHECK_EQ(go_write(a, "x", 1), 1);
    settle();
    CHECK_EQ(go_wait_fd(b, POLLIN), POLLIN);
    CHECK_EQ(go_read(b, &c, 1), 1);
    CHECK_EQ(go_read(b, &c, 1), -ECANCELED);
    go_scope_leave(s);
    go_scope_close(s);
    s = go_scope_open();
    go_scope_deadline(s, go_now() + 5 * GO_MILLISECOND);
    go_waitgroup_add(&done, 1);
    go_scope_go(s, read_one, a, &r[0], &done);
    go_waitgroup_wait(&done);
    CHECK_EQ(r[0], -ETIMEDOUT);
    CHECK_EQ(go_scope_close(s), -ETIMEDOUT);
    go_close(a);
    go_close(b);
    go_close(l);
}

/* The peer's process is killed, or resets: the waits end, with what TCP has to say. */
TEST(vanished_peer)
{
    char address[64];
    int l = listen_local(address, sizeof address);
    for (int kind = 0; kind < 2; kind++) {
        ssize_t r = 1;
        go_waitgroup done = { 0 };
        int a = go_dial("tcp", address), b = go_accept(l, NULL, NULL);
        go_waitgroup_add(&done, 1);
        go(read_one, a, &r, &done);
        settle();
        if (kind == 0) {
            struct linger linger = { 1, 0 };
            setsockopt(b, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
        }
        go_close(b);
        go_waitgroup_wait(&done);
        CHECK_EQ(r, kind == 0 ? -ECONNRESET : 0);
        go_close(a);
    }
    go_close(l);
}

/* The end that comes together with the last data is not missed (see "Drained"). */
TEST(end_right_behind_the_data)
{
    char address[64], buffer[256];
    int l = listen_local(address, sizeof address);
#if HAVE_TSAN
    int rounds = 30;
#else
    int rounds = 200;
#endif
    for (int i = 0; i < rounds; i++) {
        int a = go_dial("tcp", address), b = go_accept(l, NULL, NULL);
        if (i % 2) /* registered, and waited for, before */
            go_fd_deadline(b, go_now() + 100 * GO_MICROSECOND, 0), go_read(b, buffer, 1), go_fd_deadline(b, 0, 0);
        go_write(a, "last words", 10);
        if (i % 3 == 0)
            go_yield();
        go_close(a);
        CHECK_EQ(go_read(b, buffer, sizeof buffer), 10);
        CHECK_EQ(go_read(b, buffer, sizeof buffer), 0);
        CHECK_EQ(go_read(b, buffer, sizeof buffer), 0);
        go_close(b);
    }
    go_close(l);
}

/* The library made this number's socket; the program closes it by close(2) and makes another one itself. */
TEST(reuse_behind_our_back)
{
    char address[64], c;
    ssize_t r = 0;
    go_waitgroup done = { 0 };
    int l = listen_local(address, sizeof address);
    for (int i = 0; i < 4; i++) {
        int a = go_dial("tcp", address), b = go_accept(l, NULL, NULL), fds[2];
        go_waitgroup_add(&done, 1);
        go(read_one, a, &r, &done);
        settle();
        go_write(b, "x", 1);
        go_waitgroup_wait(&done);
        CHECK_EQ(r, 1);
        close(a);
        close(b);
        if (i % 2)
            REQUIRE(pipe(fds) == 0);
        else
            REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
        CHECK(fds[0] == a || fds[0] == b);
        go_waitgroup_add(&done, 1);
        go(read_one, fds[0], &r, &done);
        settle();
        CHECK_EQ(go_write(fds[1], "y", 1), 1);
        go_waitgroup_wait(&done);
        CHECK_EQ(r, 1);
        CHECK_EQ(go_read(l, &c, 0), 0);
        close(fds[0]);
        close(fds[1]);
    }
    go_close(l);
}

static void writes_in_vain(int fd, atomic_bool *stop)
{
    static char much[1 << 16];
    while (!atomic_load(stop)) {
        go_fd_deadline(fd, 0, go_now() + GO_MILLISECOND);
        go_write(fd, much, sizeof much);
    }
}

/* The same while another goroutine comes and goes: it is put off once for that, and no more. */
CHILD(beside_a_busy_one)
{
    char address[64];
    ssize_t r = 0;
    atomic_bool stop = false;
    go_waitgroup done = { 0 };
    int l = listen_local(address, sizeof address), pair[2];
    int a = go_dial("tcp", address), b = go_accept(l, NULL, NULL);
    go_waitgroup_add(&done, 1);
    go(read_one, a, &r, &done);
    settle();
    CHECK_EQ(go_write(b, "x", 1), 1);
    go_waitgroup_wait(&done);
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0 && dup2(pair[0], a) == a);
    alarm(30); /* what fails here waits for ever */
    r = 0;
    go_waitgroup_add(&done, 1);
    go(read_one, a, &r, &done);
    settle();
    go_scope *s = go_scope_open();
    go_scope_go(s, writes_in_vain, a, &stop);
    settle();
    CHECK_EQ(write(pair[1], "y", 1), 1);
    go_waitgroup_wait(&done);
    CHECK_EQ(r, 1);
    atomic_store(&stop, true);
    go_scope_close(s);
    puts("seen");
}

TEST(reuse_beside_a_busy_one)
{
    struct test_result r = test_run_child("beside_a_busy_one", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_STR(r.output, "seen\n");
}

static void wait_for_urgent(int fd, int *result, go_waitgroup *done)
{
    *result = go_wait_fd(fd, POLLPRI);
    go_waitgroup_done(done);
}

/* Urgent data stand for long: those who wait for them see them, and others, who do not, sleep all the same. */
TEST(urgent_data)
{
    for (int plain = 0; plain < 2; plain++) {
        char address[64];
        int l = listen_local(address, sizeof address), result = 0;
        int a = go_dial("tcp", address), b = plain ? plain_accept(l) : go_accept(l, NULL, NULL);
        uint32_t before = waits_at(b);
        go_waitgroup done = { 0 };
        go_waitgroup_add(&done, 1);
        go(wait_for_urgent, b, &result, &done);
        while (waits_at(b) == before)
            go_yield();
        CHECK_EQ(go_send(a, "!", 1, MSG_OOB), 1);
        go_waitgroup_wait(&done);
        CHECK_EQ(result, POLLPRI);
        CHECK_EQ(go_wait_fd(b, POLLPRI), POLLPRI);
        before = waits_at(b);
        CHECK_EQ(go_select(case_readable(b), case_after(50 * GO_MILLISECOND)), 1);
        CHECK(waits_at(b) - before < 10);
        go_close(a);
        go_close(b);
        go_close(l);
    }
}

static void takes_urgent(int fd, char *c, ssize_t *n, go_waitgroup *done)
{
    *n = go_recv(fd, c, 1, MSG_OOB);
    go_waitgroup_done(done);
}

/* Urgent data that are on their way are waited for; once all before them has been read they alone make an event. The sender is slow,
 * so that the first packets announce what comes later. */
TEST(urgent_data_on_their_way)
{
    for (int plain = 0; plain < 2; plain++) {
        char address[64], c = 0, data[500] = { 0 };
        int l = listen_local(address, sizeof address), slow = 10000, pieces = 15; /* the first ten are not slow */
        int a = go_dial("tcp", address), b = plain ? plain_accept(l) : go_accept(l, NULL, NULL);
        ssize_t n = 0, got = 0, r;
        REQUIRE(setsockopt(a, SOL_SOCKET, SO_MAX_PACING_RATE, &slow, sizeof slow) == 0);
        for (int i = 0; i < pieces; i++) /* each a packet of its own */
            CHECK_EQ(send(a, data, sizeof data, MSG_EOR), (ssize_t)sizeof data);
        CHECK_EQ(send(a, "!", 1, MSG_OOB), 1);
        while ((r = recv(b, &c, 1, MSG_OOB | MSG_DONTWAIT)) < 0 && errno == EINVAL)
            go_yield(); /* not announced yet */
        uint32_t before = waits_at(b);
        go_waitgroup done = { 0 };
        go_waitgroup_add(&done, 1);
        CHECK_EQ(go_fd_deadline(b, go_now() + 20 * GO_SECOND, 0), 0);
        if (r < 0) {
            CHECK_EQ(errno, EAGAIN);
            go(takes_urgent, b, &c, &n, &done);
        } else { /* we were even slower */
            n = r;
            go_waitgroup_done(&done);
        }
        while (waits_at(b) == before && n == 0)
            go_yield();
        go_stats_detail(1);
        uint64_t waits = io_waits();
        go_time begin = go_now();
        go_sleep(20 * GO_MILLISECOND); /* the data before them lie there unread */
        CHECK(io_waits() - waits <= 4 + 4 * (uint64_t)((go_now() - begin) / GO_MILLISECOND));
        go_stats_detail(0);
        while (got < pieces * (ssize_t)sizeof data)
            if ((r = recv(b, data, sizeof data, MSG_DONTWAIT)) > 0)
                got += r;
            else
                go_yield();
        go_waitgroup_wait(&done);
        CHECK_EQ(n, 1);
        CHECK_EQ(c, '!');
        go_close(a);
        go_close(b);
        go_close(l);
    }
}

/*
 * The same while the one who polls sleeps without an end, for there are no timers: he is told that there is something to verify. The
 * reader is a plain thread, that leaves him asleep.
 */
struct behind {
    int fd, known;
    char c;
    ssize_t result;
};

static void *reads_on_a_thread(void *arg)
{
    struct behind *b = arg;
    go_count();
    __atomic_store_n(&b->known, 1, __ATOMIC_SEQ_CST);
    while (load_relaxed(&netpoll_waits) < 1 || !load_relaxed(&sched.poller))
        usleep(1000);
    usleep(100000); /* he may still have something to verify, and sleep until then */
    b->result = go_read(b->fd, &b->c, 1);
    return NULL;
}

static void *writes_on_a_thread(void *arg)
{
    int fd = *(int *)arg;
    while (load_relaxed(&netpoll_waits) < 2)
        usleep(1000);
    CHECK_EQ(write(fd, "y", 1), 1);
    return NULL;
}

static void *joins(void *arg)
{
    void **all = arg;
    pthread_join((pthread_t)all[0], NULL);
    CHECK_EQ(write((int)(intptr_t)all[1], "z", 1), 1);
    return NULL;
}

CHILD(behind_a_sleeping_poller)
{
    char address[64], c;
    go_waitgroup done = { 0 };
    ssize_t r = 0;
    int l = listen_local(address, sizeof address), pair[2], end[2];
    int a = go_dial("tcp", address), b = go_accept(l, NULL, NULL);
    go_waitgroup_add(&done, 1);
    go(read_one, a, &r, &done);
    settle();
    CHECK_EQ(go_write(b, "x", 1), 1);
    go_waitgroup_wait(&done);
    CHECK_EQ(r, 1);
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0 && dup2(pair[0], a) == a && pipe(end) == 0);
    alarm(30); /* what fails here waits for ever */
    struct behind behind = { .fd = a };
    pthread_t threads[3];
    REQUIRE(pthread_create(&threads[0], NULL, reads_on_a_thread, &behind) == 0);
    while (!__atomic_load_n(&behind.known, __ATOMIC_SEQ_CST))
        go_sleep(GO_MILLISECOND);
    void *all[] = { (void *)threads[0], (void *)(intptr_t)end[1] };
    REQUIRE(pthread_create(&threads[1], NULL, writes_on_a_thread, &pair[1]) == 0);
    REQUIRE(pthread_create(&threads[2], NULL, joins, all) == 0);
    CHECK_EQ(go_read(end[0], &c, 1), 1);
    pthread_join(threads[1], NULL);
    pthread_join(threads[2], NULL); /* which has joined the first */
    CHECK_EQ(behind.result, 1);
    CHECK_EQ(behind.c, 'y');
    puts("seen");
}

TEST(reuse_behind_a_sleeping_poller)
{
    struct test_result r = test_run_child("behind_a_sleeping_poller", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_STR(r.output, "seen\n");
}

/* No descriptor is left: accept says so, the connection waits, and is served when there is one. */
TEST(emfile_storm)
{
    enum { N = 40 };
    char address[64], c;
    int l = listen_local(address, sizeof address), clients[N], served = 0, refused = 0;
    struct rlimit old, low;
    for (int i = 0; i < N; i++) {
        clients[i] = go_dial("tcp", address);
        REQUIRE(clients[i] >= 0);
        go_write(clients[i], "x", 1);
    }
    getrlimit(RLIMIT_NOFILE, &old);
    int next = dup(0);
    close(next);
    low = old;
    low.rlim_cur = (rlim_t)next + 3;
    setrlimit(RLIMIT_NOFILE, &low);
    int open_ones[3], n = 0;
    while (served < N && refused < 10000) {
        int fd = go_accept(l, NULL, NULL);
        if (fd >= 0) {
            CHECK_EQ(go_read(fd, &c, 1), 1);
            open_ones[n++] = fd;
            served++;
            continue;
        }
        CHECK_EQ(fd, -EMFILE);
        refused++;
        CHECK_EQ(n, 3);
        while (n > 0)
            go_close(open_ones[--n]);
    }
    while (n > 0)
        go_close(open_ones[--n]);
    setrlimit(RLIMIT_NOFILE, &old);
    CHECK_EQ(served, N);
    CHECK(refused > 0);
    for (int i = 0; i < N; i++)
        go_close(clients[i]);
    go_close(l);
}

/* It is not the name's fault. In a process of its own, for what has been looked up once may need no descriptor. */
CHILD(no_descriptor)
{
    struct rlimit low;
    getrlimit(RLIMIT_NOFILE, &low);
    int next = dup(0);
    close(next);
    low.rlim_cur = (rlim_t)next;
    setrlimit(RLIMIT_NOFILE, &low);
    printf("%d", go_dial("tcp", "localhost:1"));
}

TEST(no_descriptor_to_look_it_up)
{
    char expected[16];
    snprintf(expected, sizeof expected, "%d", -EMFILE);
    struct test_result r = test_run_child("no_descriptor", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_STR(r.output, expected);
}

/* --- many --- */

static go_sem dialling;

static void client(const char *address, int rounds, int *good, go_waitgroup *ready_all, go_waitgroup *start,
                   go_waitgroup *done)
{
    char c = 0;
    /* The listener's queue is finite, and what does not fit comes again after a second. */
    go_sem_acquire(&dialling, 1);
    int fd = go_dial("tcp", address), ok = fd >= 0;
    go_sem_release(&dialling, 1);
    go_waitgroup_done(ready_all);
    go_waitgroup_wait(start);
    for (int i = 0; ok && i < rounds; i++)
        ok = go_write(fd, "m", 1) == 1 && go_read(fd, &c, 1) == 1 && c == 'm';
    __atomic_fetch_add(good, ok, __ATOMIC_RELAXED);
    go_close(fd);
    go_waitgroup_done(done);
}

/* How many descriptors there may be, `wanted` if that can be had. */
static int most_descriptors(rlim_t wanted)
{
    struct rlimit r, more;
    getrlimit(RLIMIT_NOFILE, &r);
    more = (struct rlimit){ wanted, wanted > r.rlim_max ? wanted : r.rlim_max };
    if (setrlimit(RLIMIT_NOFILE, &more) == 0)
        return (int)wanted;
    r.rlim_cur = r.rlim_max;
    setrlimit(RLIMIT_NOFILE, &r);
    return (int)r.rlim_cur;
}

#if HAVE_ASAN || HAVE_TSAN
#define CONNECTIONS 1000
#else
#define CONNECTIONS 20000
#endif

/* The clients, in a process of their own. */
CHILD(dials)
{
    go_waitgroup ready_all = { 0 }, start = { 0 }, done = { 0 };
    int good = 0, n = atoi(getenv("CONNECTIONS"));
    most_descriptors(CONNECTIONS + 1000);
    go_sem_init(&dialling, 500);
    go_waitgroup_add(&ready_all, n);
    go_waitgroup_add(&done, n);
    go_waitgroup_add(&start, 1);
    for (int i = 0; i < n; i++)
        go_with(((go_options){ .stack_size = 16 << 10 }), client, getenv("ADDRESS"), 2, &good, &ready_all, &start, &done);
    go_waitgroup_wait(&ready_all);
    go_waitgroup_done(&start);
    go_waitgroup_wait(&done);
    printf("%d\n", good);
}

TEST(many_at_once)
{
    char address[64], where[100], how_many[50], expected[50];
    /* Half of them will do at the other numbers of Ps. */
    int n = go_maxprocs(0) == 2 ? CONNECTIONS : CONNECTIONS / 2;
    int served = 0, limit = most_descriptors(CONNECTIONS + 1000), goroutines = (int)go_count();
    go_waitgroup server = { 0 };
    if (limit < n + 100)
        n = limit - 100;
    int l = listen_local(address, sizeof address);
    go_waitgroup_add(&server, 1);
    go(serve, l, &served, &server);
    snprintf(where, sizeof where, "ADDRESS=%s", address);
    snprintf(how_many, sizeof how_many, "CONNECTIONS=%d", n);
    snprintf(expected, sizeof expected, "%d\n", n);
    struct test_result r = test_run_child("dials", where, how_many, NULL);
    CHECK_STR(r.output, expected);
    go_close(l);
    go_waitgroup_wait(&server);
    CHECK_EQ(served, n);
    while ((int)go_count() > goroutines) /* those that echo: the descriptors are the next test's */
        go_sleep(GO_MILLISECOND);
}

#if HAVE_ASAN || HAVE_TSAN
#define BUSY 500
#else
#define BUSY 1000
#endif
#define MESSAGES (100 * BUSY)

/* Answers at once to whoever has been served, and says how often each was. */
static void *keeps_all_busy(void *arg)
{
    struct pollfd *p = arg;
    static int served[BUSY];
    int total = 0, least = MESSAGES;
    char c = 0;
    for (int i = 0; i < BUSY; i++)
        REQUIRE(write(p[i].fd, &c, 1) == 1);
    while (total < MESSAGES) {
        REQUIRE(poll(p, BUSY, 10000) > 0);
        for (int i = 0; i < BUSY; i++)
            if (p[i].revents) {
                REQUIRE(read(p[i].fd, &c, 1) == 1);
                REQUIRE(write(p[i].fd, &c, 1) == 1);
                served[i]++;
                total++;
            }
    }
    for (int i = 0; i < BUSY; i++) {
        if (served[i] < least)
            least = served[i];
        close(p[i].fd);
    }
    return (void *)(intptr_t)least;
}

/* No connection is left behind, though more are ready than a ring holds and those just served are ready again at once. */
TEST(busy_connections_are_served_in_turn)
{
    static struct pollfd p[BUSY];
    pthread_t thread;
    void *least;
    if (most_descriptors(2 * BUSY + 100) < 2 * BUSY + 100)
        SKIP("too few descriptors are allowed");
    for (int i = 0; i < BUSY; i++) {
        int s[2];
        REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
        p[i] = (struct pollfd){ .fd = s[0], .events = POLLIN };
        go(echo, s[1]);
    }
    REQUIRE(pthread_create(&thread, NULL, keeps_all_busy, p) == 0);
    go_block_enter();
    pthread_join(thread, &least);
    go_block_leave();
    CHECK((intptr_t)least >= MESSAGES / BUSY / 4); /* 93 of 100 it is on a quiet machine */
}

TEST(dial_from_many)
{
    enum { N = 50 };
    char address[64];
    int l = listen_local(address, sizeof address), fds[N], served = 0;
    go_waitgroup done = { 0 }, server = { 0 };
    go_waitgroup_add(&server, 1);
    go(serve, l, &served, &server);
    for (int i = 0; i < N; i++) {
        go_waitgroup_add(&done, 1);
        go(dial, address, &fds[i], &done);
    }
    go_waitgroup_wait(&done);
    for (int i = 0; i < N; i++) {
        CHECK(fds[i] >= 0);
        go_close(fds[i]);
    }
    go_close(l);
    go_waitgroup_wait(&server);
}

/* Arguments that splice(2) refuses are refused at once, not when there is something in the pipe. */
TEST(splice_arguments)
{
    int p[2], full[2], s[2], zero = open("/dev/zero", O_RDONLY), null = open("/dev/null", O_WRONLY);
    off_t offset = 0;
    REQUIRE(pipe(p) == 0 && pipe(full) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
    fcntl(full[1], F_SETFL, O_NONBLOCK);
    while (write(full[1], p, 1) > 0)
        ;
    fcntl(full[1], F_SETFL, 0);
    CHECK_EQ(go_splice(p[0], NULL, null, NULL, 0, 0), 0);
    CHECK_EQ(go_splice(p[0], NULL, zero, NULL, 5, 0), -EBADF);
    CHECK_EQ(go_splice(p[0], &offset, null, NULL, 5, 0), -ESPIPE);
    CHECK_EQ(go_splice(p[0], NULL, p[1], NULL, 5, 0), -EINVAL);
    CHECK_EQ(go_splice(s[0], NULL, s[1], NULL, 5, 0), -EINVAL);
    CHECK_EQ(go_splice(p[0], NULL, null, NULL, 5, SPLICE_F_NONBLOCK | 0x8000), -EINVAL);
    CHECK_EQ(go_splice(p[0], NULL, null, NULL, 5, SPLICE_F_NONBLOCK), -EAGAIN);
    CHECK_EQ(go_splice(zero, NULL, full[1], &offset, 5, 0), -ESPIPE);
    int fds[] = { p[0], p[1], full[0], full[1], s[0], s[1], null, zero };
    for (int i = 0; i < 8; i++)
        go_close(fds[i]);
}

/* The kernel's errors, whichever way the destination goes. */
TEST(sendfile_arguments)
{
    int p[2], s[2], directory = open("/", O_RDONLY), null = open("/dev/null", O_WRONLY);
    FILE *file = tmpfile();
    off_t start = 0, negative = -5;
    REQUIRE(pipe(p) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0 && ftruncate(fileno(file), 100) == 0);
    for (int flag = 0; flag < 2; flag++) {
        fcntl(s[0], F_SETFL, flag ? O_NONBLOCK : 0);
        CHECK_EQ(go_sendfile(s[0], fileno(file), NULL, SIZE_MAX), -EINVAL);
        CHECK_EQ(go_sendfile(s[0], p[0], NULL, 1), -EINVAL);
        CHECK_EQ(go_sendfile(s[0], s[1], NULL, 1), -EINVAL);
        CHECK_EQ(go_sendfile(s[0], p[0], &start, 1), -ESPIPE);
        CHECK_EQ(go_sendfile(s[0], directory, NULL, 1), -EINVAL);
        CHECK_EQ(go_sendfile(s[0], null, NULL, 1), -EBADF);
        CHECK_EQ(go_sendfile(s[0], -1, NULL, 1), -EBADF);
        CHECK_EQ(go_sendfile(s[0], fileno(file), &negative, 1), -EINVAL);
        CHECK_EQ(go_sendfile(s[0], fileno(file), NULL, 0), 0);
        /* It reads, too: what is too late for that. */
        go_fd_deadline(fileno(file), 1, 0);
        CHECK_EQ(go_sendfile(s[0], fileno(file), NULL, 1), -ETIMEDOUT);
        go_fd_deadline(fileno(file), 0, 0);
    }
    int fds[] = { p[0], p[1], s[0], s[1], directory, null };
    for (int i = 0; i < 6; i++)
        go_close(fds[i]);
    fclose(file);
}

struct transfer {
    int in, out;
    ssize_t result;
    _Atomic bool ended;
};

static void sends_file(struct transfer *t)
{
    t->result = go_sendfile(t->out, t->in, NULL, SSIZE_MAX);
    atomic_store(&t->ended, true);
}

static void sends_some(struct transfer *t)
{
    t->result = go_sendfile(t->out, t->in, NULL, 1 << 20);
    atomic_store(&t->ended, true);
}

/* It waits for room, and meanwhile its source is closed, and the number another file's. */
TEST(sendfile_of_a_file_that_is_closed)
{
    FILE *file = tmpfile(), *other = tmpfile();
    static char part[32 << 10];
    int s[2];
    ssize_t n;
    REQUIRE(ftruncate(fileno(file), 1 << 20) == 0 && ftruncate(fileno(other), 1 << 20) == 0);
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
    fcntl(s[1], F_SETFL, O_NONBLOCK);
    while (write(s[1], part, sizeof part) > 0)
        ;
    struct transfer t = { .in = fcntl(fileno(file), F_DUPFD, 200), .out = s[1] }; /* nobody else is given that one */
    uint32_t before = waits_at(t.out);
    go(sends_some, &t);
    while (waits_at(t.out) == before)
        go_yield();
    CHECK_EQ(go_close(t.in), 0);
    CHECK_EQ(fcntl(fileno(other), F_DUPFD, t.in), t.in);
    while (!atomic_load(&t.ended)) {
        while ((n = recv(s[0], part, sizeof part, MSG_DONTWAIT)) > 0)
            ;
        go_yield();
    }
    CHECK_EQ(t.result, -EBADF);
    go_close(t.in);
    go_close(s[0]);
    go_close(s[1]);
    fclose(file);
    fclose(other);
}

/* Step by step, and each step for the file that it was. */
TEST(sendfile_ends_with_its_descriptor)
{
    FILE *file = tmpfile();
    REQUIRE(ftruncate(fileno(file), (off_t)1 << 36) == 0);
    int s[2], null = open("/dev/null", O_WRONLY);
    struct transfer t = { .in = fileno(file), .out = fcntl(null, F_DUPFD, 200) }; /* nobody else is given that one */
    static char part[32 << 10];
    size_t got = 0;
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
    go(sends_file, &t);
    while (lseek(t.in, 0, SEEK_CUR) == 0)
        go_yield();
    CHECK_EQ(go_close(t.out), 0);
    go_sleep(GO_MILLISECOND);
    REQUIRE(dup2(s[0], t.out) == t.out);
    /* What it was just about to write may still come. */
    while (!atomic_load(&t.ended) && got <= sizeof part) {
        ssize_t n = recv(s[1], part, sizeof part, MSG_DONTWAIT);
        if (n > 0)
            got += (size_t)n;
        go_yield();
    }
    CHECK(atomic_load(&t.ended));
    CHECK_EQ(t.result, lseek(t.in, 0, SEEK_CUR));
    int fds[] = { s[0], s[1], t.out, null };
    for (int i = 0; i < 4; i++)
        go_close(fds[i]);
    fclose(file);
}

static void splices(struct transfer *t)
{
    t->result = go_splice(t->in, NULL, t->out, NULL, 1 << 20, 0);
    atomic_store(&t->ended, true);
}

/* A socket in blocking mode takes part of what is in the pipe, and its peer does not read. */
TEST(splice_does_not_wait_for_ever)
{
    static char data[1 << 20];
    char address[64];
    int l = listen_local(address, sizeof address), p[2];
    for (int way = 0; way < 3; way++) {
        int peer = go_dial("tcp", address);
        struct transfer t = { .out = go_accept(l, NULL, NULL) };
        REQUIRE(pipe(p) == 0 && fcntl(p[0], F_SETPIPE_SZ, sizeof data) >= (int)sizeof data);
        int small = 4096;
        setsockopt(t.out, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
        setsockopt(peer, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
        CHECK_EQ(go_write(p[1], data, sizeof data), sizeof data);
        t.in = p[0];
        go_scope *scope = go_scope_open();
        if (way == 0)
            go_scope_deadline(scope, go_now() + 20 * GO_MILLISECOND);
        if (way == 1)
            go_fd_deadline(t.out, 0, go_now() + 20 * GO_MILLISECOND);
        go_scope_go(scope, splices, &t);
        go_sleep(5 * GO_MILLISECOND);
        if (way == 2)
            CHECK_EQ(go_close(t.out), 0);
        go_scope_close(scope);
        CHECK(atomic_load(&t.ended));
        CHECK(t.result != 0 && t.result < (ssize_t)sizeof data); /* or it had not begun */
        if (way != 2)
            go_close(t.out);
        go_close(p[0]);
        go_close(p[1]);
        go_close(peer);
    }
    go_close(l);
}

/* The peer has gone, which the first piece shows, and of the rest the call does not tell. SIGPIPE does what it does by default. */
CHILD(sends_to_nobody)
{
    static char data[1 << 20];
    char address[64], c;
    int l = listen_local(address, sizeof address), p[2];
    FILE *file = tmpfile();
    REQUIRE(file && ftruncate(fileno(file), sizeof data) == 0);
    ssize_t n = 0;
    for (int way = 0; way < 3; way += n != (ssize_t)sizeof data) { /* again if all went before the answer came */
        int peer = go_dial("tcp", address), s = go_accept(l, NULL, NULL);
        off_t start = 0;
        go_close(peer);
        CHECK_EQ(go_read(s, &c, 1), 0);
        fcntl(s, F_SETFL, way < 2 ? O_NONBLOCK : 0);
        REQUIRE(pipe(p) == 0 && fcntl(p[0], F_SETPIPE_SZ, sizeof data) >= (int)sizeof data);
        CHECK_EQ(go_write(p[1], data, sizeof data), sizeof data);
        do {
            n = way == 0 ? go_sendfile(s, fileno(file), &start, sizeof data) : go_splice(p[0], NULL, s, NULL, sizeof data, 0);
        } while (n > 0 && n < (ssize_t)sizeof data);
        CHECK(n == -EPIPE || n == (ssize_t)sizeof data);
        go_close(p[0]);
        go_close(p[1]);
        go_close(s);
    }
    fclose(file);
    go_close(l);
    puts("alive");
}

TEST(sendfile_and_splice_without_sigpipe)
{
    struct test_result r = test_run_child("sends_to_nobody", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_STR(r.output, "alive\n");
}

TEST(sendfile_and_splice)
{
    char address[64], path[] = "/tmp/go_net_test_XXXXXX", part[4096];
    size_t size = 300000, got = 0, wrong = 0;
    int f = mkstemp(path), fds[2];
    char *data = malloc(size);
    for (size_t i = 0; i < size; i++)
        data[i] = (char)(i * 31 + i / 997);
    CHECK_EQ(go_write(f, data, size), size);
    int l = listen_local(address, sizeof address);
    for (int flag = 0; flag < 2; flag++) {
        int a = go_dial("tcp", address), b = go_accept(l, NULL, NULL);
        if (flag)
            fcntl(a, F_SETFL, O_NONBLOCK);
        off_t at = 0;
        got = wrong = 0;
        while (got < size) {
            if ((size_t)at < size) {
                ssize_t n = go_sendfile(a, f, &at, size - (size_t)at < 100000 ? size - (size_t)at : 100000);
                CHECK(n > 0);
                if (n <= 0)
                    break;
            }
            while (got < (size_t)at) {
                ssize_t n = go_read(b, part, sizeof part);
                if (n <= 0)
                    break;
                for (ssize_t i = 0; i < n; i++)
                    wrong += part[i] != data[got + (size_t)i];
                got += (size_t)n;
            }
        }
        CHECK_EQ(got, size);
        CHECK_EQ(wrong, 0);
        /* From the socket through a pipe. */
        REQUIRE(pipe(fds) == 0);
        CHECK_EQ(go_write(a, "spliced", 7), 7);
        CHECK_EQ(go_splice(b, NULL, fds[1], NULL, 100, 0), 7);
        CHECK_EQ(go_splice(fds[0], NULL, a, NULL, 100, 0), 7);
        CHECK_EQ(go_read(b, part, sizeof part), 7);
        CHECK(memcmp(part, "spliced", 7) == 0);
        close(fds[0]);
        close(fds[1]);
        go_close(a);
        go_close(b);
    }
    unlink(path);
    close(f);
    free(data);
    go_close(l);
}
