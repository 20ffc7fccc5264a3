// SPDX-License-Identifier: MIT
// Trouble: a recursion whose end is missing uses up the stack of its goroutine.
#include <goroutine.h>

#include <stdio.h>

struct node {
    struct node *next;
    int value;
};

static int sum(const struct node *node)
{
    char text[64];
    if (!node)
        return 0;
    snprintf(text, sizeof text, "%d", node->value); /* keeps the frame from being optimised away */
    return text[0] - '0' + sum(node->next);
}

static void worker(void)
{
    struct node a = { .value = 1 }, b = { .next = &a, .value = 2 };
    a.next = &b; /* the list has become a ring */
    go_logf("%d", sum(&a));
}

int main(void)
{
    go_with(((go_options){ .name = "summing", .stack_size = 64 << 10 }), worker);
    go_sleep(10 * GO_SECOND);
    return 0;
}
