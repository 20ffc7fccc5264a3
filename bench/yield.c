// SPDX-License-Identifier: MIT
//
// yield [GOROUTINES [TOTAL]]: so many goroutines yield in turn, TOTAL yields in all.
#include <goroutine.h>

#include "bench.h"

static go_waitgroup begin, end;
static chan(int) gate;
static long each;

static void one(void)
{
    go_waitgroup_done(&begin);
    chan_recv(gate, NULL);
    for (long i = 0; i < each; i++)
        go_yield();
    go_waitgroup_done(&end);
}

int main(int argc, char **argv)
{
    long goroutines = bench_arg(argc, argv, 1, 100);
    long total = bench_arg(argc, argv, 2, 2000000);

    each = total / goroutines > 0 ? total / goroutines : 1;
    gate = chan_make(int, 0);
    go_waitgroup_add(&begin, (int)goroutines);
    go_waitgroup_add(&end, (int)goroutines);
    for (long i = 0; i < goroutines; i++)
        go(one);
    go_waitgroup_wait(&begin);
    struct bench_watch w = bench_start();
    chan_close(gate);
    go_waitgroup_wait(&end);
    bench_per(w, (double)(goroutines * each));
}
