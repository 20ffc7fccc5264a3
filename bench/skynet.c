// SPDX-License-Identifier: MIT
//
// skynet [N]: a tree of goroutines, each with ten below it, N leaves; the sum of their numbers comes up.
#include <goroutine.h>

#include "bench.h"

static void node(chan(long) result, long number, long size)
{
    long sum = number;

    if (size > 1) {
        chan(long) below = chan_make(long, 0);
        for (long i = 0; i < 10; i++)
            go(node, below, number + i * (size / 10), size / 10);
        sum = 0;
        for (int i = 0; i < 10; i++) {
            long part;
            chan_recv(below, &part);
            sum += part;
        }
        chan_unref(below);
    }
    chan_send(result, sum);
}

int main(int argc, char **argv)
{
    long n = bench_arg(argc, argv, 1, 1000000);
    long sum;

    struct bench_watch w = bench_start();
    chan(long) result = chan_make(long, 0);
    go(node, result, 0, n);
    chan_recv(result, &sum);
    bench_whole(w);
    bench_put_peak();
    bench_expect(sum == n * (n - 1) / 2);
}
