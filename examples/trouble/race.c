// SPDX-License-Identifier: MIT
// Trouble: goroutines count in one variable without a lock. Built with -fsanitize=thread against the TSan build of the
// library (make tsan), it says so; and it does not complain about the total, which is counted under a lock.
#include <stdatomic.h>

#include <goroutine.h>

static go_waitgroup done;
static go_mutex lock;
static atomic_int begun;
static int hits, total;

static void count(int n)
{
    /* Those that run one after another on a thread count as ordered: two of them at once, then. */
    atomic_fetch_add_explicit(&begun, 1, memory_order_relaxed);
    while (atomic_load_explicit(&begun, memory_order_relaxed) < 2) {
    }
    for (int i = 0; i < 1000; i++) {
        hits += n; /* the race */
        go_mutex_lock(&lock);
        total += n;
        go_mutex_unlock(&lock);
    }
    go_waitgroup_done(&done);
}

int main(void)
{
    go_waitgroup_add(&done, 8);
    for (int i = 0; i < 8; i++)
        go(count, i);
    go_waitgroup_wait(&done);
    go_logf("%d %d", hits, total);
    return 0;
}
