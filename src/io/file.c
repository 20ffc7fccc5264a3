// SPDX-License-Identifier: MIT
// File system calls, as blocking calls: others get the P while the disk is waited for. Most take a microsecond or two, in which nobody
// has to be given anything, and then it costs some 10 ns.
//
// "Waits for somebody else"
//
// A call that waits for the disk ends by itself. Two may wait for ever: the opening of a FIFO, for the other end, and
// flock. The kernel offers nothing that tells when they would not wait, so, for a caller whose scope may end the wait, a lock is tried
// again and again, and a FIFO opened by a goroutine that is left alone with it if need be: its result goes into a channel, and what
// comes when the channel has been closed is closed, too.
#include <goroutine/chan.h>
#include <goroutine/io.h>
#include <goroutine/time.h>

#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#include "io/io.h"
#include "sched/fatal.h"
#include "sched/sched.h"

/* Between two tries of a lock. */
#define LOCK_PAUSE_FIRST (100 * GO_MICROSECOND)
#define LOCK_PAUSE_MOST (10 * GO_MILLISECOND)

static bool in_scope(void)
{
    struct m *mp = section_enter();
    bool in = mp->cur->scope != NULL;
    section_leave(mp);
    return in;
}

static mode_t mode_argument(int flags, va_list args)
{
    return (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE ? (mode_t)va_arg(args, unsigned) : 0;
}

struct fifo {
    go_chan(int) result;
    int dir, flags;
    mode_t mode; /* it may be another file by then */
    char path[];
};

static void fifo_new(void *arg)
{
    struct fifo **f = arg;
    *f = malloc(sizeof **f + PATH_MAX);
    if (!*f)
        fatal("out of memory: no room to open a FIFO");
}

static void fifo_open(void *arg)
{
    struct fifo *f = arg;
    int fd = (int)IO_BLOCKING(SYSCALL4(SYS_openat, f->dir, f->path, f->flags, f->mode));
    if (go_chan_send(f->result, fd) != 0 && fd >= 0)
        SYSCALL1(SYS_close, fd);
    go_chan_unref(f->result);
    system_stack_call(free, f);
}

/* The path of a FIFO, for a caller who may have to give up. */
static int fifo_open_cancellable(int dir, const char *path, int flags, mode_t mode)
{
    static const struct go_site site = { .file = "go_open", .function = "go_open", .integer_regs = 1 };
    struct fifo *f;
    int fd = -1;
    system_stack_call(fifo_new, &f);
    go_chan(int) result = f->result = go_chan_make(int, 1);
    go_chan_ref(result);
    f->dir = dir;
    f->flags = flags;
    f->mode = mode;
    strncpy(f->path, path, PATH_MAX);
    struct m *mp = section_enter();
    newproc_internal(mp, fifo_open, f, &site, G_SYSTEM);
    section_leave(mp);
    int r = go_chan_recv(result, &fd);
    if (r < 0) {
        go_chan_close(result);
        r = go_chan_try_recv(result, &fd) == 1 ? 1 : r; /* it came at the last moment */
    }
    go_chan_unref(result);
    return r == 1 ? fd : r;
}

static bool is_fifo(int dir, const char *path)
{
    struct stat st;
    return IO_BLOCKING(SYSCALL4(SYS_newfstatat, dir, path, &st, 0)) == 0 && S_ISFIFO(st.st_mode);
}

static int open_at(int dir, const char *path, int flags, mode_t mode)
{
    int fd;
    flags |= O_CLOEXEC;
    if (unlikely(in_scope()) && !(flags & (O_NONBLOCK | O_PATH)) && is_fifo(dir, path))
        fd = fifo_open_cancellable(dir, path, flags, mode);
    else
        fd = (int)IO_BLOCKING(SYSCALL4(SYS_openat, dir, path, flags, mode));
    if (fd >= 0)
        netpoll_fresh(fd, KIND_UNKNOWN);
    return fd;
}

GO_EXPORT int go_open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = mode_argument(flags, args);
    va_end(args);
    return open_at(AT_FDCWD, path, flags, mode);
}

GO_EXPORT int go_openat(int dir, const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = mode_argument(flags, args);
    va_end(args);
    return open_at(dir, path, flags, mode);
}

GO_EXPORT int go_fsync(int fd)
{
    return (int)IO_BLOCKING(SYSCALL1(SYS_fsync, fd));
}

GO_EXPORT int go_fdatasync(int fd)
{
    return (int)IO_BLOCKING(SYSCALL1(SYS_fdatasync, fd));
}

GO_EXPORT int go_stat(const char *path, struct stat *st)
{
    return (int)IO_BLOCKING(SYSCALL4(SYS_newfstatat, AT_FDCWD, path, st, 0));
}

GO_EXPORT int go_lstat(const char *path, struct stat *st)
{
    return (int)IO_BLOCKING(SYSCALL4(SYS_newfstatat, AT_FDCWD, path, st, AT_SYMLINK_NOFOLLOW));
}

GO_EXPORT int go_fstat(int fd, struct stat *st)
{
    return (int)IO_BLOCKING(SYSCALL2(SYS_fstat, fd, st));
}

GO_EXPORT int go_access(const char *path, int mode)
{
    return (int)IO_BLOCKING(SYSCALL3(SYS_faccessat, AT_FDCWD, path, mode));
}

GO_EXPORT int go_truncate(const char *path, off_t size)
{
    return (int)IO_BLOCKING(SYSCALL2(SYS_truncate, path, size));
}

GO_EXPORT int go_ftruncate(int fd, off_t size)
{
    return (int)IO_BLOCKING(SYSCALL2(SYS_ftruncate, fd, size));
}

GO_EXPORT int go_fallocate(int fd, int mode, off_t offset, off_t size)
{
    return (int)IO_BLOCKING(SYSCALL4(SYS_fallocate, fd, mode, offset, size));
}

GO_EXPORT int go_rename(const char *from, const char *to)
{
    return (int)IO_BLOCKING(SYSCALL6(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0, 0));
}

GO_EXPORT int go_link(const char *from, const char *to)
{
    return (int)IO_BLOCKING(SYSCALL6(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0, 0));
}

GO_EXPORT int go_symlink(const char *target, const char *path)
{
    return (int)IO_BLOCKING(SYSCALL3(SYS_symlinkat, target, AT_FDCWD, path));
}

GO_EXPORT ssize_t go_readlink(const char *path, char *buffer, size_t size)
{
    return IO_BLOCKING(SYSCALL4(SYS_readlinkat, AT_FDCWD, path, buffer, size));
}

GO_EXPORT int go_unlink(const char *path)
{
    return (int)IO_BLOCKING(SYSCALL3(SYS_unlinkat, AT_FDCWD, path, 0));
}

GO_EXPORT int go_mkdir(const char *path, mode_t mode)
{
    return (int)IO_BLOCKING(SYSCALL3(SYS_mkdirat, AT_FDCWD, path, mode));
}

GO_EXPORT int go_rmdir(const char *path)
{
    return (int)IO_BLOCKING(SYSCALL3(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR));
}

GO_EXPORT int go_chmod(const char *path, mode_t mode)
{
    return (int)IO_BLOCKING(SYSCALL3(SYS_fchmodat, AT_FDCWD, path, mode));
}

GO_EXPORT int go_flock(int fd, int operation)
{
    if ((operation & LOCK_NB) || !in_scope())
        return (int)IO_BLOCKING(SYSCALL2(SYS_flock, fd, operation));
    go_duration pause = LOCK_PAUSE_FIRST;
    int r;
    while ((r = (int)IO_BLOCKING(SYSCALL2(SYS_flock, fd, operation | LOCK_NB))) == -EWOULDBLOCK &&
           (r = go_sleep(pause)) == 0)
        if (pause < LOCK_PAUSE_MOST)
            pause *= 2;
    return r;
}

/* --- directories: the C library's, whose buffers come from malloc --- */

struct directory {
    const char *path;
    DIR *dir;
    struct dirent *entry;
    int error;
};

/* All on a system stack; they keep errno, which is the caller's. */
static void call_opendir(void *arg)
{
    struct directory *d = arg;
    int kept = errno;
    d->dir = opendir(d->path);
    d->error = d->dir ? 0 : -errno;
    errno = kept;
}

static void call_readdir(void *arg)
{
    struct directory *d = arg;
    int kept = errno;
    errno = 0;
    d->entry = readdir(d->dir);
    d->error = d->entry ? 0 : -errno;
    errno = kept;
}

static void call_closedir(void *arg)
{
    struct directory *d = arg;
    int kept = errno;
    d->error = closedir(d->dir) == 0 ? 0 : -errno;
    errno = kept;
}

static int directory_call(void (*fn)(void *), struct directory *d)
{
    go_block_enter();
    system_stack_call(fn, d);
    go_block_leave();
    return d->error;
}

GO_EXPORT int go_opendir(const char *path, DIR **dir)
{
    struct directory d = { .path = path };
    int r = directory_call(call_opendir, &d);
    *dir = d.dir;
    if (r == 0)
        netpoll_fresh(dirfd(d.dir), KIND_UNKNOWN);
    return r;
}

GO_EXPORT int go_readdir(DIR *dir, struct dirent **entry)
{
    struct directory d = { .dir = dir };
    int r = directory_call(call_readdir, &d);
    *entry = d.entry;
    return r;
}

GO_EXPORT int go_closedir(DIR *dir)
{
    struct directory d = { .dir = dir };
    return directory_call(call_closedir, &d);
}
