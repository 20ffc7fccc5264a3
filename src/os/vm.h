// SPDX-License-Identifier: MIT
//
// Memory from the system. What an operating system must supply:
//   vm_map       zeroed memory, used only as it is touched, counted against no limit before
//   vm_map_file  what is in a file, to be read
//   vm_guard     ranges that fault on access, without a mapping of their own; -ENOSYS, -EINVAL … if it cannot
//   vm_no_access the same by page protection, which costs two mappings
//   vm_executable  what is written there can be run
//   vm_unguard   takes such guards away again, those that there are
//   vm_discard   the contents may be lost and the memory used otherwise; reads as zeros; guards stay
//   vm_populate  as if each page had been touched, for less; false if it cannot
//   vm_huge      one page fault for 2 MiB, please; vm_no_huge: never more than a page for a touch
// All may be called on a system stack only. None touches errno but vm_map_limit.
#pragma once

#include "base/atomic.h"
#include "base/compiler.h"

#define VM_HUGE (2u << 20)

struct vm_range {
    void *start;
    size_t size;
};

/* NULL when there is none. `align` is a power of two, or 0 for a page. */
void *vm_map(size_t size, size_t align);
const void *vm_map_file(int fd, size_t size);
void vm_unmap(void *start, size_t size);

/* 0 or -errno. */
int vm_guard(const struct vm_range *ranges, size_t n, bool many_at_once);
void vm_unguard(void *start, size_t size);
/* Whether that does fault. Otherwise overwrites 16 bytes there. */
bool vm_faults(void *start);
int vm_no_access(void *start, size_t size);
int vm_executable(void *start, size_t size);

void vm_discard(const struct vm_range *ranges, size_t n, bool many_at_once);
bool vm_populate(const struct vm_range *ranges, size_t n);
void vm_huge(void *start, size_t size);
void vm_no_huge(void *start, size_t size);

size_t vm_page_size(void);
/* How many mappings a process may have. */
long vm_map_limit(void);

/* For tests: the calls of vm_map, vm_guard and vm_no_access count down from here, and the one that comes to
 * 0 fails. */
extern _Atomic long vm_fail_in;
