#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Instructions per operation, counted by callgrind, are what they were: see bench/guard.
# test: timeout=300
. "$(dirname "$0")/../script.sh"
[ -x "$build/bench/select" ] || { skip "instructions per operation" "the benchmarks are not built"; exit; }
exec "$root/bench/guard" "$build"
