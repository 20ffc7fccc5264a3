/* SPDX-License-Identifier: MIT */
/* Other programs. */
#pragma once

#include <sys/types.h>
#include <sys/wait.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Zero means: as the caller's own. */
typedef struct go_run_options {
	const char *const *environment; /* "NAME=value" strings and a NULL */
	const char *directory;          /* where it starts */
	int in, out, err;               /* for its 0, 1 and 2; GO_RUN_NULL: /dev/null; others < 0: -EBADF; err = 1: the same as out */
	int *in_pipe, *out_pipe, *err_pipe; /* instead: a pipe to its 0 or from its 1 or 2, whose other end, close-on-exec, is put here */
} go_run_options;

#define GO_RUN_NULL (-1)

/*
 * Starts argv[0], looked for in PATH if it has no slash, with the arguments argv, which ends with NULL. options may be NULL.
 * Returns the process's id, or -errno: -EINVAL without an argv[0], -EMFILE or -ENFILE without descriptors for a pipe, -ENOENT and
 * the like also if the program cannot be executed. After an error the pipes' variables are unchanged. Signals that the caller's thread
 * blocks are blocked there too. May park; from any thread.
 */
pid_t go_start(const char *const argv[], const go_run_options *options);

/*
 * int go_run(argv), go_run(argv, &options): starts it and waits for its end: the status as waitpid gives it (WIFEXITED and so on from
 * <sys/wait.h>), or -errno from go_start. If the caller's scope ends the wait, the process is killed, its end is waited for, and
 * -ECANCELED or -ETIMEDOUT returned. A process that has another user cannot be killed: then the call lasts until it ends by itself. If
 * a pipe is used, somebody else must serve its other end. May park; from any thread.
 */
int go_run(const char *const argv[], ... /* const go_run_options * */);
#define go_run(...) go_run(__VA_ARGS__, (const go_run_options *)0)

/*
 * Waits for the end of a child, whoever forked it, as waitpid(pid, status, 0) does: if pid is -1, 0 or a group, for any child in that set.
 * Returns its id, and its status in *status unless that is NULL; -ECHILD if there is none; -ECANCELED or -ETIMEDOUT if the caller's
 * scope ended the wait: then the child is left alone. May park; from any thread.
 */
pid_t go_wait_child(pid_t pid, int *status);

#ifdef __cplusplus
}
#endif
