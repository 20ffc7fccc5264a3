// SPDX-License-Identifier: MIT
//
// warm GIB: touches so much memory and ends. A virtual machine's free memory may be backed by nothing: the hypervisor takes it
// back within seconds and finds a page anew at its first touch, which takes 5 to 10 µs. Whoever runs right after this pays the
// kernel's price only. No goroutine runs here.
#include <sys/mman.h>

#include "bench.h"

int main(int argc, char **argv)
{
    size_t bytes = (size_t)bench_arg(argc, argv, 1, 1) << 30;
    char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) {
        perror("mmap");
        return 1;
    }
    madvise(p, bytes, MADV_HUGEPAGE);
    struct bench_watch w = bench_start();
    for (size_t i = 0; i < bytes; i += 4096)
        *(volatile char *)(p + i) = 1;
    bench_per(w, (double)(bytes / 4096));
}
