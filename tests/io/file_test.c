// SPDX-License-Identifier: MIT
// Files and directories: results as the system calls', and nobody is held up.
#include <goroutine.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "test.h"

static char directory[64];

static const char *in_directory(const char *name)
{
    static char paths[4][128];
    static int next;
    char *path = paths[next++ % 4];
    if (!directory[0]) {
        strcpy(directory, "/tmp/go_file_test_XXXXXX");
        REQUIRE(mkdtemp(directory) != NULL);
    }
    snprintf(path, sizeof paths[0], "%s/%s", directory, name);
    return path;
}

TEST(files)
{
    char buffer[64] = { 0 };
    struct stat st;
    int fd = go_open(in_directory("a"), O_RDWR | O_CREAT | O_EXCL, 0640);
    REQUIRE(fd >= 0);
    CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    CHECK_EQ(go_write(fd, "0123456789", 10), 10);
    CHECK_EQ(go_read(fd, buffer, 10), 0);
    CHECK_EQ(go_pread(fd, buffer, 4, 3), 4);
    CHECK(memcmp(buffer, "3456", 4) == 0);
    CHECK_EQ(go_pwrite(fd, "xy", 2, 4), 2);
    struct iovec iov[2] = { { buffer, 3 }, { buffer + 10, 50 } };
    CHECK_EQ(go_preadv(fd, iov, 2, 2), 8);
    CHECK(memcmp(buffer, "23x", 3) == 0 && memcmp(buffer + 10, "y6789", 5) == 0);
    CHECK_EQ(go_pwritev(fd, iov, 1, 10), 3);
    CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
    CHECK_EQ(go_readv(fd, iov, 2), 13);
    CHECK_EQ(go_fsync(fd), 0);
    CHECK_EQ(go_fdatasync(fd), 0);
    CHECK_EQ(go_fstat(fd, &st), 0);
    CHECK_EQ(st.st_size, 13);
    CHECK_EQ(st.st_mode & 0777, 0640 & ~umask(umask(0)));
    CHECK_EQ(go_ftruncate(fd, 5), 0);
    int r = go_fallocate(fd, 0, 3, 97);
    if (r != -EOPNOTSUPP) { /* not every file system can */
        CHECK_EQ(r, 0);
        CHECK_EQ(go_fstat(fd, &st), 0);
        CHECK_EQ(st.st_size, 100);
        CHECK_EQ(go_fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 1000), 0);
        CHECK_EQ(go_fstat(fd, &st), 0);
        CHECK_EQ(st.st_size, 100);
        CHECK(st.st_blocks * 512 >= 1000);
    }
    CHECK_EQ(go_fallocate(fd, 0, -1, 1), -EINVAL);
    CHECK_EQ(go_fallocate(-1, 0, 0, 1), -EBADF);
    CHECK_EQ(go_truncate(in_directory("a"), 4), 0);
    CHECK_EQ(go_flock(fd, LOCK_EX | LOCK_NB), 0);
    CHECK_EQ(go_close(fd), 0);
    CHECK_EQ(go_stat(in_directory("a"), &st), 0);
    CHECK_EQ(st.st_size, 4);
    CHECK_EQ(go_chmod(in_directory("a"), 0600), 0);
    CHECK_EQ(go_rename(in_directory("a"), in_directory("b")), 0);
    CHECK_EQ(go_stat(in_directory("a"), &st), -ENOENT);
    CHECK_EQ(go_open(in_directory("a"), O_RDONLY), -ENOENT);
    CHECK_EQ(go_access(in_directory("b"), R_OK), 0);
    CHECK_EQ(go_symlink("b", in_directory("c")), 0);
    CHECK_EQ(go_lstat(in_directory("c"), &st), 0);
    CHECK(S_ISLNK(st.st_mode));
    CHECK_EQ(go_readlink(in_directory("c"), buffer, sizeof buffer), 1);
    CHECK_EQ(go_link(in_directory("b"), in_directory("d")), 0);
    CHECK_EQ(go_mkdir(in_directory("e"), 0755), 0);
    CHECK_EQ(go_mkdir(in_directory("e"), 0755), -EEXIST);

    DIR *dir;
    struct dirent *entry;
    int n = 0;
    CHECK_EQ(go_opendir(directory, &dir), 0);
    while (go_readdir(dir, &entry) == 0 && entry)
        n += entry->d_name[0] != '.';
    CHECK_EQ(n, 4);
    CHECK_EQ(go_closedir(dir), 0);
    CHECK_EQ(go_opendir(in_directory("none"), &dir), -ENOENT);

    int d = go_open(directory, O_RDONLY | O_DIRECTORY);
    CHECK_EQ(go_read(d, buffer, 1), -EISDIR);
    fd = go_openat(d, "b", O_RDONLY);
    CHECK(fd >= 0);
    CHECK_EQ(go_write(fd, "x", 1), -EBADF);
    go_close(fd);
    go_close(d);
    CHECK_EQ(go_unlink(in_directory("b")), 0);
    CHECK_EQ(go_unlink(in_directory("c")), 0);
    CHECK_EQ(go_unlink(in_directory("d")), 0);
    CHECK_EQ(go_unlink(in_directory("d")), -ENOENT);
    CHECK_EQ(go_rmdir(in_directory("e")), 0);
}

/* All of the C library that lies behind these. A goroutine that goes on on another thread finds that one's errno. */
static void errno_stays(go_waitgroup *done)
{
    DIR *dir = NULL;
    struct dirent *entry = NULL;
    pid_t thread = gettid();
    errno = 4711;
    CHECK_EQ(go_opendir("/no/such/directory", &dir), -ENOENT);
    CHECK_EQ(go_opendir("/", &dir), 0);
    while (go_readdir(dir, &entry) == 0 && entry)
        ;
    CHECK_EQ(go_closedir(dir), 0);
    if (gettid() == thread)
        CHECK_EQ(errno, 4711);
    go_waitgroup_done(done);
}

TEST(errno_is_left_alone)
{
    go_waitgroup done = { 0 };
    go_waitgroup_add(&done, 2);
    go_with(((go_options){ .stack_size = 8 << 10 }), errno_stays, &done);
    errno_stays(&done);
    go_waitgroup_wait(&done);
}

/* More than the page cache has at hand, in one call. */
TEST(large_reads_and_writes)
{
    size_t size = 5 << 20, got = 0;
    char *data = malloc(size), *back = calloc(1, size);
    for (size_t i = 0; i < size; i++)
        data[i] = (char)(i * 13 + i / 4096);
    int fd = go_open(in_directory("large"), O_RDWR | O_CREAT, 0600);
    CHECK_EQ(go_write(fd, data, size), size);
    go_fsync(fd);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    CHECK_EQ(go_pread(fd, back, size, 0), size);
    CHECK(memcmp(data, back, size) == 0);
    memset(back, 0, size);
    posix_fadvise(fd, 1 << 20, 1 << 20, POSIX_FADV_DONTNEED);
    lseek(fd, 0, SEEK_SET);
    struct iovec iov[3] = { { back, 100 }, { back + 100, 3 << 20 }, { back + 100 + (3 << 20), size - 100 - (3 << 20) } };
    got = (size_t)go_readv(fd, iov, 3);
    CHECK_EQ(got, size);
    CHECK(memcmp(data, back, size) == 0);
    go_close(fd);
    go_unlink(in_directory("large"));
    free(data);
    free(back);
}

TEST(proc)
{
    char buffer[64];
    int fd = go_open("/proc/self/stat", O_RDONLY);
    CHECK(go_read(fd, buffer, sizeof buffer) > 0);
    go_close(fd);
}

static void open_it(const char *path, int *result, go_waitgroup *done)
{
    *result = go_open(path, O_RDONLY);
    go_waitgroup_done(done);
}

/* A file's lock, and the other end of a FIFO, may never come. */
TEST(waits_end_with_the_scope)
{
    const char *file = in_directory("locked"), *fifo = in_directory("read"), *fifo2 = in_directory("written");
    int holder = go_open(file, O_RDWR | O_CREAT, 0600), waiter = go_open(file, O_RDWR);
    REQUIRE(holder >= 0 && waiter >= 0);
    REQUIRE(mkfifo(fifo, 0600) == 0 && mkfifo(fifo2, 0600) == 0);
    CHECK_EQ(go_flock(holder, LOCK_EX), 0);
    for (int i = 0; i < 4; i++) {
        go_scope *s = go_scope_open();
        go_scope_deadline(s, go_now() + (i % 2) * 10 * GO_MILLISECOND);
        go_scope_enter(s);
        CHECK_EQ(go_flock(waiter, LOCK_EX), -ETIMEDOUT);
        CHECK_EQ(go_flock(waiter, LOCK_EX | LOCK_NB), -EWOULDBLOCK);
        CHECK_EQ(go_open(fifo, O_RDONLY), -ETIMEDOUT);
        CHECK_EQ(go_open(fifo2, O_WRONLY), -ETIMEDOUT);
        int fd = go_open(file, O_RDONLY); /* what need not wait is done */
        CHECK(fd >= 0);
        go_close(fd);
        go_scope_leave(s);
        go_scope_close(s);
    }
    CHECK_EQ(go_flock(holder, LOCK_UN), 0);
    CHECK_EQ(go_flock(holder, LOCK_EX | LOCK_NB), 0); /* the waiter has not got it */
    CHECK(open(fifo, O_WRONLY | O_NONBLOCK) == -1 && errno == ENXIO); /* and nobody is left waiting there */
    /* And one that comes in time. */
    go_scope *s = go_scope_open();
    go_waitgroup done = { 0 };
    go_waitgroup_add(&done, 1);
    int other = -1;
    char c;
    go(open_it, fifo, &other, &done);
    go_scope_enter(s);
    int out = go_open(fifo, O_WRONLY);
    go_scope_leave(s);
    go_scope_close(s);
    go_waitgroup_wait(&done);
    CHECK(out >= 0 && other >= 0);
    CHECK_EQ(go_write(out, "x", 1), 1);
    CHECK_EQ(go_read(other, &c, 1), 1);
    go_close(out);
    go_close(other);
    go_close(holder);
    go_close(waiter);
    go_unlink(file);
    go_unlink(fifo);
    go_unlink(fifo2);
    rmdir(directory);
    directory[0] = 0;
}

static void lock_it(int fd, int *result, go_waitgroup *done)
{
    go_scope *s = go_scope_open();
    go_scope_enter(s);
    *result = go_flock(fd, LOCK_EX);
    go_scope_leave(s);
    go_scope_close(s);
    go_waitgroup_done(done);
}

/* As the kernel says: somebody of this process waits for a lock. */
static bool waits_for_a_lock(void)
{
    char line[256], kind[8], mode[16], access[8], blocked[8];
    bool waits = false;
    int pid;
    FILE *locks = fopen("/proc/locks", "r");
    REQUIRE(locks);
    while (fgets(line, sizeof line, locks))
        waits |= sscanf(line, "%*s %7s %7s %15s %7s %d", blocked, kind, mode, access, &pid) == 5 && !strcmp(blocked, "->") &&
                 pid == getpid();
    fclose(locks);
    return waits;
}

/* Whoever waits does not get the lock of the file that has the number afterwards. */
TEST(a_lock_of_what_is_closed)
{
    if (test_emulated())
        SKIP("the emulator does not say who waits");
    const char *file = in_directory("locked"), *file2 = in_directory("another");
    int holder = go_open(file, O_RDWR | O_CREAT, 0600), waiter = go_open(file, O_RDWR), result = 1;
    CHECK_EQ(go_flock(holder, LOCK_EX), 0);
    go_waitgroup done = { 0 };
    go_waitgroup_add(&done, 1);
    go(lock_it, waiter, &result, &done);
    while (!waits_for_a_lock())
        go_sleep(GO_MILLISECOND);
    go_close(waiter);
    CHECK_EQ(go_open(file2, O_RDWR | O_CREAT, 0600), waiter); /* the number again */
    go_waitgroup_wait(&done);
    CHECK_EQ(result, -EBADF);
    go_close(waiter);
    go_close(holder);
    go_unlink(file);
    go_unlink(file2);
    rmdir(directory);
    directory[0] = 0;
}

/* Opening a FIFO blocks its thread until the other end is opened: by another goroutine, on whatever number of Ps. */
TEST(blocking_opens_hold_up_nobody)
{
    enum { N = 10 };
    char paths[N][128];
    int in[N], out[N];
    go_waitgroup done = { 0 };
    for (int i = 0; i < N; i++) {
        char name[16];
        snprintf(name, sizeof name, "fifo%d", i);
        strcpy(paths[i], in_directory(name));
        REQUIRE(mkfifo(paths[i], 0600) == 0);
        go_waitgroup_add(&done, 1);
        go(open_it, paths[i], &in[i], &done);
    }
    for (int i = 0; i < N; i++) {
        out[i] = go_open(paths[i], O_WRONLY);
        CHECK(out[i] >= 0);
    }
    go_waitgroup_wait(&done);
    for (int i = 0; i < N; i++) {
        char c;
        CHECK_EQ(go_write(out[i], "x", 1), 1);
        CHECK_EQ(go_read(in[i], &c, 1), 1);
        go_close(in[i]);
        go_close(out[i]);
        go_unlink(paths[i]);
    }
    rmdir(directory);
    directory[0] = 0;
}
