// SPDX-License-Identifier: MIT
// Names to addresses, off the scheduler. The essay is in resolve.c.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include "base/compiler.h"

#define RESOLVE_HOST_MAX 256
#define RESOLVE_SERVICE_MAX 64
#define RESOLVE_ADDRESSES 16

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

struct resolve_result {
    int count; /* or a negative errno */
    union address address[RESOLVE_ADDRESSES];
};

/*
 * The addresses of a name and service (or port): family AF_UNSPEC, AF_INET or AF_INET6; type SOCK_STREAM or SOCK_DGRAM; host
 * NULL for this machine, `passive` for an address to listen at. In the C library's order. 0, or -errno as go_dial has it, or
 * what the scope says. May park; any thread; any stack.
 */
int resolve(const char *host, const char *service, int family, int type, bool passive, struct resolve_result *result);
