#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# test: timeout=600
#
# Each debug switch forces a rare path: the stress program and a few others run under each of them.
# shellcheck source=tests/script.sh
. "$(dirname "$0")/../script.sh"

run() { # SWITCHES PROGRAM PROCS
    GODEBUG=$1 GOMAXPROCS=$3 timeout 120 "$build/tests/$2" </dev/null
}

for switches in membarrier=0 steal=1 runq=2 fair=0 fair=1 guard=mprotect guard=canary guard=madvise hugepages=0 \
    process_madvise=0 preempt=0 slice=100 \
    membarrier=0,steal=1,runq=2,fair=0,guard=canary,hugepages=0,process_madvise=0,slice=100; do
    for procs in 1 3; do
        check "stress_${switches}_P$procs" run "$switches" sched/stress_test $procs
    done
done
check "handoff_membarrier" run membarrier=0 sched/handoff_test 2
check "fd_epoll_pwait2" run epoll_pwait2=0 io/fd_test 2
check "maxprocs_runq" run runq=2,steal=1 sched/maxprocs_test 2
finish
