// SPDX-License-Identifier: MIT
// Descriptors of every kind: read, write, wait, deadline, close.
#include <goroutine.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "test.h"
#include "waits.h"

#include "sched/netpoll.h"

/* Starting a goroutine is slow under ThreadSanitizer. */
#if HAVE_TSAN
#define ROUNDS(n) ((n) / 8)
#else
#define ROUNDS(n) (n)
#endif

/* --- help --- */

struct reader {
    int fd;
    char buffer[64];
    ssize_t result;
    go_waitgroup *done;
};

static void read_once(struct reader *r)
{
    r->result = go_read(r->fd, r->buffer, sizeof r->buffer);
    go_waitgroup_done(r->done);
}

/* Lets the others come to where they wait: parked goroutines, not time, would be better, but they do not tell. */
static void settle(void)
{
    for (int i = 0; i < 20; i++)
        go_yield();
    go_sleep(2 * GO_MILLISECOND);
}

/* Until n more than `before` wait for descriptors. */
static void parked(int before, int n)
{
    while (atomic_load_explicit(&netpoll_waits, memory_order_relaxed) < before + n)
        go_sleep(100 * GO_MICROSECOND);
}

static int waits(void)
{
    return atomic_load_explicit(&netpoll_waits, memory_order_relaxed);
}

static bool nonblocking(int fd)
{
    return fcntl(fd, F_GETFL) & O_NONBLOCK;
}

static void pair_of(int kind, int fds[2])
{
    if (kind == 0) {
        REQUIRE(pipe(fds) == 0);
    } else if (kind == 1) {
        REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    } else {
        int l = socket(AF_INET, SOCK_STREAM, 0);
        struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t size = sizeof a;
        REQUIRE(bind(l, (struct sockaddr *)&a, sizeof a) == 0 && listen(l, 16) == 0);
        REQUIRE(getsockname(l, (struct sockaddr *)&a, &size) == 0);
        fds[1] = socket(AF_INET, SOCK_STREAM, 0);
        REQUIRE(connect(fds[1], (struct sockaddr *)&a, size) == 0);
        fds[0] = accept(l, NULL, NULL);
        REQUIRE(fds[0] >= 0);
        close(l);
    }
}

/* --- */

TEST(read_waits_for_write)
{
    for (int kind = 0; kind < 3; kind++)
        for (int flag = 0; flag < 2; flag++) {
            int fds[2];
            go_waitgroup done = { 0 };
            pair_of(kind, fds);
            if (flag)
                fcntl(fds[0], F_SETFL, fcntl(fds[0], F_GETFL) | O_NONBLOCK);
            struct reader r = { .fd = fds[0], .done = &done };
            go_waitgroup_add(&done, 1);
            go(read_once, &r);
            settle();
            CHECK_EQ(go_write(fds[1], "hello", 5), 5);
            go_waitgroup_wait(&done);
            CHECK_EQ(r.result, 5);
            CHECK(memcmp(r.buffer, "hello", 5) == 0);
            CHECK_EQ(nonblocking(fds[0]), flag);
            CHECK_EQ(nonblocking(fds[1]), 0);
            CHECK_EQ(go_close(fds[1]), 0);
            CHECK_EQ(go_read(fds[0], r.buffer, 1), 0);
            CHECK_EQ(go_close(fds[0]), 0);
        }
}

/* A number that nobody has read from yet has not been emptied by a read, though a wait has registered it. */
TEST(the_first_read_is_tried)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int l = socket(AF_INET, SOCK_STREAM, 0), fresh = fcntl(l, F_DUPFD_CLOEXEC, 777);
    char c;
    close(l);
    REQUIRE(bind(fresh, (struct sockaddr *)&a, sizeof a) == 0 && listen(fresh, 1) == 0);
    go_fd_deadline(fresh, go_now() + GO_MILLISECOND, 0);
    CHECK_EQ(go_accept(fresh, NULL, NULL), -ETIMEDOUT);
    go_fd_deadline(fresh, go_now() + 10 * GO_SECOND, 0); /* waited for in vain if there is no attempt */
    CHECK_EQ(go_read(fresh, &c, 1), -ENOTCONN);
    go_close(fresh);
}

/* Numbers come back after plain close, with another kind of file behind them. */
TEST(reuse_after_plain_close)
{
    for (int i = 0; i < ROUNDS(60); i++) {
        int fds[2];
        go_waitgroup done = { 0 };
        pair_of(i % 3, fds);
        struct reader r = { .fd = fds[0], .done = &done };
        go_waitgroup_add(&done, 1);
        go(read_once, &r);
        go_yield();
        CHECK_EQ(go_write(fds[1], "x", 1), 1);
        go_waitgroup_wait(&done);
        CHECK_EQ(r.result, 1);
        close(fds[0]);
        close(fds[1]);
    }
}

static _Atomic ssize_t came;

static void reads_and_tells(int fd)
{
    char buffer[64];
    atomic_store(&came, go_read(fd, buffer, sizeof buffer));
}

/* What was a file, which gives all that is asked for, is a pipe, whose rest is not waited for. */
TEST(pipe_in_place_of_a_file)
{
    char buffer[64];
    int fds[2], file = go_open("/proc/self/exe", O_RDONLY);
    CHECK_EQ(go_read(file, buffer, sizeof buffer), sizeof buffer);
    close(file);
    REQUIRE(pipe(fds) == 0);
    CHECK_EQ(fds[0], file);
    CHECK_EQ(write(fds[1], "0123456789", 10), 10);
    atomic_store(&came, -1);
    go(reads_and_tells, fds[0]);
    for (int i = 0; i < 10000 && atomic_load(&came) == -1; i++)
        go_sleep(GO_MILLISECOND);
    CHECK_EQ(came, 10);
    close(fds[1]); /* ends what fails here */
    while (atomic_load(&came) == -1)
        go_sleep(GO_MILLISECOND);
    go_close(fds[0]);
}

/* How often this process has written, as the kernel has counted; -1 if it does not. */
static long writes_made(void)
{
    long n = -1;
    char line[100];
    FILE *f = fopen("/proc/self/io", "r");
    while (f && fgets(line, sizeof line, f))
        sscanf(line, "syscw: %ld", &n);
    if (f)
        fclose(f);
    return n;
}

/* And what was an eventfd, whose writes are cut, is a file, whose are not. */
TEST(file_in_place_of_an_eventfd)
{
    char path[] = "/tmp/go_fd_test_XXXXXX";
    size_t size = 1 << 20;
    uint64_t one = 1;
    int e = eventfd(0, 0);
    CHECK_EQ(go_write(e, &one, sizeof one), sizeof one);
    close(e);
    int file = mkstemp(path);
    CHECK_EQ(file, e);
    char *data = calloc(1, size);
    long before = writes_made();
    CHECK_EQ(go_write(file, data, size), size);
    long made = writes_made() - before;
    go_close(file);
    unlink(path);
    free(data);
    if (before < 0)
        SKIP("the kernel does not count writes");
    CHECK(made < 100); /* in pieces, it would be 256 */
}

/* What was a TCP connection, whose short reads take all there is, listens for packets: what is accepted is no TCP connection. */
TEST(listener_in_place_of_a_connection)
{
    int fds[2], l = socket(AF_UNIX, SOCK_SEQPACKET, 0), c = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    struct poll_desc *d;
    char buffer[64];
    pair_of(2, fds);
    CHECK_EQ(go_write(fds[1], "x", 1), 1);
    CHECK_EQ(go_read(fds[0], buffer, 1), 1);
    REQUIRE(dup2(l, fds[0]) == fds[0]);
    snprintf(a.sun_path + 1, sizeof a.sun_path - 1, "go_fd_test_packets_%d", (int)getpid());
    REQUIRE(bind(l, (struct sockaddr *)&a, sizeof a) == 0 && listen(l, 2) == 0);
    REQUIRE(connect(c, (struct sockaddr *)&a, sizeof a) == 0);
    int s = go_accept(fds[0], NULL, NULL);
    REQUIRE(s >= 0);
    CHECK_EQ(netpoll_begin(s, &d), 0);
    CHECK_EQ(atomic_load_explicit(&d->kind, memory_order_relaxed), KIND_SOCKET);
    CHECK_EQ(go_write(c, "one", 3), 3);
    CHECK_EQ(go_write(c, "more", 4), 4);
    CHECK_EQ(go_read(s, buffer, sizeof buffer), 3);
    CHECK_EQ(go_read(s, buffer, sizeof buffer), 4);
    int all[] = { fds[0], fds[1], l, c, s };
    for (int i = 0; i < 5; i++)
        go_close(all[i]);
}

static void write_all_of(int fd, char *data, size_t size, ssize_t *result, go_waitgroup *done)
{
    *result = go_write(fd, data, size);
    go_waitgroup_done(done);
}

static unsigned char pattern(size_t i)
{
    return (unsigned char)(i * 7 + i / 256);
}

/* go_write writes everything, however slowly it is read. */
TEST(slow_reader)
{
    size_t size = 3 << 20;
    char *data = malloc(size);
    for (size_t i = 0; i < size; i++)
        data[i] = (char)pattern(i);
    for (int kind = 0; kind < 3; kind++) {
        int fds[2];
        go_waitgroup done = { 0 };
        ssize_t written = 0;
        pair_of(kind, fds);
        go_waitgroup_add(&done, 1);
        go(write_all_of, fds[1], data, size, &written, &done);
        size_t got = 0, wrong = 0;
        char part[8192];
        while (got < size) {
            ssize_t n = go_read(fds[0], part, got % 3 ? 777 : sizeof part);
            if (n <= 0)
                break;
            for (ssize_t i = 0; i < n; i++)
                wrong += (unsigned char)part[i] != pattern(got + (size_t)i);
            got += (size_t)n;
            if (got % 64 == 0)
                go_yield();
        }
        go_waitgroup_wait(&done);
        CHECK_EQ(got, size);
        CHECK_EQ(wrong, 0);
        CHECK_EQ(written, size);
        go_close(fds[0]);
        go_close(fds[1]);
    }
    free(data);
}

static void writev_all(int fd, struct iovec *iov, int n, ssize_t *result, go_waitgroup *done)
{
    *result = go_writev(fd, iov, n);
    go_waitgroup_done(done);
}

TEST(writev_writes_everything)
{
    enum { PARTS = 50 };
    static char parts[PARTS][20011];
    struct iovec iov[PARTS];
    size_t total = 0;
    for (int i = 0; i < PARTS; i++) {
        iov[i] = (struct iovec){ parts[i], i % 7 == 3 ? 0 : (size_t)(i * 397 + 1) };
        for (size_t k = 0; k < iov[i].iov_len; k++)
            parts[i][k] = (char)pattern(total + k);
        total += iov[i].iov_len;
    }
    for (int kind = 0; kind < 3; kind++) {
        int fds[2];
        go_waitgroup done = { 0 };
        ssize_t written = 0;
        pair_of(kind, fds);
        go_waitgroup_add(&done, 1);
        go(writev_all, fds[1], iov, PARTS, &written, &done);
        size_t got = 0, wrong = 0;
        char a[333], b[1000];
        struct iovec in[2] = { { a, sizeof a }, { b, sizeof b } };
        while (got < total) {
            ssize_t n = go_readv(fds[0], in, 2);
            if (n <= 0)
                break;
            for (ssize_t i = 0; i < n; i++)
                wrong += (unsigned char)(i < 333 ? a[i] : b[i - 333]) != pattern(got + (size_t)i);
            got += (size_t)n;
        }
        go_waitgroup_wait(&done);
        CHECK_EQ(got, total);
        CHECK_EQ(wrong, 0);
        CHECK_EQ(written, total);
        go_close(fds[0]);
        go_close(fds[1]);
    }
}

/* No SIGPIPE, whose default would end the test, and a handler of the program's is not called either. */
TEST(broken_pipe)
{
    char *data = calloc(1, 1 << 20);
    for (int kind = 0; kind < 3; kind++) {
        int fds[2];
        pair_of(kind, fds);
        close(fds[0]);
        if (kind == 2)
            go_write(fds[1], "x", 1); /* draws the reset */
        ssize_t r = 0;
        for (int i = 0; i < 100 && r >= 0; i++) {
            r = go_write(fds[1], data, 1000);
            if (r >= 0)
                go_sleep(GO_MILLISECOND);
        }
        CHECK(r == -EPIPE || (kind == 2 && r == -ECONNRESET));
        struct iovec iov[2] = { { data, 10 }, { data, 10 } };
        CHECK_EQ(go_writev(fds[1], iov, 2), -EPIPE);
        if (kind > 0)
            CHECK_EQ(go_send(fds[1], "x", 1, 0), -EPIPE);
        close(fds[1]);
    }
    int fds[2];
    size_t written = 99;
    pair_of(0, fds);
    go_waitgroup done = { 0 };
    ssize_t result = 0;
    go_waitgroup_add(&done, 1);
    go(write_all_of, fds[1], data, (size_t)1 << 20, &result, &done);
    settle();
    go_close(fds[0]);
    go_waitgroup_wait(&done);
    CHECK_EQ(result, -EPIPE);
    CHECK_EQ(go_write_count(fds[1], data, 100, &written), -EPIPE);
    CHECK_EQ(written, 0);
    close(fds[1]);
    sigset_t pending;
    sigpending(&pending);
    CHECK_EQ(sigismember(&pending, SIGPIPE), 0);
    free(data);
}

TEST(message_flags)
{
    int fds[2];
    char c[8];
    pair_of(1, fds);
    CHECK_EQ(go_recv(fds[0], c, 1, MSG_DONTWAIT), -EAGAIN);
    CHECK_EQ(go_send(fds[1], "abcdef", 6, 0), 6);
    CHECK_EQ(go_recv(fds[0], c, 3, MSG_PEEK), 3);
    CHECK_EQ(go_recv(fds[0], c, 4, MSG_WAITALL), 4);
    CHECK(memcmp(c, "abcd", 4) == 0);
    struct iovec iov = { c, sizeof c };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
    CHECK_EQ(go_recvmsg(fds[0], &m, 0), 2);
    CHECK_EQ(go_recvmsg(fds[0], &m, MSG_DONTWAIT), -EAGAIN);
    iov.iov_len = 3;
    CHECK_EQ(go_sendmsg(fds[0], &m, 0), 3);
    CHECK_EQ(go_recvfrom(fds[1], c, 8, 0, NULL, NULL), 3);
    ssize_t n = 0;
    char big[4096] = { 0 };
    while ((n = go_send(fds[0], big, sizeof big, MSG_DONTWAIT)) > 0)
        ;
    CHECK_EQ(n, -EAGAIN);
    close(fds[0]);
    close(fds[1]);
}

static void recv_all_of(int fd, char *buffer, size_t size, ssize_t *result, go_waitgroup *done)
{
    *result = go_recv(fd, buffer, size, MSG_WAITALL);
    go_waitgroup_done(done);
}

TEST(wait_all)
{
    int fds[2];
    char buffer[10];
    ssize_t result = 0;
    go_waitgroup done = { 0 };
    pair_of(2, fds);
    go_waitgroup_add(&done, 1);
    go(recv_all_of, fds[0], buffer, sizeof buffer, &result, &done);
    for (int i = 0; i < 5; i++) {
        go_write(fds[1], "ab", 2);
        settle();
    }
    go_waitgroup_wait(&done);
    CHECK_EQ(result, 10);
    CHECK(memcmp(buffer, "ababababab", 10) == 0);
    close(fds[0]);
    close(fds[1]);
}

static void recvmsg_of(int fd, struct msghdr *m, int flags, ssize_t *result, go_waitgroup *done)
{
    *result = go_recvmsg(fd, m, flags);
    go_waitgroup_done(done);
}

static void send_fd(int fd, const char *data, size_t size, int sent)
{
    char control[CMSG_SPACE(sizeof sent)] = { 0 };
    struct iovec iov = { (void *)data, size };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof sent);
    memcpy(CMSG_DATA(c), &sent, sizeof sent);
    CHECK_EQ(go_sendmsg(fd, &m, 0), size);
}

/* go_recvmsg, too, waits for all, over the elements' borders; a descriptor that comes with a part ends it. */
TEST(wait_all_in_messages)
{
    for (int kind = 1; kind < 3; kind++)
        for (int flag = 0; flag < 2; flag++) {
            int fds[2];
            char a[3] = { 0 }, b[8] = { 0 }, control[64];
            struct iovec iov[3] = { { a, 3 }, { NULL, 0 }, { b, 7 } };
            struct msghdr m = { .msg_iov = iov, .msg_iovlen = 3, .msg_control = control, .msg_controllen = sizeof control };
            ssize_t result = 0;
            go_waitgroup done = { 0 };
            pair_of(kind, fds);
            if (flag)
                fcntl(fds[0], F_SETFL, fcntl(fds[0], F_GETFL) | O_NONBLOCK);
            go_waitgroup_add(&done, 1);
            int before = waits();
            go(recvmsg_of, fds[0], &m, MSG_WAITALL, &result, &done);
            parked(before, 1);
            for (int i = 0; i < 5; i++) {
                go_write(fds[1], &"0123456789"[2 * i], 2);
                settle();
            }
            go_waitgroup_wait(&done);
            CHECK_EQ(result, 10);
            CHECK(memcmp(a, "012", 3) == 0);
            CHECK_STR(b, "3456789");
            CHECK_EQ(m.msg_controllen, 0);
            CHECK_EQ(iov[2].iov_len, 7);
            /* What there is when the end comes. */
            m.msg_controllen = sizeof control;
            go_write(fds[1], "abcd", 4);
            shutdown(fds[1], SHUT_WR);
            CHECK_EQ(go_recvmsg(fds[0], &m, MSG_WAITALL), 4);
            CHECK_EQ(m.msg_controllen, 0);
            CHECK_EQ(go_recvmsg(fds[0], &m, MSG_WAITALL), 0);
            go_close(fds[0]);
            go_close(fds[1]);
        }
    int fds[2], sent = -1;
    char c[9], control[64];
    struct iovec iov = { c, sizeof c };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
    pair_of(1, fds);
    go_write(fds[1], "abc", 3);
    send_fd(fds[1], "def", 3, fds[1]);
    go_write(fds[1], "ghi", 3);
    CHECK_EQ(go_recvmsg(fds[0], &m, MSG_WAITALL), 6);
    CHECK_EQ(m.msg_controllen, CMSG_SPACE(sizeof sent));
    memcpy(&sent, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof sent);
    CHECK_EQ(go_close(sent), 0);
    go_close(fds[0]);
    go_close(fds[1]);
}

/* A family that does not know the flag. */
TEST(packets)
{
    int s = socket(AF_PACKET, SOCK_DGRAM, 0);
    if (s < 0)
        SKIP("no packet sockets here");
    char c[1], control[64];
    struct iovec iov = { c, sizeof c };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
    CHECK_EQ(go_recvmsg(s, &m, MSG_DONTWAIT), -EAGAIN);
    go_close(s);
}

/* As all descriptors the library makes; and the flag that it takes is the library's affair. */
TEST(received_descriptors_are_close_on_exec)
{
    for (int flags = 0; flags < 2; flags++) {
        int fds[2], sent = -1;
        char c[3], control[64];
        struct iovec iov = { c, sizeof c };
        struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
        pair_of(1, fds);
        send_fd(fds[1], "abc", 3, fds[1]);
        CHECK_EQ(go_recvmsg(fds[0], &m, flags ? MSG_WAITALL : 0), 3);
        CHECK_EQ(m.msg_flags & MSG_CMSG_CLOEXEC, 0);
        memcpy(&sent, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof sent);
        CHECK_EQ(fcntl(sent, F_GETFD), FD_CLOEXEC);
        go_close(sent);
        go_close(fds[0]);
        go_close(fds[1]);
    }
}

/* Looking at all there will be takes nothing, and comes back with less at the end only. */
TEST(wait_all_and_peek)
{
    for (int kind = 1; kind < 3; kind++) {
        int fds[2];
        char c[5] = { 0 };
        struct iovec iov = { c, 4 };
        struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
        ssize_t result = 0;
        go_waitgroup done = { 0 };
        pair_of(kind, fds);
        go_write(fds[1], "ab", 2);
        go_waitgroup_add(&done, 1);
        int before = waits();
        go(recvmsg_of, fds[0], &m, MSG_WAITALL | MSG_PEEK, &result, &done);
        parked(before, 1);
        go_write(fds[1], "cd", 2);
        go_waitgroup_wait(&done);
        CHECK_EQ(result, 4);
        CHECK_STR(c, "abcd");
        CHECK_EQ(go_recv(fds[0], c, 2, MSG_WAITALL), 2);
        go_close(fds[1]);
        CHECK_EQ(go_recv(fds[0], c, 4, MSG_WAITALL | MSG_PEEK), 2);
        CHECK_EQ(go_recv(fds[0], c, 4, MSG_WAITALL), 2);
        CHECK(memcmp(c, "cd", 2) == 0);
        go_close(fds[0]);
    }
}

/* A descriptor that nobody takes, for want of room, ends it just so, and it is told. */
TEST(wait_all_and_no_room_for_a_descriptor)
{
    int fds[2];
    char c[9], control[4];
    struct iovec iov = { c, sizeof c };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
    pair_of(1, fds);
    go_write(fds[1], "abc", 3);
    send_fd(fds[1], "def", 3, fds[1]);
    go_write(fds[1], "ghi", 3);
    CHECK_EQ(go_recvmsg(fds[0], &m, MSG_WAITALL), 6);
    CHECK_EQ(m.msg_flags & MSG_CTRUNC, MSG_CTRUNC);
    CHECK_EQ(go_recv(fds[0], c, 3, MSG_DONTWAIT), 3);
    CHECK(memcmp(c, "ghi", 3) == 0);
    /* One that wants none goes on, and is told. */
    send_fd(fds[1], "abc", 3, fds[1]);
    go_write(fds[1], "defghi", 6);
    m.msg_control = NULL;
    m.msg_controllen = 0;
    CHECK_EQ(go_recvmsg(fds[0], &m, MSG_WAITALL), 9);
    CHECK_EQ(m.msg_flags & MSG_CTRUNC, MSG_CTRUNC);
    CHECK(memcmp(c, "abcdefghi", 9) == 0);
    go_close(fds[0]);
    go_close(fds[1]);
}

/* A reset behind a part is told by the next call. */
TEST(wait_all_and_a_reset)
{
    int fds[2], before = waits(), unread = 1;
    char buffer[10];
    ssize_t result = 0;
    struct linger at_once = { 1, 0 };
    go_waitgroup done = { 0 };
    pair_of(2, fds);
    go_waitgroup_add(&done, 1);
    go(recv_all_of, fds[0], buffer, sizeof buffer, &result, &done);
    parked(before, 1);
    go_write(fds[1], "ab", 2);
    while (ioctl(fds[0], FIONREAD, &unread) == 0 && unread > 0)
        go_sleep(100 * GO_MICROSECOND);
    setsockopt(fds[1], SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(fds[1]);
    go_waitgroup_wait(&done);
    CHECK_EQ(result, 2);
    CHECK_EQ(go_recv(fds[0], buffer, 1, 0), -ECONNRESET);
    CHECK_EQ(go_recv(fds[0], buffer, 1, 0), 0);
    go_close(fds[0]);
}

/* Behind the room for an address comes what is not to be touched. */
struct named {
    struct sockaddr address;
    char guard[112];
    socklen_t size;
    char data[5];
    int fd;
    bool message;
    ssize_t result;
};

static void receives_all(struct named *n)
{
    struct iovec iov = { n->data, 4 };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_name = &n->address, .msg_namelen = sizeof n->address };
    n->size = sizeof n->address;
    if (n->message) {
        n->result = go_recvmsg(n->fd, &m, MSG_WAITALL);
        n->size = m.msg_namelen;
    } else {
        n->result = go_recvfrom(n->fd, n->data, 4, MSG_WAITALL, &n->address, &n->size);
    }
}

/* The kernel tells of a name's length that there was no room for; that is not the room of the next part's name. */
TEST(wait_all_and_a_long_name)
{
    if (test_emulated())
        SKIP("the emulator writes all of the name itself");
    struct sockaddr_un server = { .sun_family = AF_UNIX }, client = server;
    snprintf(server.sun_path + 1, sizeof server.sun_path - 1, "go_fd_test_named_%d", (int)getpid());
    int l = socket(AF_UNIX, SOCK_STREAM, 0);
    REQUIRE(bind(l, (struct sockaddr *)&server, sizeof server) == 0 && listen(l, 2) == 0);
    for (int message = 0; message < 2; message++) {
        char guard[112];
        struct named n = { .message = message };
        int s = socket(AF_UNIX, SOCK_STREAM, 0);
        snprintf(client.sun_path + 1, sizeof client.sun_path - 1, "%090d-%d", (int)getpid(), message);
        REQUIRE(bind(s, (struct sockaddr *)&client, sizeof client) == 0);
        REQUIRE(connect(s, (struct sockaddr *)&server, sizeof server) == 0 && (n.fd = accept(l, NULL, NULL)) >= 0);
        memset(guard, 'g', sizeof guard);
        memcpy(n.guard, guard, sizeof guard);
        go_scope *scope = go_scope_open();
        int before = waits();
        CHECK_EQ(write(s, "ab", 2), 2);
        go_scope_go(scope, receives_all, &n);
        parked(before, 1); /* with the first part */
        CHECK_EQ(write(s, "cd", 2), 2);
        go_scope_close(scope);
        CHECK_EQ(n.result, 4);
        CHECK_STR(n.data, "abcd");
        CHECK_EQ(n.size, sizeof client);
        CHECK(memcmp(n.guard, guard, sizeof guard) == 0);
        /* The end has no name: it is the part's. */
        CHECK_EQ(write(s, "ef", 2), 2);
        shutdown(s, SHUT_WR);
        receives_all(&n);
        CHECK_EQ(n.result, 2);
        CHECK_EQ(n.size, sizeof client);
        CHECK(memcmp(n.guard, guard, sizeof guard) == 0);
        go_close(n.fd);
        go_close(s);
    }
    go_close(l);
}

/* A datagram socket has an end, too, when it was shut down for reading. */
TEST(datagrams_end)
{
    for (int kind = 0; kind < 2; kind++)
        for (int late = 0; late < 2; late++) {
            int fds[2];
            go_waitgroup done = { 0 };
            if (kind == 0) {
                REQUIRE(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds) == 0);
            } else {
                char address[64];
                fds[1] = go_listen("udp", "127.0.0.1:0");
                REQUIRE(fds[1] >= 0 && go_local_address(fds[1], address, sizeof address) > 0);
                fds[0] = go_dial("udp", address);
                REQUIRE(fds[0] >= 0);
            }
            struct reader r = { .fd = fds[0], .done = &done, .result = -1 };
            go_waitgroup_add(&done, 1);
            int before = waits();
            if (late) {
                go(read_once, &r);
                parked(before, 1);
            }
            shutdown(fds[0], SHUT_RD);
            settle();
            if (!late)
                go(read_once, &r);
            go_waitgroup_wait(&done);
            CHECK_EQ(r.result, 0);
            CHECK_EQ(go_recv(fds[0], r.buffer, 1, 0), 0);
            CHECK_EQ(go_recv(fds[0], r.buffer, 1, MSG_DONTWAIT), -EAGAIN);
            go_close(fds[0]);
            go_close(fds[1]);
        }
    /* So has a listener. */
    char name[64];
    snprintf(name, sizeof name, "@goroutine-fd-test-end-%d", (int)getpid());
    int l = go_listen("unix", name);
    REQUIRE(l >= 0);
    shutdown(l, SHUT_RD);
    CHECK_EQ(go_accept(l, NULL, NULL), -EINVAL);
    go_close(l);
}

/* One event tells of both: one takes the data, and the others must not wait for an event that has been. */
TEST(end_behind_data_reaches_all)
{
    for (int round = 0; round < 10; round++) {
        int fds[2], before = waits(), data = 0;
        struct reader r[3];
        go_waitgroup done = { 0 };
        pair_of(2, fds);
        go_waitgroup_add(&done, 3);
        for (int i = 0; i < 3; i++) {
            r[i] = (struct reader){ .fd = fds[0], .done = &done };
            go(read_once, &r[i]);
        }
        parked(before, 3);
        send(fds[1], "abc", 3, MSG_DONTWAIT | MSG_MORE); /* goes with the end */
        close(fds[1]);
        go_waitgroup_wait(&done);
        for (int i = 0; i < 3; i++) {
            data += r[i].result == 3;
            CHECK(r[i].result == 0 || r[i].result == 3);
        }
        CHECK_EQ(data, 1);
        go_close(fds[0]);
    }
}

/* A number that was a TCP connection's: a short read takes all of that, not of what has the number now. */
TEST(short_reads_of_another_kind)
{
    for (int round = 0; round < 10; round++) {
        int fds[2], peers[2], before;
        go_waitgroup done = { 0 };
        pair_of(2, fds);
        before = waits();
        struct reader first = { .fd = fds[0], .done = &done };
        go_waitgroup_add(&done, 1);
        go(read_once, &first);
        parked(before, 1);
        go_write(fds[1], "x", 1);
        go_waitgroup_wait(&done);
        REQUIRE(socketpair(AF_UNIX, SOCK_DGRAM, 0, peers) == 0);
        REQUIRE(dup2(peers[0], fds[0]) == fds[0]);
        close(peers[0]);
        struct reader r[2] = { { .fd = fds[0], .done = &done }, { .fd = fds[0], .done = &done } };
        go_waitgroup_add(&done, 2);
        go(read_once, &r[0]);
        go(read_once, &r[1]);
        parked(before, 2);
        int procs = go_maxprocs(1); /* nobody looks between the two */
        send(peers[1], "a", 1, 0);
        send(peers[1], "b", 1, 0);
        go_waitgroup_wait(&done);
        go_maxprocs(procs);
        CHECK_EQ(r[0].result, 1);
        CHECK_EQ(r[1].result, 1);
        go_close(fds[0]);
        go_close(fds[1]);
        close(peers[1]);
    }
}

/* Errors that nobody takes make a socket ready, and hide nothing. */
TEST(error_queue_left_alone)
{
    int s = socket(AF_INET, SOCK_DGRAM, 0), peer = socket(AF_INET, SOCK_DGRAM, 0), on = 1;
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof a;
    go_waitgroup done = { 0 };
    REQUIRE(bind(peer, (struct sockaddr *)&a, sizeof a) == 0 && getsockname(peer, (struct sockaddr *)&a, &size) == 0);
    REQUIRE(connect(s, (struct sockaddr *)&a, size) == 0);
    setsockopt(s, IPPROTO_IP, IP_RECVERR, &on, sizeof on);
    struct sockaddr_in mine;
    getsockname(s, (struct sockaddr *)&mine, &size);
    close(peer);
    CHECK_EQ(go_send(s, "x", 1, 0), 1);
    struct reader r = { .fd = s, .done = &done };
    CHECK_EQ(go_recv(s, r.buffer, 1, 0), -ECONNREFUSED);
    go_waitgroup_add(&done, 1);
    go(read_once, &r);
    settle();
    peer = socket(AF_INET, SOCK_DGRAM, 0);
    REQUIRE(bind(peer, (struct sockaddr *)&a, sizeof a) == 0);
    CHECK_EQ(go_sendto(peer, "hello", 5, 0, (struct sockaddr *)&mine, sizeof mine), 5);
    go_waitgroup_wait(&done);
    CHECK_EQ(r.result, 5);
    go_close(s);
    go_close(peer);
}

/* The kernel's word, not a crash; and of nothing to read there is no wait. */
TEST(bad_vectors)
{
    struct iovec none[2] = { { NULL, 0 }, { NULL, 0 } }, *bad = (struct iovec *)sysconf(_SC_PAGESIZE);
    for (int kind = 0; kind < 3; kind++) {
        int fds[2];
        pair_of(kind, fds);
        CHECK_EQ(go_readv(fds[0], bad, 1), -EFAULT);
        CHECK_EQ(go_readv(fds[0], none, 2), 0);
        CHECK_EQ(go_writev(fds[1], bad, 1), -EFAULT);
        CHECK_EQ(go_writev(fds[1], bad, 2), -EFAULT);
        go_close(fds[0]);
        go_close(fds[1]);
    }
    FILE *f = tmpfile();
    CHECK_EQ(go_readv(fileno(f), bad, 1), -EFAULT);
    CHECK_EQ(go_writev(fileno(f), bad, 1), -EFAULT);
    fclose(f);
}

/* What does not listen is not waited for. */
TEST(accept_needs_a_listener)
{
    for (int kind = 0; kind < 3; kind++) {
        int fds[2];
        pair_of(kind, fds);
        CHECK_EQ(go_accept(fds[0], NULL, NULL), kind == 0 ? -ENOTSOCK : -EINVAL);
        go_close(fds[0]);
        go_close(fds[1]);
    }
    int u = go_listen("udp", "127.0.0.1:0");
    REQUIRE(u >= 0);
    CHECK_EQ(go_accept(u, NULL, NULL), -EOPNOTSUPP);
    go_close(u);
}

TEST(bad_descriptors)
{
    char c;
    struct sockaddr_in a = { .sin_family = AF_INET };
    CHECK_EQ(go_read(-1, &c, 1), -EBADF);
    CHECK_EQ(go_write(-7, &c, 1), -EBADF);
    CHECK_EQ(go_read(19999, &c, 1), -EBADF);
    CHECK_EQ(go_write(19999, &c, 1), -EBADF);
    CHECK_EQ(go_close(19999), -EBADF);
    CHECK_EQ(go_close(-1), -EBADF);
    CHECK_EQ(go_accept(19999, NULL, NULL), -EBADF);
    CHECK_EQ(go_connect(19999, (struct sockaddr *)&a, sizeof a), -EBADF);
    CHECK_EQ(go_wait_fd(19999, POLLIN), -EBADF);
    CHECK_EQ(go_fd_deadline(19999, 1, 1), -EBADF);
    CHECK_EQ(go_fsync(19999), -EBADF);
    CHECK_EQ(go_recv(19999, &c, 1, 0), -EBADF);
    CHECK_EQ(go_pread(19999, &c, 1, 0), -EBADF);
    CHECK_EQ(go_read(0x7fffffff, &c, 1), -EBADF);
}

TEST(errno_is_left_alone)
{
    char c;
    errno = 4711;
    go_read(-1, &c, 1);
    go_open("/nonexistent/file", O_RDONLY);
    go_read(19999, &c, 1);
    CHECK_EQ(errno, 4711);
}

static atomic_bool moved;

static void wants_to_run(go_waitgroup *done)
{
    while (!atomic_load(&moved))
        go_yield();
    go_waitgroup_done(done);
}

/* A goroutine that goes on on another thread finds that one's errno. */
TEST(errno_is_the_threads)
{
    int *(*volatile of_thread)(void) = __errno_location; /* declared const, and not to be believed */
    go_waitgroup done = { 0 };
    int *before = go_errno_location(), first = gettid();
    atomic_store(&moved, false);
    int others = go_maxprocs(0) + 1; /* one of them waits for our P */
    go_waitgroup_add(&done, others);
    while (others-- > 0)
        go(wants_to_run, &done);
    errno = 4711;
    while (gettid() == first) {
        go_block_enter();
        usleep(1000);
        go_block_leave();
        CHECK(go_errno_location() == of_thread());
    }
    CHECK(go_errno_location() != before);
    CHECK(&errno != before);
    errno = 1;
    CHECK_EQ(*before, 4711);
    atomic_store(&moved, true);
    go_waitgroup_wait(&done);
}

/* --- closing --- */

TEST(close_wakes_all)
{
    for (int kind = 0; kind < 3; kind++) {
        enum { N = 20 };
        int fds[2];
        struct reader r[N];
        go_waitgroup done = { 0 };
        pair_of(kind, fds);
        for (int i = 0; i < N; i++) {
            r[i] = (struct reader){ .fd = fds[0], .done = &done, .result = 1 };
            go_waitgroup_add(&done, 1);
            go(read_once, &r[i]);
        }
        settle();
        CHECK_EQ(go_close(fds[0]), 0);
        go_waitgroup_wait(&done);
        for (int i = 0; i < N; i++)
            CHECK_EQ(r[i].result, -EBADF);
        close(fds[1]);
    }
}

/* The closer opens the same number again at once and writes there: no stale waiter may read it. */
TEST(reused_number_wakes_nobody)
{
    for (int round = 0; round < ROUNDS(50); round++) {
        int fds[2], again[2], before = waits();
        bool all_wait = round % 2;
        go_waitgroup done = { 0 };
        struct reader r[3];
        pair_of(1, fds);
        for (int i = 0; i < 3; i++) {
            r[i] = (struct reader){ .fd = fds[0], .done = &done, .result = 1 };
            go_waitgroup_add(&done, 1);
            go(read_once, &r[i]);
        }
        if (all_wait)
            parked(before, 3);
        else
            go_yield();
        go_close(fds[0]);
        pair_of(1, again);
        CHECK_EQ(again[0], fds[0]);
        CHECK_EQ(go_write(again[1], "new", 3), 3);
        if (all_wait) {
            char c[8];
            go_waitgroup_wait(&done);
            for (int i = 0; i < 3; i++)
                CHECK_EQ(r[i].result, -EBADF);
            CHECK_EQ(go_read(again[0], c, sizeof c), 3);
        }
        /* Those who came late read from the new one, or find it closed. */
        go_close(again[0]);
        go_close(again[1]);
        go_waitgroup_wait(&done);
        go_close(fds[1]);
    }
}

static void close_it(int fd, go_waitgroup *done)
{
    go_close(fd);
    go_waitgroup_done(done);
}

struct cancelled_reader {
    int fd;
    _Atomic int reads;
    ssize_t result;
    char buffer[16];
};

static void reads_twice(struct cancelled_reader *r)
{
    r->result = go_read(r->fd, r->buffer, sizeof r->buffer);
    atomic_fetch_add(&r->reads, 1);
    r->result = go_read(r->fd, r->buffer, sizeof r->buffer); /* waits at once: there was less than asked for */
}

/* Who is woken by his scope and finds that the descriptor is closed does not have his last attempt at what has its number. */
TEST(reused_number_is_not_read_at_the_end)
{
    char address[64];
    int fds[2], l = go_listen("tcp", "127.0.0.1:0"), before = waits(), procs = go_maxprocs(1); /* who is woken has to wait */
    REQUIRE(go_local_address(l, address, sizeof address) > 0);
    int c = go_dial("tcp", address);
    struct cancelled_reader r = { .fd = go_accept(l, NULL, NULL) };
    go_scope *scope = go_scope_open();
    go_scope_go(scope, reads_twice, &r);
    parked(before, 1);
    CHECK_EQ(go_write(c, "hi", 2), 2);
    while (atomic_load(&r.reads) == 0)
        go_yield();
    parked(before, 1);
    go_scope_cancel(scope);
    CHECK_EQ(go_close(r.fd), 0);
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    CHECK_EQ(fds[0], r.fd);
    CHECK_EQ(write(fds[1], "secret", 6), 6);
    CHECK_EQ(go_scope_close(scope), -ECANCELED);
    CHECK(r.result == -EBADF || r.result == -ECANCELED);
    CHECK_EQ(recv(fds[0], r.buffer, sizeof r.buffer, MSG_DONTWAIT), 6);
    go_maxprocs(procs);
    go_close(fds[0]);
    go_close(fds[1]);
    go_close(c);
    go_close(l);
}

/* Close against data: the reader gets one or the other, and always something. */
TEST(close_races_with_data)
{
    for (int round = 0; round < ROUNDS(300); round++) {
        int fds[2];
        ssize_t n = 0;
        go_waitgroup done = { 0 };
        pair_of(round % 3, fds);
        struct reader r = { .fd = fds[0], .done = &done };
        go_waitgroup_add(&done, 3);
        go(read_once, &r);
        if (round % 2)
            go_yield();
        go(write_all_of, fds[1], "x", (size_t)1, &n, &done);
        go(close_it, fds[0], &done);
        go_waitgroup_wait(&done);
        CHECK(r.result == 1 || r.result == -EBADF);
        go_close(fds[1]);
    }
}

/* --- deadlines --- */

TEST(deadline_ends_a_wait)
{
    for (int kind = 0; kind < 3; kind++) {
        int fds[2];
        char c;
        pair_of(kind, fds);
        CHECK_EQ(go_fd_deadline(fds[0], go_now() + 5 * GO_MILLISECOND, 0), 0);
        CHECK_EQ(go_read(fds[0], &c, 1), -ETIMEDOUT);
        /* Also with data there. */
        CHECK_EQ(go_write(fds[1], "x", 1), 1);
        CHECK_EQ(go_read(fds[0], &c, 1), -ETIMEDOUT);
        CHECK_EQ(go_fd_deadline(fds[0], 0, 0), 0);
        CHECK_EQ(go_read(fds[0], &c, 1), 1);
        go_close(fds[0]);
        go_close(fds[1]);
    }
}

struct in_order {
    int fd;
    char got;
    go_waitgroup *done;
};

static void read_in_order(struct in_order *r)
{
    CHECK_EQ(go_read(r->fd, &r->got, 1), 1);
    go_waitgroup_done(r->done);
}

static void selects_readable(int fd, chan(int) result)
{
    chan_send(result, go_select(case_readable(fd)));
}

/* A select that has been woken and looks again asks about the file it began with. */
TEST(a_select_keeps_its_file)
{
    for (int ready = 0; ready < 2; ready++) {
        chan(int) result = chan_make(int, 1);
        int before = waits(), fd = eventfd(0, 0), r = 0;
        go(selects_readable, fd, result);
        parked(before, 1);
        CHECK_EQ(go_fd_deadline(fd, go_now() + GO_HOUR, 0), 0);
        CHECK_EQ(go_close(fd), 0);
        int other = eventfd((unsigned)ready, 0);
        CHECK_EQ(other, fd);
        CHECK_EQ(go_select(case_recv(result, &r), case_after(20 * GO_SECOND)), 0);
        CHECK_EQ(r, -EBADF);
        close(other);
        chan_unref(result);
    }
}

/* Who waits looks at a new deadline, and keeps his place. */
TEST(a_deadline_keeps_the_order)
{
    int fds[2], before = waits();
    struct in_order r[5];
    go_waitgroup done = { 0 };
    pair_of(0, fds);
    go_waitgroup_add(&done, 5);
    for (int i = 0; i < 5; i++) {
        r[i] = (struct in_order){ .fd = fds[0], .done = &done };
        go(read_in_order, &r[i]);
        parked(before, i + 1);
    }
    for (int round = 0; round < 3; round++) {
        CHECK_EQ(go_fd_deadline(fds[0], go_now() + GO_HOUR + round, 0), 0);
        while (readers_of(fds[0]) < 5)
            go_yield();
    }
    for (int i = 0; i < 5; i++)
        CHECK_EQ(go_write(fds[1], &"abcde"[i], 1), 1);
    go_waitgroup_wait(&done);
    for (int i = 0; i < 5; i++)
        CHECK_EQ(r[i].got, 'a' + i);
    go_close(fds[0]);
    go_close(fds[1]);
}

TEST(deadline_acts_on_waits_in_progress)
{
    int fds[2];
    go_waitgroup done = { 0 };
    pair_of(2, fds);
    struct reader r[2];
    for (int i = 0; i < 2; i++) {
        r[i] = (struct reader){ .fd = fds[0], .done = &done };
        go_waitgroup_add(&done, 1);
        go(read_once, &r[i]);
    }
    settle();
    CHECK_EQ(go_fd_deadline(fds[0], go_now() + GO_HOUR, 0), 0);
    settle();
    CHECK_EQ(go_fd_deadline(fds[0], go_now() + GO_MILLISECOND, 0), 0);
    go_waitgroup_wait(&done);
    CHECK_EQ(r[0].result, -ETIMEDOUT);
    CHECK_EQ(r[1].result, -ETIMEDOUT);
    /* The write side has none. */
    CHECK_EQ(go_write(fds[0], "x", 1), 1);
    CHECK_EQ(go_wait_fd(fds[0], POLLIN), -ETIMEDOUT);
    CHECK_EQ(go_wait_fd(fds[0], POLLOUT), POLLOUT);
    go_close(fds[0]);
    go_close(fds[1]);
}

/* Times before the clock's beginning have passed as others have, and are no times to wait until. */
TEST(negative_deadlines)
{
    int fds[2];
    char c;
    struct netpoll_waiter w;
    static const go_time past[] = { -1, INT64_MIN, -GO_HOUR };
    pair_of(1, fds);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(go_fd_deadline(fds[0], past[i], past[i]), 0);
        CHECK_EQ(go_read(fds[0], &c, 1), -ETIMEDOUT);
        CHECK_EQ(go_write(fds[0], "x", 1), -ETIMEDOUT);
        CHECK_EQ(go_wait_fd(fds[0], POLLIN), -ETIMEDOUT);
        CHECK_EQ(go_select(case_readable(fds[0]), case_default), 0); /* a read would not wait */
        CHECK_EQ(netpoll_prepare(fds[0], POLL_READ, &w), 0);
        CHECK(netpoll_until(&w) > 0);
        CHECK_EQ(netpoll_prepare(fds[0], POLL_WRITE, &w), 0);
        CHECK(netpoll_until(&w) > 0);
        /* And they end what waits already. */
        go_waitgroup done = { 0 };
        struct reader r = { .fd = fds[0], .done = &done };
        CHECK_EQ(go_fd_deadline(fds[0], 0, 0), 0);
        int before = waits();
        go_waitgroup_add(&done, 1);
        go(read_once, &r);
        parked(before, 1);
        CHECK_EQ(go_fd_deadline(fds[0], past[i], 0), 0);
        go_waitgroup_wait(&done);
        CHECK_EQ(r.result, -ETIMEDOUT);
    }
    go_close(fds[0]);
    go_close(fds[1]);
}

TEST(write_deadline)
{
    int fds[2];
    char *data = calloc(1, 8 << 20);
    size_t written = 0;
    pair_of(2, fds);
    CHECK_EQ(go_fd_deadline(fds[1], 0, go_now() + 10 * GO_MILLISECOND), 0);
    CHECK_EQ(go_write_count(fds[1], data, 8 << 20, &written), -ETIMEDOUT);
    CHECK(written > 0 && written < 8 << 20);
    free(data);
    go_close(fds[0]);
    go_close(fds[1]);
}

TEST(close_drops_the_deadline)
{
    int fds[2], again[2];
    char c;
    pair_of(1, fds);
    go_fd_deadline(fds[0], 1, 1);
    CHECK_EQ(go_read(fds[0], &c, 1), -ETIMEDOUT);
    CHECK_EQ(go_write(fds[0], &c, 1), -ETIMEDOUT);
    go_close(fds[0]);
    pair_of(1, again);
    CHECK_EQ(again[0], fds[0]);
    CHECK_EQ(go_write(again[1], "x", 1), 1);
    CHECK_EQ(go_read(again[0], &c, 1), 1);
    go_close(again[0]);
    go_close(again[1]);
    go_close(fds[1]);
}

static atomic_int watched;

/* Sets the deadline of what it is given until it hears that it is closed, and says then that it knows the number no more. */
static void *watchdog(void *arg)
{
    int fd;
    (void)arg;
    while ((fd = atomic_load(&watched)) != -2) {
        if (fd < 0)
            continue;
        while (go_fd_deadline(fd, 1, 1) == 0)
            ;
        atomic_store(&watched, -1);
    }
    return NULL;
}

TEST(a_deadline_set_beside_the_close)
{
    pthread_t thread;
    atomic_store(&watched, -1);
    REQUIRE(pthread_create(&thread, NULL, watchdog, NULL) == 0);
    for (int round = 0; round < ROUNDS(2000); round++) {
        int fds[2], again[2];
        char c;
        pair_of(1, fds);
        atomic_store(&watched, fds[0]);
        for (volatile int i = 0; i < round % 40 * 50; i++)
            ;
        go_close(fds[0]);
        while (atomic_load(&watched) != -1)
            sched_yield();
        pair_of(1, again);
        CHECK_EQ(again[0], fds[0]);
        CHECK_EQ(write(again[1], "x", 1), 1);
        CHECK_EQ(go_read(again[0], &c, 1), 1);
        go_close(again[0]);
        close(again[1]);
        close(fds[1]);
    }
    atomic_store(&watched, -2);
    pthread_join(thread, NULL);
}

/* A deadline that comes at the same time as the data: one of the two, and the byte is not lost. */
TEST(deadline_races_with_data)
{
    int timeouts = 0;
    for (int round = 0; round < ROUNDS(200); round++) {
        int fds[2];
        char c;
        ssize_t n = 0;
        go_waitgroup done = { 0 };
        pair_of(1, fds);
        go_fd_deadline(fds[0], go_now() + (round % 20) * 5 * GO_MICROSECOND + 1, 0);
        go_waitgroup_add(&done, 1);
        go(write_all_of, fds[1], "x", (size_t)1, &n, &done);
        ssize_t r = go_read(fds[0], &c, 1);
        CHECK(r == 1 || r == -ETIMEDOUT);
        go_waitgroup_wait(&done);
        if (r == -ETIMEDOUT) {
            timeouts++;
            go_fd_deadline(fds[0], 0, 0);
            CHECK_EQ(go_recv(fds[0], &c, 1, MSG_DONTWAIT), 1);
        }
        go_close(fds[0]);
        go_close(fds[1]);
    }
    CHECK(timeouts > 0);
}

/* --- several waiters, both sides --- */

TEST(readers_are_served_in_order)
{
    enum { N = 10 };
    for (int kind = 0; kind < 3; kind++) {
        int fds[2];
        struct reader r[N];
        go_waitgroup done[N];
        memset(done, 0, sizeof done);
        pair_of(kind, fds);
        for (int i = 0; i < N; i++) {
            r[i] = (struct reader){ .fd = fds[0], .done = &done[i] };
            go_waitgroup_add(&done[i], 1);
            int before = waits();
            go(read_once, &r[i]);
            parked(before, 1);
        }
        for (int i = 0; i < N; i++) {
            char c = (char)('a' + i);
            CHECK_EQ(go_write(fds[1], &c, 1), 1);
            go_waitgroup_wait(&done[i]);
            CHECK_EQ(r[i].result, 1);
            CHECK_EQ(r[i].buffer[0], c);
        }
        go_close(fds[0]);
        go_close(fds[1]);
    }
}

static void count_bytes(int fd, int *got, go_waitgroup *done)
{
    char c;
    while (go_read(fd, &c, 1) == 1)
        (*got)++;
    go_waitgroup_done(done);
}

/* One edge for many bytes: each reader takes one and passes on. */
TEST(a_burst_reaches_all)
{
    enum { N = 8, BYTES = 4000 };
    for (int kind = 0; kind < 3; kind++) {
        int fds[2], got[N] = { 0 }, sum = 0;
        go_waitgroup done = { 0 };
        char data[BYTES];
        memset(data, 'x', sizeof data);
        pair_of(kind, fds);
        for (int i = 0; i < N; i++) {
            go_waitgroup_add(&done, 1);
            go(count_bytes, fds[0], &got[i], &done);
        }
        settle();
        CHECK_EQ(go_write(fds[1], data, sizeof data), BYTES);
        go_close(fds[1]); /* the end is for everybody */
        go_waitgroup_wait(&done);
        for (int i = 0; i < N; i++)
            sum += got[i];
        CHECK_EQ(sum, BYTES);
        go_close(fds[0]);
    }
}

static void echo(int fd, go_waitgroup *done)
{
    char buffer[4096];
    ssize_t n;
    while ((n = go_read(fd, buffer, sizeof buffer)) > 0)
        go_write(fd, buffer, (size_t)n);
    shutdown(fd, SHUT_WR);
    go_waitgroup_done(done);
}

/* Reading and writing one descriptor at the same time: each side waits for itself. */
TEST(sides_are_independent)
{
    int fds[2];
    size_t size = 2 << 20;
    char *data = calloc(1, size), part[4096];
    go_waitgroup done = { 0 };
    ssize_t written = 0;
    pair_of(2, fds);
    go_waitgroup_add(&done, 2);
    go(echo, fds[0], &done);
    go(write_all_of, fds[1], data, size, &written, &done);
    size_t got = 0;
    while (got < size) {
        ssize_t n = go_read(fds[1], part, sizeof part);
        if (n <= 0)
            break;
        got += (size_t)n;
    }
    CHECK_EQ(got, size);
    shutdown(fds[1], SHUT_WR);
    CHECK_EQ(go_read(fds[1], part, 1), 0); /* half-closed: the echo's end */
    go_close(fds[0]);
    go_waitgroup_wait(&done);
    CHECK_EQ(written, size);
    go_close(fds[1]);
    free(data);
}

/* --- go_wait_fd, files, other kinds --- */

/* The result is atomic: what goes by way of a descriptor is in order, but ThreadSanitizer does not see the kernel's part in it. */
static void wait_in(int fd, short events, int *result, go_waitgroup *done)
{
    __atomic_store_n(result, go_wait_fd(fd, events), __ATOMIC_RELAXED);
    go_waitgroup_done(done);
}

TEST(wait_fd)
{
    int fds[2], result = 0;
    go_waitgroup done = { 0 };
    pair_of(2, fds);
    CHECK_EQ(go_wait_fd(fds[0], POLLOUT), POLLOUT);
    CHECK_EQ(go_wait_fd(fds[0], POLLIN | POLLOUT), POLLOUT);
    go_waitgroup_add(&done, 1);
    go(wait_in, fds[0], POLLIN, &result, &done);
    settle();
    CHECK_EQ(__atomic_load_n(&result, __ATOMIC_RELAXED), 0);
    go_write(fds[1], "x", 1);
    go_waitgroup_wait(&done);
    CHECK_EQ(result, POLLIN);
    char c;
    CHECK_EQ(go_read(fds[0], &c, 1), 1);
    go_waitgroup_add(&done, 1);
    go(wait_in, fds[0], POLLIN, &result, &done);
    settle();
    go_close(fds[0]);
    go_waitgroup_wait(&done);
    CHECK_EQ(result, -EBADF);
    go_close(fds[1]);
    FILE *f = tmpfile();
    CHECK_EQ(go_wait_fd(fileno(f), POLLIN | POLLOUT), POLLIN | POLLOUT);
    CHECK_EQ(go_wait_fd(fileno(f), POLLPRI), -EPERM);
    fclose(f);
}

/* --- waits that would end at once, and in vain --- */

static void waits_for(int fd, short events)
{
    go_wait_fd(fd, events);
}

static struct sockaddr_un full = { .sun_family = AF_UNIX };

static void sends_to_full(int fd)
{
    go_sendto(fd, "x", 1, 0, (struct sockaddr *)&full, sizeof full);
}

static uint64_t switches(void)
{
    go_statistics s;
    go_stats(&s);
    return s.switches;
}

/* Between two attempts there is a pause. */
static void goes_slow(void)
{
    uint64_t before = switches();
    go_time start = go_now();
    go_sleep(50 * GO_MILLISECOND);
    uint64_t most = 100 + 6 * (uint64_t)((go_now() - start) / GO_MILLISECOND);
    CHECK(switches() - before <= most);
}

TEST(waits_in_vain_are_rare)
{
    static const short events[] = { POLLRDHUP, POLLPRI, 0 };
    for (int i = 0; i < 3; i++) {
        int fds[2];
        REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
        CHECK_EQ(write(fds[1], "unread", 6), 6);
        go(waits_for, fds[0], events[i]);
        goes_slow();
        go_close(fds[0]);
        go_close(fds[1]);
    }
    char name[64];
    snprintf(full.sun_path + 1, sizeof full.sun_path - 1, "go_fd_test_full_%d", (int)getpid());
    snprintf(name, sizeof name, "@go_fd_test_sender_%d", (int)getpid());
    int receiver = socket(AF_UNIX, SOCK_DGRAM, 0);
    REQUIRE(bind(receiver, (struct sockaddr *)&full, sizeof full) == 0);
    int senders[] = { socket(AF_UNIX, SOCK_DGRAM, 0), go_listen("unixgram", name) };
    while (sendto(senders[0], "x", 1, MSG_DONTWAIT, (struct sockaddr *)&full, sizeof full) == 1)
        ;
    for (int i = 0; i < 2; i++) {
        go(sends_to_full, senders[i]);
        goes_slow();
        go_close(senders[i]);
    }
    close(receiver);
}

/* Nor is one who wants to look at more than there is always at it. */
TEST(looks_in_vain_are_rare)
{
    for (int kind = 1; kind < 3; kind++) {
        int fds[2];
        char c[5] = { 0 };
        struct iovec iov = { c, 4 };
        struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
        ssize_t result = 0;
        go_waitgroup done = { 0 };
        pair_of(kind, fds);
        go_write(fds[1], "ab", 2);
        go_waitgroup_add(&done, 1);
        go(recvmsg_of, fds[0], &m, MSG_WAITALL | MSG_PEEK, &result, &done);
        goes_slow();
        go_write(fds[1], "cd", 2);
        go_waitgroup_wait(&done);
        CHECK_EQ(result, 4);
        CHECK_STR(c, "abcd");
        go_close(fds[0]);
        go_close(fds[1]);
    }
}

static void splices_all(int in, int out, go_waitgroup *done)
{
    while (go_splice(in, NULL, out, NULL, 1, 0) > 0)
        ;
    go_waitgroup_done(done);
}

/* Those who splice from an empty pipe do not keep waking each other, when one of them was. */
TEST(splices_in_vain_come_to_rest)
{
    int fds[2], before = waits(), procs = go_maxprocs(1), null = open("/dev/null", O_WRONLY);
    int quiet = 0;
    go_waitgroup done = { 0 };
    REQUIRE(pipe(fds) == 0 && null >= 0);
    go_waitgroup_add(&done, 3);
    for (int i = 0; i < 3; i++)
        go(splices_all, fds[0], null, &done);
    parked(before, 3);
    CHECK_EQ(go_write(fds[1], "x", 1), 1);
    for (int i = 0; i < 200 && quiet < 5; i++) {
        uint64_t so_far = switches();
        go_sleep(10 * GO_MILLISECOND);
        quiet = switches() - so_far < 20 ? quiet + 1 : 0; /* once may be that the process did not run */
    }
    CHECK_EQ(quiet, 5);
    go_close(fds[1]);
    go_waitgroup_wait(&done);
    go_maxprocs(procs);
    go_close(fds[0]);
    go_close(null);
}

/* A looker does not use up what a reader waits for. */
TEST(looker_and_reader)
{
    int fds[2], result[3];
    go_waitgroup done = { 0 };
    pair_of(1, fds);
    struct reader r = { .fd = fds[0], .done = &done };
    go_waitgroup_add(&done, 4);
    for (int i = 0; i < 3; i++)
        go(wait_in, fds[0], POLLIN | POLLHUP, &result[i], &done);
    settle();
    go(read_once, &r);
    settle();
    go_write(fds[1], "x", 1);
    go_close(fds[1]); /* lookers that came after the reader see the hang-up */
    go_waitgroup_wait(&done);
    CHECK_EQ(r.result, 1);
    for (int i = 0; i < 3; i++)
        CHECK(result[i] > 0);
    go_close(fds[0]);
}

static bool open_terminal(int fds[2])
{
    fds[1] = -1;
    fds[0] = posix_openpt(O_RDWR | O_NOCTTY);
    if (fds[0] >= 0 && grantpt(fds[0]) == 0 && unlockpt(fds[0]) == 0)
        fds[1] = open(ptsname(fds[0]), O_RDWR | O_NOCTTY);
    return fds[1] >= 0;
}

TEST(eventfd_and_terminal)
{
    int e = eventfd(0, 0);
    uint64_t v = 0, one = 1;
    go_waitgroup done = { 0 };
    struct reader r = { .fd = e, .done = &done };
    go_waitgroup_add(&done, 1);
    go(read_once, &r);
    settle();
    CHECK_EQ(go_write(e, &one, 8), 8);
    go_waitgroup_wait(&done);
    CHECK_EQ(r.result, 8);
    memcpy(&v, r.buffer, 8);
    CHECK_EQ(v, 1);
    /* What is too short is so, too, when there is nothing; where the system tells without waiting. */
    struct iovec half = { &v, 4 };
    if (preadv2(e, &half, 1, -1, RWF_NOWAIT) == -1 && errno == EINVAL) {
        go_fd_deadline(e, go_now() + GO_SECOND, 0);
        CHECK_EQ(go_read(e, &v, 4), -EINVAL);
    }
    go_close(e);

    int fds[2];
    if (!open_terminal(fds))
        SKIP("no pseudo-terminals");
    int m = fds[0], s = fds[1];
    struct reader t = { .fd = s, .done = &done };
    go_waitgroup_add(&done, 1);
    go(read_once, &t);
    settle();
    CHECK_EQ(go_write(m, "line\n", 5), 5);
    go_waitgroup_wait(&done);
    CHECK_EQ(t.result, 5);
    CHECK(memcmp(t.buffer, "line\n", 5) == 0);
    t.fd = s;
    go_waitgroup_add(&done, 1);
    go(read_once, &t);
    settle();
    go_close(s);
    go_waitgroup_wait(&done);
    CHECK_EQ(t.result, -EBADF);
    close(m);
}

static void write_all_in(int fd, char *data, size_t size, ssize_t *result)
{
    *result = go_write(fd, data, size);
}

/* A write that a terminal has taken in part, as nobody reads, ends as others do, and writes no more. */
TEST(stuck_terminals)
{
    enum { CANCEL, DEADLINE, CLOSE };
    static const int errors[] = { -ECANCELED, -ETIMEDOUT, -EBADF };
    size_t size = 1 << 20;
    char *data = malloc(size), c;
    memset(data, '\n', size);
    for (int how = CANCEL; how <= CLOSE; how++)
        for (int side = 0; side < 2; side++) {
            int fds[2], p[2], before = waits();
            ssize_t result = 1;
            struct termios t;
            if (!open_terminal(fds))
                SKIP("no pseudo-terminals");
            REQUIRE(pipe2(p, O_NONBLOCK) == 0);
            if (side == 0) { /* what is typed is not to be thrown away when there is too much */
                tcgetattr(fds[1], &t);
                cfmakeraw(&t);
                tcsetattr(fds[1], TCSANOW, &t);
            }
            go_scope *scope = go_scope_open();
            go_scope_go(scope, write_all_in, fds[side], data, size, &result);
            if (how == CLOSE)
                settle(); /* and it is still inside, or waits already */
            else
                parked(before, 1);
            CHECK(!nonblocking(fds[side]));
            if (how == CANCEL)
                go_scope_cancel(scope);
            else if (how == DEADLINE)
                CHECK_EQ(go_fd_deadline(fds[side], 0, 1), 0);
            else
                CHECK_EQ(go_close(fds[side]), 0);
            if (how == CLOSE)
                CHECK_EQ(dup(p[1]), fds[side]);
            go_scope_close(scope);
            CHECK_EQ(result, errors[how]);
            CHECK_EQ(read(p[0], &c, 1), -1);
            for (int i = 0; i < 2; i++) {
                go_close(fds[i]);
                go_close(p[i]);
            }
        }
    free(data);
}

TEST(null_and_zero)
{
    char c[16] = { 1 };
    int n = open("/dev/null", O_RDWR), z = open("/dev/zero", O_RDONLY);
    CHECK_EQ(go_read(n, c, 1), 0);
    CHECK_EQ(go_write(n, c, 16), 16);
    CHECK_EQ(go_read(z, c, 16), 16);
    CHECK_EQ(c[0], 0);
    close(n);
    close(z);
    int f = open("/dev/full", O_WRONLY);
    CHECK_EQ(go_write(f, c, 1), -ENOSPC);
    close(f);
}

/* --- plain threads --- */

static void *thread_reads(void *arg)
{
    read_once(arg);
    return NULL;
}

TEST(plain_thread_reads)
{
    for (int kind = 0; kind < 3; kind++) {
        int fds[2];
        pthread_t t;
        go_waitgroup done = { 0 };
        pair_of(kind, fds);
        struct reader r = { .fd = fds[0], .done = &done };
        go_waitgroup_add(&done, 1);
        REQUIRE(pthread_create(&t, NULL, thread_reads, &r) == 0);
        settle();
        go_write(fds[1], "x", 1);
        pthread_join(t, NULL);
        CHECK_EQ(r.result, 1);
        close(fds[0]);
        close(fds[1]);
    }
}

static void *thread_pair(void *arg)
{
    int *fds = arg;
    char c;
    usleep(10000);
    go_write(fds[1], "a", 1);
    go_read(fds[0], &c, 1);
    return NULL;
}

/* No goroutine ever: only plain threads wait, and somebody polls for them. */
CHILD(threads_only_child)
{
    int fds[2], back[2];
    pair_of(2, fds);
    pair_of(2, back);
    int other[2] = { back[0], fds[1] };
    pthread_t t;
    pthread_create(&t, NULL, thread_pair, other);
    pthread_t me;
    struct reader r = { .fd = fds[0] };
    go_waitgroup done = { 0 };
    go_waitgroup_add(&done, 1);
    r.done = &done;
    pthread_create(&me, NULL, thread_reads, &r);
    pthread_join(me, NULL);
    if (write(back[1], "b", 1) != 1)
        _exit(1);
    pthread_join(t, NULL);
    printf("%zd\n", r.result);
}

TEST(threads_only)
{
    struct test_result r = test_run_child("threads_only_child", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_STR(r.output, "1\n");
}

/* --- deadlock detection --- */

CHILD(waits_for_the_world)
{
    int fds[2];
    char c;
    pair_of(0, fds);
    if (fork() == 0) {
        usleep(50000);
        _exit(write(fds[1], "x", 1) != 1);
    }
    printf("%zd\n", go_read(fds[0], &c, 1));
}

TEST(a_descriptor_wait_is_no_deadlock)
{
    struct test_result r = test_run_child("waits_for_the_world", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_STR(r.output, "1\n");
}

CHILD(deadlock_child)
{
    int fds[2];
    char c;
    pair_of(0, fds);
    go_fd_deadline(fds[0], go_now() + GO_MILLISECOND, 0);
    go_read(fds[0], &c, 1);
    go_waitgroup never = { 0 };
    go_waitgroup_add(&never, 1);
    go_waitgroup_wait(&never);
}

TEST(deadlock_after_io)
{
    struct test_result r = test_run_child("deadlock_child", NULL);
    CHECK_EQ(r.status, 2);
    CHECK_CONTAINS(r.output, "fatal error: all goroutines are asleep - deadlock!");
}

static void wait_for_ever(int fd)
{
    char c;
    go_read(fd, &c, 1);
}

/* Asleep in the poller the process uses no CPU. */
TEST(idle_uses_no_cpu)
{
#if HAVE_TSAN
    SKIP("threads asleep wake now and then to take signals there");
#endif
    int fds[20][2];
    struct rusage a, b;
    for (int i = 0; i < 20; i++) {
        pair_of(i % 3, fds[i]);
        go(wait_for_ever, fds[i][0]);
    }
    go_sleep(60 * GO_MILLISECOND);
    getrusage(RUSAGE_SELF, &a);
    go_sleep(300 * GO_MILLISECOND);
    getrusage(RUSAGE_SELF, &b);
    CHECK(b.ru_nvcsw - a.ru_nvcsw < 50);
    for (int i = 0; i < 20; i++) {
        go_close(fds[i][0]);
        go_close(fds[i][1]);
    }
}

/* --- who polls --- */

static _Atomic int arrived;
static _Atomic bool enough;

static void keeps_the_p(void)
{
    while (!atomic_load(&enough))
        go_yield();
}

static void counts_bytes(int fd)
{
    char c;
    while (go_read(fd, &c, 1) == 1)
        atomic_fetch_add(&arrived, 1);
}

static void comes_back_without_a_p(go_waitgroup *done)
{
    go_block_enter();
    usleep(30000);
    go_block_leave();
    go_waitgroup_done(done);
}

#define EVENTS 2000

static pid_t sysmon;

/* Sends a byte whenever the last one has arrived; the result is how often threads slept meanwhile, itself and sysmon left out. */
static void *sends_one_by_one(void *arg)
{
    long before = test_sleeps(sysmon);
    for (int i = 0; i < EVENTS && write(*(int *)arg, "x", 1) == 1; i++)
        while (atomic_load(&arrived) <= i)
            usleep(20);
    return (void *)(test_sleeps(sysmon) - before);
}

CHILD(thread_without_a_p)
{
    int fds[2], silent[2];
    pthread_t t;
    void *slept;
    go_waitgroup back = { 0 };
    go_yield(); /* the library begins with its first call */
    REQUIRE((sysmon = test_other_thread()) != 0);
    pair_of(0, fds);
    pair_of(0, silent);
    go(keeps_the_p);
    go(wait_for_ever, silent[0]); /* so that there is something to poll for at any time */
    go(counts_bytes, fds[0]);
    parked(0, 2);
    go_waitgroup_add(&back, 2); /* one of the threads is for the P that this one is about to lose */
    go(comes_back_without_a_p, &back);
    go(comes_back_without_a_p, &back);
    go_waitgroup_wait(&back);
    REQUIRE(pthread_create(&t, NULL, sends_one_by_one, &fds[1]) == 0);
    go_block_enter();
    pthread_join(t, &slept);
    go_block_leave();
    atomic_store(&enough, true);
    printf("%d of %d\n", (int)(intptr_t)slept, EVENTS);
    printf("%s\n", (intptr_t)slept < EVENTS / 2 ? "few" : "one for each event");
}

/* A thread that has no P leaves the events to the Ps while all are busy, or each would wake it only to be passed on. */
TEST(events_wake_no_thread_beside_a_busy_p)
{
#if HAVE_TSAN
    SKIP("threads asleep wake now and then to take signals there");
#endif
    /* A loaded machine makes hogs of its goroutines, and each loss of the P puts threads to sleep. */
    struct test_result r = test_run_child("thread_without_a_p", "GOMAXPROCS=1", "GODEBUG=preempt=0", NULL);
    CHECK_EQ(r.status, 0);
    CHECK_CONTAINS(r.output, "\nfew\n");
}
