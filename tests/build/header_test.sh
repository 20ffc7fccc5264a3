#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The public header in a user's program: no warning at the strictest settings, each part usable alone, C only.
. "$(dirname "$0")/../script.sh"

strict="-Wall -Wextra -Werror -Wpedantic -Wconversion -Wshadow"
compile() { # CC FLAGS... FILE
    "$@" -I"$root/include" -o /dev/null
}

for cc in $(compilers); do
    for std in c11 gnu11 gnu17; do
        # shellcheck disable=SC2086
        check "strict $cc $std" compile $cc -std=$std $strict -Wdouble-promotion -O2 -c "$root/tests/build/user.c"
    done
    # shellcheck disable=SC2086
    check "strict $cc without short names" compile $cc -std=c11 $strict -DGO_NO_SHORT_NAMES -c "$root/tests/build/user.c"
    for header in "$root"/include/goroutine/*.h; do
        name=$(basename "$header")
        echo "#include <goroutine/$name>" >"$work/alone.c"
        echo "int main(void) { return 0; }" >>"$work/alone.c"
        # shellcheck disable=SC2086
        check "$name alone $cc" compile $cc -std=c11 $strict -c "$work/alone.c"
    done
    printf '#define GO_NO_SHORT_NAMES\n#include <goroutine.h>\nint go, chan, chan_send, case_recv;\n' >"$work/names.c"
    # shellcheck disable=SC2086
    check "short names can be left out $cc" compile $cc -std=c11 $strict -c "$work/names.c"
done

if command -v g++ >/dev/null; then
    echo '#include <goroutine.h>' >"$work/cc.cc"
    refused "C++ is told so" "needs C" compile g++ -c "$work/cc.cc"
else
    skip "C++ is told so" "there is no g++"
fi
finish
