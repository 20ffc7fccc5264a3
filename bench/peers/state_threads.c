// SPDX-License-Identifier: MIT
//
// State Threads: cooperative threads on one kernel thread; no channels, so values go through a slot with a condition variable.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <st.h>

#include "bench.h"

static st_cond_t done;
static long left, each;

static void one_less(void)
{
    if (--left == 0)
        st_cond_signal(done);
}

static void *launch_one(void *arg)
{
    one_less();
    return arg;
}

static void launch_rounds(long batch, long total)
{
    for (long i = 0; i < total; i += batch) {
        left = batch;
        for (long j = 0; j < batch; j++)
            st_thread_create(launch_one, NULL, 0, 0);
        st_cond_wait(done);
    }
}

static void launch(int argc, char **argv)
{
    long batch = bench_arg(argc, argv, 2, 1000);
    long total = bench_arg(argc, argv, 3, 1000000) / batch * batch;
    launch_rounds(batch, total / 10);
    struct bench_watch w = bench_start();
    launch_rounds(batch, total);
    bench_per(w, (double)total);
}

static void *yield_one(void *arg)
{
    for (long i = 0; i < each; i++)
        st_usleep(0);
    one_less();
    return arg;
}

static void yield(int argc, char **argv)
{
    long threads = bench_arg(argc, argv, 2, 100);
    each = bench_arg(argc, argv, 3, 2000000) / threads;
    left = threads;
    for (long i = 0; i < threads; i++)
        st_thread_create(yield_one, NULL, 0, 0);
    struct bench_watch w = bench_start();
    st_cond_wait(done);
    bench_per(w, (double)(threads * each));
}

struct slot {
    st_cond_t changed;
    long value;
    int full;
};

static void put(struct slot *s, long value)
{
    while (s->full)
        st_cond_wait(s->changed);
    s->value = value;
    s->full = 1;
    st_cond_signal(s->changed);
}

static long get(struct slot *s)
{
    while (!s->full)
        st_cond_wait(s->changed);
    s->full = 0;
    st_cond_signal(s->changed);
    return s->value;
}

static struct slot ping, pong;

static void *answers(void *arg)
{
    for (;;)
        put(&pong, get(&ping) + 1);
    return arg;
}

static void pingpong(int argc, char **argv)
{
    long n = bench_arg(argc, argv, 2, 1000000);
    ping.changed = st_cond_new();
    pong.changed = st_cond_new();
    st_thread_create(answers, NULL, 0, 0);
    struct bench_watch w = bench_start();
    for (long i = 0; i < n; i++) {
        put(&ping, i);
        bench_expect(get(&pong) == i + 1);
    }
    bench_per(w, (double)n);
}

static st_cond_t gate;

static void *blocked_one(void *arg)
{
    if (--left == 0)
        st_cond_signal(done);
    st_cond_wait(gate);
    return arg;
}

static void blocked(int argc, char **argv)
{
    long n = bench_arg(argc, argv, 2, 20000);
    gate = st_cond_new();
    left = n;
    double resident = bench_resident(), tables = bench_page_tables();
    struct bench_watch w = bench_start();
    for (long i = 0; i < n; i++)
        if (!st_thread_create(blocked_one, NULL, 0, 0)) {
            perror("st_thread_create");
            exit(1);
        }
    st_cond_wait(done);
    bench_per(w, (double)n);
    bench_put("resident", (bench_resident() - resident) / (double)n, "B");
    bench_put("tables", (bench_page_tables() - tables) / (double)n, "B");
}

static st_mutex_t mutex;
static long count;

static void *mutex_one(void *arg)
{
    for (long i = 0; i < each; i++) {
        st_mutex_lock(mutex);
        count++;
        st_mutex_unlock(mutex);
    }
    one_less();
    return arg;
}

static void mutexes(int argc, char **argv)
{
    long threads = bench_arg(argc, argv, 2, 1);
    each = bench_arg(argc, argv, 3, 20000000) / threads;
    mutex = st_mutex_new();
    left = threads;
    for (long i = 0; i < threads; i++)
        st_thread_create(mutex_one, NULL, 0, 0);
    struct bench_watch w = bench_start();
    st_cond_wait(done);
    bench_per(w, (double)(threads * each));
    bench_expect(count == threads * each);
}

static void *serve(void *arg)
{
    st_netfd_t fd = arg;
    char buffer[4096];
    ssize_t n;
    while ((n = st_read(fd, buffer, sizeof buffer, ST_UTIME_NO_TIMEOUT)) > 0)
        if (st_write(fd, buffer, (size_t)n, ST_UTIME_NO_TIMEOUT) != n)
            break;
    st_netfd_close(fd);
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
    st_netfd_t listener = st_netfd_open_socket(fd);
    for (;;) {
        st_netfd_t c = st_accept(listener, NULL, NULL, ST_UTIME_NO_TIMEOUT);
        if (!c)
            exit(1);
        setsockopt(st_netfd_fileno(c), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        st_thread_create(serve, c, 0, 0);
    }
}

int main(int argc, char **argv)
{
    const char *work = argc > 1 ? argv[1] : "";
    st_set_eventsys(ST_EVENTSYS_ALT);
    if (st_init() < 0)
        return 1;
    done = st_cond_new();
    if (strcmp(work, "launch") == 0)
        launch(argc, argv);
    else if (strcmp(work, "yield") == 0)
        yield(argc, argv);
    else if (strcmp(work, "pingpong") == 0)
        pingpong(argc, argv);
    else if (strcmp(work, "blocked") == 0)
        blocked(argc, argv);
    else if (strcmp(work, "mutex") == 0)
        mutexes(argc, argv);
    else if (strcmp(work, "echo") == 0)
        echo();
    else
        return 2;
    return 0;
}
