// SPDX-License-Identifier: MIT
//
// What each processor must supply, in src/arch/<cpu>/. The library knows no other assembly.
//
// struct arch_args       the argument registers: first two integer ones and two vector ones, which is all that one argument
//                        can take, in as few cache lines as possible; then the other integer and vector ones
// go_newproc_capture     exported; comes from the veneer in launch.h with a struct go_launch in the static chain
//                        register and the arguments of the user's function where the ABI puts them. Stores the
//                        registers in a struct arch_args and calls newproc(launch, args, stack arguments)
// goroutine_entry        the bottom frame of each goroutine; unwinding ends here. Calls newproc_begin, which says
//                        where to jump and with what in the registers; then goroutine_return
// arch_switch            saves the callee-saved registers and the floating-point control state on the present
//                        stack, its pointer in *save, and continues the context that `to` was saved as
// arch_start             saves as arch_switch does and enters goroutine_entry for gp at `top`, 16-byte aligned, with the
//                        ABI's initial floating-point control state
// arch_enter             the same without saving: nobody comes back here
// arch_enter_here        a symbol: the code, of up to 32 bytes, that ends the last two; nothing lies below it
// arch_call_on_stack     calls fn(arg) with its frames below `top`; unwinding goes on to the caller
// arch_unwind_from       calls fn(arg) here, but to an unwinder fn's caller is the context saved as `sp`
// m_self                 the calling thread's struct m; reads it anew each time, whatever the compiler knows
// arch_ticks             a counter that grows at a constant rate, the same on all cores, cheaper than the clock
// arch_pause             in a spin loop
// arch_syscall6          in arch_syscall.h: a system call; its result or a negative errno
// arch_unwind_at         a symbol in arch_unwind_from, where fn returns to: for tools/gdb
// ARCH_SIGNAL_SP         the stack pointer in a signal handler's context
// ARCH_SIGNAL_PC         the address of the instruction there
//
// A saved context is all on its own stack: its pointer is enough to continue or to unwind it.
#pragma once

#include <stdint.h>

#include "base/compiler.h"

struct g;
struct m;
struct go_launch;

#include "arch_cpu.h"

void go_newproc_capture(void);
void arch_call_on_stack(void *top, void (*fn)(void *), void *arg);
void arch_unwind_from(void *sp, void (*fn)(void *), void *arg);

/* C, in sched/newproc.c and sched/exit.c; called by the assembly. */
void newproc(const struct go_launch *launch, const struct arch_args *regs, const void *words);
void (*newproc_begin(struct g *gp, struct arch_args *regs, void *words))(void);
_Noreturn void goroutine_return(void);
