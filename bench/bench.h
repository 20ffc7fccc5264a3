// SPDX-License-Identifier: MIT
//
// What every benchmark program needs: its numeric arguments, wall and CPU time, memory, and the lines
// "metric value unit" that bench/run reads. Also for the peers, so nothing in here knows goroutines.
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

/* The numeric argument at position i, or otherwise. */
static inline long bench_arg(int argc, char **argv, int i, long otherwise)
{
    return i < argc ? atol(argv[i]) : otherwise;
}

static inline void bench_put(const char *name, double value, const char *unit)
{
    printf("%s %.4g %s\n", name, value, unit);
    fflush(stdout);
}

static inline void bench_expect(int condition)
{
    if (!condition) {
        fprintf(stderr, "wrong result\n");
        exit(1);
    }
}

static inline int64_t bench_clock(clockid_t clock)
{
    struct timespec ts;
    clock_gettime(clock, &ts);
    return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

struct bench_watch {
    int64_t wall, cpu;
};

static inline struct bench_watch bench_start(void)
{
    return (struct bench_watch){ bench_clock(CLOCK_MONOTONIC), bench_clock(CLOCK_PROCESS_CPUTIME_ID) };
}

static inline struct bench_watch bench_since(struct bench_watch start)
{
    struct bench_watch now = bench_start();
    return (struct bench_watch){ now.wall - start.wall, now.cpu - start.cpu };
}

/* Prints wall and CPU time per operation. */
static inline void bench_per(struct bench_watch start, double operations)
{
    struct bench_watch spent = bench_since(start);
    bench_put("time", (double)spent.wall / operations, "ns");
    bench_put("cpu", (double)spent.cpu / operations, "ns");
}

/* Prints wall and CPU time of all. */
static inline void bench_whole(struct bench_watch start)
{
    struct bench_watch spent = bench_since(start);
    bench_put("time", (double)spent.wall / 1e6, "ms");
    bench_put("cpu", (double)spent.cpu / 1e6, "ms");
}

/* A "Name:   123 kB" line of a file under /proc, in bytes. */
static inline double bench_field(const char *file, const char *name)
{
    FILE *f = fopen(file, "r");
    char line[256];
    double kib = 0;
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':') {
            kib = atof(line + strlen(name) + 1);
            break;
        }
    if (f != NULL)
        fclose(f);
    return kib * 1024;
}

static inline double bench_resident(void)
{
    return bench_field("/proc/self/smaps_rollup", "Rss");
}

static inline double bench_page_tables(void)
{
    return bench_field("/proc/self/status", "VmPTE");
}

/* Prints the most memory the process has ever had resident. */
static inline void bench_put_peak(void)
{
    struct rusage ru;
    getrusage(RUSAGE_SELF, &ru);
    bench_put("peak", (double)ru.ru_maxrss / 1024, "MiB");
}

static inline int bench_compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Sorts n > 0 latencies in nanoseconds and prints median, 99th percentile and worst. */
static inline void bench_put_quantiles(int64_t *late, size_t n)
{
    qsort(late, n, sizeof late[0], bench_compare);
    bench_put("median", (double)late[n / 2] / 1e3, "us");
    bench_put("p99", (double)late[n * 99 / 100] / 1e3, "us");
    bench_put("worst", (double)late[n - 1] / 1e3, "us");
}
