// SPDX-License-Identifier: MIT
// A pipeline: one goroutine makes numbers, four workers compute on them, main collects. Run it with
// GODEBUG=trace=pipeline.json to see on a timeline who ran where and who woke whom.
#include <goroutine.h>

#include <stdio.h>

static void make(chan(int) numbers, int n)
{
    for (int i = 0; i < n; i++)
        chan_send(numbers, i);
    chan_close(numbers);
}

static double compute(int n)
{
    double sum = 0;
    for (int i = 1; i < 20000 * (1 + n % 3); i++)
        sum += 1.0 / i;
    return sum;
}

static void work(chan(int) numbers, chan(double) results)
{
    int n;
    chan_range(numbers, &n)
        chan_send(results, compute(n));
}

int main(void)
{
    enum { COUNT = 40 };
    chan(int) numbers = chan_make(int, 4);
    chan(double) results = chan_make(double, 0);
    go_with(((go_options){ .name = "maker" }), make, numbers, COUNT);
    for (int i = 0; i < 4; i++)
        go_with(((go_options){ .name = "worker" }), work, numbers, results);
    double sum = 0, one;
    for (int i = 0; i < COUNT; i++) {
        chan_recv(results, &one);
        sum += one;
    }
    printf("%.3f\n", sum);
    return 0;
}
