/* SPDX-License-Identifier: MIT */
/*
 * Work on descriptors that blocks only the caller. Descriptors are plain ints of any kind: sockets, pipes, terminals, files,
 * eventfds and so on, no matter who has made them. Whether O_NONBLOCK is set makes no difference, and it is left as it is.
 *
 * What holds for every function here:
 *   - The result is the system call's, or a negative errno. errno itself is not touched. -EINTR is never returned, and
 *     no SIGPIPE is raised.
 *   - It may park, and may be called from any thread; on a plain thread it blocks.
 *   - A call that has to wait for a descriptor ends with -ECANCELED or -ETIMEDOUT when the caller's scope does, with -ETIMEDOUT when the
 *     descriptor's own deadline passes, and with -EBADF when go_close closes it. Then it has done
 *     nothing, except for calls that take several steps: go_write and go_writev may have sent part of what they were given; receiving
 *     with MSG_WAITALL returns what it had; and an attempt to connect goes on.
 *   - Several goroutines may wait on one descriptor; those who read are served in the order in which they came, as are those
 *     who write.
 *   - Descriptors that a function makes, or takes from a message, are close-on-exec.
 * Work on files cannot be cancelled: it runs on its thread while others get the processor. Exceptions are the calls that may wait for
 * somebody else, go_flock and go_open of a FIFO: inside a scope they can be cancelled. (Outside of scopes such a call keeps its place
 * among those that wait, and go_close does not end it.)
 */
#pragma once

#include <goroutine/time.h>

#include <dirent.h>
#include <poll.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* --- reading and writing --- */

/* Up to size bytes; 0 at the end. */
ssize_t go_read(int fd, void *buffer, size_t size);
ssize_t go_readv(int fd, const struct iovec *iov, int count);

/* All of it, in as many pieces as it takes: returns the total, or the error that ended it; part may have gone out by then. */
ssize_t go_write(int fd, const void *buffer, size_t size);
ssize_t go_writev(int fd, const struct iovec *iov, int count);

/* The same; puts into *written (unless NULL) how many bytes went out, also after an error. */
ssize_t go_write_count(int fd, const void *buffer, size_t size, size_t *written);

/* At the given offset; the descriptor's own is neither used nor changed. They may transfer less than asked, as the system calls may. */
ssize_t go_pread(int fd, void *buffer, size_t size, off_t offset);
ssize_t go_pwrite(int fd, const void *buffer, size_t size, off_t offset);
ssize_t go_preadv(int fd, const struct iovec *iov, int count, off_t offset);
ssize_t go_pwritev(int fd, const struct iovec *iov, int count, off_t offset);

/* --- sockets; the flags are the system calls', and with MSG_DONTWAIT they return -EAGAIN instead of waiting --- */

ssize_t go_recv(int fd, void *buffer, size_t size, int flags);
ssize_t go_recvfrom(int fd, void *buffer, size_t size, int flags, struct sockaddr *address, socklen_t *address_size);
ssize_t go_recvmsg(int fd, struct msghdr *message, int flags);

/* They may send less than asked. */
ssize_t go_send(int fd, const void *buffer, size_t size, int flags);
ssize_t go_sendto(int fd, const void *buffer, size_t size, int flags, const struct sockaddr *address,
		  socklen_t address_size);
ssize_t go_sendmsg(int fd, const struct msghdr *message, int flags);

/* The next connection of a listening socket, O_NONBLOCK off; address and size as in accept(2), or NULL. Connections that were
 * broken off before they were accepted are skipped; -EMFILE, -ENFILE and the like are returned, and the connection stays queued. */
int go_accept(int fd, struct sockaddr *address, socklen_t *size);

/* 0 when connected. After -ECANCELED or -ETIMEDOUT the attempt of an Internet socket goes on by itself: close the socket, or call again,
 * which waits for the same attempt whatever the address. A Unix socket that waits for room in the listener's queue has begun nothing. */
int go_connect(int fd, const struct sockaddr *address, socklen_t size);

/* --- any descriptor --- */

/*
 * Closes fd; the calls of all goroutines that wait on it return -EBADF. The number may belong to another file at once; none of
 * those calls sees that file. 0, or what close(2) said.
 */
int go_close(int fd);

/*
 * Waits for one of the events (POLLIN, POLLOUT, …), an error or a hang-up, and returns those that have come, as poll(2) does. Regular
 * files are always ready to be read and written; to wait only for other events on them, which never come, is -EPERM.
 */
int go_wait_fd(int fd, short events);

/*
 * From the time read_by (write_by) on, reads and accepts (writes, connects) of fd return -ETIMEDOUT, also those that wait already
 * and those that could be done at once; 0 means no deadline, a time below 0 has passed. A deadline stays until it is set again, or
 * until go_close; a descriptor that has had one must be closed by go_close. 0, -EBADF or -ENOMEM.
 */
int go_fd_deadline(int fd, go_time read_by, go_time write_by);

/* As sendfile(2) and splice(2); they may transfer less than asked. SPLICE_F_NONBLOCK: -EAGAIN instead of waiting. */
ssize_t go_sendfile(int out, int in, off_t *offset, size_t count);
ssize_t go_splice(int in, off_t *in_offset, int out, off_t *out_offset, size_t count, unsigned flags);

/* --- names and addresses --- */

/*
 * A socket that listens (TCP, unix) or is bound (UDP, unixgram) at the address. network: "tcp", "tcp4", "tcp6", "udp", "udp4", "udp6",
 * "unix", "unixgram", "unixpacket". address: "host:port", "[::1]:80", ":8080" or "[::]:8080" (every address of this machine, with
 * "tcp6" those of IPv6), port 0 for a free one, a name or number for the port; for Unix sockets a path, which go_close does not remove,
 * or "@name" for an abstract one. Returns the socket, or -errno. TCP sockets have SO_REUSEADDR, TCP_NODELAY and keep-alive set, UDP
 * sockets SO_BROADCAST; those that listen have O_NONBLOCK on. -ENOENT for a name that is not known, -EMFILE and -ENFILE without
 * descriptors, -EINVAL for an address that cannot be understood, -EAFNOSUPPORT for one of the wrong family ("tcp4" and "[::1]:80"),
 * -EPROTONOSUPPORT for another network.
 */
int go_listen(const char *network, const char *address);

/*
 * A socket connected to the address, in go_listen's notation, TCP_NODELAY and keep-alive set. Names are resolved on a thread of their
 * own. The first sixteen addresses are tried, IPv6 and IPv4 in turns and IPv6 first, each one a quarter of a second after the one
 * before, or as soon as that has failed (RFC 8305). Returns the socket, O_NONBLOCK off, or the first error of the first address;
 * -EAGAIN if no name server answers or no thread can be made; other errors are those of go_listen. "" as host means this machine.
 */
int go_dial(const char *network, const char *address);

/*
 * The address fd is bound to, or its peer's: "127.0.0.1:40123", "[fe80::1%eth0]:80", a path, "@name". Returns its length, or -errno;
 * -ENOSPC if it does not fit with its final NUL. Never parks.
 */
int go_local_address(int fd, char *buffer, size_t size);
int go_peer_address(int fd, char *buffer, size_t size);

/* --- files: the arguments of the system calls, and their results or -errno --- */

/* Close-on-exec is added to the flags. */
int go_open(const char *path, int flags, ... /* mode_t mode */);
int go_openat(int dir, const char *path, int flags, ... /* mode_t mode */);
int go_fsync(int fd);
int go_fdatasync(int fd);
int go_stat(const char *path, struct stat *st);
int go_lstat(const char *path, struct stat *st);
int go_fstat(int fd, struct stat *st);
int go_access(const char *path, int mode);
int go_truncate(const char *path, off_t size);
int go_ftruncate(int fd, off_t size);
int go_fallocate(int fd, int mode, off_t offset, off_t size);
int go_rename(const char *from, const char *to);
int go_link(const char *from, const char *to);
int go_symlink(const char *target, const char *path);
ssize_t go_readlink(const char *path, char *buffer, size_t size);
int go_unlink(const char *path);
int go_mkdir(const char *path, mode_t mode);
int go_rmdir(const char *path);
int go_chmod(const char *path, mode_t mode);
int go_flock(int fd, int operation);

/* As opendir, readdir and closedir: *entry is NULL at the end, and valid until the next call for this directory. 0 or -errno. */
int go_opendir(const char *path, DIR **dir);
int go_readdir(DIR *dir, struct dirent **entry);
int go_closedir(DIR *dir);

#ifdef __cplusplus
}
#endif
