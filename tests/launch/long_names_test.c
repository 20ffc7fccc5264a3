// SPDX-License-Identifier: MIT
// GO_NO_SHORT_NAMES leaves the word go to the program.
#define GO_NO_SHORT_NAMES
#include <goroutine.h>

#include <errno.h>
#include <unistd.h>

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

/* What the short names stand for, each used as a program would that has chan and case_recv for something else. */
TEST(long_names_of_channels)
{
    int chan = 1, chan_len = 2, value = 0;
    go_chan(int) c = go_chan_make(int, 3);
    go_chan(int) same = go_chan_ref(c);
    CHECK_EQ(go_chan_cap(c), 3);
    CHECK_EQ(go_chan_send(c, chan), 0);
    CHECK_EQ(go_chan_send_from(c, &chan_len), 0);
    CHECK_EQ(go_chan_try_send(c, 3), 0);
    CHECK_EQ(go_chan_try_send(c, 4), -EAGAIN);
    CHECK_EQ(go_chan_try_send_from(c, &value), -EAGAIN);
    CHECK_EQ(go_chan_len(same), 3);
    for (int i = 1; i <= 2; i++) {
        CHECK_EQ(i == 1 ? go_chan_recv(c, &value) : go_chan_try_recv(c, &value), 1);
        CHECK_EQ(value, i);
    }
    CHECK_EQ(go_chan_close(c), 0);
    go_chan_range(c, &value)
        CHECK_EQ(value, 3);
    CHECK_EQ(go_chan_try_recv(c, &value), 0);
    go_chan_unref(same);
    go_chan_unref(c);
}

TEST(long_names_of_cases)
{
    int case_recv = 5, value = 0, fds[2];
    char byte = 0;
    bool open = false;
    go_chan(int) c = go_chan_make(int, 1);
    REQUIRE(pipe(fds) == 0);
    CHECK_EQ(go_select(go_case_recv(c, &value), go_case_default), 1);
    CHECK_EQ(go_select(go_case_recv(c, &value), go_case_until(go_now())), 1);
    CHECK_EQ(go_select(go_case_recv(c, &value), go_case_after(GO_MICROSECOND)), 1);
    CHECK_EQ(go_select(go_case_readable(fds[0]), go_case_writable(fds[1])), 1);
    CHECK_EQ(go_select(go_case_send(c, case_recv), go_case_readable(fds[0])), 0);
    CHECK_EQ(go_select(go_case_recv(c, &value, &open), go_case_readable(fds[0])), 0);
    CHECK(open && value == case_recv);
    CHECK_EQ(go_select(go_case_send_from(c, &value)), 0);
    CHECK_EQ(write(fds[1], &byte, 1), 1);
    CHECK_EQ(go_select(go_case_send(c, 6), go_case_readable(fds[0])), 1);
    close(fds[0]);
    close(fds[1]);
    go_chan_unref(c);
}
