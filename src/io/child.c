// SPDX-License-Identifier: MIT
// Children: starting them, and waiting for their end.
//
// "Waiting without SIGCHLD"
//
// SIGCHLD belongs to the program, and tells of a child only if nobody has blocked it. A pidfd becomes readable when its process has
// ended, so waiting for a child is waiting for a descriptor. Where there is none (Linux before 5.3, or for "any child"), a thread sits in
// waitid with WNOWAIT, which takes nothing away, and writes to an eventfd when waitid returns. (If it closed a pipe instead, that would
// stay open where the program has forked meanwhile.) In either case the goroutine itself takes the status, by waitpid with WNOHANG; so
// one that is cancelled has taken nothing. Its thread then stays in waitid, and is kept for the next wait for the same children: a loop
// that waits for any child, a second each time, needs one thread.
#include <goroutine/child.h>
#include <goroutine/io.h>

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "base/options.h"
#include "io/io.h"
#include "os/os.h"
#include "sched/sched.h"

#define WAIT_STACK (64u << 10)
#define KEPT_MOST 16
#define PAUSE (10 * GO_MILLISECOND)

extern char **environ;

/* --- starting --- */

struct start {
    const char *const *argv;
    const go_run_options *options; /* not NULL */
    int child_end[3], own_end[3]; /* of pipes, or -1 */
    pid_t pid;
    int error;
};

static int make_pipe(struct start *s, int i, bool to_child)
{
    int fds[2];
    long r = SYSCALL2(SYS_pipe2, fds, O_CLOEXEC);
    if (r < 0)
        return (int)r;
    s->child_end[i] = fds[to_child ? 0 : 1];
    s->own_end[i] = fds[to_child ? 1 : 0];
    /* If the caller has closed its own 0, 1 or 2, the child's end may have got the number of another of the three. */
    if (s->child_end[i] <= 2) {
        long moved = SYSCALL3(SYS_fcntl, s->child_end[i], F_DUPFD_CLOEXEC, 3);
        if (moved < 0)
            return (int)moved;
        SYSCALL1(SYS_close, s->child_end[i]);
        s->child_end[i] = (int)moved;
    }
    return 0;
}

static int redirect(posix_spawn_file_actions_t *actions, int as, int pipe_end, int fd)
{
    if (pipe_end >= 0)
        return posix_spawn_file_actions_adddup2(actions, pipe_end, as);
    if (fd == GO_RUN_NULL)
        return posix_spawn_file_actions_addopen(actions, as, "/dev/null", as == 0 ? O_RDONLY : O_WRONLY, 0);
    if (fd != 0)
        return posix_spawn_file_actions_adddup2(actions, fd, as); /* EBADF of a negative one */
    return 0;
}

/* On a system stack, as a blocking call: the kernel holds the thread until the child has executed. */
static void spawn(void *arg)
{
    struct start *s = arg;
    const go_run_options *o = s->options;
    posix_spawn_file_actions_t actions;
    int r = posix_spawn_file_actions_init(&actions);
    if (r == 0) {
        r = redirect(&actions, 0, s->child_end[0], o->in);
        if (r == 0)
            r = redirect(&actions, 1, s->child_end[1], o->out);
        if (r == 0)
            r = redirect(&actions, 2, s->child_end[2], o->err);
        if (r == 0 && o->directory)
            r = posix_spawn_file_actions_addchdir_np(&actions, o->directory);
        char *const *environment = o->environment ? (char *const *)o->environment : environ;
        if (r == 0)
            r = posix_spawnp(&s->pid, s->argv[0], &actions, NULL, (char *const *)s->argv, environment);
        posix_spawn_file_actions_destroy(&actions);
    }
    s->error = -r;
}

GO_EXPORT pid_t go_start(const char *const argv[], const go_run_options *options)
{
    static const go_run_options none;
    const go_run_options *o = options ? options : &none;
    int *const ends[3] = { o->in_pipe, o->out_pipe, o->err_pipe };
    struct start s = { .argv = argv, .options = o, .child_end = { -1, -1, -1 }, .own_end = { -1, -1, -1 } };
    io_enter();
    if (!argv || !argv[0])
        return -EINVAL;
    for (int i = 0; i < 3 && s.error == 0; i++)
        if (ends[i])
            s.error = make_pipe(&s, i, i == 0);
    if (s.error == 0) {
        go_block_enter();
        system_stack_call(spawn, &s);
        go_block_leave();
    }
    for (int i = 0; i < 3; i++) {
        if (s.child_end[i] >= 0)
            SYSCALL1(SYS_close, s.child_end[i]);
        if (s.own_end[i] >= 0 && s.error < 0)
            SYSCALL1(SYS_close, s.own_end[i]);
    }
    if (s.error < 0)
        return s.error;
    for (int i = 0; i < 3; i++)
        if (ends[i]) {
            netpoll_fresh(s.own_end[i], KIND_PIPE);
            *ends[i] = s.own_end[i];
        }
    return s.pid;
}

#undef go_run
GO_EXPORT int go_run(const char *const argv[], ...)
{
    va_list args;
    va_start(args, argv);
    const go_run_options *options = va_arg(args, const go_run_options *);
    va_end(args);
    int status = 0;
    pid_t pid = go_start(argv, options);
    if (pid < 0)
        return pid;
    pid_t r = go_wait_child(pid, &status);
    if (r == -ECANCELED || r == -ETIMEDOUT) {
        /* It ends soon after that. But it may be no child any more: another wait, for any child, may have taken it, and its number may
         * be another process's by now. */
        siginfo_t info;
        if (SYSCALL6(SYS_waitid, P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT, NULL, 0) == 0) {
            SYSCALL2(SYS_kill, pid, SIGKILL);
            IO_BLOCKING(SYSCALL4(SYS_wait4, pid, &status, 0, NULL));
        }
    }
    return r < 0 ? r : status;
}

/* --- waiting --- */

struct wait {
    idtype_t type;
    id_t id;
    int fd; /* its own descriptor of the eventfd */
    int error;
};

static void *wait_thread(void *arg)
{
    struct wait *w = arg;
    siginfo_t info;
    deadlock_helper_add(1);
    while (SYSCALL6(SYS_waitid, w->type, w->id, &info, WEXITED | WNOWAIT, NULL, 0) == -EINTR)
        ;
    uint64_t one = 1;
    SYSCALL3(SYS_write, w->fd, &one, sizeof one);
    SYSCALL1(SYS_close, w->fd);
    free(w);
    deadlock_helper_add(-1);
    return NULL;
}

/* On a system stack. */
static void start_wait_thread(void *arg)
{
    struct wait *w = arg, *copy = malloc(sizeof *copy);
    w->error = -ENOMEM;
    if (!copy)
        return;
    *copy = *w;
    w->error = os_thread_start(wait_thread, copy, WAIT_STACK);
    if (w->error < 0)
        free(copy);
}

/* Threads that nobody waits for at present. */
static struct {
    struct lock lock;
    int count;                      /* under lock */
    struct wait threads[KEPT_MOST]; /* under lock; fd is the goroutines' */
} kept = { .lock = LOCK_INIT(RANK_CHILD) };

static int kept_take(const struct wait *w)
{
    int fd = -1;
    lock_take(&kept.lock);
    for (int i = 0; i < kept.count && fd < 0; i++)
        if (kept.threads[i].type == w->type && kept.threads[i].id == w->id) {
            fd = kept.threads[i].fd;
            kept.threads[i] = kept.threads[--kept.count];
        }
    lock_release(&kept.lock);
    return fd;
}

/* False if there is no room. Kept threads that are back from waitid make room: their descriptors go to `over`. */
static bool kept_put(const struct wait *w, int over[KEPT_MOST], int *over_count)
{
    int n = 0;
    lock_take(&kept.lock);
    for (int i = kept.count; i-- > 0;) {
        struct pollfd end = { .fd = kept.threads[i].fd, .events = POLLIN };
        struct timespec none = { 0 };
        if (SYSCALL6(SYS_ppoll, &end, 1, &none, NULL, 8, 0) == 1) {
            over[n++] = end.fd;
            kept.threads[i] = kept.threads[--kept.count];
        }
    }
    bool room = kept.count < KEPT_MOST;
    if (room)
        kept.threads[kept.count++] = *w;
    lock_release(&kept.lock);
    *over_count = n;
    return room;
}

/* Keeps fd for the next wait for the same children, if its thread is still in waitid. */
static void keep(struct wait *w, int fd)
{
    int over[KEPT_MOST], n;
    w->fd = fd;
    if (!kept_put(w, over, &n))
        go_close(fd);
    for (int i = 0; i < n; i++)
        go_close(over[i]);
}

/* Whose end a thread has to sit and wait for. */
static struct wait whom(pid_t pid)
{
    struct wait w = { .type = pid > 0 ? P_PID : pid == -1 ? P_ALL : P_PGID };
    /* waitid's group 0 is the caller's own only since Linux 5.4. */
    w.id = pid > 0 ? (id_t)pid : pid < -1 ? (id_t)-pid : pid == 0 ? (id_t)SYSCALL1(SYS_getpgid, 0) : 0;
    return w;
}

/* A descriptor that becomes readable when the child, or one of them, has ended. (It may be so already, if it is a kept thread's.)
 * *thread: whether a thread sees to that, which then waits for *w. */
static int end_descriptor(pid_t pid, struct wait *w, bool *thread)
{
    long r = pid > 0 && options.pidfd ? SYSCALL2(SYS_pidfd_open, pid, 0) : -ENOSYS;
    *thread = false;
    if (r >= 0)
        netpoll_fresh((int)r, KIND_UNKNOWN);
    if (r >= 0 || r == -EMFILE || r == -ENFILE || r == -ENOMEM)
        return (int)r;
    *w = whom(pid);
    *thread = true;
    int fd = kept_take(w);
    if (fd >= 0)
        return fd;
    r = SYSCALL2(SYS_eventfd2, 0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (r < 0)
        return (int)r;
    fd = (int)r;
    r = SYSCALL3(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 0);
    if (r >= 0) {
        w->fd = (int)r;
        system_stack_call(start_wait_thread, w);
        r = w->error;
        if (r < 0)
            SYSCALL1(SYS_close, w->fd);
    }
    if (r < 0) {
        SYSCALL1(SYS_close, fd);
        return (int)r;
    }
    netpoll_fresh(fd, KIND_UNKNOWN);
    return fd;
}

/* How the end of a child, or of one of several, is noticed. */
struct ending {
    int fd;           /* readable then; -1: not made yet */
    bool thread;      /* a thread sits and waits for `wait` */
    bool told;        /* it has been readable, and will stay so */
    struct wait wait;
};

static long reap(pid_t pid, int *status)
{
    long r;
    do
        r = SYSCALL4(SYS_wait4, pid, status, WNOHANG, NULL);
    while (r == -EINTR);
    return r;
}

/* Waits until it is worth looking again. Returns 0, or what the scope says. */
static int ending_wait(struct ending *e, pid_t pid)
{
    if (e->fd < 0)
        e->fd = end_descriptor(pid, &e->wait, &e->thread);
    int r = e->fd < 0 ? e->fd : e->told ? -EAGAIN : go_wait_fd(e->fd, POLLIN);
    if (r == -ECANCELED || r == -ETIMEDOUT)
        return r;
    if (r < 0)
        return go_sleep(PAUSE); /* no descriptor, or no thread, or a debugger has the child: ask from time to time */
    /* It has ended, and is ours, unless somebody else has taken it: then a thread must wait anew for the others. */
    e->told = !e->thread;
    if (e->thread) {
        go_close(e->fd);
        e->fd = -1;
    }
    return 0;
}

GO_EXPORT pid_t go_wait_child(pid_t pid, int *status)
{
    struct ending e = { .fd = -1 };
    long r;
    io_enter();
    while ((r = reap(pid, status)) == 0 && (r = ending_wait(&e, pid)) == 0)
        ;
    if (e.fd >= 0 && e.thread && (r == -ECANCELED || r == -ETIMEDOUT))
        keep(&e.wait, e.fd);
    else if (e.fd >= 0)
        go_close(e.fd);
    return (pid_t)r;
}
