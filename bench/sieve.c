// SPDX-License-Identifier: MIT
//
// sieve [N [STACK]]: the first N primes by a chain of filters on stacks of STACK bytes (0: the default).
#include <goroutine.h>

#include "bench.h"

static void numbers(chan(int) out)
{
    for (int i = 2;; i++)
        chan_send(out, i);
}

static void filter(chan(int) in, chan(int) out, int prime)
{
    for (;;) {
        int v;
        chan_recv(in, &v);
        if (v % prime != 0)
            chan_send(out, v);
    }
}

int main(int argc, char **argv)
{
    long n = bench_arg(argc, argv, 1, 3000);
    go_options options = { .stack_size = (size_t)bench_arg(argc, argv, 2, 0) };
    int prime = 0;

    struct bench_watch w = bench_start();
    chan(int) c = chan_make(int, 0);
    go(numbers, c);
    for (long i = 0; i < n; i++) {
        chan(int) next = chan_make(int, 0);
        chan_recv(c, &prime);
        go_with(options, filter, c, next, prime);
        c = next;
    }
    bench_whole(w);
    bench_expect(n != 3000 || prime == 27449);
}
