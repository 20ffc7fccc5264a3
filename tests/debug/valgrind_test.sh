#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Valgrind has nothing to say about programs that do nothing wrong.
. "$(dirname "$0")/../script.sh"
if ! command -v valgrind >/dev/null; then
    skip "valgrind" "there is none"
    finish
fi
quiet() { # PROGRAM ARGUMENTS...
    timeout 300 valgrind -q --error-exitcode=9 "$@" >"$work/out" 2>&1 || { echo "status $?"; cat "$work/out"; }
    grep -E '^==[0-9]+==' "$work/out"
}
cat >"$work/user.c" <<'END'
#include <goroutine.h>
#include <stdlib.h>
static go_waitgroup done;
static go_mutex lock;
static int sum;
static void work(int n, char *p)
{
    char local[1000];
    for (int i = 0; i < 1000; i++)
        local[i] = (char)n;
    go_yield();
    go_sleep(GO_MICROSECOND);
    go_mutex_lock(&lock);
    sum += local[999];
    go_mutex_unlock(&lock);
    free(p);
    go_waitgroup_done(&done);
}
static void fall(int n)
{
    volatile char local[100];
    local[0] = (char)n;
    if (n > 0)
        fall(n - 1);
    else
        go_exit();
    local[1] = local[0];
}
int main(void)
{
    for (int round = 0; round < 5; round++) {
        go_waitgroup_add(&done, 50);
        for (int i = 0; i < 50; i++) {
            go_with(((go_options){ .stack_size = i % 2 ? 4096 : 0 }), work, i, malloc(10));
            go(fall, 20);
        }
        go_waitgroup_wait(&done);
    }
    return sum == 5 * 49 * 25 ? 0 : 1;
}
END
gcc -g -O1 -I"$root/include" -o "$work/user" "$work/user.c" "$build/libgoroutine.a" -pthread || exit 1
empty "switches, stacks of all kinds, ends" quiet "$work/user"
empty "a traceback" env GODEBUG=leakcheck=1 bash -c "$(declare -f quiet); work=$work; quiet $work/user"
finish
