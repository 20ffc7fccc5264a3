// SPDX-License-Identifier: MIT
//
// buffered [SIDES [TOTAL]]: SIDES producers and as many consumers on one channel of capacity 128.
#include <goroutine.h>

#include "bench.h"

static go_waitgroup senders;

static void produce(chan(long) c, long n)
{
    for (long v = 0; v < n; v++)
        chan_send(c, v);
    go_waitgroup_done(&senders);
}

static void consume(chan(long) c, chan(long) sums)
{
    long sum = 0, v;
    chan_range(c, &v)
        sum += v;
    chan_send(sums, sum);
}

int main(int argc, char **argv)
{
    long sides = bench_arg(argc, argv, 1, 1);
    long each = bench_arg(argc, argv, 2, 5000000) / sides;
    chan(long) c = chan_make(long, 128);
    chan(long) sums = chan_make(long, 0);

    go_waitgroup_add(&senders, (int)sides);
    struct bench_watch w = bench_start();
    for (long i = 0; i < sides; i++) {
        go(produce, c, each);
        go(consume, c, sums);
    }
    go_waitgroup_wait(&senders);
    chan_close(c);
    long sum = 0;
    for (long i = 0; i < sides; i++) {
        long part;
        chan_recv(sums, &part);
        sum += part;
    }
    bench_per(w, (double)(sides * each));
    bench_expect(sum == sides * (each * (each - 1) / 2));
}
