// SPDX-License-Identifier: MIT
// Unwinding from wherever a profiler's signal comes: in the middle of a switch, too, every frame down to the goroutine's entry.
// test: procs=1
#include <goroutine.h>

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <unwind.h>

#include "test.h"

#include "arch/arch.h"

#define SIGNALS 3000

void goroutine_entry(void);
void arch_enter_here(void);
int main(int argc, char **argv);

static _Atomic int seen, lost;
static _Atomic bool done;
static go_waitgroup running;

static bool within(uintptr_t pc, uintptr_t function, size_t size)
{
    return pc >= function && pc < function + size;
}

static _Unwind_Reason_Code visit(struct _Unwind_Context *context, void *arg)
{
    int exact = 0;
    uintptr_t pc = _Unwind_GetIPInfo(context, &exact);
    /* arch_enter_here is on its way to the entry, and has nothing below it. */
    if (within(pc, (uintptr_t)goroutine_entry, 144) || within(pc, (uintptr_t)arch_enter_here, 32) ||
        within(pc, (uintptr_t)main, 4096))
        *(bool *)arg = true;
    return _URC_NO_REASON;
}

static void on_signal(int signo)
{
    (void)signo;
    bool whole = false;
    _Unwind_Backtrace(visit, &whole);
    seen++;
    lost += !whole;
}

/* Small numbers in the registers that functions keep: taken for addresses they would end the process. */
static void yields(void)
{
    long a = 3, b = 5, c = 7, d = 9, e = 11;
    while (!done) {
        __asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e));
        go_yield();
    }
    go_waitgroup_done(&running);
}

static void nothing(int n)
{
    (void)n;
}

static void talks(chan(int) in, chan(int) out)
{
    int v;
    while (chan_recv(in, &v) == 1) {
        go(nothing, v);
        if (chan_send(out, v + 1) != 0 || done)
            break;
    }
    chan_close(in);
    chan_close(out);
    go_waitgroup_done(&running);
}

static void *signals(void *tid)
{
    for (int i = 0; i < SIGNALS; i++) {
        syscall(SYS_tgkill, getpid(), *(pid_t *)tid, SIGPROF);
        usleep(20);
    }
    done = true;
    return NULL;
}

TEST(at_any_instruction)
{
    if (HAVE_TSAN || HAVE_ASAN)
        SKIP("sanitizers put signals off");
    struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART | SA_ONSTACK };
    pthread_t thread;
    pid_t tid = (pid_t)syscall(SYS_gettid);
    chan(int) a = chan_make(int, 0), b = chan_make(int, 0);
    go_waitgroup_add(&running, 5);
    for (int i = 0; i < 3; i++)
        go(yields);
    go(talks, a, b);
    go(talks, b, a);
    CHECK_EQ(sigaction(SIGPROF, &action, NULL), 0);
    REQUIRE(pthread_create(&thread, NULL, signals, &tid) == 0);
    chan_send(a, 0);
    go_waitgroup_wait(&running);
    pthread_join(thread, NULL);
    CHECK(seen > 0);
    CHECK_EQ(lost, 0);
    chan_unref(a);
    chan_unref(b);
}
