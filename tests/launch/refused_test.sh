#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# What a go statement must not accept is the compiler's own diagnostic.
. "$(dirname "$0")/../script.sh"

source=$root/tests/launch/refused.c
# GCC 12 and Clang 14 let wrong pointers pass with a warning.
strict="-std=gnu11 -O2 -Wall -Wextra -Werror -Wpedantic -Wconversion -Wshadow -Wvla -Wcast-qual -Wwrite-strings -Wnested-externs -Wdeclaration-after-statement"

last=$(sed -nE 's/^#elif CASE == ([0-9]+)$/\1/p' "$source" | tail -n 1)
for cc in $(compilers); do
    extra=
    [ $cc = gcc ] && extra="-Walloca -Wlogical-op -Wduplicated-cond -Wunused-label"
    # shellcheck disable=SC2086
    check "what is right is accepted, $cc" $cc $strict $extra -I"$root/include" -c "$source" -o "$work/o"
    for n in $(seq "$last"); do
        text=$(sed -n "/^#elif CASE == $n\$/{n;s|.*/\\* says: *\\(.*\\) *\\*/.*|\\1|p}" "$source" | sed 's/ *$//')
        # shellcheck disable=SC2086
        refused "case $n, $cc" "$text" $cc $strict -DCASE=$n -I"$root/include" -c "$source" -o "$work/o"
        # Where the header has been installed for the system compilers are silent about what is written in it.
        # shellcheck disable=SC2086
        refused "case $n, $cc, installed" "$text" $cc $strict -DCASE=$n -isystem "$root/include" -c "$source" -o "$work/o"
    done
done
if command -v clang >/dev/null; then
    refused "safe-stack, clang" "second stack for each thread" clang -fsanitize=safe-stack -I"$root/include" -c "$source" -o "$work/o"
else
    skip "safe-stack, clang" "there is no clang"
fi
if command -v aarch64-linux-gnu-gcc >/dev/null; then
    printf '#include <goroutine.h>\nvoid f(_Complex __int128 c);\nvoid g(void) { go(f, (_Complex __int128)1); }\n' >"$work/wide.c"
    refused "a complex __int128, AArch64" "must be passed by pointer" aarch64-linux-gnu-gcc -I"$root/include" -c "$work/wide.c" -o "$work/o"
else
    skip "a complex __int128, AArch64" "there is no compiler for it"
fi
finish
