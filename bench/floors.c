// SPDX-License-Identifier: MIT
//
// floors: what the machine itself takes for the steps that no library can leave out. No goroutine runs here.
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench.h"

#ifdef __x86_64__
#define RELAX() __builtin_ia32_pause()
#else
#define RELAX() __asm__ volatile("yield")
#endif
#define PAGES 50000
#define HUGE_BYTES ((size_t)256 << 20)

static void put_each(const char *name, struct bench_watch w, double n)
{
    bench_put(name, (double)bench_since(w).wall / n, "ns");
}

/* The first store to each page of a new mapping. */
static void touch(const char *name, size_t bytes, int advice)
{
    char *p = mmap(NULL, bytes + (2 << 20), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return;
    char *at = (char *)(((uintptr_t)p + (2 << 20) - 1) & ~(uintptr_t)((2 << 20) - 1));
    madvise(at, bytes, advice);
    struct bench_watch w = bench_start();
    for (size_t i = 0; i < bytes; i += 4096)
        *(volatile char *)(at + i) = 1;
    put_each(name, w, (double)(bytes / 4096));
    munmap(p, bytes + (2 << 20));
}

static _Alignas(128) _Atomic int turn;

static void *bounce_back(void *arg)
{
    for (long i = 0; i < (long)(intptr_t)arg; i++) {
        while (atomic_load_explicit(&turn, memory_order_acquire) != 1)
            RELAX();
        atomic_store_explicit(&turn, 0, memory_order_release);
    }
    return NULL;
}

static void bounce(long n)
{
    pthread_t t;
    pthread_create(&t, NULL, bounce_back, (void *)(intptr_t)n);
    struct bench_watch w = bench_start();
    for (long i = 0; i < n; i++) {
        atomic_store_explicit(&turn, 1, memory_order_release);
        while (atomic_load_explicit(&turn, memory_order_acquire) != 0)
            RELAX();
    }
    put_each("cache-line", w, (double)n);
    pthread_join(t, NULL);
}

static void futex_wait_for(_Atomic int *word, int value)
{
    int now;
    while ((now = atomic_load(word)) != value)
        syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, now, NULL, NULL, 0);
}

static void *futex_back(void *arg)
{
    for (long i = 0; i < (long)(intptr_t)arg; i++) {
        futex_wait_for(&turn, 1);
        atomic_store(&turn, 0);
        syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    }
    return NULL;
}

static void futexes(long n)
{
    pthread_t t;
    pthread_create(&t, NULL, futex_back, (void *)(intptr_t)n);
    struct bench_watch w = bench_start();
    for (long i = 0; i < n; i++) {
        atomic_store(&turn, 1);
        syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
        futex_wait_for(&turn, 0);
    }
    put_each("futex", w, 2 * (double)n);
    pthread_join(t, NULL);
}

#ifdef __x86_64__
/* What a switch owes each goroutine's rounding mode: both control words stored, and mxcsr loaded. */
static void control_words(long n)
{
    unsigned mxcsr = __builtin_ia32_stmxcsr(), stored;
    unsigned short x87;
    struct bench_watch w = bench_start();
    for (long i = 0; i < n; i++)
        __asm__ volatile("stmxcsr %0\n\tfnstcw %1\n\tldmxcsr %2" : "=m"(stored), "=m"(x87) : "m"(mxcsr));
    put_each("fp-control", w, (double)n);
}
#endif

int main(void)
{
    static _Atomic long counter;
    struct bench_watch w = bench_start();
    for (int i = 0; i < 1000000; i++)
        atomic_fetch_add(&counter, 1);
    put_each("atomic", w, 1000000);
#ifdef __x86_64__
    control_words(1000000);
#endif
    w = bench_start();
    for (int i = 0; i < 1000000; i++)
        bench_clock(CLOCK_MONOTONIC);
    put_each("clock", w, 1000000);
    w = bench_start();
    for (int i = 0; i < 300000; i++)
        syscall(SYS_getppid);
    put_each("system-call", w, 300000);
    if (sysconf(_SC_NPROCESSORS_ONLN) > 1)
        bounce(50000);
    futexes(5000);
    touch("touch-4k", (size_t)PAGES * 4096, MADV_NOHUGEPAGE);
    touch("touch-in-huge", HUGE_BYTES, MADV_HUGEPAGE);
}
