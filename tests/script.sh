# SPDX-License-Identifier: MIT
# What the test scripts share: each prints "ok NAME", "FAIL NAME" or "skip NAME: WHY" lines, as the programs do.
# Usage: . "$(dirname "$0")/../script.sh"; then $root is the source tree, $build the build, $work a scratch directory.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck disable=SC2034 # used by the scripts
build=${1:?the build directory}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
failures=0
export LC_ALL=C
unset MAKEFLAGS MAKELEVEL CMAKE_FLAGS BUILD PREFIX TESTS DESTDIR

ok() {
    echo "ok $1"
}

fail() { # NAME [WHY]
    [ -z "${2:-}" ] || echo "$2"
    echo "FAIL $1"
    failures=$((failures + 1))
}

skip() { # NAME WHY
    echo "skip $1: $2"
}

# check NAME COMMAND...: the command must succeed; what it printed is shown if it does not.
check() {
    local name=$1 output
    shift
    if output=$("$@" 2>&1); then ok "$name"; else fail "$name" "$output"; fi
}

# empty NAME COMMAND...: the command must print nothing; what it prints is what is wrong.
empty() {
    local name=$1 output
    shift
    output=$("$@" 2>&1)
    if [ -z "$output" ]; then ok "$name"; else fail "$name" "$output"; fi
}

# refused NAME TEXT COMMAND...: the command must fail and say TEXT.
refused() {
    local name=$1 text=$2 output
    shift 2
    if output=$("$@" 2>&1); then
        fail "$name" "succeeded: $*"
    elif [[ $output != *"$text"* ]]; then
        fail "$name" "did not say '$text' but: $output"
    else
        ok "$name"
    fi
}

# The compilers there are.
compilers() {
    local cc
    for cc in gcc clang; do
        command -v $cc >/dev/null && echo $cc
    done
}

finish() {
    [ $failures -eq 0 ]
    exit
}
