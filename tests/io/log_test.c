// SPDX-License-Identifier: MIT
// test: procs=1,4
#include <goroutine.h>

#include <string.h>
#include <time.h>

#include "test.h"

/* The message of a line whose beginning looks like "2006/01/02 15:04:05 ", or NULL. */
static const char *message(const char *line)
{
    const char *shape = "dddd/dd/dd dd:dd:dd ";
    for (; *shape; shape++, line++)
        if (*shape == 'd' ? *line < '0' || *line > '9' : *line != *shape)
            return NULL;
    return line;
}

CHILD(one_line)
{
    go_logf("heavyWeightChamp: Received message '%s'", "some message");
}

TEST(has_the_form_of_log_printf)
{
    struct test_result r = test_run_child("one_line", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_STR(message(r.output), "heavyWeightChamp: Received message 'some message'\n");
}

/* Not time(2): that goes by the last tick, and is a second behind for some milliseconds. */
static time_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec;
}

TEST(is_in_local_time)
{
    time_t before = now();
    struct test_result r = test_run_child("one_line", "TZ=XYZ-5:30", NULL);
    time_t after = now();
    bool found = false;
    for (time_t t = before; t <= after; t++) {
        time_t there = t + 5 * 3600 + 1800;
        struct tm tm;
        char expected[40];
        gmtime_r(&there, &tm);
        strftime(expected, sizeof expected, "%Y/%m/%d %H:%M:%S ", &tm);
        found = found || strncmp(r.output, expected, strlen(expected)) == 0;
    }
    CHECK(found);
}

CHILD(newlines)
{
    go_logf("ends in one\n");
    go_logf("none");
    go_logf("%s", "");
    go_logf("two\nlines");
}

TEST(adds_a_newline_where_there_is_none)
{
    struct test_result r = test_run_child("newlines", NULL);
    const char *at = message(r.output);
    REQUIRE(at && strncmp(at, "ends in one\n", 12) == 0);
    at = message(at + 12);
    REQUIRE(at && strncmp(at, "none\n", 5) == 0);
    at = message(at + 5);
    REQUIRE(at && *at == '\n');
    CHECK_STR(message(at + 1), "two\nlines\n");
}

CHILD(lengths)
{
    static char text[70001];
    memset(text, 'x', sizeof text - 1);
    static const int lengths[] = { 1000, 1001, 1002, 1003, 1004, 1005, 4096, 70000 };
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++)
        go_logf("%.*s", lengths[i], text);
}

TEST(writes_lines_of_any_length)
{
    struct test_result r = test_run_child("lengths", NULL);
    static const size_t lengths[] = { 1000, 1001, 1002, 1003, 1004, 1005, 4096, 70000 };
    const char *at = r.output;
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        at = message(at);
        REQUIRE(at);
        CHECK_EQ(strspn(at, "x"), lengths[i]);
        at += strspn(at, "x");
        REQUIRE(*at == '\n');
        at++;
    }
    CHECK_EQ(*at, '\0');
}

static void log_many(int id, int lines)
{
    char text[6000];
    memset(text, 'a' + id, sizeof text);
    for (int i = 0; i < lines; i++)
        go_logf("%.*s", i % 2 ? 5000 : 10, text);
}

CHILD(crowd)
{
    for (int i = 0; i < 8; i++)
        go(log_many, i, 20);
    while (go_count() > 1)
        go_yield();
}

TEST(keeps_lines_whole)
{
    struct test_result r = test_run_child("crowd", NULL);
    CHECK_EQ(r.status, 0);
    int lines = 0;
    for (const char *at = r.output; *at; lines++) {
        at = message(at);
        REQUIRE(at);
        const char one[2] = { *at, 0 };
        size_t n = strspn(at, one);
        CHECK(n == 10 || n == 5000);
        at += n;
        REQUIRE(*at == '\n');
        at++;
    }
    CHECK_EQ(lines, 160);
}

static void log_nul(void)
{
    go_logf("a%cb", 0);
}

CHILD(small_stack)
{
    go_options o = { .stack_size = 2048 };
    go_with(o, log_nul);
    while (go_count() > 1)
        go_yield();
    errno = ENOENT;
    go_logf("%m");
    go_logf("errno is %d", errno == ENOENT);
}

TEST(needs_little_stack_and_leaves_errno_alone)
{
    struct test_result r = test_run_child("small_stack", NULL);
    CHECK_EQ(r.status, 0);
    const char *at = message(r.output);
    REQUIRE(at);
    CHECK_EQ(memcmp(at, "a\0b\n", 4), 0);
    at = message(at + 4);
    REQUIRE(at && strchr(at, '\n'));
    CHECK_EQ(strncmp(at, strerror(ENOENT), strlen(strerror(ENOENT))), 0);
    CHECK_CONTAINS(strchr(at, '\n'), "errno is 1");
}
