// SPDX-License-Identifier: MIT
// Graded invariant checks. GO_DEBUG_LEVEL 0: none, a release. 1: cheap ones, on every path. 2: also
// the ones that walk a structure. A check that fails is a bug in the library, never in its user, so
// it says where and aborts: there is nothing to report to the caller.
#pragma once

#ifndef GO_DEBUG_LEVEL
#define GO_DEBUG_LEVEL 0
#endif

_Noreturn void check_failed(const char *file, int line, const char *what);

#if GO_DEBUG_LEVEL >= 1
#define check(cond) ((cond) ? (void)0 : check_failed(__FILE__, __LINE__, #cond))
#else
#define check(cond) ((void)sizeof(cond))
#endif

#if GO_DEBUG_LEVEL >= 2
#define check_deep(cond) check(cond)
#else
#define check_deep(cond) ((void)(0 && (cond))) /* not sizeof: its functions count as used */
#endif
