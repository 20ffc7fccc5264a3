// SPDX-License-Identifier: MIT
// Trouble: a goroutine is given a pointer to a local variable of a function that returns before it is used. Built with
// -fsanitize=address against the ASan build of the library (make asan) and run with
// ASAN_OPTIONS=detect_stack_use_after_return=1, it says so.
#include <goroutine.h>

static go_waitgroup shown;

static void show(const int *number)
{
    go_logf("%d", *number);
    go_waitgroup_done(&shown);
}

static __attribute__((noinline)) void launch(int n)
{
    int number = n;
    go_waitgroup_add(&shown, 1);
    go(show, &number); /* give the value instead: go(show, n) */
}

int main(void)
{
    launch(1);
    go_waitgroup_wait(&shown);
    return 0;
}
