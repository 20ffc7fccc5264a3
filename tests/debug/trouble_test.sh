#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The programs of examples/trouble, one for each kind of trouble, say what docs/troubleshooting.md says they do.
. "$(dirname "$0")/../script.sh"
trouble=$build/examples/trouble

# What differs from run to run and machine to machine is taken out.
plain() {
    sed -E -e 's/goroutine [0-9]+/goroutine N/g; s/ \+0x[0-9a-f]+//; s,[^ 	]*/(examples/trouble/),\1,; s/(: goroutine N).*/\1/' \
        -e '/^\t.*src\//d'
}
# golden NAME EXPECTED OUTPUT
golden() {
    local difference
    if difference=$(diff <(echo "$2") <(plain <<<"$3")); then ok "$1"; else fail "$1" "$difference"; fi
}
status() { # NAME EXPECTED ACTUAL
    if [ "$2" = "$3" ]; then ok "$1"; else fail "$1" "status $3 instead of $2"; fi
}

output=$("$trouble/deadlock" 2>&1)
status "deadlock: status" 2 $?
golden "deadlock: report" 'fatal error: all goroutines are asleep - deadlock!

goroutine N [sync.WaitGroup.Wait]:
go_waitgroup_wait()
main()
	examples/trouble/deadlock.c:33

goroutine N [sync.Mutex.Lock] "transfer":
transfer()
	examples/trouble/deadlock.c:12
created by main at examples/trouble/deadlock.c:31 in goroutine N

goroutine N [sync.Mutex.Lock] "audit":
audit()
	examples/trouble/deadlock.c:22
created by main at examples/trouble/deadlock.c:32 in goroutine N' "$output"

output=$(GODEBUG=leakcheck=1 "$trouble/leak" 2>&1)
status "leak: status" 0 $?
golden "leak: report" 'leak check at exit: 25 goroutines are still alive

25 [sync.Cond.Wait]: goroutine N
go_cond_wait()
wait_for_answer()
	examples/trouble/leak.c:16
created by handle at examples/trouble/leak.c:22 in goroutine N' "$output"
empty "leak: not asked" "$trouble/leak"

output=$("$trouble/overflow" 2>&1)
status "overflow: status" 2 $?
says() { # NAME REGEX: in $output
    if grep -qE -- "$2" <<<"$output"; then ok "$1"; else fail "$1" "$output"; fi
}
says "overflow: message" '^fatal error: stack overflow: goroutine [0-9]+ "summing" .* created by main at .*overflow.c:30'
says "overflow: recursion" '^sum\(\)$'
says "overflow: middle left out" '^\.\.\.[0-9]+ frames elided\.\.\.$'
says "overflow: its beginning" '^worker\(\)$'

output=$("$trouble/hog" 2>&1)
says "hog: ticks" '^the latest tick came [0-9.]+ ms late$'
output=$(env --default-signal=QUIT timeout -s QUIT 0.3 env GOMAXPROCS=1 "$trouble/hog" 2>&1)
says "hog: SIGQUIT" '^SIGQUIT: quit$'
says "hog: both are shown" '^created by main at .*hog.c:'
finish
