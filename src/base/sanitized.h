// SPDX-License-Identifier: MIT
// Which sanitizers this is built for: HAVE_ASAN, HAVE_TSAN. For the tests, too.
#pragma once

#if defined(__SANITIZE_THREAD__)
#define HAVE_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HAVE_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define HAVE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAVE_ASAN 1
#endif
#endif
#ifndef HAVE_TSAN
#define HAVE_TSAN 0
#endif
#ifndef HAVE_ASAN
#define HAVE_ASAN 0
#endif
