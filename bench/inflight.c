// SPDX-License-Identifier: MIT
//
// inflight [N]: N goroutines launched before the first one runs, which takes one P and
// GODEBUG=preempt=0,slice=999999999; the time to launch, the memory at the peak, and the time until all have run.
#include <goroutine.h>

#include "bench.h"

static long ran;

static void one(long i)
{
    ran += i >= 0;
}

int main(int argc, char **argv)
{
    long n = bench_arg(argc, argv, 1, 10000000);

    go_maxprocs(1);
    struct bench_watch w = bench_start();
    for (long i = 0; i < n; i++)
        go(one, i);
    bench_expect(ran == 0);
    bench_put("time", (double)bench_since(w).wall / (double)n, "ns");
    bench_put("resident", bench_resident() / (double)n, "B");
    w = bench_start();
    while (go_count() > 1)
        go_yield();
    bench_put("run", (double)bench_since(w).wall / (double)n, "ns");
    bench_put_peak();
    bench_expect(ran == n);
}
