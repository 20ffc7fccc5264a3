// SPDX-License-Identifier: MIT
// What the files of src/io share.
#pragma once

#include <errno.h>
#include <sys/types.h>

#include "os/linux/syscall.h"
#include "sched/netpoll.h"
#include "sched/section.h"

/* The first line of each call: makes the caller known, and lets others run if it has been asked to. */
static always_inline void io_enter(void)
{
    section_pass();
}

/* Attempts that may block their thread are made between these: others get the P. */
void go_block_enter(void);
void go_block_leave(void);

/* The same file operation until it is not interrupted; others run meanwhile. */
#define IO_BLOCKING(call)                                                                          \
    __extension__({                                                                                \
        long r_;                                                                                   \
        netpoll_order_in();                                                                        \
        go_block_enter();                                                                          \
        do {                                                                                       \
            r_ = (call);                                                                           \
        } while (r_ == -EINTR);                                                                    \
        go_block_leave();                                                                          \
        netpoll_order_out();                                                                       \
        r_;                                                                                        \
    })

/* Between two attempts, ns, where a wait would end at once, and in vain. */
#define IO_PAUSE 1000000

/* What fd is, asked of the kernel. */
enum poll_kind io_kind(int fd);

/* The same, kept in d->kind unless fd is closed meanwhile. */
enum poll_kind io_classify(int fd, struct poll_desc *d);

/* fd does not know RWF_NOWAIT: how else it is to be asked goes to d->kind, likewise. */
void io_classify_device(int fd, struct poll_desc *d);

/* As go_accept, from the listener that had d when d->generation was this. */
int io_accept(struct poll_desc *d, uint32_t generation);

/* True if O_NONBLOCK is set; -EBADF. */
int io_nonblocking(int fd);
