// SPDX-License-Identifier: MIT
//
// libuv: callbacks on one loop. libuv echo; libuv sleepers N, which are timers here.
#include <uv.h>

#include "bench.h"

struct client {
    uv_tcp_t tcp;
    char buffer[4096];
};

struct answer {
    uv_write_t request;
    char bytes[];
};

static void on_closed(uv_handle_t *handle)
{
    free(handle);
}

static void on_written(uv_write_t *request, int status)
{
    (void)status;
    free(request);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct client *c = (struct client *)handle;
    (void)suggested;
    *buffer = uv_buf_init(c->buffer, sizeof c->buffer);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
    if (n < 0) {
        uv_close((uv_handle_t *)stream, on_closed);
        return;
    }
    if (n == 0)
        return;
    uv_buf_t out = uv_buf_init(buffer->base, (unsigned)n);
    int sent = uv_try_write(stream, &out, 1);
    if (sent == n)
        return;
    if (sent < 0)
        sent = 0;
    struct answer *a = malloc(sizeof *a + (size_t)(n - sent));
    memcpy(a->bytes, buffer->base + sent, (size_t)(n - sent));
    out = uv_buf_init(a->bytes, (unsigned)(n - sent));
    uv_write(&a->request, stream, &out, 1, on_written);
}

static void on_connection(uv_stream_t *listener, int status)
{
    if (status < 0)
        return;
    struct client *c = malloc(sizeof *c);
    uv_tcp_init(listener->loop, &c->tcp);
    if (uv_accept(listener, (uv_stream_t *)&c->tcp) == 0) {
        uv_tcp_nodelay(&c->tcp, 1);
        uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
    } else {
        uv_close((uv_handle_t *)&c->tcp, on_closed);
    }
}

static void echo(void)
{
    uv_loop_t *loop = uv_default_loop();
    uv_tcp_t listener;
    struct sockaddr_in at;
    int size = sizeof at;

    uv_ip4_addr("127.0.0.1", 0, &at);
    uv_tcp_init(loop, &listener);
    uv_tcp_bind(&listener, (struct sockaddr *)&at, 0);
    if (uv_listen((uv_stream_t *)&listener, 4096, on_connection) != 0)
        exit(1);
    uv_tcp_getsockname(&listener, (struct sockaddr *)&at, &size);
    printf("port %d\n", ntohs(at.sin_port));
    fflush(stdout);
    uv_run(loop, UV_RUN_DEFAULT);
}

static void on_timer(uv_timer_t *timer)
{
    uv_close((uv_handle_t *)timer, on_closed);
}

static void sleepers(long n)
{
    uv_loop_t *loop = uv_default_loop();
    struct bench_watch w = bench_start();
    for (long i = 0; i < n; i++) {
        uv_timer_t *timer = malloc(sizeof *timer);
        uv_timer_init(loop, timer);
        uv_timer_start(timer, on_timer, (uint64_t)(1000 + i % 1000), 0);
    }
    uv_run(loop, UV_RUN_DEFAULT);
    bench_whole(w);
    bench_put_peak();
}

int main(int argc, char **argv)
{
    const char *work = argc > 1 ? argv[1] : "";
    if (strcmp(work, "echo") == 0)
        echo();
    else if (strcmp(work, "sleepers") == 0)
        sleepers(bench_arg(argc, argv, 2, 1000000));
    else
        return 2;
    return 0;
}
