#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The gdb script: on a live process and a core file, with the shared library and the archive.
. "$(dirname "$0")/../script.sh"

if ! command -v gdb >/dev/null || ! gdb -q -batch -ex 'python print(1)' >/dev/null 2>&1; then
    skip "gdb" "there is no gdb with Python"
    finish
fi
cat >"$work/user.c" <<'END'
#include <goroutine.h>
struct g { int mine; };
struct slab { struct g mine; };
static volatile struct slab sched, central; /* names that the library has, too */
static void quick(void) {}
static __attribute__((noinline)) void nap(int n) { go_sleep(n * GO_HOUR); __asm__ volatile(""); }
static void sleeper(int n) { nap(n); __asm__ volatile(""); }
int main(void)
{
    for (int i = 1; i < 4; i++)
        go_with(((go_options){ .name = i < 3 ? "sleeper" : "\"third\"\n\xff" }), sleeper, i);
    go_sleep(10 * GO_MILLISECOND);
    go(quick);
    chan_unref(chan_make(int, 1));
    go_traceback(-1);
    go_count();
    return sched.mine.mine + central.mine.mine;
}
END
# Without guards: gcore, unlike the kernel, stops copying a mapping at the first page that cannot be read.
try() { # NAME: what gdb says about $work/program
    local name=$1 output i
    output=$(GOMAXPROCS=1 GODEBUG=guard=canary timeout 120 gdb -q -batch -iex 'set auto-load safe-path /' -iex 'set pagination off' "${load[@]}" \
        -ex 'break go_traceback' -ex run -ex 'info goroutines' -ex 'goroutine all bt' -ex "gcore $work/core" \
        -ex 'break user.c:16' -ex continue -ex 'echo ---\n' -ex 'goroutine all bt' -ex 'echo +++\n' -ex 'goroutine all bt 1' -ex kill \
        "$work/program" 2>&1)
    says "$name, a number of frames" 'goroutine 16 \[sleep\] "sleeper": #0 .* goroutine 17 ' "${output##*+++}"
    output=${output%+++*}
    says "$name, stopped in main: frames of another" '#[0-9]+ .* nap \(n=.* sleeper \(n=' "${output##*---}"
    output=${output%---*}
    core=$(timeout 120 gdb -q -batch -iex 'set auto-load safe-path /' -iex 'set pagination off' "${load[@]}" \
        -ex 'info goroutines' -ex 'goroutine all bt' "$work/program" "$work/core" 2>&1)
    for i in "live:$output" "core:$core"; do
        says "$name, ${i%%:*}: main runs" '\* 1 \[running\]' "$i"
        says "$name, ${i%%:*}: the others sleep" 'sleep\] "sleeper" created by main at .*user.c:11' "$i"
        says "$name, ${i%%:*}: a name that is no text" 'sleep\] "\\"third\\"\\u000a\\ufffd" created by' "$i"
        says "$name, ${i%%:*}: one has not run" '\[runnable\] +created by main at .*user.c:13' "$i"
        says "$name, ${i%%:*}: frames" '#[0-9]+ .* nap \(n=.* sleeper \(n=.* goroutine_entry' "$i"
        says "$name, ${i%%:*}: frames of main" 'goroutine 1 \[running\]: #0 .*go_traceback.*main \(' "$i"
    done
}
says() { # NAME REGEX TEXT
    if tr '\n' ' ' <<<"$3" | grep -qE -- "$2"; then ok "$1"; else fail "$1" "$3"; fi
}
gcc -g -O2 -I"$root/include" -o "$work/program" "$work/user.c" -L"$build" -lgoroutine -Wl,-rpath,"$build" -pthread || exit 1
load=()
try "shared, loaded by itself"
gcc -g -O2 -I"$root/include" -o "$work/program" "$work/user.c" "$build/libgoroutine.a" -pthread || exit 1
load=(-ex "source $root/tools/gdb/goroutine-gdb.py")
try "archive"
finish
