// SPDX-License-Identifier: MIT
//
// pingpong [TOTAL [PAIRS]]: a value there and another back over two unbuffered channels, in PAIRS pairs of goroutines.
#include <goroutine.h>

#include "bench.h"

static void answer(chan(long) ping, chan(long) pong)
{
    long v;
    chan_range(ping, &v)
        chan_send(pong, v + 1);
    chan_unref(ping);
    chan_unref(pong);
}

static void ask(chan(long) ping, chan(long) pong, long n, go_waitgroup *wg)
{
    for (long i = 0; i < n; i++) {
        long v;
        chan_send(ping, i);
        chan_recv(pong, &v);
        bench_expect(v == i + 1);
    }
    chan_close(ping);
    chan_unref(ping);
    chan_unref(pong);
    go_waitgroup_done(wg);
}

int main(int argc, char **argv)
{
    long total = bench_arg(argc, argv, 1, 1000000);
    long pairs = bench_arg(argc, argv, 2, 1);
    long each = total / pairs > 0 ? total / pairs : 1;
    go_waitgroup wg = { 0 };

    go_waitgroup_add(&wg, (int)pairs);
    struct bench_watch w = bench_start();
    for (long i = 0; i < pairs; i++) {
        chan(long) ping = chan_make(long, 0);
        chan(long) pong = chan_make(long, 0);
        go(answer, chan_ref(ping), chan_ref(pong));
        go(ask, ping, pong, each, &wg);
    }
    go_waitgroup_wait(&wg);
    bench_per(w, (double)(pairs * each));
}
