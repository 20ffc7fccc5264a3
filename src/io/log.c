// SPDX-License-Identifier: MIT
// go_logf: a line in the format of Go's log package, nearly always by one write(2).
//
// The line is formatted on the system stack, since printf wants more than a small goroutine has. A pipe takes up to
// PIPE_BUF bytes in one piece and splits what is longer, so the lock, not the system call, is what keeps long lines
// whole among themselves; short ones could otherwise fall into the middle of a long one.
#include <goroutine/log.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "os/lock.h"
#include "os/os.h"
#include "sched/fatal.h"
#include "sched/sched.h"
#include "sched/section.h"

#define TIME_LENGTH 20 /* "2006/01/02 15:04:05 " */
#define LINE_USUAL 1024

struct message {
    const char *format;
    va_list args;
};

static struct lock log_lock = LOCK_INIT(RANK_LEAF);

static size_t put_number(char *at, int n, int digits, char after)
{
    for (int i = digits - 1; i >= 0; i--) {
        at[i] = (char)('0' + n % 10);
        n /= 10;
    }
    at[digits] = after;
    return (size_t)digits + 1;
}

static void put_time(char *at)
{
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    if (!localtime_r(&now.tv_sec, &tm))
        memset(&tm, 0, sizeof tm);
    at += put_number(at, tm.tm_year + 1900, 4, '/');
    at += put_number(at, tm.tm_mon + 1, 2, '/');
    at += put_number(at, tm.tm_mday, 2, ' ');
    at += put_number(at, tm.tm_hour, 2, ':');
    at += put_number(at, tm.tm_min, 2, ':');
    put_number(at, tm.tm_sec, 2, ' ');
}

/* The message at `at`, as much as fits; its whole length. A format that printf refuses is printed itself. */
static size_t put_message(char *at, size_t size, struct message *m)
{
    va_list args;
    va_copy(args, m->args);
    int n = vsnprintf(at, size, m->format, args);
    va_end(args);
    if (n >= 0)
        return (size_t)n;
    size_t length = strlen(m->format);
    memcpy(at, m->format, length < size ? length : size);
    return length;
}

/* On a system stack. The message may say %m, so errno is the caller's until it has been formatted. */
static void log_line(void *arg)
{
    struct message *m = arg;
    int user_errno = errno;
    char usual[LINE_USUAL], *line = usual;
    size_t length = put_message(usual + TIME_LENGTH, sizeof usual - TIME_LENGTH - 1, m);
    if (length > sizeof usual - TIME_LENGTH - 2) {
        size_t room = length + 1;
        line = malloc(TIME_LENGTH + room + 1);
        if (line) {
            errno = user_errno;
            length = put_message(line + TIME_LENGTH, room, m);
            if (length >= room) /* another thread has changed a string meanwhile */
                length = room - 1;
        } else {
            line = usual;
            length = sizeof usual - TIME_LENGTH - 2;
        }
    }
    put_time(line);
    length += TIME_LENGTH;
    if (length == TIME_LENGTH || line[length - 1] != '\n')
        line[length++] = '\n';
    lock_take(&log_lock);
    os_write(2, line, length);
    lock_release(&log_lock);
    if (line != usual)
        free(line);
}

GO_EXPORT void go_logf(const char *format, ...)
{
    struct message m = { .format = format };
    if (unlikely(load_relaxed(&sched.forked)))
        fatal_forked(); /* who had the lock is not here */
    thread_calls();
    va_start(m.args, format);
    system_stack_call(log_line, &m);
    va_end(m.args);
}
