// SPDX-License-Identifier: MIT
#include "test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILD_VARIABLE "GO_TEST_CHILD"
#define FAILURES_SHOWN 20 /* of one test */

extern char **environ;

static struct test *first, **last = &first;
static char program[PATH_MAX];
static const char *running = "";
static const char *skipped;
static atomic_int failures; /* of the running test */

void test_add(struct test *test)
{
    *last = test;
    last = &test->next;
}

/* One write for each message, so that those of several threads do not mix. */
void test_failed(const char *file, int line, const char *format, ...)
{
    if (atomic_fetch_add(&failures, 1) >= FAILURES_SHOWN)
        return;
    char text[1500];
    int n = snprintf(text, sizeof text, "%s:%d: %s: ", file, line, running);
    va_list args;
    va_start(args, format);
    int m = vsnprintf(text + n, sizeof text - (size_t)n - 1, format, args);
    va_end(args);
    n = m < (int)sizeof text - n - 2 ? n + m : (int)sizeof text - 2;
    text[n++] = '\n';
    if (write(2, text, (size_t)n) < 0)
        abort();
}

_Noreturn void test_give_up(const char *file, int line, const char *what)
{
    test_failed(file, line, "required: %s", what);
    printf("FAIL %s\n", running);
    fflush(stdout);
    _exit(1);
}

void test_check_text(const char *file, int line, const char *a_text, const char *a,
                     const char *b_text, const char *b, bool part)
{
    bool good = a && b ? (part ? strstr(a, b) != NULL : strcmp(a, b) == 0) : !part && a == b;
    if (!good)
        test_failed(file, line, "%s %s %s\n--- the first is:\n%s\n--- the second is:\n%s\n---",
                    a_text, part ? "does not contain" : "differs from", b_text, a ? a : "NULL",
                    b ? b : "NULL");
}

bool test_emulated(void)
{
    return getenv("TEST_EMULATOR") != NULL;
}

void test_skip(const char *why)
{
    skipped = why;
}

static void assign(char **environment, size_t *n, const char *assignment)
{
    size_t name = strcspn(assignment, "=");
    for (size_t i = 0; i < *n; i++)
        if (strncmp(environment[i], assignment, name + 1) == 0)
            environment[i--] = environment[--*n];
    if (assignment[name] == '=' && assignment[name + 1])
        environment[(*n)++] = (char *)assignment;
}

/* The words of `text`, which an emulator's command line consists of. */
static size_t split(char *text, char **words, size_t room)
{
    size_t n = 0;
    for (char *word = strtok(text, " "); word && n < room; word = strtok(NULL, " "))
        words[n++] = word;
    return n;
}

struct test_result test_run_child(const char *name, ...)
{
    size_t inherited = 0, n = 0;
    while (environ[inherited])
        inherited++;
    char **environment = calloc(inherited + 64, sizeof *environment), mark[100];
    REQUIRE(environment);
    for (; n < inherited; n++)
        environment[n] = environ[n];
    /* What a test says depends on its own settings, not on those of the test program. */
    assign(environment, &n, "GODEBUG=");
    assign(environment, &n, "GOTRACEBACK=");
    va_list args;
    va_start(args, name);
    for (const char *a; (a = va_arg(args, const char *)) != NULL;)
        assign(environment, &n, a);
    va_end(args);
    snprintf(mark, sizeof mark, CHILD_VARIABLE "=%s", name);
    assign(environment, &n, mark);
    environment[n] = NULL;

    char emulator[500] = "", *argv[20];
    if (getenv("TEST_EMULATOR"))
        snprintf(emulator, sizeof emulator, "%s", getenv("TEST_EMULATOR"));
    size_t words = split(emulator, argv, 16);
    argv[words] = program;
    argv[words + 1] = NULL;

    int ends[2];
    posix_spawn_file_actions_t actions;
    REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
    REQUIRE(posix_spawn_file_actions_init(&actions) == 0);
    REQUIRE(posix_spawn_file_actions_adddup2(&actions, ends[1], 1) == 0);
    REQUIRE(posix_spawn_file_actions_adddup2(&actions, ends[1], 2) == 0);
    pid_t pid;
    REQUIRE(posix_spawnp(&pid, argv[0], &actions, NULL, argv, environment) == 0);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    free(environment);

    size_t size = 0, room = 1 << 16;
    char *output = malloc(room);
    REQUIRE(output);
    for (;;) {
        if (room - size < 4096)
            REQUIRE((output = realloc(output, room *= 2)) != NULL);
        ssize_t got = read(ends[0], output + size, room - size - 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        size += (size_t)got;
    }
    output[size] = '\0';
    close(ends[0]);
    int status;
    while (waitpid(pid, &status, 0) < 0)
        REQUIRE(errno == EINTR);
    return (struct test_result){ WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
                                 output };
}

static bool named(const char *name, int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return true;
    return argc < 2;
}

/* The next thread of this process that is not this one; 0 if there is no more. */
static pid_t next_thread(DIR *tasks)
{
    for (struct dirent *e; tasks && (e = readdir(tasks)) != NULL;)
        if (e->d_name[0] != '.' && atol(e->d_name) != syscall(SYS_gettid))
            return (pid_t)atol(e->d_name);
    return 0;
}

pid_t test_other_thread(void)
{
    DIR *tasks = opendir("/proc/self/task");
    pid_t other = next_thread(tasks);
    if (other && next_thread(tasks))
        other = 0;
    if (tasks)
        closedir(tasks);
    return other;
}

long test_sleeps(pid_t except)
{
    long sum = 0, n;
    char path[64], line[200];
    DIR *tasks = opendir("/proc/self/task");
    for (pid_t t; (t = next_thread(tasks)) != 0;) {
        snprintf(path, sizeof path, "/proc/self/task/%d/status", (int)t);
        FILE *f = t == except ? NULL : fopen(path, "r");
        while (f && fgets(line, sizeof line, f))
            if (sscanf(line, "voluntary_ctxt_switches: %ld", &n) == 1)
                sum += n;
        if (f)
            fclose(f);
    }
    if (tasks)
        closedir(tasks);
    return sum;
}

int main(int argc, char **argv)
{
    const char *child = getenv(CHILD_VARIABLE);
    if (child) {
        unsetenv(CHILD_VARIABLE);
        running = child;
        for (struct test *t = first; t; t = t->next)
            if (t->child && strcmp(t->name, child) == 0) {
                t->body();
                return atomic_load(&failures) > 0;
            }
        fprintf(stderr, "there is no CHILD(%s)\n", child);
        return 99;
    }
    if (!realpath("/proc/self/exe", program) && !realpath(argv[0], program))
        return 99;
    if (getenv("TEST_EMULATOR") && !realpath(argv[0], program))
        return 99;

    int failed = 0;
    for (struct test *t = first; t; t = t->next) {
        if (t->child || !named(t->name, argc, argv))
            continue;
        running = t->name;
        skipped = NULL;
        atomic_store(&failures, 0);
        t->body();
        bool bad = atomic_load(&failures) > 0;
        failed += bad;
        if (!bad && skipped)
            printf("skip %s: %s\n", t->name, skipped);
        else
            printf("%s %s\n", bad ? "FAIL" : "ok", t->name);
        fflush(stdout);
    }
    return failed > 0;
}
