// SPDX-License-Identifier: MIT
//
// The naive choice: a kernel thread for each activity, a queue with a mutex and two condition variables for a channel.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"

static void start(pthread_t *t, void *(*fn)(void *), void *arg)
{
    if (pthread_create(t, NULL, fn, arg) != 0) {
        fprintf(stderr, "pthread_create failed\n");
        exit(1);
    }
}

/* --- a queue as in the textbooks --- */

struct queue {
    pthread_mutex_t mutex;
    pthread_cond_t not_empty, not_full;
    size_t head, length, capacity;
    int closed;
    long items[128];
};

static void queue_init(struct queue *q, size_t capacity)
{
    pthread_mutex_init(&q->mutex, NULL);
    pthread_cond_init(&q->not_empty, NULL);
    pthread_cond_init(&q->not_full, NULL);
    q->head = q->length = 0;
    q->capacity = capacity;
    q->closed = 0;
}

static void queue_put(struct queue *q, long v)
{
    pthread_mutex_lock(&q->mutex);
    while (q->length == q->capacity)
        pthread_cond_wait(&q->not_full, &q->mutex);
    q->items[(q->head + q->length++) % q->capacity] = v;
    pthread_cond_signal(&q->not_empty);
    pthread_mutex_unlock(&q->mutex);
}

static int queue_get(struct queue *q, long *v)
{
    pthread_mutex_lock(&q->mutex);
    while (q->length == 0 && !q->closed)
        pthread_cond_wait(&q->not_empty, &q->mutex);
    int some = q->length > 0;
    if (some) {
        *v = q->items[q->head];
        q->head = (q->head + 1) % q->capacity;
        q->length--;
        pthread_cond_signal(&q->not_full);
    }
    pthread_mutex_unlock(&q->mutex);
    return some;
}

static void queue_close(struct queue *q)
{
    pthread_mutex_lock(&q->mutex);
    q->closed = 1;
    pthread_cond_broadcast(&q->not_empty);
    pthread_mutex_unlock(&q->mutex);
}

/* --- the workloads --- */

static void *nothing(void *arg)
{
    return arg;
}

static void launch(int argc, char **argv)
{
    enum { BATCH = 100 };
    long total = bench_arg(argc, argv, 3, 20000) / BATCH * BATCH;
    pthread_t t[BATCH];
    struct bench_watch w = bench_start();
    for (long i = 0; i < total; i += BATCH) {
        for (int j = 0; j < BATCH; j++)
            start(&t[j], nothing, NULL);
        for (int j = 0; j < BATCH; j++)
            pthread_join(t[j], NULL);
    }
    bench_per(w, (double)total);
}

static long each;
static pthread_barrier_t barrier;

static void *yield_one(void *arg)
{
    pthread_barrier_wait(&barrier);
    for (long i = 0; i < each; i++)
        sched_yield();
    return arg;
}

static void yield(int argc, char **argv)
{
    long threads = bench_arg(argc, argv, 2, 100);
    pthread_t *t = calloc((size_t)threads, sizeof t[0]);
    each = bench_arg(argc, argv, 3, 200000) / threads;
    pthread_barrier_init(&barrier, NULL, (unsigned)threads + 1);
    for (long i = 0; i < threads; i++)
        start(&t[i], yield_one, NULL);
    struct bench_watch w = bench_start();
    pthread_barrier_wait(&barrier);
    for (long i = 0; i < threads; i++)
        pthread_join(t[i], NULL);
    bench_per(w, (double)(threads * each));
}

static struct queue ping, pong;

static void *answers(void *arg)
{
    long v;
    while (queue_get(&ping, &v))
        queue_put(&pong, v + 1);
    return arg;
}

static void pingpong(int argc, char **argv)
{
    long n = bench_arg(argc, argv, 2, 50000);
    pthread_t t;
    queue_init(&ping, 1);
    queue_init(&pong, 1);
    start(&t, answers, NULL);
    struct bench_watch w = bench_start();
    for (long i = 0; i < n; i++) {
        long v = 0;
        queue_put(&ping, i);
        queue_get(&pong, &v);
        bench_expect(v == i + 1);
    }
    bench_per(w, (double)n);
}

static void *producer(void *arg)
{
    for (long v = 0; v < each; v++)
        queue_put(arg, v);
    return NULL;
}

static void *consumer(void *arg)
{
    long sum = 0, v;
    while (queue_get(arg, &v))
        sum += v;
    return (void *)sum;
}

static void buffered(int argc, char **argv)
{
    long sides = bench_arg(argc, argv, 2, 1);
    pthread_t producers[64], consumers[64];
    long sum = 0;
    each = bench_arg(argc, argv, 3, 2000000) / sides;
    queue_init(&ping, 128);
    struct bench_watch w = bench_start();
    for (long i = 0; i < sides; i++) {
        start(&producers[i], producer, &ping);
        start(&consumers[i], consumer, &ping);
    }
    for (long i = 0; i < sides; i++)
        pthread_join(producers[i], NULL);
    queue_close(&ping);
    for (long i = 0; i < sides; i++) {
        void *part;
        pthread_join(consumers[i], &part);
        sum += (long)part;
    }
    bench_per(w, (double)(sides * each));
    bench_expect(sum == sides * (each * (each - 1) / 2));
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER, gate = PTHREAD_COND_INITIALIZER;
static long count;
static int opened;

static void *blocked_one(void *arg)
{
    pthread_mutex_lock(&mutex);
    if (--count == 0)
        pthread_cond_signal(&changed);
    while (!opened)
        pthread_cond_wait(&gate, &mutex);
    pthread_mutex_unlock(&mutex);
    return arg;
}

static void blocked(int argc, char **argv)
{
    long n = bench_arg(argc, argv, 2, 10000);
    pthread_t *t = calloc((size_t)n, sizeof t[0]);
    double resident = bench_resident(), tables = bench_page_tables();
    struct bench_watch w = bench_start();
    count = n;
    for (long i = 0; i < n; i++)
        start(&t[i], blocked_one, NULL);
    pthread_mutex_lock(&mutex);
    while (count > 0)
        pthread_cond_wait(&changed, &mutex);
    pthread_mutex_unlock(&mutex);
    bench_per(w, (double)n);
    /* Not counted: the kernel's own stack of 16 KiB for each. */
    bench_put("resident", (bench_resident() - resident) / (double)n, "B");
    bench_put("tables", (bench_page_tables() - tables) / (double)n, "B");
    w = bench_start();
    pthread_mutex_lock(&mutex);
    opened = 1;
    pthread_cond_broadcast(&gate);
    pthread_mutex_unlock(&mutex);
    for (long i = 0; i < n; i++)
        pthread_join(t[i], NULL);
    bench_put("release", (double)bench_since(w).wall / (double)n, "ns");
}

static void *mutex_one(void *arg)
{
    for (long i = 0; i < each; i++) {
        pthread_mutex_lock(&mutex);
        count++;
        pthread_mutex_unlock(&mutex);
    }
    return arg;
}

static void mutexes(int argc, char **argv)
{
    long threads = bench_arg(argc, argv, 2, 1);
    pthread_t t[64];
    each = bench_arg(argc, argv, 3, 20000000) / threads;
    struct bench_watch w = bench_start();
    for (long i = 0; i < threads; i++)
        start(&t[i], mutex_one, NULL);
    for (long i = 0; i < threads; i++)
        pthread_join(t[i], NULL);
    bench_per(w, (double)(threads * each));
    bench_expect(count == threads * each);
}

static void *serve(void *arg)
{
    int fd = (int)(intptr_t)arg;
    char buffer[4096];
    ssize_t n;
    while ((n = read(fd, buffer, sizeof buffer)) > 0)
        if (write(fd, buffer, (size_t)n) != n)
            break;
    close(fd);
    return NULL;
}

static void echo(void)
{
    struct sockaddr_in at = { .sin_family = AF_INET };
    socklen_t size = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(fd, 4096) < 0)
        exit(1);
    getsockname(fd, (struct sockaddr *)&at, &size);
    printf("port %d\n", ntohs(at.sin_port));
    fflush(stdout);
    for (;;) {
        pthread_t t;
        int c = accept(fd, NULL, NULL);
        if (c < 0)
            exit(1);
        setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        start(&t, serve, (void *)(intptr_t)c);
        pthread_detach(t);
    }
}

static void wakeup(void)
{
    static int64_t late[100000];
    size_t n = 0;
    int64_t stamp;
    while (n < sizeof late / sizeof late[0] && read(0, &stamp, sizeof stamp) == sizeof stamp)
        late[n++] = bench_clock(CLOCK_MONOTONIC) - stamp;
    bench_expect(n > 0);
    bench_put_quantiles(late, n);
}

int main(int argc, char **argv)
{
    const char *work = argc > 1 ? argv[1] : "";
    if (strcmp(work, "launch") == 0)
        launch(argc, argv);
    else if (strcmp(work, "yield") == 0)
        yield(argc, argv);
    else if (strcmp(work, "pingpong") == 0)
        pingpong(argc, argv);
    else if (strcmp(work, "buffered") == 0)
        buffered(argc, argv);
    else if (strcmp(work, "blocked") == 0)
        blocked(argc, argv);
    else if (strcmp(work, "mutex") == 0)
        mutexes(argc, argv);
    else if (strcmp(work, "echo") == 0)
        echo();
    else if (strcmp(work, "wakeup") == 0)
        wakeup();
    else
        return 2;
    return 0;
}
