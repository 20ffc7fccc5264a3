// SPDX-License-Identifier: MIT
// Memory on Linux.
#include "os/vm.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "os/linux/syscall.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102 /* Linux 6.13 */
#endif
#ifndef MADV_GUARD_REMOVE
#define MADV_GUARD_REMOVE 103
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif
#define PIDFD_SELF_THREAD_GROUP (-10001) /* Linux 6.14; EBADF before */
#define RANGES_AT_ONCE 512

_Atomic long vm_fail_in;

static bool fails(void)
{
    return unlikely(load_relaxed(&vm_fail_in) > 0) &&
           atomic_fetch_sub_explicit(&vm_fail_in, 1, memory_order_relaxed) == 1;
}

/* ThreadSanitizer must hear of new memory, or it compares with what was written to the same addresses before. */
static void *map_as(size_t size, int protection, int flags, int fd)
{
#if HAVE_TSAN
    int before = errno;
    void *p = mmap(NULL, size, protection, flags, fd, 0);
    errno = before;
    return p == MAP_FAILED ? NULL : p;
#else
    long r = SYSCALL6(SYS_mmap, NULL, size, protection, flags, fd, 0);
    return r < 0 && r > -4096 ? NULL : (void *)r;
#endif
}

static char *map(size_t size)
{
    return map_as(size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
}

const void *vm_map_file(int fd, size_t size)
{
    return map_as(size, PROT_READ, MAP_PRIVATE, fd);
}

void *vm_map(size_t size, size_t align)
{
    if (fails())
        return NULL;
    /* Since Linux 6.7 a mapping whose size is a multiple of a huge page's is aligned to one without being asked. */
    char *p = map(size);
    if (!p || align <= vm_page_size() || ((uintptr_t)p & (align - 1)) == 0)
        return p;
    vm_unmap(p, size);
    if (size + align < size)
        return NULL;
    p = map(size + align);
    if (!p)
        return NULL;
    char *start = (char *)(((uintptr_t)p + align - 1) & ~(align - 1));
    if (start > p)
        vm_unmap(p, (size_t)(start - p));
    if (p + align > start)
        vm_unmap(start + size, (size_t)(p + align - start));
    return start;
}

void vm_unmap(void *start, size_t size)
{
    SYSCALL2(SYS_munmap, start, size);
}

/* The same advice for many ranges at once, by process_madvise on ourselves, which saves a system call for each. Returns for how
 * many of them; the kernel did not take the rest. */
static size_t advise_together(const struct vm_range *ranges, size_t n, int advice)
{
    struct iovec v[RANGES_AT_ONCE];
    size_t done = 0;
    while (done < n) {
        size_t count = n - done < RANGES_AT_ONCE ? n - done : RANGES_AT_ONCE, bytes = 0;
        for (size_t i = 0; i < count; i++) {
            v[i] = (struct iovec){ ranges[done + i].start, ranges[done + i].size };
            bytes += ranges[done + i].size;
        }
        if (SYSCALL6(SYS_process_madvise, PIDFD_SELF_THREAD_GROUP, v, count, advice, 0, 0) != (long)bytes)
            break; /* part of it may be done: doing it again does no harm */
        done += count;
    }
    return done;
}

/* That where the kernel takes it, and otherwise one by one. */
static long advise(const struct vm_range *ranges, size_t n, int advice, bool many_at_once)
{
    static _Atomic bool refused;
    size_t done = 0;
    if (many_at_once && n > 1 && !load_relaxed(&refused)) {
        done = advise_together(ranges, n, advice);
        if (done < n)
            store_relaxed(&refused, true);
    }
    for (; done < n; done++) {
        long r = SYSCALL3(SYS_madvise, ranges[done].start, ranges[done].size, advice);
        if (r < 0)
            return r;
    }
    return 0;
}

int vm_guard(const struct vm_range *ranges, size_t n, bool many_at_once)
{
    if (fails())
        return -ENOMEM;
    return (int)advise(ranges, n, MADV_GUARD_INSTALL, many_at_once);
}

void vm_unguard(void *start, size_t size)
{
    SYSCALL3(SYS_madvise, start, size, MADV_GUARD_REMOVE);
}

bool vm_faults(void *start)
{
    return SYSCALL2(SYS_clock_gettime, CLOCK_MONOTONIC, start) == -EFAULT;
}

int vm_executable(void *start, size_t size)
{
    return (int)SYSCALL3(SYS_mprotect, start, size, PROT_READ | PROT_WRITE | PROT_EXEC);
}

int vm_no_access(void *start, size_t size)
{
    if (fails())
        return -ENOMEM;
    return (int)SYSCALL3(SYS_mprotect, start, size, PROT_NONE);
}

void vm_discard(const struct vm_range *ranges, size_t n, bool many_at_once)
{
    advise(ranges, n, MADV_DONTNEED, many_at_once);
}

bool vm_populate(const struct vm_range *ranges, size_t n)
{
    return advise_together(ranges, n, MADV_POPULATE_WRITE) == n;
}

void vm_huge(void *start, size_t size)
{
    SYSCALL3(SYS_madvise, start, size, MADV_HUGEPAGE);
}

void vm_no_huge(void *start, size_t size)
{
    SYSCALL3(SYS_madvise, start, size, MADV_NOHUGEPAGE);
}

size_t vm_page_size(void)
{
    static _Atomic size_t size;
    size_t s = load_relaxed(&size);
    if (s == 0) {
        s = (size_t)sysconf(_SC_PAGESIZE);
        store_relaxed(&size, s);
    }
    return s;
}

long vm_map_limit(void)
{
    long limit = 65530; /* the kernel's default */
    FILE *f = fopen("/proc/sys/vm/max_map_count", "re");
    if (f) {
        if (fscanf(f, "%ld", &limit) != 1)
            limit = 65530;
        fclose(f);
    }
    return limit;
}
