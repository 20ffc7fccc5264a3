// SPDX-License-Identifier: MIT
// Listening, dialling, and addresses as text.
//
// "Several addresses"
//
// A name may have many addresses, and some may not answer for minutes. As RFC 8305 says, they are tried one after another, IPv6 and
// IPv4 taking turns and IPv6 first: the next one as soon as one has failed, or when a quarter of a second has passed. The first connection
// wins, the others are closed. All that is done by the one goroutine that dials: it waits for all its sockets at once, as a
// select does.
#include <goroutine/io.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "io/io.h"
#include "io/resolve.h"
#include "sched/park.h"

#define HEAD_START (250 * GO_MILLISECOND)
/* As Go: a peer that has vanished is noticed after some two minutes and a half. */
#define KEEP_ALIVE_SECONDS 15
#define KEEP_ALIVE_PROBES 9

#define DIALS 3

struct endpoint {
    int family; /* AF_UNIX, or which of the others are wanted: AF_UNSPEC, AF_INET, AF_INET6 */
    int type;
    bool passive;
    bool wild; /* no host was given */
    bool literal; /* nothing to resolve: the addresses are in `addresses` */
    const char *network, *text;
    char host[RESOLVE_HOST_MAX], service[RESOLVE_SERVICE_MAX];
    struct sockaddr_un path;
    socklen_t path_size;
    struct resolve_result addresses;
    /* of a dial */
    int fd[RESOLVE_ADDRESSES];
    struct netpoll_waiter waiter[RESOLVE_ADDRESSES]; /* of those under way, in order */
    int error;
};

static int parse_network(struct endpoint *e)
{
    static const struct {
        const char *name;
        int family, type;
    } networks[] = {
        { "tcp", AF_UNSPEC, SOCK_STREAM },   { "tcp4", AF_INET, SOCK_STREAM },
        { "tcp6", AF_INET6, SOCK_STREAM },   { "udp", AF_UNSPEC, SOCK_DGRAM },
        { "udp4", AF_INET, SOCK_DGRAM },     { "udp6", AF_INET6, SOCK_DGRAM },
        { "unix", AF_UNIX, SOCK_STREAM },    { "unixgram", AF_UNIX, SOCK_DGRAM },
        { "unixpacket", AF_UNIX, SOCK_SEQPACKET },
    };
    for (size_t i = 0; i < array_length(networks); i++)
        if (strcmp(e->network, networks[i].name) == 0) {
            e->family = networks[i].family;
            e->type = networks[i].type;
            return 0;
        }
    return -EPROTONOSUPPORT;
}

static int parse_path(struct endpoint *e)
{
    size_t length = strlen(e->text);
    if (length == 0)
        return -EINVAL;
    /* An abstract name has no NUL at its end, a path may do without. */
    if (length > sizeof e->path.sun_path)
        return -ENAMETOOLONG;
    e->path.sun_family = AF_UNIX;
    memcpy(e->path.sun_path, e->text, length);
    e->path_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    if (e->text[0] == '@')
        e->path.sun_path[0] = 0;
    else if (length < sizeof e->path.sun_path)
        e->path_size++;
    return 0;
}

/* An IPv4 address in the notation of IPv6 is one. */
static void unmap(union address *a)
{
    if (a->any.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&a->v6.sin6_addr)) {
        struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = a->v6.sin6_port };
        memcpy(&v4.sin_addr, (char *)&a->v6.sin6_addr + 12, sizeof v4.sin_addr);
        a->v4 = v4;
    }
}

static bool is_letter_or_digit(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* "host:port", "[host]:port", ":port". */
static int parse_host(struct endpoint *e)
{
    const char *text = e->text, *colon = strrchr(text, ':'), *end;
    if (!colon)
        return -EINVAL;
    end = colon;
    if (text[0] == '[') {
        if (colon == text || colon[-1] != ']')
            return -EINVAL;
        text++;
        end--;
    } else if (memchr(text, ':', (size_t)(colon - text))) {
        return -EINVAL; /* IPv6 needs brackets */
    }
    for (const char *at = text; at < end; at++)
        if (*at == '[' || *at == ']')
            return -EINVAL;
    if ((size_t)(end - text) >= sizeof e->host || strlen(colon + 1) >= sizeof e->service)
        return -EINVAL;
    /* A resolver would take " 80" and "+80" for numbers. */
    if (colon[1] && !is_letter_or_digit(colon[1]))
        return -EINVAL;
    memcpy(e->host, text, (size_t)(end - text));
    strcpy(e->service, colon[1] ? colon + 1 : "0");
    e->wild = e->host[0] == 0;
    return 0;
}

/* What needs no resolver, which would need a thread. */
static int parse_literal(struct endpoint *e)
{
    union address *a = &e->addresses.address[0];
    unsigned port = 0;
    for (const char *at = e->service; *at; at++) {
        if (*at < '0' || *at > '9')
            return 0;
        if (port <= 65535)
            port = port * 10 + (unsigned)(*at - '0');
    }
    if (port > 65535)
        return -EINVAL;
    const char *host = e->host;
    if (e->wild)
        host = e->family == AF_INET6 ? (e->passive ? "::" : "::1") : e->passive ? "0.0.0.0" : "127.0.0.1";
    if (inet_pton(AF_INET, host, &a->v4.sin_addr) == 1) {
        a->v4.sin_family = AF_INET;
        a->v4.sin_port = htons((uint16_t)port);
    } else if (inet_pton(AF_INET6, host, &a->v6.sin6_addr) == 1) {
        a->v6.sin6_family = AF_INET6;
        a->v6.sin6_port = htons((uint16_t)port);
    } else {
        return 0;
    }
    unmap(a);
    if (e->family != AF_UNSPEC && e->family != a->any.sa_family)
        return -EAFNOSUPPORT;
    e->addresses.count = 1;
    e->literal = true;
    /* go_listen says so where it listens on both, and the system may have IPv6 switched off. */
    if (e->family == AF_UNSPEC && !e->passive && a->any.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&a->v6.sin6_addr)) {
        struct sockaddr_in *v4 = &e->addresses.address[1].v4;
        *v4 = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        e->addresses.count = 2;
    }
    return 0;
}

/* On a system stack. */
static void parse(void *arg)
{
    struct endpoint *e = arg;
    e->error = parse_network(e);
    if (e->error == 0)
        e->error = e->family == AF_UNIX ? parse_path(e) : parse_host(e);
    if (e->error == 0 && e->family != AF_UNIX)
        e->error = parse_literal(e);
}

static int look_up(struct endpoint *e)
{
    if (e->family == AF_UNIX || e->literal)
        return 0;
    int r = resolve(e->wild ? NULL : e->host, e->service, e->family, e->type, e->passive, &e->addresses);
    if (r < 0)
        return r;
    int fit = 0;
    for (int i = 0; i < e->addresses.count; i++) {
        union address *a = &e->addresses.address[i];
        unmap(a);
        if (e->family == AF_UNSPEC || e->family == a->any.sa_family)
            e->addresses.address[fit++] = *a;
    }
    e->addresses.count = fit;
    return fit > 0 ? 0 : -EAFNOSUPPORT;
}

static socklen_t address_size(const union address *a)
{
    return a->any.sa_family == AF_INET6 ? sizeof a->v6 : sizeof a->v4;
}

static void set_option(int fd, int level, int name, int value)
{
    SYSCALL6(SYS_setsockopt, fd, level, name, &value, sizeof value, 0);
}

/* What accepted sockets inherit on Linux, too. Best effort: without them it works all the same. */
static void set_tcp_options(int fd)
{
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEP_ALIVE_SECONDS);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEP_ALIVE_SECONDS);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEP_ALIVE_PROBES);
}

static int new_socket(int family, int type)
{
    int fd = (int)SYSCALL3(SYS_socket, family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0) {
        /* That a Unix datagram's receiver has room again is no event: each wait has to ask anew. */
        netpoll_fresh(fd, family == AF_UNIX && type == SOCK_DGRAM    ? KIND_UNKNOWN
                          : family != AF_UNIX && type == SOCK_STREAM ? KIND_TCP
                                                                     : KIND_SOCKET);
        if (family != AF_UNIX && type == SOCK_STREAM)
            set_tcp_options(fd);
        else if (family != AF_UNIX)
            set_option(fd, SOL_SOCKET, SO_BROADCAST, 1); /* as Go */
    }
    return fd;
}

/* The library's and the caller's view of the mode is the kernel's default again. */
static void make_blocking(int fd)
{
    long flags = SYSCALL2(SYS_fcntl, fd, F_GETFL);
    if (flags >= 0)
        SYSCALL3(SYS_fcntl, fd, F_SETFL, flags & ~O_NONBLOCK);
}

/* --- listening --- */

static int bind_to(const struct sockaddr *address, socklen_t size, int type, bool both)
{
    int fd = new_socket(address->sa_family, type);
    if (fd < 0)
        return fd;
    if (address->sa_family == AF_INET6)
        set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, !both);
    if (address->sa_family != AF_UNIX && type == SOCK_STREAM)
        set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    long r = SYSCALL3(SYS_bind, fd, address, size);
    /* The kernel cuts it to net.core.somaxconn. */
    if (r == 0 && type != SOCK_DGRAM)
        r = SYSCALL2(SYS_listen, fd, 65535);
    if (r < 0) {
        go_close(fd);
        return (int)r;
    }
    if (type == SOCK_DGRAM)
        make_blocking(fd);
    return fd;
}

static int listen_at(struct endpoint *e)
{
    if (e->family == AF_UNIX)
        return bind_to((struct sockaddr *)&e->path, e->path_size, e->type, false);
    int r = look_up(e);
    if (r < 0)
        return r;
    const union address *one = &e->addresses.address[0];
    bool all_v6 = one->any.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&one->v6.sin6_addr);
    if ((e->wild || all_v6) && e->family == AF_UNSPEC) {
        /* Both protocols by one socket, where the machine has IPv6. */
        union address all = { .v6 = { .sin6_family = AF_INET6,
                                      .sin6_port = one->any.sa_family == AF_INET6 ? one->v6.sin6_port : one->v4.sin_port } };
        int fd = bind_to(&all.any, sizeof all.v6, e->type, true);
        if (fd >= 0 || (fd != -EAFNOSUPPORT && fd != -EADDRNOTAVAIL))
            return fd;
    }
    /* A name: the IPv4 address if it has one, as in Go. */
    int chosen = 0;
    for (int i = 0; i < e->addresses.count; i++)
        if (e->addresses.address[i].any.sa_family == AF_INET) {
            chosen = i;
            break;
        }
    union address *a = &e->addresses.address[chosen];
    return bind_to(&a->any, address_size(a), e->type, false);
}

/* --- dialling --- */

/* IPv6 and IPv4 in turn, each in its own order. */
static void take_turns(struct resolve_result *r)
{
    union address old[RESOLVE_ADDRESSES];
    memcpy(old, r->address, sizeof old);
    int next[2] = { 0, 0 }, family[2] = { AF_INET6, AF_INET };
    for (int i = 0, turn = 0; i < r->count; turn ^= 1) {
        int *n = &next[turn];
        while (*n < r->count && old[*n].any.sa_family != family[turn])
            (*n)++;
        if (*n < r->count)
            r->address[i++] = old[(*n)++];
    }
}

static void call_take_turns(void *arg)
{
    take_turns(&((struct endpoint *)arg)->addresses);
}

/* 0 connected, -EINPROGRESS, or why not. */
static int begin_connect(struct endpoint *e, int i)
{
    union address *a = &e->addresses.address[i];
    int fd = new_socket(a->any.sa_family, e->type);
    if (fd < 0)
        return fd;
    long r;
    netpoll_order_in();
    do {
        r = SYSCALL3(SYS_connect, fd, &a->any, address_size(a));
    } while (r == -EINTR);
    if (r < 0 && r != -EINPROGRESS) {
        go_close(fd);
        return (int)r;
    }
    e->fd[i] = fd;
    return (int)r;
}

/* Whether the attempt has come to an end: 0 connected, -EINPROGRESS (*w can be waited for then), or why not. */
static int look_at_connect(int fd, struct netpoll_waiter *w)
{
    int r = netpoll_check(fd, POLL_WRITE, w), error = 0;
    socklen_t size = sizeof error;
    if (r == 0)
        return -EINPROGRESS;
    if (r > 0) {
        SYSCALL6(SYS_getsockopt, fd, SOL_SOCKET, SO_ERROR, &error, &size, 0);
        r = -error;
    }
    return r;
}

static int connect_any(struct endpoint *e)
{
    int count = e->addresses.count, begun = 0, first_error = 0, won = -1, r = 0;
    int64_t next = 0;
    for (int i = 0; i < count; i++)
        e->fd[i] = -1;
    while (won < 0) {
        int alive = 0;
        for (int i = 0; i < begun && won < 0; i++) {
            if (e->fd[i] < 0)
                continue;
            r = look_at_connect(e->fd[i], &e->waiter[alive]);
            if (r == 0) {
                won = i;
            } else if (r == -EINPROGRESS) {
                alive++;
            } else {
                go_close(e->fd[i]);
                e->fd[i] = -1;
                next = 0;
                if (i == 0 || first_error == 0)
                    first_error = r;
            }
        }
        if (won >= 0)
            break;
        int64_t now = os_now();
        if (begun < count && (alive == 0 || now >= next)) {
            r = begin_connect(e, begun);
            if (r == 0)
                won = begun;
            else if (r != -EINPROGRESS && (begun == 0 || first_error == 0))
                first_error = r;
            begun++;
            next = r == -EINPROGRESS ? now + HEAD_START : 0;
            continue;
        }
        if (alive == 0)
            break;
        r = netpoll_wait_any(e->waiter, alive, begun < count ? next : TIME_NEVER);
        if (r < 0 && r != WAIT_TIME_UP) {
            first_error = r;
            break;
        }
    }
    int fd = won >= 0 ? e->fd[won] : first_error;
    for (int i = 0; i < begun; i++)
        if (i != won && e->fd[i] >= 0)
            go_close(e->fd[i]);
    if (fd >= 0)
        make_blocking(fd);
    return fd;
}

/* If nobody listens there, the kernel may choose that very port for our end, and connect the socket to itself. */
static bool is_its_own_peer(int fd)
{
    union address own, peer;
    socklen_t own_size = sizeof own, peer_size = sizeof peer;
    return SYSCALL3(SYS_getsockname, fd, &own, &own_size) == 0 &&
           SYSCALL3(SYS_getpeername, fd, &peer, &peer_size) == 0 && own_size == peer_size &&
           memcmp(&own, &peer, own_size) == 0;
}

static int dial_to(struct endpoint *e)
{
    if (e->family == AF_UNIX) {
        int fd = new_socket(AF_UNIX, e->type);
        if (fd < 0)
            return fd;
        int r = go_connect(fd, (struct sockaddr *)&e->path, e->path_size);
        if (r < 0) {
            go_close(fd);
            return r;
        }
        make_blocking(fd);
        return fd;
    }
    int r = look_up(e);
    if (r < 0)
        return r;
    if (e->addresses.count > 1)
        system_stack_call(call_take_turns, e);
    for (int tries = 0; tries < DIALS; tries++) {
        r = connect_any(e);
        if (r < 0 || e->type != SOCK_STREAM || !is_its_own_peer(r))
            return r;
        go_close(r);
    }
    return -ECONNREFUSED;
}

/* --- */

struct endpoint_call {
    const char *network, *address;
    bool passive;
    struct endpoint *e;
};

static void make_endpoint(void *arg)
{
    struct endpoint_call *c = arg;
    c->e = calloc(1, sizeof *c->e);
    if (!c->e)
        return;
    c->e->network = c->network;
    c->e->text = c->address;
    c->e->passive = c->passive;
    parse(c->e);
}

static int with_endpoint(const char *network, const char *address, bool passive, int (*fn)(struct endpoint *))
{
    struct endpoint_call c = { network, address, passive, NULL };
    io_enter();
    if (!network || !address)
        return -EINVAL;
    system_stack_call(make_endpoint, &c);
    if (!c.e)
        return -ENOMEM;
    int r = c.e->error < 0 ? c.e->error : fn(c.e);
    system_stack_call(free, c.e);
    return r;
}

GO_EXPORT int go_listen(const char *network, const char *address)
{
    return with_endpoint(network, address, true, listen_at);
}

GO_EXPORT int go_dial(const char *network, const char *address)
{
    return with_endpoint(network, address, false, dial_to);
}

/* --- addresses as text --- */

struct name {
    int fd, call;
    char *buffer;
    size_t size;
    int result;
};

/* On a system stack. */
static void write_name(void *arg)
{
    struct name *n = arg;
    union {
        union address in;
        struct sockaddr_un un;
        struct sockaddr_storage any;
    } a = { .any = { 0 } };
    char host[INET6_ADDRSTRLEN], zone[IF_NAMESIZE + 1] = "%";
    socklen_t size = sizeof a;
    long r = SYSCALL3(n->call, n->fd, &a, &size);
    if (r < 0) {
        n->result = (int)r;
        return;
    }
    int length = 0;
    switch (a.any.ss_family) {
    case AF_INET:
        inet_ntop(AF_INET, &a.in.v4.sin_addr, host, sizeof host);
        length = snprintf(n->buffer, n->size, "%s:%u", host, ntohs(a.in.v4.sin_port));
        break;
    case AF_INET6:
        if (IN6_IS_ADDR_V4MAPPED(&a.in.v6.sin6_addr)) {
            inet_ntop(AF_INET, (char *)&a.in.v6.sin6_addr + 12, host, sizeof host);
            length = snprintf(n->buffer, n->size, "%s:%u", host, ntohs(a.in.v6.sin6_port));
        } else {
            inet_ntop(AF_INET6, &a.in.v6.sin6_addr, host, sizeof host);
            unsigned scope = a.in.v6.sin6_scope_id;
            if (scope == 0)
                zone[0] = 0;
            else if (!if_indextoname(scope, zone + 1))
                snprintf(zone + 1, sizeof zone - 1, "%u", scope);
            length = snprintf(n->buffer, n->size, "[%s%s]:%u", host, zone, ntohs(a.in.v6.sin6_port));
        }
        break;
    case AF_UNIX: {
        size_t start = offsetof(struct sockaddr_un, sun_path);
        int most = size > start ? (int)(size - start) : 0;
        if (most > 0 && a.un.sun_path[0] == 0)
            length = snprintf(n->buffer, n->size, "@%.*s", most - 1, a.un.sun_path + 1);
        else
            length = snprintf(n->buffer, n->size, "%.*s", most, a.un.sun_path);
        break;
    }
    default:
        n->result = -EAFNOSUPPORT;
        return;
    }
    n->result = (size_t)length < n->size ? length : -ENOSPC;
}

static int name_of(int fd, int call, char *buffer, size_t size)
{
    struct name n = { fd, call, buffer, size, 0 };
    io_enter();
    system_stack_call(write_name, &n);
    return n.result;
}

GO_EXPORT int go_local_address(int fd, char *buffer, size_t size)
{
    return name_of(fd, SYS_getsockname, buffer, size);
}

GO_EXPORT int go_peer_address(int fd, char *buffer, size_t size)
{
    return name_of(fd, SYS_getpeername, buffer, size);
}
