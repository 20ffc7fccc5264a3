// SPDX-License-Identifier: MIT
//
// hog [N]: one goroutine computes without a call, another wants to run every millisecond, N times; how late is it?
#include <goroutine.h>

#include "bench.h"

static volatile long hogged;

static void hog(void)
{
    for (;;)
        hogged++;
}

int main(int argc, char **argv)
{
    long n = bench_arg(argc, argv, 1, 30);
    int64_t *late = calloc((size_t)n, sizeof late[0]);

    go(hog);
    for (long i = 0; i < n; i++) {
        go_time before = go_now();
        go_sleep(GO_MILLISECOND);
        late[i] = go_now() - before - GO_MILLISECOND;
    }
    qsort(late, (size_t)n, sizeof late[0], bench_compare);
    bench_put("worst", (double)late[n - 1] / 1e6, "ms");
    bench_put("median", (double)late[n / 2] / 1e6, "ms");
}
