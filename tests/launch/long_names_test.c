// SPDX-License-Identifier: MIT
// GO_NO_SHORT_NAMES leaves the word go to the program.
#define GO_NO_SHORT_NAMES
#include <goroutine.h>

#include "test.h"

#ifdef go
#error "go is defined"
#endif

static go_waitgroup running;

static void go(int *n)
{
    ++*n;
    go_waitgroup_done(&running);
}

TEST(long_names)
{
    int n = 0;
    go_waitgroup_add(&running, 1);
    go_go(go, &n);
    go_waitgroup_wait(&running);
    go_waitgroup_add(&running, 1);
    go_with((go_options){ .name = "go" }, go, &n);
    go_waitgroup_wait(&running);
    CHECK_EQ(n, 2);
}
