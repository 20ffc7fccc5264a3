// SPDX-License-Identifier: MIT
//
// sleepers [N [STACK]]: N goroutines sleep at once, for one to two seconds each, on stacks of STACK bytes (0: the default).
#include <goroutine.h>

#include "bench.h"

static go_waitgroup end;

static void one(go_duration d)
{
    go_sleep(d);
    go_waitgroup_done(&end);
}

int main(int argc, char **argv)
{
    long n = bench_arg(argc, argv, 1, 1000000);
    go_options options = { .stack_size = (size_t)bench_arg(argc, argv, 2, 0) };

    struct bench_watch w = bench_start();
    go_waitgroup_add(&end, (int)n);
    for (long i = 0; i < n; i++)
        go_with(options, one, GO_SECOND + i % 1000 * GO_MILLISECOND);
    go_waitgroup_wait(&end);
    bench_whole(w);
    bench_put_peak();
}
