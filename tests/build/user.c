// SPDX-License-Identifier: MIT
// A user's program that touches each part of the interface. It is compiled under strict warnings (header_test.sh), and
// built and run against an installed tree (install_test.sh).
#include <goroutine.h>

#include <stdio.h>
#include <string.h>

struct point {
    int x, y;
};

static _Atomic int sum;

static void add(double a, int b, struct point p, const char *text)
{
    sum += (int)a + b + p.x + p.y + (int)strlen(text);
}

static void deferred(void *arg)
{
    ++*(int *)arg;
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
    if (go_sleep(GO_MILLISECOND) != 0 || go_id() != 1 || go_maxprocs(0) < 1 || scope() != 7)
        return 1;
    printf("sum %d, deferred %d\n", sum, count);
    return 0;
}
