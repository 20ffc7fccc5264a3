// SPDX-License-Identifier: MIT
//
// launch [BATCH [TOTAL]]: launch, run, end; BATCH goroutines at a time, TOTAL in all.
#include <goroutine.h>

#include "bench.h"

static void one(go_waitgroup *wg)
{
    go_waitgroup_done(wg);
}

static void rounds(long batch, long total)
{
    go_waitgroup wg = { 0 };
    for (long i = 0; i < total; i += batch) {
        go_waitgroup_add(&wg, (int)batch);
        for (long j = 0; j < batch; j++)
            go(one, &wg);
        go_waitgroup_wait(&wg);
    }
}

int main(int argc, char **argv)
{
    long batch = bench_arg(argc, argv, 1, 1000);
    long total = bench_arg(argc, argv, 2, 1000000) / batch * batch;

    rounds(batch, total / 10);
    struct bench_watch w = bench_start();
    rounds(batch, total);
    bench_per(w, (double)total);
}
