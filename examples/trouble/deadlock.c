// SPDX-License-Identifier: MIT
// Trouble: two goroutines take two locks in opposite order. docs/troubleshooting.md shows what the library says.
#include <goroutine.h>

static go_mutex accounts, journal;
static go_waitgroup done;

static void transfer(void)
{
    go_mutex_lock(&accounts);
    go_sleep(10 * GO_MILLISECOND);
    go_mutex_lock(&journal); /* audit has it */
    go_mutex_unlock(&journal);
    go_mutex_unlock(&accounts);
    go_waitgroup_done(&done);
}

static void audit(void)
{
    go_mutex_lock(&journal);
    go_sleep(10 * GO_MILLISECOND);
    go_mutex_lock(&accounts); /* transfer has it */
    go_mutex_unlock(&accounts);
    go_mutex_unlock(&journal);
    go_waitgroup_done(&done);
}

int main(void)
{
    go_waitgroup_add(&done, 2);
    go_with(((go_options){ .name = "transfer" }), transfer);
    go_with(((go_options){ .name = "audit" }), audit);
    go_waitgroup_wait(&done);
    return 0;
}
