// SPDX-License-Identifier: MIT
// Timers of the program: go_after, go_after_func, go_timer, tickers.
//
// Invariants
//   - `armed` says whether the timer will still fire, and `due` when; both under the timer's lock. Whoever clears `armed`,
//     by firing or by stopping, decides what happened.
//   - While a timer is armed and due in the future, its entry is in some P's queue.
//   - A value is put into the channel under the timer's lock, and stop and reset empty the channel under it.
//
// So after stop or reset no earlier value can be received, although the channel has one place: Go 1.23's promise.
//
// The nasty race. The scheduler takes an entry that is due from its queue and calls fire; before fire has the lock, the timer is
// stopped, set anew, even freed and used by somebody else. The queue's idea of the time is therefore a hint only: fire looks at
// `armed` and `due`, and a call that comes early or twice does nothing. For this reason the memory of timers is never given back.
//
// A ticker's times are its first one plus whole periods, however late one is noticed; of those that were missed, and those
// that nobody has received yet, one is delivered.
#include <goroutine/time.h>

#include <stdlib.h>

#include "sched/fatal.h"
#include "sched/section.h"
#include "sched/timer.h"
#include "sync/chan.h"

struct go_timer {
    struct timer timer;
    struct lock lock;
    bool armed;                 /* under lock */
    int64_t due;                /* under lock; meaningful while armed */
    int64_t period;             /* under lock; 0: fires once */
    struct go_channel *channel; /* constant while in use; NULL: calls fn */
    void (*fn)(void *);         /* constant while in use */
    void *arg;
    bool of_after;              /* constant while in use: nobody will free it */
    struct go_timer *link;      /* of the lists below, under their lock */
};

static struct {
    struct lock lock;
    struct go_timer *free;
    struct go_timer *done; /* of go_after, fired: their reference to the channel is to be given back */
} pool = { .lock = LOCK_INIT(RANK_LEAF) };

static const struct go_site after_func_site = {
    .file = "go_after_func", .function = "go_after_func", .integer_regs = 1
};

static void fire(struct m *mp, struct timer *timer);

static void make(void *arg)
{
    struct go_timer *t = calloc(1, sizeof *t);
    if (!t)
        fatal("out of memory: no room for a timer");
    t->lock = (struct lock)LOCK_INIT(RANK_TIMER);
    t->timer.fire = fire; /* for good: a firing that is late by a life still reads it */
    *(struct go_timer **)arg = t;
}

/* Outside of a section. */
static void put_back(struct go_timer *t)
{
    go_chan_unref_(t->channel);
    t->channel = NULL;
    struct m *mp = section_enter();
    lock_take(&pool.lock);
    t->link = pool.free;
    pool.free = t;
    lock_release(&pool.lock);
    section_leave(mp);
}

/* `armed` first: while it is true `channel` is constant, and t still the one that c belongs to. */
void after_abandon(struct go_timer *t, struct go_channel *c)
{
    struct m *mp = section_enter();
    lock_take(&t->lock);
    bool pending = t->armed && t->channel == c;
    if (pending) {
        t->armed = false;
        timer_cancel(&t->timer);
    }
    lock_release(&t->lock);
    section_leave(mp);
    if (pending)
        put_back(t);
}

/* Two at a time, so that they do not grow in number. */
static void put_back_done(void)
{
    for (int i = 0; i < 2; i++) {
        struct m *mp = section_enter();
        lock_take(&pool.lock);
        struct go_timer *t = pool.done;
        if (t)
            pool.done = t->link;
        lock_release(&pool.lock);
        section_leave(mp);
        if (!t)
            return;
        put_back(t);
    }
}

static int64_t after(int64_t now, go_duration d)
{
    return d <= 0 ? now : d < TIME_NEVER - now ? now + d : TIME_NEVER;
}

static void fire(struct m *mp, struct timer *timer)
{
    struct go_timer *t = container_of(timer, struct go_timer, timer);
    lock_take(&t->lock);
    int64_t now = os_now();
    if (!t->armed || now < t->due || (t->period > 0 && !mp->p)) { /* or late by a life, by a thread that may set none */
        lock_release(&t->lock);
        return;
    }
    if (t->period > 0) {
        t->due = after(t->due, (now - t->due) / t->period * t->period + t->period);
        timer_cancel(&t->timer); /* we may be late, and it has been set anew since */
        timer_set_on(mp->p, &t->timer, t->due);
    } else {
        t->armed = false;
    }
    struct go_channel *c = t->channel;
    bool done = t->of_after;
    if (c)
        chan_try_put(mp, c, &now); /* a tick that nobody has taken stands for this one, too */
    else
        newproc_internal(mp, t->fn, t->arg, &after_func_site, 0); /* before anybody can see that it has fired */
    lock_release(&t->lock);
    if (done) {
        lock_take(&pool.lock);
        t->link = pool.done;
        pool.done = t;
        lock_release(&pool.lock);
    }
}

/* Stops t, and starts it again if `start`: due in d, then every period. True if it was pending. In a section. */
static bool set(struct m *mp, struct go_timer *t, bool start, go_duration d, int64_t period)
{
    /* What is due at once needs no queue; a ticker's first tick is never. */
    bool at_once = start && d <= 0;
    struct p *pp = mp->p, *borrowed = NULL;
    int64_t due = 0;
    if (start && !at_once && !pp)
        pp = borrowed = timer_borrow_p();
    lock_take(&t->lock);
    bool pending = t->armed;
    timer_cancel(&t->timer);
    if (t->channel && chan_drain(mp, t->channel) > 0)
        pending = true;
    t->armed = start;
    if (start) {
        t->due = due = after(os_now(), d);
        t->period = period;
        if (!at_once)
            timer_set_on(pp, &t->timer, due);
    }
    lock_release(&t->lock);
    if (borrowed)
        timer_return_p(borrowed, due);
    if (at_once)
        fire(mp, &t->timer);
    return pending;
}

static struct go_timer *new(go_duration d, int64_t period, void (*fn)(void *), void *arg, bool of_after)
{
    put_back_done();
    struct m *mp = section_enter();
    lock_take(&pool.lock);
    struct go_timer *t = pool.free;
    if (t)
        pool.free = t->link;
    lock_release(&pool.lock);
    if (!t)
        system_stack_call(make, &t);
    t->fn = fn;
    t->arg = arg;
    t->of_after = of_after;
    t->channel = fn ? NULL : chan_new(mp, sizeof(go_time), 1, CHAN_PINNED | CHAN_TIMER);
    if (!of_after)
        set(mp, t, true, d, period);
    section_leave(mp);
    return t;
}

GO_EXPORT go_chan(go_time) go_after(go_duration d)
{
    struct go_timer *t = new(d, 0, NULL, NULL, true);
    struct go_channel *c = go_chan_ref_(t->channel);
    c->after = t;
    struct m *mp = section_enter();
    set(mp, t, true, d, 0); /* from here on t is the timer's own */
    section_leave(mp);
    return (go_chan(go_time))c;
}

GO_EXPORT go_timer *go_after_func(go_duration d, void (*fn)(void *), void *arg)
{
    if (!fn)
        fatal("go of nil func value");
    return new(d, 0, fn, arg, false);
}

GO_EXPORT go_timer *go_timer_new(go_duration d)
{
    return new(d, 0, NULL, NULL, false);
}

GO_EXPORT go_timer *go_ticker_new(go_duration period)
{
    if (period <= 0)
        fatal("non-positive interval for NewTicker");
    return new(period, period, NULL, NULL, false);
}

GO_EXPORT go_chan(go_time) go_timer_chan(go_timer *t)
{
    thread_calls();
    return (go_chan(go_time))t->channel;
}

GO_EXPORT bool go_timer_stop(go_timer *t)
{
    struct m *mp = section_enter();
    bool pending = set(mp, t, false, 0, 0);
    section_leave(mp);
    return pending;
}

GO_EXPORT bool go_timer_reset(go_timer *t, go_duration d)
{
    struct m *mp = section_enter();
    lock_take(&t->lock);
    bool ticker = t->period > 0;
    lock_release(&t->lock);
    if (ticker && d <= 0)
        fatal("non-positive interval for Ticker.Reset");
    bool pending = set(mp, t, true, d, ticker ? d : 0);
    section_leave(mp);
    return pending;
}

GO_EXPORT void go_timer_free(go_timer *t)
{
    if (!t)
        return;
    go_timer_stop(t);
    put_back(t);
}
