// SPDX-License-Identifier: MIT
// Trouble: a goroutine computes for long without calling the library. The others go on, for its processor is taken away
// from it after 10 ms, but each time a tick is late. Run it with GOMAXPROCS=1 and GODEBUG=trace=hog.json, and look at the
// timeline; or press Ctrl-\ and see what computes.
#include <goroutine.h>

#include <stdio.h>

static volatile double result;

static void compute(int n)
{
    for (int i = 0; i < n; i++)
        result += 1.0 / (1 + i);
}

static void hog(void)
{
    for (int i = 0; i < 20; i++) {
        compute(20000000);
        go_sleep(GO_MILLISECOND);
    }
}

int main(void)
{
    go_duration worst = 0;
    go(hog);
    for (int i = 0; i < 500; i++) {
        go_time before = go_now();
        go_sleep(GO_MILLISECOND);
        go_duration late = go_now() - before - GO_MILLISECOND;
        if (late > worst)
            worst = late;
    }
    printf("the latest tick came %.1f ms late\n", (double)worst / GO_MILLISECOND);
    return 0;
}
