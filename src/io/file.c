// SPDX-License-Identifier: MIT
// File system calls, as blocking calls: others get the P while the disk is waited for. Most take a microsecond or two,
// in which the P need not be given away, and then this costs some 10 ns.
//
// "Waits for somebody else"
//
// A call that waits for the disk ends by itself. Two may wait for ever: the opening of a FIFO, for the other end, and
// flock. The kernel has no way to tell when they would not wait. So, for a caller whose scope may end the wait, they are interrupted
// from time to time, as are writes to a terminal ("Look first" in op.c). Rejected: trying a lock again and again, which notices late;
// leaving a thread behind that opens the FIFO. An interrupted flock goes to the end of the kernel's queue for the lock.
#include <goroutine/io.h>
#include <goroutine/scope.h>

#include <fcntl.h>
#include <stdarg.h>
#include <sys/file.h>

#include "io/op.h"
#include "sched/sched.h"

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

/* Repeats the call until it ends by itself, the scope ends it, or go_close closes the descriptor, its first argument. */
static long call_while_in_scope(long call, int fd, long b, long c, long d)
{
    struct poll_desc *desc;
    bool known = fd >= 0 && netpoll_begin(fd, &desc) == 0;
    uint32_t generation = known ? load_relaxed(&desc->generation) : 0;
    for (;;) {
        long r = op_call_for_a_while(call, fd, b, c, d, 0, 0);
        if (r != -EAGAIN)
            return r;
        if ((r = go_cancelled()) < 0) /* some file systems say -EAGAIN themselves when they are interrupted */
            return r;
        if (known && load_relaxed(&desc->generation) != generation)
            return -EBADF; /* the number may be another file's by now */
    }
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
        fd = (int)call_while_in_scope(SYS_openat, dir, (long)path, flags, (long)mode);
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
    int r = (int)IO_BLOCKING(SYSCALL2(SYS_flock, fd, operation | LOCK_NB));
    return r == -EWOULDBLOCK ? (int)call_while_in_scope(SYS_flock, fd, operation, 0, 0) : r;
}

/* --- directories: the C library's, whose buffers come from malloc --- */

struct directory {
    const char *path;
    DIR *dir;
    struct dirent *entry;
    int error;
};

/* These run on a system stack. -EINTR: some file systems let signals interrupt them. */
static void call_opendir(void *arg)
{
    struct directory *d = arg;
    do {
        d->dir = opendir(d->path);
        d->error = d->dir ? 0 : -errno;
    } while (d->error == -EINTR);
}

static void call_readdir(void *arg)
{
    struct directory *d = arg;
    do {
        errno = 0;
        d->entry = readdir(d->dir);
        d->error = d->entry ? 0 : -errno;
    } while (d->error == -EINTR);
}

static void call_closedir(void *arg)
{
    struct directory *d = arg;
    d->error = closedir(d->dir) == 0 || errno == EINTR ? 0 : -errno; /* closed all the same */
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
