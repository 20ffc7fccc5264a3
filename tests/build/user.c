// SPDX-License-Identifier: MIT
// A user's program that touches each part of the interface. It is compiled under strict warnings (header_test.sh), and
// built and run against an installed tree (install_test.sh).
#define _POSIX_C_SOURCE 200809L /* for pipe, where the compiler is asked for plain C */
#include <goroutine.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct point {
    int x, y;
};

static _Atomic int sum;
static go_mutex floats_lock;
static go_waitgroup floats_done;
static float floats;

static void add(double a, int b, struct point p, const char *text)
{
    sum += (int)a + b + p.x + p.y + (int)strlen(text);
}

static void deferred(void *arg)
{
    ++*(int *)arg;
}

/* Nobody is to be told that floats are widened: they are not. */
static float halves(float a, float b, float c, float d)
{
    go_chan(float) sent = go_chan_make(float, 1);
    float got = 0;
    if (go_chan_send(sent, (a + b + c + d) / 2) == 0)
        go_chan_recv(sent, &got);
    go_chan_unref(sent);
    go_mutex_lock(&floats_lock);
    floats += got;
    go_mutex_unlock(&floats_lock);
    go_waitgroup_done(&floats_done);
    return got;
}

static int with_floats(void)
{
    float one = 1;
    go_waitgroup_add(&floats_done, 2);
    go_go(halves, one, 2, one, 4);
    go_go(halves, 2.0F, one, one, one);
    go_waitgroup_wait(&floats_done);
    return (int)(2 * floats);
}

static int with_defer(int *count)
{
    return go_defer(deferred, count);
}

static go_mutex lock;
static go_waitgroup group;
static go_once once;

static void first(void *arg)
{
    ++*(int *)arg;
}

static void member(int *calls)
{
    go_once_do(&once, first, calls);
    go_mutex_lock(&lock);
    ++*calls;
    go_mutex_unlock(&lock);
    go_waitgroup_done(&group);
    bool cancelled = go_sleep(GO_HOUR) == -ECANCELED;
    go_mutex_lock(&lock);
    *calls += cancelled;
    go_mutex_unlock(&lock);
}

/* 1 for the once, and 2 for each of the members. */
static int scope(void)
{
    int calls = 0;
    go_scope *s = go_scope_open();
    go_waitgroup_add(&group, 3);
    for (int i = 0; i < 3; i++)
        go_scope_go(s, member, &calls);
    go_waitgroup_wait(&group);
    go_scope_cancel(s);
    return go_scope_close(s) == -ECANCELED ? calls : -1;
}

/* What was sent, by way of typed channels, of structures too, and a select. */
static void send_points(go_chan(struct point) out, int n)
{
    for (int i = 1; i <= n; i++)
        go_chan_send(out, (struct point){ i, -i });
    go_chan_close(out);
}

static int channels(void)
{
    int total = 0;
    struct point p;
    go_chan(struct point) points = go_chan_make(struct point, 2);
    go_go(send_points, points, 4);
    struct point q;
    go_chan_range(points, &p) { total += p.x - p.y; go_chan_range(points, &q) total += q.x - q.y; }
    go_chan_unref(points);

    go_chan(int) numbers = go_chan_make(int, 1);
    int v = 0;
    bool ok = false;
    for (int i = 0; i < 2; i++) {
        switch (go_select(go_case_send(numbers, 30 + i), go_case_recv(numbers, &v, &ok), go_case_after(GO_HOUR))) {
        case 0:
            break;
        case 1:
            total += v + ok;
            break;
        default:
            return -1;
        }
    }
    go_chan_unref(numbers);
    return total;
}

/* Through a pipe, a timer and a child. */
static int outside(void)
{
    int ends[2];
    char text[4];
    const char *const argv[] = { "sh", "-c", "exit 3", NULL };
    if (pipe(ends) != 0 || go_write(ends[1], "abc", 3) != 3 || go_read(ends[0], text, sizeof text) != 3)
        return -1;
    go_close(ends[0]);
    go_close(ends[1]);
    go_timer *t = go_timer_new(GO_MILLISECOND);
    go_time then = 0;
    if (go_chan_recv(go_timer_chan(t), &then) != 1 || then > go_now())
        return -1;
    go_timer_free(t);
    int status = go_run(argv);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int main(void)
{
    int count = 0;
    go_options o = { .name = "adder", .stack_size = 64 << 10 };

    go_go(add, 1, 2, ((struct point){ 3, 4 }), "five5");
    go_with(o, add, 1, 2, ((struct point){ 3, 4 }), "five5");
    go_with(((go_options){ .name = "literal", .stack_size = 16 << 10 }), with_defer, &count);
#ifndef GO_NO_SHORT_NAMES
    go(add, 1, 2, ((struct point){ 3, 4 }), "five5");
#endif
    while (go_count() > 1)
        go_yield();
    if (go_sleep(GO_MILLISECOND) != 0 || go_id() != 1 || go_maxprocs(0) < 1 || scope() != 7 || channels() != 51 || outside() != 3 ||
        with_floats() != 13)
        return 1;
    printf("sum %d, deferred %d\n", sum, count);
    return 0;
}
