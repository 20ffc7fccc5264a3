// SPDX-License-Identifier: MIT
//
// select [TOTAL]: four goroutines send on an unbuffered channel each, one selects over the four.
#include <goroutine.h>

#include "bench.h"

static void produce(chan(long) c, long n)
{
    for (long v = 0; v < n; v++)
        chan_send(c, v);
}

int main(int argc, char **argv)
{
    long each = bench_arg(argc, argv, 1, 1000000) / 4;
    chan(long) c[4];
    long sum = 0, v;

    for (int i = 0; i < 4; i++) {
        c[i] = chan_make(long, 0);
        go(produce, c[i], each);
    }
    struct bench_watch w = bench_start();
    for (long i = 0; i < 4 * each; i++)
        switch (go_select(case_recv(c[0], &v), case_recv(c[1], &v), case_recv(c[2], &v), case_recv(c[3], &v))) {
        case 0:
        case 1:
        case 2:
        case 3:
            sum += v;
        }
    bench_per(w, (double)(4 * each));
    bench_expect(sum == 4 * (each * (each - 1) / 2));
}
