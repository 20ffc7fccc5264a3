// SPDX-License-Identifier: MIT
//
// The load for servers under test, from a process of its own:
//
//     load echo CONNECTIONS SECONDS SERVER ARGS...     64-byte messages, each answered before the next is sent
//     load http CONNECTIONS SECONDS SERVER ARGS...     GET / on connections that stay
//     load redis CONNECTIONS REQUESTS SERVER ARGS...   redis-benchmark: so many GETs, and as many SETs
//     load wakeup TIMES SERVER ARGS...                 the time, on the server's standard input, every 2 ms
//
// starts the server, which prints "port N" or "listening on 127.0.0.1:N" (or its port is given as PORT in the environment), and reports requests per
// second, the server's CPU time per request, and latencies. With PROCS=1 server and load have a processor each.
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define WARM_UP 200000000 /* ns */

struct connection {
    int fd;
    size_t got;
    unsigned answers;
    int64_t sent_at;
};

static pid_t server;
static char request[256], answer[4096];
static size_t request_size, answer_size; /* answer_size 0: not known yet */

static void die(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    if (server > 0)
        kill(server, SIGKILL);
    exit(1);
}

static void on_cpu(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof set, &set);
}

/* Starts the server; the ends of pipes for its input and output. */
static void start(char **argv, int *to, int *from)
{
    int in[2], out[2];
    const char *procs = getenv("PROCS");
    int apart = procs && atoi(procs) == 1 && sysconf(_SC_NPROCESSORS_ONLN) > 1;

    if (pipe(in) < 0 || pipe(out) < 0)
        die("pipe");
    server = fork();
    if (server < 0)
        die("fork");
    if (server == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(in[0], 0);
        if (from)
            dup2(out[1], 1);
        close(in[0]);
        close(in[1]);
        close(out[0]);
        close(out[1]);
        if (apart)
            on_cpu(0);
        execvp(argv[0], argv);
        perror(argv[0]);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    if (to)
        *to = in[1];
    if (from)
        *from = out[0];
    if (apart)
        on_cpu(1);
}

static int64_t cpu_of(pid_t pid)
{
    clockid_t clock;
    struct timespec ts;
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &ts) != 0)
        return 0;
    return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

/* The CPU time of the server and its worker processes. */
static int64_t server_cpu(void)
{
    char path[64];
    int pid;
    int64_t sum = cpu_of(server);
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", server, server);
    FILE *f = fopen(path, "r");
    while (f && fscanf(f, "%d", &pid) == 1)
        sum += cpu_of(pid);
    if (f)
        fclose(f);
    return sum;
}

static int connect_to(int port)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    if (fd < 0)
        die("socket");
    for (int i = 0; connect(fd, (struct sockaddr *)&to, sizeof to) < 0; i++) {
        if (errno != ECONNREFUSED || i == 200)
            die("connect");
        usleep(10000); /* a server that does not say when it is ready */
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

/* The size of a whole HTTP answer; 0 if it is not all there. */
static size_t http_size(char *text, size_t n)
{
    text[n] = 0;
    char *body = strstr(text, "\r\n\r\n"), *length = strcasestr(text, "\r\ncontent-length:");
    if (!body || !length)
        return 0;
    size_t all = (size_t)(body + 4 - text) + (size_t)atoi(length + 17);
    return all <= n ? all : 0;
}

static void send_request(struct connection *c)
{
    c->got = 0;
    c->sent_at = bench_clock(CLOCK_MONOTONIC);
    if (send(c->fd, request, request_size, MSG_NOSIGNAL) != (ssize_t)request_size)
        die("send");
}

/* True if a whole answer has come. */
static int receive(struct connection *c)
{
    char *buffer = answer_size ? answer : answer + c->got;
    ssize_t n = recv(c->fd, buffer, sizeof answer - 1 - (size_t)(buffer - answer), MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return 0;
    if (n <= 0)
        die("the server hung up");
    c->got += (size_t)n;
    if (answer_size == 0)
        answer_size = http_size(answer, c->got);
    if (answer_size && c->got > answer_size)
        die("too long an answer");
    return answer_size && c->got == answer_size;
}

static void load(int port, int connections, double seconds)
{
    size_t most = 4000000, n = 0;
    int64_t *late = malloc(most * sizeof late[0]);
    struct connection *all = calloc((size_t)connections, sizeof all[0]);
    struct epoll_event events[256];
    int ep = epoll_create1(EPOLL_CLOEXEC);

    for (int i = 0; i < connections; i++) {
        struct epoll_event e = { .events = EPOLLIN, .data.ptr = &all[i] };
        all[i].fd = connect_to(port);
        epoll_ctl(ep, EPOLL_CTL_ADD, all[i].fd, &e);
    }
    /* The first answer tells how long they are. */
    send_request(&all[0]);
    while (!receive(&all[0]))
        usleep(100);
    for (int i = 0; i < connections; i++)
        send_request(&all[i]);

    /* Counted from when every connection has been served a few times: what it costs to accept them is another matter. */
    int64_t now = bench_clock(CLOCK_MONOTONIC), warm = now + WARM_UP, begin = 0, end = INT64_MAX, cpu = 0;
    int cold = connections;
    while (now < end) {
        int ready = epoll_wait(ep, events, 256, 1000);
        if (ready == 0)
            die("no answer for a second");
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].data.ptr;
            if (!receive(c))
                continue;
            now = bench_clock(CLOCK_MONOTONIC);
            cold -= ++c->answers == 3;
            if (begin > 0 && n < most)
                late[n++] = now - c->sent_at;
            if (begin == 0 && cold == 0 && now >= warm) {
                cpu = server_cpu();
                begin = bench_clock(CLOCK_MONOTONIC);
                end = begin + (int64_t)(seconds * 1e9);
            }
            send_request(c);
        }
    }
    cpu = server_cpu() - cpu;
    if (n == 0)
        die("no answers");
    qsort(late, n, sizeof late[0], bench_compare);
    bench_put("cpu", (double)cpu / 1e3 / (double)n, "us");
    bench_put("rate", (double)n / ((double)(now - begin) / 1e9), "1/s");
    bench_put("median", (double)late[n / 2] / 1e3, "us");
    bench_put("p99", (double)late[n * 99 / 100] / 1e3, "us");
    bench_put("p99.9", (double)late[n * 999 / 1000] / 1e3, "us");
}

static void redis(int port, const char *connections, const char *requests)
{
    char command[200], line[300], test[20];
    double rate;
    int n = 0;

    close(connect_to(port)); /* it listens */
    snprintf(command, sizeof command, "redis-benchmark -p %d -c %.10s -n %.10s -t get,set --csv", port, connections, requests);
    int64_t cpu = server_cpu();
    FILE *f = popen(command, "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "\"%19[^\"]\",\"%lf\"", test, &rate) == 2) { /* "GET","123456.78",… */
            for (char *c = test; *c; c++)
                *c = (char)tolower((unsigned char)*c);
            bench_put(test, rate, "1/s");
            n++;
        }
    if (!f || pclose(f) != 0 || n != 2)
        die("redis-benchmark");
    bench_put("cpu", (double)(server_cpu() - cpu) / 1e3 / (2 * atof(requests)), "us");
}

static int wakeup(int times, int to)
{
    int status;
    usleep(100000);
    for (int i = 0; i < times; i++) {
        usleep(2000);
        int64_t now = bench_clock(CLOCK_MONOTONIC);
        if (write(to, &now, sizeof now) != sizeof now)
            die("write");
    }
    close(to);
    waitpid(server, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int main(int argc, char **argv)
{
    struct rlimit files;

    signal(SIGPIPE, SIG_IGN);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);

    if (argc > 3 && strcmp(argv[1], "wakeup") == 0) {
        int to;
        start(argv + 3, &to, NULL);
        return wakeup(atoi(argv[2]), to);
    }
    if (argc < 5) {
        fprintf(stderr, "usage: load echo|http|redis CONNECTIONS SECONDS|REQUESTS SERVER ARGS...\n");
        return 2;
    }
    if (strcmp(argv[1], "http") == 0) {
        strcpy(request, "GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: load\r\nAccept: */*\r\n\r\n");
        request_size = strlen(request);
    } else {
        memset(request, 'x', 64);
        request_size = answer_size = 64;
    }
    int from, port = 0;
    start(argv + 4, NULL, &from);
    if (getenv("PORT")) {
        port = atoi(getenv("PORT"));
    } else {
        char line[64];
        FILE *f = fdopen(from, "r");
        if (!fgets(line, sizeof line, f) || (sscanf(line, "port %d", &port) != 1 && sscanf(line, "listening on %*[^:]:%d", &port) != 1))
            die("the server prints no port");
    }
    if (strcmp(argv[1], "redis") == 0)
        redis(port, argv[2], argv[3]);
    else
        load(port, atoi(argv[2]), atof(argv[3]));
    /* Time to end by itself: a master that is killed leaves its workers behind, at its port. */
    kill(server, SIGTERM);
    for (int i = 0; i < 200 && waitpid(server, NULL, WNOHANG) == 0; i++)
        usleep(10000);
    if (waitpid(server, NULL, WNOHANG) == 0) {
        kill(server, SIGKILL);
        waitpid(server, NULL, 0);
    }
    return 0;
}
