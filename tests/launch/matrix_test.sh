#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# test: timeout=600
# The go statement with each compiler, optimisation, kind of code, way of linking and sanitizer: the programs
# arguments_test.c and launch_test.c, and random signatures, built and run in each.
. "$(dirname "$0")/../script.sh"

common="-std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -I$root/include -I$root/tests -I$root/src -pthread"
cp "$root/tests/launch/arguments_test.c" "$root/tests/launch/launch_test.c" "$work/"
big=1
[ "$(uname -m)" = x86_64 ] || big=0
# The day's signatures: a failure shows the seed.
seed=$(date +%j)
awk -v seed="$seed" -v n=60 -v big=$big -f "$root/tests/launch/signatures.awk" >"$work/signatures_test.c"

# try NAME CC LIBRARY COMPILE-FLAGS LINK-FLAGS PROGRAM...: builds and runs the programs.
try() {
    local name=$1 cc=$2 library=$3 compile=$4 link=$5 program output
    shift 5
    for program; do
        # shellcheck disable=SC2086
        if ! output=$($cc $common $compile "$work/$program.c" "$root/tests/test.c" -o "$work/program" $link $library -lm 2>&1); then
            fail "$name $program" "$output"
        elif ! output=$(cd "$work" && LD_LIBRARY_PATH=$build GOMAXPROCS=2 timeout 60 ./program 2>&1); then
            fail "$name $program (seed $seed)" "$output"
        else
            ok "$name $program"
        fi
    done
}

# Whether these flags work here at all.
works() {
    echo 'int main(void) { return 0; }' >"$work/empty.c"
    "$@" "$work/empty.c" -o "$work/empty" 2>/dev/null && "$work/empty"
}

archive=$build/libgoroutine.a
all="arguments_test launch_test signatures_test"
some="arguments_test signatures_test"
# shellcheck disable=SC2086 # words are meant
for cc in $(compilers); do
    for level in -O0 -O1 -O2 -O3 -Os; do
        try "$cc $level" $cc $archive "$level" "" $some
    done
    for level in -O0 -O2; do
        try "$cc $level not PIE, with debug information" $cc $archive "$level -fno-pie -g" "-no-pie" arguments_test
        try "$cc $level static" $cc $archive "$level" "-static" arguments_test
        try "$cc $level shared, bound lazily" $cc -lgoroutine "$level" "-L$build -Wl,-z,lazy" $all
        try "$cc $level shared, bound at once" $cc -lgoroutine "$level" "-L$build -Wl,-z,now" arguments_test
        try "$cc $level shared, not PIE, bound lazily" $cc -lgoroutine "$level -fno-pie" "-no-pie -L$build -Wl,-z,lazy" \
            arguments_test
    done
    try "$cc stack protector, frame pointers" $cc $archive "-O0 -fstack-protector-all -fno-omit-frame-pointer" "" $some
    try "$cc stack protector, no PLT" $cc -lgoroutine "-O2 -fstack-protector-strong -fno-plt" "-L$build" $some
    try "$cc clash protection, CET" $cc $archive "-O2 -fPIC -fstack-clash-protection -fcf-protection" "" arguments_test
    try "$cc for this processor" $cc $archive "-O3 -march=native" "" signatures_test
    for lto in -flto "-flto -fuse-ld=lld" "-flto -fuse-ld=gold" -flto=thin; do
        [[ $cc = gcc && $lto != -flto ]] && continue
        if works $cc -O2 $lto; then
            try "$cc $lto" $cc $archive "-O2 $lto" "$lto" arguments_test
        else
            skip "$cc $lto" "the tools for it are not there"
        fi
    done
done
if command -v gcc >/dev/null && [ "$big" = 1 ]; then
    for level in -O0 -O2; do
        try "gcc $level reserved argument area" gcc $archive "$level -maccumulate-outgoing-args" "" $some
    done
fi

# A long double that is none of the x87's: nothing may be left on its stack.
if command -v clang >/dev/null && [ "$big" = 1 ]; then
    cat >"$work/no_x87.c" <<'END'
#include <goroutine.h>
static __attribute__((noinline)) long double f(int a) { return 1.5L * a; }
static unsigned tags(void)
{
    struct { unsigned short word[14]; } state;
    __asm__ volatile("fnstenv %0\n\tfldenv %0" : "=m"(state));
    return state.word[4];
}
int main(void)
{
    unsigned before = tags();
    for (int i = 0; i < 10; i++)
        go(f, 1);
    return tags() != before;
}
END
    for size in 64 80 128; do
        check "clang long double of $size bits" clang -mlong-double-$size -I"$root/include" "$work/no_x87.c" -o "$work/no_x87" "$archive" -pthread
        check "clang long double of $size bits runs" env GOMAXPROCS=1 "$work/no_x87"
    done
fi

# The veneer is there once however many files hold it.
printf '#include <goroutine.h>\nvoid other(void (*f)(void)) { go(f); }\n' >"$work/other.c"
printf '#include <goroutine.h>\nvoid other(void (*f)(void));\nstatic int n; static void f(void) { n++; }\nint main(void) { other(f); go(f); while (n < 2) go_yield(); return 0; }\n' >"$work/two.c"
for cc in $(compilers); do
    for flags in -O0 -O2 "-O2 -flto"; do
        # shellcheck disable=SC2086
        works $cc $flags || continue
        # shellcheck disable=SC2086
        check "$cc $flags two files" $cc $flags -I"$root/include" "$work/two.c" "$work/other.c" -o "$work/two" "$archive" -pthread
        check "$cc $flags two files run" env GOMAXPROCS=1 "$work/two"
    done
done

# A go statement in an inline function of a header that is external, as C99 has it: what is static has no place there.
printf '#include <goroutine.h>\nvoid g(void);\ninline void start(void) { go(g); }\n' >"$work/start.h"
printf '#include "start.h"\nextern inline void start(void);\nstatic int n;\nvoid g(void) { n++; }\nint main(void) { start(); while (n < 1) go_yield(); return 0; }\n' >"$work/start.c"
for cc in $(compilers); do
    for flags in -O0 -O2; do
        check "$cc $flags an inline function" $cc $flags -std=c11 -Wall -Wextra -Wpedantic -Werror -I"$root/include" "$work/start.c" -o "$work/start" \
            "$archive" -pthread
        check "$cc $flags an inline function runs" env GOMAXPROCS=1 "$work/start"
    done
done

# Functions of the program's own at each entry and exit: what is inlined from the header is none.
printf '#define OWN __attribute__((no_instrument_function))\nOWN void __cyg_profile_func_enter(void *f, void *at) { (void)f, (void)at; }\nOWN void __cyg_profile_func_exit(void *f, void *at) { (void)f, (void)at; }\n' >"$work/profile.c"
for cc in $(compilers); do
    for flags in -O0 -O2; do
        # shellcheck disable=SC2086
        check "$cc $flags instrumented functions" $cc $flags -finstrument-functions -I"$root/include" "$work/two.c" "$work/other.c" "$work/profile.c" \
            -o "$work/two" "$archive" -pthread
        check "$cc $flags instrumented functions run" env GOMAXPROCS=1 "$work/two"
    done
done

# GCC's pointers to nested functions point to the stack, which is executable then, a goroutine's as well as a thread's.
if command -v gcc >/dev/null; then
    cat >"$work/nested.c" <<'END'
#include <goroutine.h>
#include <stdlib.h>
static int n;
static __attribute__((noinline)) void call(void (*f)(int), int by)
{
    f(by);
}
static void uses_its_locals(int by)
{
    int twice = 2 * by;
    void add(int m) { n += m * twice; }
    call(add, 3);
}
int main(void)
{
    go_scope *s = go_scope_open();
    go_scope_go(s, uses_its_locals, 5);
    go_scope_close(s);
    go_with(((go_options){ .stack_size = 8192 }), uses_its_locals, 1);
    while (n < 36)
        go_yield();
    return n != 36;
}
END
    for flags in -O0 -O2; do
        check "gcc $flags pointers to nested functions" gcc $flags -I"$root/include" "$work/nested.c" -o "$work/nested" "$archive" -pthread
        check "gcc $flags pointers to nested functions run" env GOMAXPROCS=1 "$work/nested"
    done
    # In a library of the program's the same.
    sed 's/int main(void)/int nested(void); int nested(void)/' "$work/nested.c" >"$work/library.c"
    printf 'int nested(void);\nint main(void) { return nested(); }\n' >"$work/main.c"
    check "a library with pointers to nested functions" gcc -fPIC -shared -I"$root/include" "$work/library.c" -o "$work/libnested.so" \
        -L"$build" -lgoroutine
    check "a program with it" gcc "$work/main.c" -o "$work/nested" -L"$work" -lnested -L"$build" -lgoroutine -pthread
    check "that program runs" env GOMAXPROCS=1 LD_LIBRARY_PATH="$work:$build" "$work/nested"
fi

# Go statements in a shared library of the program's own.
for cc in $(compilers); do
    check "$cc a plugin" $cc -O2 -fPIC -shared -I"$root/include" "$work/other.c" -o "$work/libother.so" -L"$build" -lgoroutine
    check "$cc a program with it" $cc -O2 -I"$root/include" "$work/two.c" -o "$work/two" -L"$work" -lother -L"$build" -lgoroutine -pthread
    check "$cc runs" env GOMAXPROCS=1 LD_LIBRARY_PATH="$work:$build" "$work/two"
done

# Sanitizers need the library built alike. `make asan` and `make tsan` do this with GCC.
cc=clang
export ASAN_OPTIONS=detect_leaks=0
for sanitizer in address thread; do
    flags=-fsanitize=$sanitizer
    [ $sanitizer = address ] && flags=-fsanitize=address,undefined
    # shellcheck disable=SC2086
    if ! works $cc $flags; then
        skip "$cc $flags" "the tools for it are not there"
        continue
    fi
    if ! output=$(cmake -G Ninja -S "$root" -B "$work/$sanitizer" -DCMAKE_C_COMPILER=$cc -DGO_SANITIZE=$sanitizer \
        -DGO_TESTS=OFF -DGO_EXAMPLES=OFF && cmake --build "$work/$sanitizer" --target goroutine 2>&1); then
        fail "$cc $flags" "$output"
        continue
    fi
    for level in -O0 -O2; do
        # shellcheck disable=SC2086
        try "$cc $level $flags" $cc "$work/$sanitizer/libgoroutine.a" "$level $flags" "$flags" $some
    done
done
finish
