// SPDX-License-Identifier: MIT
//
// mutex [GOROUTINES [TOTAL]]: so many goroutines lock and unlock one mutex around an addition.
#include <goroutine.h>

#include "bench.h"

static go_mutex mutex;
static go_waitgroup end;
static long count;

static void one(long n)
{
    for (long i = 0; i < n; i++) {
        go_mutex_lock(&mutex);
        count++;
        go_mutex_unlock(&mutex);
    }
    go_waitgroup_done(&end);
}

int main(int argc, char **argv)
{
    long goroutines = bench_arg(argc, argv, 1, 1);
    long each = bench_arg(argc, argv, 2, 20000000) / goroutines;

    go_waitgroup_add(&end, (int)goroutines);
    struct bench_watch w = bench_start();
    for (long i = 0; i < goroutines; i++)
        go(one, each);
    go_waitgroup_wait(&end);
    bench_per(w, (double)(goroutines * each));
    bench_expect(count == goroutines * each);
}
