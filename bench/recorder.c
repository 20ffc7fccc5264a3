// SPDX-License-Identifier: MIT
//
// recorder yield|pingpong [TOTAL]: what the flight recorder costs. A hundred goroutines yield in turn, or a value goes to another
// goroutine and one back, by turns with the recorder off and on: nanoseconds for each yield or round trip, and for each event. How many
// events that makes is not assumed but asked of the recorder, which says how many it has thrown away once its rings are full.
#include <goroutine.h>

#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

#define TURNS 21
#define YIELDERS 100

static go_waitgroup begin, end;
static chan(int) gate;

static void yield_often(long n)
{
    go_waitgroup_done(&begin);
    chan_recv(gate, NULL);
    for (long i = 0; i < n; i++)
        go_yield();
    go_waitgroup_done(&end);
}

static int64_t yield(long n)
{
    gate = chan_make(int, 0);
    go_waitgroup_add(&begin, YIELDERS);
    go_waitgroup_add(&end, YIELDERS);
    for (int i = 0; i < YIELDERS; i++)
        go(yield_often, n / YIELDERS);
    go_waitgroup_wait(&begin);
    struct bench_watch w = bench_start();
    chan_close(gate);
    go_waitgroup_wait(&end);
    chan_unref(gate);
    return bench_since(w).wall;
}

static void answer(chan(long) ping, chan(long) pong)
{
    long v;
    chan_range(ping, &v)
        chan_send(pong, v + 1);
    go_waitgroup_done(&end);
}

static void ask(chan(long) ping, chan(long) pong, long n)
{
    for (long i = 0; i < n; i++) {
        long v;
        chan_send(ping, i);
        chan_recv(pong, &v);
        bench_expect(v == i + 1);
    }
    chan_close(ping);
    go_waitgroup_done(&end);
}

static int64_t pingpong(long n)
{
    chan(long) ping = chan_make(long, 0);
    chan(long) pong = chan_make(long, 0);
    go_waitgroup_add(&end, 2);
    struct bench_watch w = bench_start();
    go(answer, ping, pong);
    go(ask, ping, pong, n);
    go_waitgroup_wait(&end);
    int64_t took = bench_since(w).wall;
    chan_unref(ping);
    chan_unref(pong);
    return took;
}

/* Events of this recording that are no longer kept: the end of a dump says it. */
static double thrown_away(void)
{
    char tail[128] = "";
    int fd = memfd_create("trace", 0);
    bench_expect(go_trace_dump(fd) == 0);
    bench_expect(pread(fd, tail, sizeof tail - 1, lseek(fd, 0, SEEK_END) - 80) > 0);
    close(fd);
    const char *kept = strstr(tail, "kept\":\"");
    bench_expect(kept != NULL);
    return atof(kept + 7);
}

int main(int argc, char **argv)
{
    int64_t (*work)(long) = argc > 1 && strcmp(argv[1], "pingpong") == 0 ? pingpong : yield;
    long each = bench_arg(argc, argv, 2, work == yield ? 10000000 : 2000000) / TURNS;
    int64_t off[TURNS], on[TURNS];

    /* Makes the rings, and fills them: from then on as many events are thrown away as are recorded. */
    bench_expect(go_trace_start(0) == 0);
    work(each);
    double events = -thrown_away();
    work(each);
    events += thrown_away();
    go_trace_stop();
    for (int i = 0; i < TURNS; i++) {
        off[i] = work(each);
        go_trace_start(0);
        on[i] = work(each);
        go_trace_stop();
    }
    qsort(off, TURNS, sizeof off[0], bench_compare);
    qsort(on, TURNS, sizeof on[0], bench_compare);
    double without = (double)off[TURNS / 2], with = (double)on[TURNS / 2];
    bench_put("ratio", with / without, "times");
    bench_put("off", without / (double)each, "ns");
    bench_put("on", with / (double)each, "ns");
    bench_put("events", events / (double)each, "each");
    bench_put("event", (with - without) / events, "ns");
}
