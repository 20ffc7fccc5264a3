// SPDX-License-Identifier: MIT
//
// idle: a thousand goroutines wait, half of them on a channel and half in a sleep; what does a second cost?
#include <goroutine.h>

#include "bench.h"

static chan(int) gate;

static void on_channel(void)
{
    chan_recv(gate, NULL);
}

static void asleep(void)
{
    go_sleep(GO_HOUR);
}

int main(void)
{
    struct rusage before, after;

    gate = chan_make(int, 0);
    for (int i = 0; i < 500; i++) {
        go(on_channel);
        go(asleep);
    }
    go_sleep(3 * GO_SECOND / 2); /* memory goes back to the system in the first second */
    getrusage(RUSAGE_SELF, &before);
    struct bench_watch w = bench_start();
    go_sleep(GO_SECOND);
    struct bench_watch spent = bench_since(w);
    getrusage(RUSAGE_SELF, &after);
    double seconds = (double)spent.wall / 1e9;
    bench_put("cpu", (double)spent.cpu / 1e3 / seconds, "us/s");
    bench_put("wakeups", (double)(after.ru_nvcsw - before.ru_nvcsw) / seconds, "1/s");
}
