// SPDX-License-Identifier: MIT
// Trouble: each request leaves a goroutine behind that waits for ever. The program works, and grows.
// Run it with GODEBUG=leakcheck=1.
#include <goroutine.h>

struct request {
    go_mutex lock;
    go_cond answered;
    bool has_answer;
};

static void wait_for_answer(struct request *r)
{
    go_mutex_lock(&r->lock);
    while (!r->has_answer)
        go_cond_wait(&r->answered, &r->lock);
    go_mutex_unlock(&r->lock);
}

static void handle(struct request *r, bool answer)
{
    go(wait_for_answer, r);
    go_sleep(GO_MILLISECOND);
    if (!answer)
        return; /* the error path forgets to tell */
    go_mutex_lock(&r->lock);
    r->has_answer = true;
    go_cond_broadcast(&r->answered);
    go_mutex_unlock(&r->lock);
}

int main(void)
{
    static struct request requests[100];
    for (int i = 0; i < 100; i++)
        handle(&requests[i], i % 4 != 0);
    return 0;
}
