// SPDX-License-Identifier: MIT
// Who runs next, on which P, and that nobody who is ready is forgotten.
#include <goroutine.h>

#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "test.h"

#include "sched/sched.h"
#include "sched/section.h"

static go_waitgroup running;
static atomic_int seen, stop;

/* Children with one P and no hand-off print in an order that is certain. */
static char order[1000];

static void takes_turns(const char *name)
{
    for (int i = 0; i < 3; i++) {
        strcat(order, name);
        go_yield();
    }
    go_waitgroup_done(&running);
}

CHILD(yield_order)
{
    go_waitgroup_add(&running, 3);
    go(takes_turns, "a");
    go(takes_turns, "b");
    go(takes_turns, "c");
    go_waitgroup_wait(&running);
    puts(order);
}

static void says(const char *name)
{
    strcat(order, name);
    go_waitgroup_done(&running);
}

/* Those that have not begun run newest first, those that have, in their order. */
static void launches_five(void)
{
    go_waitgroup_add(&running, 5);
    go(says, "1");
    go(says, "2");
    go(says, "3");
    go(says, "4");
    go(says, "5");
    go_waitgroup_wait(&running);
    puts(order);
}

CHILD(launch_order)
{
    launches_five();
}

/* The one that is picked beside a locked goroutine has not begun and is put back: that does not make it the last. */
CHILD(launch_order_locked)
{
    go_lock_thread();
    launches_five();
}

static void sleeps_until(go_time when, const char *name)
{
    go_sleep(when - go_now());
    says(name);
}

CHILD(sleep_order)
{
    /* Far enough from each other for a machine that is busy otherwise. */
    go_time now = go_now();
    go_waitgroup_add(&running, 5);
    go(sleeps_until, now + 30 * 6 * GO_MILLISECOND, "3");
    go(sleeps_until, now + 10 * 6 * GO_MILLISECOND, "1");
    go(sleeps_until, now + 50 * 6 * GO_MILLISECOND, "5");
    go(sleeps_until, now + 20 * 6 * GO_MILLISECOND, "2");
    go(sleeps_until, now + 40 * 6 * GO_MILLISECOND, "4");
    go_waitgroup_wait(&running);
    puts(order);
}

/* All are due before the first of them can run. */
CHILD(late_sleep_order)
{
    go_time now = go_now(), until = now + 300 * GO_MILLISECOND;
    go_waitgroup_add(&running, 5);
    go(sleeps_until, until - 3 * GO_MILLISECOND, "3");
    go(sleeps_until, until - 5 * GO_MILLISECOND, "1");
    go(sleeps_until, until - 1 * GO_MILLISECOND, "5");
    go(sleeps_until, until - 4 * GO_MILLISECOND, "2");
    go(sleeps_until, until - 2 * GO_MILLISECOND, "4");
    go_yield();
    while (go_now() < until)
        ;
    go_waitgroup_wait(&running);
    puts(order);
}

TEST(order_on_one_p)
{
#if HAVE_ASAN || HAVE_TSAN
    SKIP("so slow that the round for all that wait, every 10 ms, falls into it");
#endif
    const char *slow = "GODEBUG=preempt=0,slice=1000000"; /* a second: no turn is long, whatever else runs on this machine */
    struct test_result r = test_run_child("yield_order", "GOMAXPROCS=1", slow, NULL);
    CHECK_STR(r.output, "cbacbacba\n");
    r = test_run_child("launch_order", "GOMAXPROCS=1", slow, NULL);
    CHECK_STR(r.output, "54321\n");
    r = test_run_child("launch_order_locked", "GOMAXPROCS=1", slow, NULL);
    CHECK_STR(r.output, "54321\n");
    r = test_run_child("sleep_order", "GOMAXPROCS=1", slow, NULL);
    CHECK_STR(r.output, "12345\n");
    r = test_run_child("late_sleep_order", "GOMAXPROCS=1", slow, NULL);
    CHECK_STR(r.output, "12345\n");
}

static atomic_int advanced;

static void computes_and_yields(int steps)
{
    for (int turn = 0; !atomic_load(&stop); turn++) {
        for (int i = 0; i < steps; i++)
            __asm__ volatile("");
        if (turn == 2)
            atomic_fetch_add(&advanced, 1);
        go_yield();
    }
    go_waitgroup_done(&running);
}

/* More than a ring holds, and rounds for the oldest that take longer than they are apart: all begin and go on, and who sleeps
 * beside them wakes. Otherwise this does not end. */
static void many_yield(int n, int steps)
{
    atomic_store(&stop, 0);
    atomic_store(&advanced, 0);
    go_waitgroup_add(&running, n);
    for (int i = 0; i < n; i++)
        go(computes_and_yields, steps);
    while (atomic_load(&advanced) < n)
        go_sleep(GO_MILLISECOND);
    atomic_store(&stop, 1);
    go_waitgroup_wait(&running);
    atomic_store(&stop, 0);
}

TEST(none_of_many_yielders_is_left_behind)
{
    many_yield(150, 300000);
    many_yield(400, 100000);
    many_yield(1000, 50000);
}

static void waits_for_the_others(int n)
{
    atomic_fetch_add(&advanced, 1);
    while (atomic_load(&advanced) < n)
        go_yield();
    go_waitgroup_done(&running);
}

TEST(those_that_yield_to_who_has_not_begun)
{
    for (int n = 2; n <= 1000; n = n * 3 + 1) {
        atomic_store(&advanced, 0);
        go_waitgroup_add(&running, n);
        for (int i = 0; i < n; i++)
            go(waits_for_the_others, n);
        go_waitgroup_wait(&running);
    }
}

static int turns[4];

static void counts_turns(int who)
{
    while (!atomic_load(&stop)) {
        turns[who]++;
        go_yield();
    }
    go_waitgroup_done(&running);
}

CHILD(yield_is_fair)
{
    go_waitgroup_add(&running, 4);
    for (int i = 0; i < 4; i++)
        go(counts_turns, i);
    for (int i = 0; i < 1000; i++)
        go_yield();
    atomic_store(&stop, 1);
    go_waitgroup_wait(&running);
    for (int i = 0; i < 4; i++)
        if (turns[i] < 900 || turns[i] > 1100)
            printf("goroutine %d had %d turns of 1000\n", i, turns[i]);
}

TEST(yielders_take_turns)
{
    struct test_result r = test_run_child("yield_is_fair", "GOMAXPROCS=1", "GODEBUG=preempt=0", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_STR(r.output, "");
}

static void counts_itself(int *n)
{
    ++*n;
}

/* Also where the pick is the fair one, which takes from the ring first. */
static void yields_to_the_new(void)
{
    int n = 0;
    for (int i = 0; i < 300; i++) {
        go(counts_itself, &n);
        go_yield();
        if (n != i + 1)
            printf("the one launched as number %d did not run\n", i);
        while (n != i + 1)
            go_yield();
    }
}

CHILD(yield_to_the_new)
{
    yields_to_the_new();
}

TEST(a_yielder_lets_the_new_one_run)
{
    struct test_result r = test_run_child("yield_to_the_new", "GOMAXPROCS=1", "GODEBUG=preempt=0", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_STR(r.output, "");
}

CHILD(locked_yielder)
{
    go_waitgroup_add(&running, 2);
    for (int i = 0; i < 2; i++)
        go(counts_turns, i);
    for (int i = 0; i < 10; i++)
        go_yield();
    go_lock_thread();
    turns[0] = turns[1] = 0;
    for (int i = 0; i < 300; i++)
        go_yield();
    int had[2] = { turns[0], turns[1] };
    atomic_store(&stop, 1);
    go_waitgroup_wait(&running);
    for (int i = 0; i < 2; i++)
        if (had[i] < 290)
            printf("goroutine %d had %d turns of 300\n", i, had[i]);
    yields_to_the_new();
}

/* Its P goes to another thread meanwhile. */
TEST(a_locked_yielder_takes_turns)
{
    struct test_result r = test_run_child("locked_yielder", "GOMAXPROCS=1", "GODEBUG=preempt=0", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_STR(r.output, "");
}

static go_sem to_a, to_b;

static void answers(void)
{
    while (!atomic_load(&stop)) {
        go_sem_acquire(&to_a, 1);
        go_sem_release(&to_b, 1);
    }
    go_sem_release(&to_b, 1);
    go_waitgroup_done(&running);
}

static void asks(void)
{
    while (!atomic_load(&stop)) {
        go_sem_release(&to_a, 1);
        go_sem_acquire(&to_b, 1);
    }
    go_sem_release(&to_a, 1);
    go_waitgroup_done(&running);
}

static void ends_it(void)
{
    atomic_store(&stop, 1);
    go_waitgroup_done(&running);
}

static void *submits_end(void *arg)
{
    (void)arg;
    usleep(2000);
    go(ends_it); /* to the global queue */
    return NULL;
}

/* Two that hand a value to each other by way of runnext starve neither the ring nor the global queue. */
CHILD(ping_pong_and_others)
{
    go_sem_init(&to_a, 0);
    go_sem_init(&to_b, 0);
    go_waitgroup_add(&running, 3);
    go(asks);
    go(answers);
    go(ends_it); /* on the ring behind them */
    go_waitgroup_wait(&running);
    atomic_store(&stop, 0);
    pthread_t thread;
    go_waitgroup_add(&running, 3);
    if (pthread_create(&thread, NULL, submits_end, NULL) != 0)
        exit(9);
    go(asks);
    go(answers);
    go_waitgroup_wait(&running);
    pthread_join(thread, NULL);
    puts("ended");
}

TEST(partners_do_not_starve_the_queues)
{
    struct test_result r = test_run_child("ping_pong_and_others", "GOMAXPROCS=1", "GODEBUG=preempt=0", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_STR(r.output, "ended\n");
}

static void adds_one(void)
{
    atomic_fetch_add(&seen, 1);
    go_waitgroup_done(&running);
}

TEST(far_more_than_a_ring_holds)
{
    atomic_store(&seen, 0);
    go_waitgroup_add(&running, 20000);
    for (int i = 0; i < 20000; i++)
        go(adds_one);
    go_waitgroup_wait(&running);
    CHECK_EQ(seen, 20000);
}

/* Each computes until all have begun, so each needs a P of its own: by theft, or by hand-off from hogs. */
static atomic_int arrived;

static void meets(int n)
{
    atomic_fetch_add(&arrived, 1);
    while (atomic_load(&arrived) < n)
        ;
    go_waitgroup_done(&running);
}

TEST(work_spreads_over_all_ps)
{
    int n = go_maxprocs(0);
    for (int round = 0; round < 5; round++) {
        atomic_store(&arrived, 0);
        go_waitgroup_add(&running, n);
        for (int i = 0; i < n; i++)
            go(meets, n);
        go_waitgroup_wait(&running);
    }
}

/* Whatever was learnt from launches that needed nobody's help, workers that switch all the time get the other P:
 * with preempt=0 there is no other way for two to run at once. */
static atomic_int at_once, both;

static void works_in_steps(int steps, int size)
{
    for (int i = 0; i < steps && !atomic_load(&both); i++) {
        if (atomic_fetch_add(&at_once, 1) > 0)
            atomic_store(&both, 1);
        for (int j = 0; j < size; j++)
            __asm__ volatile("");
        atomic_fetch_sub(&at_once, 1);
        go_yield();
    }
    go_waitgroup_done(&running);
}

/* The next launches here wake nobody, and nobody is awake who could come by himself. */
static bool alone_for_a_while(void)
{
    struct m *mp = section_enter();
    uint32_t skip = mp->p->wake_skip;
    section_leave(mp);
    return skip >= 64 && load_relaxed(&sched.spinning) == 0 && load_relaxed(&sched.idle_p_count) == 1;
}

static void four_work_in_steps(int steps, int size)
{
    go_waitgroup_add(&running, 4);
    for (int i = 0; i < 4; i++)
        go(works_in_steps, steps, size);
    go_waitgroup_wait(&running);
    puts(both ? "both" : "one");
}

CHILD(other_p_helps)
{
    do {
        go_waitgroup_add(&running, 1);
        go(adds_one);
        go_waitgroup_wait(&running);
    } while (!alone_for_a_while());
    four_work_in_steps(2000000, 300);
}

TEST(idle_ps_help_those_that_switch_fast)
{
    struct test_result r = test_run_child("other_p_helps", "GOMAXPROCS=2", "GODEBUG=preempt=0", NULL);
    CHECK_STR(r.output, "both\n");
}

/* What was learnt is forgotten when goroutines run for long, though no one of them for so long that it is a hog. */
CHILD(other_p_was_of_no_use)
{
    struct m *mp = section_enter();
    store_relaxed(&mp->p->shy_until, TIME_NEVER);
    store_relaxed(&mp->p->wake_skip, 1u << 30);
    section_leave(mp);
    four_work_in_steps(100000, 20000);
}

TEST(idle_ps_help_those_that_now_run_for_long)
{
    struct test_result r = test_run_child("other_p_was_of_no_use", "GOMAXPROCS=2", "GODEBUG=preempt=0", NULL);
    CHECK_STR(r.output, "both\n");
}

static void *thread_submits(void *arg)
{
    for (int i = 0; i < 2000; i++) {
        go(adds_one);
        if (i % 256 == 0)
            usleep(100); /* let the others come to rest */
    }
    return arg;
}

TEST(submitted_by_threads)
{
    pthread_t threads[4];
    atomic_store(&seen, 0);
    go_waitgroup_add(&running, 8000);
    for (int i = 0; i < 4; i++)
        REQUIRE(pthread_create(&threads[i], NULL, thread_submits, NULL) == 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL); /* main's thread blocks: its P is handed on */
    go_waitgroup_wait(&running);
    CHECK_EQ(seen, 8000);
}

/* No wake-up is lost though everybody comes to rest between any two. */
static go_sem ball[8];

static void passes_on(int i, int n, int rounds)
{
    for (int r = 0; r < rounds; r++) {
        go_sem_acquire(&ball[i], 1);
        if (r % 8 == 0)
            go_sleep(30000);
        go_sem_release(&ball[(i + 1) % n], 1);
    }
    go_waitgroup_done(&running);
}

static atomic_int known;

struct player {
    int i, n, rounds;
};

static void *thread_passes_on(void *arg)
{
    struct player *p = arg;
    go_count();
    atomic_fetch_add(&known, 1);
    passes_on(p->i, p->n, p->rounds);
    return NULL;
}

TEST(no_wake_up_is_lost)
{
    for (int i = 0; i < 8; i++)
        go_sem_init(&ball[i], 0);
    /* Three goroutines and two threads in a ring. */
    pthread_t threads[2];
    struct player players[2] = { { 1, 5, 200 }, { 3, 5, 200 } };
    go_waitgroup_add(&running, 5);
    for (int i = 0; i < 2; i++)
        REQUIRE(pthread_create(&threads[i], NULL, thread_passes_on, &players[i]) == 0);
    while (atomic_load(&known) < 2) /* until they have called the library nobody knows that they could wake others */
        usleep(100);
    for (int i = 0; i < 5; i += 2)
        go(passes_on, i, 5, 200);
    go_sem_release(&ball[0], 1);
    go_waitgroup_wait(&running);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
}

/* Timed waits that are won by their partner just when the time comes: each wait ends once, sleeps never early. */
static go_sem late;

static void sleeps_exactly(void)
{
    while (!atomic_load(&stop)) {
        go_scope *s = go_scope_open();
        go_scope_enter(s);
        go_scope_deadline(s, go_now() + 20000);
        go_sem_acquire(&late, 1);
        go_scope_leave(s);
        go_scope_close(s);
        go_time until = go_now() + 50000;
        CHECK_EQ(go_sleep(50000), 0);
        CHECK(go_now() >= until);
    }
    go_waitgroup_done(&running);
}

TEST(sleeps_are_not_cut_short_by_earlier_waits)
{
    go_sem_init(&late, 0);
    atomic_store(&stop, 0);
    go_waitgroup_add(&running, 4);
    for (int i = 0; i < 4; i++)
        go(sleeps_exactly);
    for (int i = 0; i < 300; i++) {
        go_sleep(20000);
        go_sem_release(&late, 1);
    }
    atomic_store(&stop, 1);
    go_sem_release(&late, 4);
    go_waitgroup_wait(&running);
}

static struct p *_Atomic switching_p;

static void switches(void)
{
    while (!atomic_load(&stop)) {
        struct m *mp = section_enter();
        atomic_store(&switching_p, mp->p);
        section_leave(mp);
        go_yield();
    }
    go_waitgroup_done(&running);
}

/* It has lasted for so long, in which ten goroutines ran. */
static void judge_theft(int64_t lasted, bool worth)
{
    static struct p thief;
    static struct p victim;
    theft_begin(&thief, &victim);
    thief.theft_when -= lasted;
    store_relaxed(&thief.tick, load_relaxed(&thief.tick) + 10);
    store_relaxed(&victim.wake_backoff, 6);
    store_relaxed(&victim.wake_skip, 64);
    store_relaxed(&victim.shy, 3);
    theft_judge(&thief);
    CHECK_EQ(load_relaxed(&victim.wake_backoff), worth ? 3u : 7u);
    CHECK_EQ(load_relaxed(&victim.wake_skip), worth ? 0u : 64u);
    CHECK_EQ(load_relaxed(&victim.shy), worth ? 0u : 4u);
    CHECK_EQ(load_relaxed(&victim.shy_until) > 0, !worth);
    store_relaxed(&victim.shy_until, 0);
}

/* "Thefts that are worth nothing", and what follows from it for "Wake-ups that find nothing". */
TEST(a_theft_is_judged_when_it_is_over)
{
#if HAVE_TSAN
    SKIP("all thefts are worth it there");
#endif
    judge_theft(-1000000000, false);
    judge_theft(1000000000, true);
}

/* "Thefts that are worth nothing": a goroutine goes back to the P it was stolen from, if that switches. */
TEST(a_theft_is_undone)
{
#if HAVE_TSAN
    SKIP("all thefts are worth it there");
#endif
    cpu_set_t cpus;
    if (go_maxprocs(0) != 2 || sched_getaffinity(0, sizeof cpus, &cpus) != 0 || CPU_COUNT(&cpus) < 2)
        SKIP("takes two Ps that run at the same time");
    bool undone = false;
    atomic_store(&stop, 0);
    go_waitgroup_add(&running, 3);
    for (int i = 0; i < 3; i++)
        go(switches);
    while (!undone) {
        struct m *mp = section_enter();
        struct p *pp = mp->p, *owner = atomic_load(&switching_p);
        if (owner && owner != pp) {
            theft_begin(pp, owner);
            undone = theft_undo(mp, owner);
            mp = m_self();
        }
        section_leave(mp);
        if (!undone)
            go_yield();
    }
    atomic_store(&stop, 1);
    go_waitgroup_wait(&running);
}

static void goes_back_to_a_hog(void)
{
    struct m *mp = section_enter();
    theft_begin(mp->p, atomic_load(&switching_p));
    bool undone = theft_undo(mp, atomic_load(&switching_p));
    section_leave(m_self());
    puts(undone ? "undone" : "not undone");
    atomic_store(&stop, 1);
}

CHILD(theft_from_a_hog)
{
    struct m *mp = section_enter();
    atomic_store(&switching_p, mp->p);
    section_leave(mp);
    go(goes_back_to_a_hog);
    while (!atomic_load(&stop)) {
    }
}

/* But not if that P does not switch: it would wait for a hog. */
TEST(a_theft_from_a_hog_is_not_undone)
{
    struct test_result r = test_run_child("theft_from_a_hog", "GOMAXPROCS=2", "GODEBUG=preempt=0", NULL);
    CHECK_STR(r.output, "not undone\n");
}

static void talks(chan(int) c, int n, bool sends)
{
    int v;
    for (int i = 0; i < n; i++)
        if (sends)
            chan_send(c, i);
        else
            chan_recv(c, &v);
    go_waitgroup_done(&running);
}

/* Thieves come and give back while the P they come from runs out of work: nothing may stay behind on a P that goes idle. */
TEST(nothing_is_given_back_to_an_idle_p)
{
#if HAVE_TSAN
    SKIP("all thefts are worth it there");
#endif
    const int rounds = HAVE_ASAN ? 40000 : 400000; /* there each goroutine has a second stack to be mapped */
    for (int round = 0; round < rounds; round++) {
        int pairs = 1 + round % 5;
        chan(int) c = chan_make(int, 0);
        go_waitgroup_add(&running, 2 * pairs);
        for (int i = 0; i < pairs; i++) {
            go(talks, c, 1 + round % 37, true);
            go(talks, c, 1 + round % 37, false);
        }
        go_waitgroup_wait(&running);
        chan_unref(c);
    }
}

/* Pairs that hand a value to each other, with work between that makes every fair pick a round. */
static chan(int) handed[3][2];
static atomic_int handed_over[3];

static void hands_on(int pair, int side)
{
    int value;
    while (chan_recv(handed[pair][side], &value) == 1) {
        go_time until = go_now() + 300 * GO_MICROSECOND;
        while (go_now() < until)
            ;
        handed_over[pair]++;
        if (handed_over[0] + handed_over[1] + handed_over[2] > 1500)
            atomic_store(&stop, 1);
        if (atomic_load(&stop) || chan_send(handed[pair][!side], value) < 0)
            break;
    }
    chan_close(handed[pair][!side]);
    go_waitgroup_done(&running);
}

TEST(pairs_that_work_have_the_same_share)
{
    int before = go_maxprocs(1), least = INT_MAX, most = 0;
    for (int i = 0; i < 3; i++) {
        for (int side = 0; side < 2; side++)
            handed[i][side] = chan_make(int, 0);
        go_waitgroup_add(&running, 2);
        go(hands_on, i, 0);
        go(hands_on, i, 1);
    }
    for (int i = 0; i < 3; i++)
        chan_send(handed[i][0], 1);
    go_waitgroup_wait(&running);
    for (int i = 0; i < 3; i++) {
        least = handed_over[i] < least ? handed_over[i] : least;
        most = handed_over[i] > most ? handed_over[i] : most;
        for (int side = 0; side < 2; side++)
            chan_unref(handed[i][side]);
    }
    CHECK(most <= 3 * least);
    atomic_store(&stop, 0);
    go_maxprocs(before);
}

/* Go's TestPingPongHog: two pairs of which one does a thousand times as much between its messages. Both have their time. */
static chan(bool) heavy_ball, light_ball;
static atomic_long heavy_work, light_work, light_before;

static void plays(chan(bool) ball, int size, atomic_long *work)
{
    bool value;
    while (chan_recv(ball, &value) == 1) {
        for (volatile int i = 0; i < size; i++)
            ;
        long did = atomic_fetch_add_explicit(work, size, memory_order_relaxed) + size;
        if (did == 200l * size) /* it takes two turns of sixty to see who is who */
            light_before = light_work;
        if (did == 400l * size && work == &heavy_work)
            atomic_store(&stop, 1);
        if (atomic_load(&stop) || chan_send(ball, value) < 0)
            break;
    }
    chan_close(heavy_ball);
    chan_close(light_ball);
    go_waitgroup_done(&running);
}

TEST(pairs_share_the_time)
{
    const int size = 1000000;
    int before = go_maxprocs(1);
    heavy_ball = chan_make(bool, 0), light_ball = chan_make(bool, 0);
    go_waitgroup_add(&running, 4);
    for (int i = 0; i < 2; i++) {
        go(plays, heavy_ball, size, &heavy_work);
        go(plays, light_ball, size / 1000, &light_work);
    }
    chan_send(heavy_ball, true);
    chan_send(light_ball, true);
    go_waitgroup_wait(&running);
    CHECK(light_work - light_before > 200l * size / 100);
    chan_unref(heavy_ball), chan_unref(light_ball);
    atomic_store(&stop, 0);
    go_maxprocs(before);
}

/* Who computes, and calls the library meanwhile, has its P taken and gets in line: not before the others at once. */
static void talks_until_stopped(chan(int) c, bool sends, long *times)
{
    while (!atomic_load(&stop) && (sends ? chan_send(c, 1) == 0 : chan_recv(c, NULL) == 1))
        ++*times;
    chan_close(c);
    go_waitgroup_done(&running);
}

TEST(a_hog_that_calls_shares_the_time)
{
    enum { SLICES = 20 };
    int before = go_maxprocs(1);
    long sent = 0, received = 0;
    go_statistics s;
    chan(int) c = chan_make(int, 0);
    go_waitgroup_add(&running, 2);
    go(talks_until_stopped, c, true, &sent);
    go(talks_until_stopped, c, false, &received);
    go_stats(&s);
    for (uint64_t until = s.hand_offs + SLICES; s.hand_offs < until; go_stats(&s))
        ;
    atomic_store(&stop, 1);
    go_waitgroup_wait(&running);
    CHECK(received > (HAVE_TSAN ? 100 : 500) * SLICES); /* it was sixty */
    chan_unref(c);
    atomic_store(&stop, 0);
    go_maxprocs(before);
}

/* A ring of goroutines hands one value round. Each works for a while before it does, or not. */
static atomic_int begun;

static void passes_round(chan(int) in, chan(int) out, int size, atomic_long *times)
{
    int value;
    atomic_fetch_add(&begun, 1);
    while (chan_recv(in, &value) == 1) {
        for (volatile int i = 0; i < size; i++)
            ;
        long now = atomic_fetch_add_explicit(times, 1, memory_order_relaxed) + 1;
        if (size > 0 && now == 400)
            atomic_store(&stop, 1);
        if (atomic_load(&stop) || chan_send(out, value) < 0)
            break;
    }
    chan_close(out);
    go_waitgroup_done(&running);
}

TEST(a_pair_shares_the_time_with_a_chain)
{
    enum { LONG = 19, SHORT = 2 };
    int before = go_maxprocs(1);
    chan(int) c[LONG + SHORT];
    static atomic_long heavy, light;
    for (int i = 0; i < LONG + SHORT; i++)
        c[i] = chan_make(int, 0);
    go_waitgroup_add(&running, LONG + SHORT);
    for (int i = 0; i < LONG; i++)
        go(passes_round, c[i], c[(i + 1) % LONG], 1000000, &heavy);
    for (int i = 0; i < SHORT; i++)
        go(passes_round, c[LONG + i], c[LONG + (i + 1) % SHORT], 0, &light);
    while (atomic_load(&begun) < LONG + SHORT) /* or a value comes to one that does not wait yet, and the ring stays broken there */
        go_yield();
    chan_send(c[0], 1);
    chan_send(c[LONG], 1);
    go_waitgroup_wait(&running);
    CHECK(light > (HAVE_TSAN ? 8 : 50) * heavy); /* it was twice as often */
    for (int i = 0; i < LONG + SHORT; i++)
        chan_unref(c[i]);
    atomic_store(&stop, 0);
    go_maxprocs(before);
}

/* Who yields after a while does not give a whole slice each time to one that never does. */
static void works(bool yields, chan(int) c, atomic_long *times)
{
    while (!atomic_load(&stop)) {
        for (volatile int i = 0; i < 50000; i++)
            ;
        atomic_fetch_add_explicit(times, 1, memory_order_relaxed);
        if (yields)
            go_yield();
        else
            chan_try_recv(c, NULL);
    }
    go_waitgroup_done(&running);
}

TEST(those_who_yield_share_the_time_with_hogs)
{
    enum { YIELDS = 20, HOGS = 4, SLICES = 30 };
    int before = go_maxprocs(1);
    static atomic_long by_yielders, by_hogs;
    chan(int) c = chan_make(int, 1);
    go_statistics s;
    go_waitgroup_add(&running, YIELDS + HOGS);
    for (int i = 0; i < YIELDS; i++)
        go(works, true, c, &by_yielders);
    for (int i = 0; i < HOGS; i++)
        go(works, false, c, &by_hogs);
    go_stats(&s);
    for (uint64_t until = s.hand_offs + SLICES; s.hand_offs < until; go_stats(&s))
        go_sleep(GO_MILLISECOND);
    atomic_store(&stop, 1);
    go_waitgroup_wait(&running);
    CHECK((HAVE_TSAN ? 50 : 10) * by_yielders > by_hogs); /* it was a thirtieth; with TSan a switch takes as long as ten rounds of work */
    chan_unref(c);
    atomic_store(&stop, 0);
    go_maxprocs(before);
}

static void *observes(void *arg)
{
    (void)arg;
    bool quiet = false;
    /* sysmon rests about a second after the last goroutine did. */
    for (int i = 0; i < 30 && !quiet; i++) {
        usleep(200000);
        long before = test_sleeps(0);
        usleep(300000);
        quiet = test_sleeps(0) == before; /* they all rest in the kernel */
    }
    puts(quiet ? "quiet" : "busy");
    fflush(stdout);
    _exit(0);
}

CHILD(idle)
{
    for (int i = 0; i < 100; i++) {
        go_waitgroup_add(&running, 1);
        go(adds_one);
        go_waitgroup_wait(&running);
    }
    pthread_t thread;
    if (pthread_create(&thread, NULL, observes, NULL) != 0)
        exit(9);
    go_scope *s = go_scope_open();
    go_scope_deadline(s, go_now() + GO_HOUR);
    go_scope_enter(s);
    go_sem_init(&late, 0);
    go_sem_acquire(&late, 1);
}

TEST(an_idle_process_uses_no_processor)
{
#if HAVE_ASAN || HAVE_TSAN
    SKIP("the sanitizers have threads of their own");
#endif
    struct test_result r = test_run_child("idle", NULL);
    CHECK_STR(r.output, "quiet\n");
}
