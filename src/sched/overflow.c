// SPDX-License-Identifier: MIT
// Stack overflow: a goroutine that runs into its guard gets a report instead of a bare SIGSEGV.
//
// The handler runs on an alternate stack, of which each M has one, for the goroutine's own is used up. A fault
// anywhere else is none of our business: the handler that was there before gets it, or the default does, as if
// we were not there.
#include <signal.h>
#include <ucontext.h>

#include "os/vm.h"
#include "sched/fatal.h"
#include "sched/init.h"
#include "sched/sched.h"
#include "sched/stack.h"

/* The report is printed here, with room for the unwinder and stdio. */
#define SIGNAL_STACK (128u << 10)
/* Around main's stack pointer. */
#define MAIN_BELOW 4096
#define MAIN_FRAME_MOST (1 << 20)

static struct sigaction old_segv, old_bus;

void signal_stack_set(struct m *mp)
{
    stack_t present;
    /* Sanitizers and programs may have set one already. */
    if (sigaltstack(NULL, &present) == 0 && !(present.ss_flags & SS_DISABLE) &&
        present.ss_size >= SIGNAL_STACK)
        return;
    mp->signal_stack = vm_map(SIGNAL_STACK, 0);
    if (!mp->signal_stack)
        return; /* an overflow will end the process without a report */
    stack_t s = { .ss_sp = mp->signal_stack, .ss_size = SIGNAL_STACK };
    sigaltstack(&s, NULL);
}

void signal_stack_free(struct m *mp)
{
    if (!mp->signal_stack)
        return;
    stack_t s = { .ss_flags = SS_DISABLE };
    sigaltstack(&s, NULL);
    vm_unmap(mp->signal_stack, SIGNAL_STACK);
    mp->signal_stack = NULL;
}

static void pass_on(int signo, siginfo_t *info, void *context)
{
    const struct sigaction *old = signo == SIGSEGV ? &old_segv : &old_bus;
    /* Also with SA_SIGINFO: sa_sigaction is in the same place. */
    bool handled = old->sa_handler != SIG_DFL && old->sa_handler != SIG_IGN;
    if (handled) {
        /* As the kernel does, for the handler may leave by a jump that does not restore the signal mask. */
        sigset_t this;
        sigemptyset(&this);
        sigaddset(&this, signo);
        if (old->sa_flags & SA_NODEFER)
            pthread_sigmask(SIG_UNBLOCK, &this, NULL);
        pthread_sigmask(SIG_BLOCK, &old->sa_mask, NULL);
        if (old->sa_flags & SA_RESETHAND)
            signal(signo, SIG_DFL);
    }
    if (handled && (old->sa_flags & SA_SIGINFO)) {
        old->sa_sigaction(signo, info, context);
    } else if (handled) {
        old->sa_handler(signo);
    } else if (old->sa_handler == SIG_IGN && info->si_code <= 0) {
        /* Sent by kill, and not minded. */
    } else {
        /* Back to the instruction, which faults again, or, if it was sent by kill, send it again. */
        signal(signo, SIG_DFL);
        if (info->si_code <= 0)
            raise(signo);
    }
}

/*
 * True if gp, whose stack pointer is in the context, has come to the end of its stack. main's stack is the kernel's, which lets it
 * grow up to the limit: the missing page then lies in or just below the newest frame, and below all that was used before. (Under
 * emulators it ends at a page without access; a fault of execution there is another matter.)
 */
static bool is_overflow(struct g *gp, const siginfo_t *info, void *context)
{
    const char *at = info->si_addr, *sp = ARCH_SIGNAL_SP(context);
    /* One that has not begun has its function where its stack would be. */
    if ((load_relaxed(&gp->flags) & G_THREAD) || load_relaxed(&gp->status) == G_NEW)
        return false;
    if (load_relaxed(&gp->flags) & G_MAIN)
        return info->si_code <= SEGV_ACCERR && at != ARCH_SIGNAL_PC(context) && at < main_frame &&
               at >= sp - MAIN_BELOW && at < sp + MAIN_FRAME_MOST;
    return stack_fault_in_guard(gp->run.stack, at, sp);
}

/*
 * Which goroutine has come to the end of its stack; NULL if none. In user code, or in the library (perhaps about to park), it is cur. In
 * a switch (switch.h) it is prev, the one being left: the last words are written to its stack, and cur is already the next one, or NULL.
 * What a guard says is certain, so goroutines with a guard come first; then those without one, and main.
 */
static struct g *overflowed(struct m *mp, const siginfo_t *info, void *context)
{
    static const uint8_t kinds[] = { 0, G_CANARY, G_MAIN };
    struct g *both[] = { mp->on_g0 ? NULL : mp->cur, mp->prev };
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 2; j++)
            if (both[j] && (load_relaxed(&both[j]->flags) & (G_CANARY | G_MAIN)) == kinds[i] && is_overflow(both[j], info, context))
                return both[j];
    return NULL;
}

/* gp has not left yet, or has already arrived: it runs here, and the other one's saved context is where it was. */
static void end_switch(struct m *mp, struct g *gp)
{
    struct g *other = gp == mp->prev ? mp->cur : mp->prev;
    mp->cur = gp;
    mp->prev = NULL;
    if (!other || other == gp || load_relaxed(&other->status) == G_NEW)
        return;
    if (load_relaxed(&other->status) == G_RUNNING)
        store_relaxed(&other->status, G_RUNNABLE);
    store_release(&other->run.on_cpu, 0);
}

_Atomic bool overflow_reported;

void fault_handler(int signo, siginfo_t *info, void *context)
{
    struct m *mp = m_self();
    /* Positive: the processor's, and not sent by kill. The child of a fork has no goroutines. */
    struct g *gp = info->si_code > 0 && !load_relaxed(&sched.forked) ? overflowed(mp, info, context) : NULL;
    if (gp) {
        end_switch(mp, gp);
        mp->on_g0 = true; /* this is a stack with room */
        sigset_t faults; /* and there may be another fault on the report's way: debug_fault */
        sigemptyset(&faults);
        sigaddset(&faults, SIGSEGV);
        sigaddset(&faults, SIGBUS);
        pthread_sigmask(SIG_UNBLOCK, &faults, NULL);
        store_relaxed(&overflow_reported, true);
        fatal_stack_overflow(gp);
    }
    if (info->si_code > 0)
        debug_fault(&((ucontext_t *)context)->uc_sigmask);
    pass_on(signo, info, context);
}

void overflow_init(void)
{
    struct sigaction action = { .sa_sigaction = fault_handler, .sa_flags = SA_SIGINFO | SA_ONSTACK };
    sigemptyset(&action.sa_mask);
    sigaction(SIGSEGV, NULL, &old_segv); /* before another thread can come to fault_handler */
    sigaction(SIGBUS, NULL, &old_bus);
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
}
