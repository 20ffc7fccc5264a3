// SPDX-License-Identifier: MIT
// Names to addresses.
//
// Problem. getaddrinfo is the only call that answers as the rest of the system does (nsswitch.conf, hosts, mDNS, LDAP). It
// blocks for seconds, wants a large stack, and runs modules that nobody knows.
//
// Rejected. A blocking call on a goroutine's M: a small stack, and a resolver that does not answer would leave hundreds of Ms behind
// which the scheduler takes for its own. A resolver of our own: its answers would differ.
//
// The way. A few threads that come when they are needed and go when they have been idle for some seconds. They are not plain threads in
// the sense of the library: they never call it, and deadlock_helper_add keeps them from being taken for strangers. A request in progress
// counts as something that will wake its goroutine. A request belongs to both sides. A caller who leaves, cancelled, while it is in the
// queue takes it out: what nobody wants shall not keep a thread from those behind it. If a thread is already in getaddrinfo, that goes
// on, and the last of the two frees the request.
#include "io/resolve.h"

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#include "io/io.h"
#include "os/os.h"
#include "sched/park.h"
#include "sched/section.h"

#define THREADS_MOST 16
#define THREAD_STACK (2u << 20)
#define THREAD_IDLE 5000000000 /* ns */

struct request {
    struct request *next, **at;     /* under lock; at: what points to it while it is queued, else NULL */
    struct g *gp;
    uint64_t ticket;
    _Atomic int owners;
    int family, type;
    bool passive, has_host;
    char host[RESOLVE_HOST_MAX], service[RESOLVE_SERVICE_MAX];
    struct resolve_result result;
};

static struct {
    struct lock lock;
    struct request *head, **end;    /* under lock; end: where the next one goes, NULL: &head */
    int queued;                     /* under lock */
    int threads, idle;              /* under lock; one that has been woken is idle until it has the lock */
    int coming;                     /* under lock; of these threads, those that have not looked at the queue yet */
    int starting;                   /* under lock; of these, those that may yet fail to start */
    _Atomic uint32_t submitted;     /* futex of the idle threads */
} pool = { .lock = LOCK_INIT(RANK_CHILD) };

static int error_of(int eai)
{
    /* Without a free descriptor getaddrinfo reaches neither files nor servers, and says that there is no such name. */
    if (errno == EMFILE || errno == ENFILE)
        return -errno;
    switch (eai) {
    case EAI_NONAME:
    case EAI_SERVICE:
#ifdef EAI_NODATA
    case EAI_NODATA:
#endif
        return -ENOENT;
    case EAI_MEMORY:
        return -ENOMEM;
    case EAI_SYSTEM:
        return errno ? -errno : -EIO;
    case EAI_FAMILY:
#ifdef EAI_ADDRFAMILY
    case EAI_ADDRFAMILY:
#endif
        return -EAFNOSUPPORT;
    case EAI_AGAIN:
        return -EAGAIN;
    default:
        return -EIO;
    }
}

static void work(struct request *q)
{
    struct addrinfo hints = { .ai_family = q->family, .ai_socktype = q->type,
                              .ai_flags = q->passive ? AI_PASSIVE : 0 };
    struct addrinfo *list = NULL;
    struct resolve_result *result = &q->result;
    errno = 0;
    int r = getaddrinfo(q->has_host ? q->host : NULL, q->service, &hints, &list);
    if (r != 0) {
        result->count = error_of(r);
        return;
    }
    for (struct addrinfo *a = list; a && result->count < RESOLVE_ADDRESSES; a = a->ai_next)
        if ((a->ai_family == AF_INET || a->ai_family == AF_INET6) &&
            a->ai_addrlen <= sizeof result->address[0])
            memcpy(&result->address[result->count++], a->ai_addr, a->ai_addrlen);
    freeaddrinfo(list);
    if (result->count == 0)
        result->count = -ENOENT;
}

static void let_go(void *arg)
{
    struct request *q = arg;
    if (atomic_fetch_sub_explicit(&q->owners, 1, memory_order_acq_rel) == 1)
        free(q);
}

static void unlink_locked(struct request *q)
{
    check(q->at);
    if ((*q->at = q->next))
        q->next->at = q->at;
    else
        pool.end = q->at;
    q->at = NULL;
    pool.queued--;
}

static struct request *take_locked(void)
{
    struct request *q = pool.head;
    if (q)
        unlink_locked(q);
    return q;
}

static void *thread_main(void *arg)
{
    (void)arg;
    static struct m nobody; /* has no P: what it makes ready goes to the global queue */
    deadlock_helper_add(1);
    lock_take(&pool.lock);
    pool.coming--;
    for (;;) {
        struct request *q = take_locked();
        if (q) {
            lock_release(&pool.lock);
            work(q);
            if (wait_claim(q->gp, q->ticket))
                ready(&nobody, q->gp);
            let_go(q);
            lock_take(&pool.lock);
            continue;
        }
        uint32_t seen = load_relaxed(&pool.submitted);
        pool.idle++;
        lock_release(&pool.lock);
        bool woken = os_futex_wait(&pool.submitted, seen, os_now() + THREAD_IDLE);
        lock_take(&pool.lock);
        pool.idle--;
        if (!woken && !pool.head)
            break;
    }
    pool.threads--;
    lock_release(&pool.lock);
    deadlock_helper_add(-1);
    return NULL;
}

struct submission {
    const char *host, *service;
    int family, type;
    bool passive;
    struct request *request;
    int error;
};

/* Both on a system stack. */
static void make_request(void *arg)
{
    struct submission *s = arg;
    struct request *q = calloc(1, sizeof *q);
    s->error = q ? 0 : -ENOMEM;
    if (!q)
        return;
    q->family = s->family;
    q->type = s->type;
    q->passive = s->passive;
    q->has_host = s->host != NULL;
    if (s->host)
        strncpy(q->host, s->host, sizeof q->host - 1);
    strncpy(q->service, s->service, sizeof q->service - 1);
    store_relaxed(&q->owners, 2);
    s->request = q;
}

static void start_thread(void *arg)
{
    int *error = arg;
    *error = os_thread_start(thread_main, NULL, THREAD_STACK);
}

/* In a section. 0 or -errno: then the request is still the caller's alone. */
static int submit(struct request *q)
{
    lock_take(&pool.lock);
    /* As many threads as there are requests queued, and one more: the one that was started for this request may have taken another's. The
     * lock is released here only while a thread is started: an idle one that was counted on must not end before it sees the request. */
    while (pool.idle + pool.coming <= pool.queued && pool.threads < THREADS_MOST) {
        int error;
        pool.threads++;
        pool.coming++;
        pool.starting++;
        lock_release(&pool.lock);
        system_stack_call(start_thread, &error);
        lock_take(&pool.lock);
        pool.starting--;
        if (error == 0)
            continue;
        pool.threads--;
        pool.coming--;
        if (pool.threads > pool.starting)
            break; /* there are others */
        lock_release(&pool.lock);
        return error;
    }
    q->next = NULL;
    q->at = pool.end ? pool.end : &pool.head;
    *q->at = q;
    pool.end = &q->next;
    pool.queued++;
    add_relaxed(&pool.submitted, 1);
    lock_release(&pool.lock);
    os_futex_wake(&pool.submitted, 1);
    return 0;
}

int resolve(const char *host, const char *service, int family, int type, bool passive, struct resolve_result *result)
{
    struct submission s = { .host = host, .service = service, .family = family, .type = type, .passive = passive };
    system_stack_call(make_request, &s);
    if (s.error < 0)
        return s.error;
    struct request *q = s.request;
    struct m *mp = section_enter();
    struct g *gp = mp->cur;
    q->gp = gp;
    deadlock_waker_add(1);
    q->ticket = wait_arm_cancellable(gp, WAIT_RESOLVE);
    int r = submit(q);
    if (r < 0) {
        store_relaxed(&q->owners, 1);
        if (!wait_disarm(gp))
            wait_park(mp, gp);
    } else {
        r = wait_park(mp, gp);
        if (r < 0) { /* nobody wants it any more: it shall not keep a thread from those behind it */
            lock_take(&pool.lock);
            if (q->at) {
                unlink_locked(q);
                store_relaxed(&q->owners, 1);
            }
            lock_release(&pool.lock);
        }
    }
    mp = m_self();
    deadlock_waker_add(-1);
    section_leave(mp);
    if (r == 0) {
        *result = q->result;
        r = result->count < 0 ? result->count : 0;
    }
    system_stack_call(let_go, q);
    return r;
}
