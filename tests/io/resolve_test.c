// SPDX-License-Identifier: MIT
// Look-ups of names, by a getaddrinfo of the test's own: "slow" has no answer until the test lets it have one.
#include <goroutine.h>

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"

#define THREADS 16 /* that look up names at once, at most */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool answered; /* under lock */
static atomic_int slow;

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **result)
{
    if (strcmp(host, "slow") == 0) {
        atomic_fetch_add(&slow, 1);
        pthread_mutex_lock(&lock);
        while (!answered)
            pthread_cond_wait(&changed, &lock);
        pthread_mutex_unlock(&lock);
        return EAI_AGAIN;
    }
    struct addrinfo *a = calloc(1, sizeof *a);
    struct sockaddr_in *address = calloc(1, sizeof *address);
    *address = (struct sockaddr_in){ .sin_family = AF_INET,
                                     .sin_port = htons((uint16_t)atoi(service)),
                                     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    a->ai_family = AF_INET;
    a->ai_socktype = hints->ai_socktype;
    a->ai_addr = (struct sockaddr *)address;
    a->ai_addrlen = sizeof *address;
    *result = a;
    return 0;
}

void freeaddrinfo(struct addrinfo *a)
{
    free(a->ai_addr);
    free(a);
}

static void dial(const char *address, int *result)
{
    *result = go_dial("tcp", address);
}

/* While all threads wait for a server that does not answer. */
TEST(who_gives_up_does_not_keep_others_waiting)
{
    enum { GIVEN_UP = 50 };
    int unanswered[THREADS], given_up[GIVEN_UP], good;
    char own[64], address[80];
    int l = go_listen("tcp", "127.0.0.1:0");
    go_local_address(l, own, sizeof own);
    snprintf(address, sizeof address, "good%s", strchr(own, ':'));

    go_scope *waits = go_scope_open(), *gives_up = go_scope_open();
    for (int i = 0; i < THREADS; i++)
        go_scope_go(waits, dial, "slow:1", &unanswered[i]);
    while (atomic_load(&slow) < THREADS)
        go_sleep(GO_MILLISECOND);
    for (int i = 0; i < GIVEN_UP; i++)
        go_scope_go(gives_up, dial, "slow:1", &given_up[i]);
    go_sleep(10 * GO_MILLISECOND); /* so that most are in the queue */
    go_scope_cancel(gives_up);
    CHECK_EQ(go_scope_close(gives_up), -ECANCELED);
    go_scope_go(waits, dial, address, &good);
    go_sleep(10 * GO_MILLISECOND);

    pthread_mutex_lock(&lock);
    answered = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    CHECK_EQ(go_scope_close(waits), 0);
    CHECK(good >= 0);
    for (int i = 0; i < THREADS; i++)
        CHECK_EQ(unanswered[i], -EAGAIN);
    for (int i = 0; i < GIVEN_UP; i++)
        CHECK_EQ(given_up[i], -ECANCELED);
    CHECK_EQ(atomic_load(&slow), THREADS);
    go_close(good);
    go_close(l);
}
