// SPDX-License-Identifier: MIT
// What the sanitizers are told that they cannot see for themselves: what a raw system call has read and written, and
// what orders memory without an atomic of its own. Nothing, in other builds.
#pragma once

#include <sys/uio.h>

#include "base/compiler.h"

#if HAVE_TSAN
void __sanitizer_syscall_pre_impl_close(long fd);
void __tsan_acquire(void *object);
void __tsan_release(void *object);
void __tsan_read_range(void *start, long size);
void __tsan_write_range(void *start, long size);
#define SANITIZE_READ(start, size) __tsan_read_range(start, (long)(size))
#define SANITIZE_WRITTEN(start, size) __tsan_write_range(start, (long)(size))
#else
#define __sanitizer_syscall_pre_impl_close(fd) ((void)(fd))
#define __tsan_acquire(object) ((void)(object))
#define __tsan_release(object) ((void)(object))
#if HAVE_ASAN
void __asan_loadN(void *start, long size);
void __asan_storeN(void *start, long size);
#define SANITIZE_READ(start, size) __asan_loadN(start, (long)(size))
#define SANITIZE_WRITTEN(start, size) __asan_storeN(start, (long)(size))
#endif
#endif

/* The kernel has written the first n bytes of a vector, or else read them. n < 0: it has not. */
static always_inline void sanitize_vector(const struct iovec *iov, size_t count, ssize_t n, bool written)
{
    (void)iov, (void)count, (void)n, (void)written;
#ifdef SANITIZE_READ
    for (size_t i = 0; i < count && n > 0; i++) {
        size_t part = (size_t)n < iov[i].iov_len ? (size_t)n : iov[i].iov_len;
        if (written)
            SANITIZE_WRITTEN(iov[i].iov_base, part);
        else
            SANITIZE_READ(iov[i].iov_base, part);
        n -= (ssize_t)part;
    }
#endif
}
