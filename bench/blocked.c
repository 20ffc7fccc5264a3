// SPDX-License-Identifier: MIT
//
// blocked [N [STACK]]: N goroutines blocked on a channel at once, with stacks of STACK bytes (0: the default); time
// to get there, memory of each, and, for a hundred thousand and less, the time from the close of the channel until all have
// ended. (A million of them take a minute for that where a hypervisor keeps shadow page tables.)
#include <goroutine.h>

#include "bench.h"

static go_waitgroup ready, end;
static chan(int) gate;

static void one(void)
{
    go_waitgroup_done(&ready);
    chan_recv(gate, NULL);
    go_waitgroup_done(&end);
}

int main(int argc, char **argv)
{
    long n = bench_arg(argc, argv, 1, 1000000);
    go_options options = { .stack_size = (size_t)bench_arg(argc, argv, 2, 0) };

    gate = chan_make(int, 0);
    double resident = bench_resident(), tables = bench_page_tables();
    struct bench_watch w = bench_start();
    go_waitgroup_add(&ready, (int)n);
    go_waitgroup_add(&end, (int)n);
    for (long i = 0; i < n; i++)
        go_with(options, one);
    go_waitgroup_wait(&ready);
    bench_per(w, (double)n);
    bench_put("resident", (bench_resident() - resident) / (double)n, "B");
    bench_put("tables", (bench_page_tables() - tables) / (double)n, "B");
    if (n > 100000)
        return 0;
    w = bench_start();
    chan_close(gate);
    go_waitgroup_wait(&end);
    bench_put("release", (double)bench_since(w).wall / (double)n, "ns");
}
