// SPDX-License-Identifier: MIT
// Raw system calls: no errno, no lazily bound PLT entry (whose first call may need more stack than a
// small goroutine has), a negative errno as the result.
#pragma once

#include <sys/syscall.h>

#include "arch_syscall.h"

#define SYSCALL0(n) arch_syscall6(n, 0, 0, 0, 0, 0, 0)
#define SYSCALL1(n, a) arch_syscall6(n, (long)(a), 0, 0, 0, 0, 0)
#define SYSCALL2(n, a, b) arch_syscall6(n, (long)(a), (long)(b), 0, 0, 0, 0)
#define SYSCALL3(n, a, b, c) arch_syscall6(n, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define SYSCALL4(n, a, b, c, d)                                                                    \
    arch_syscall6(n, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define SYSCALL6(n, a, b, c, d, e, f)                                                              \
    arch_syscall6(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
