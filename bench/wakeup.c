// SPDX-License-Identifier: MIT
//
// wakeup: the process is idle; another one (bench/load.c) writes the time on its standard input now and then. How
// old is it when a goroutine has read it?
#include <goroutine.h>

#include "bench.h"

int main(void)
{
    static int64_t late[100000];
    size_t n = 0;
    int64_t stamp;

    while (n < sizeof late / sizeof late[0] && go_read(0, &stamp, sizeof stamp) == sizeof stamp)
        late[n++] = bench_clock(CLOCK_MONOTONIC) - stamp;
    bench_expect(n > 0);
    bench_put_quantiles(late, n);
}
