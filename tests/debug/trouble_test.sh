#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The programs of examples/trouble, one for each kind of trouble, say what docs/troubleshooting.md says they do.
. "$(dirname "$0")/../script.sh"
trouble=$build/examples/trouble

# The output that the page shows of a program, without the commands.
page() { # PROGRAM
    awk -v command="trouble/$1\$" '
        /^```/ { inside = !inside; if (found) exit; next }
        inside && /^\$ / { if ($0 ~ command) found = 1; next }
        found { print }' "$root/docs/troubleshooting.md"
}
# What differs from run to run and machine to machine is taken out.
plain() {
    sed -E -e 's/goroutine [0-9]+/goroutine N/g; s/ \+0x[0-9a-f]+//; s,[^ 	]*/(examples/trouble/),\1,; s/(: goroutine N).*/\1/' \
        -e '/^\t.*src\//d' -e 's/0x[0-9a-f]+/0xN/g; s/(pid=|==|thread T)[0-9]+/\1N/; s,[^ ]*(src/),\1,; s/(Read|Write|write|read) of/access of/' \
        -e 's,^[0-9]{4}/[0-9]{2}/[0-9]{2} [0-9:]{8} ,,; s/(\.[cS]:)[0-9]+( \(race)/\1N\2/; s,src/arch/[^/]*/,src/arch/N/,' \
        -e 's/^[0-9]+ (28000)$/N \1/' # what the race has left of the hits
}
# The output is what the page shows; a line "…" there stands for any number of lines.
as_shown() { # NAME PROGRAM OUTPUT
    local difference
    if difference=$(awk '
        NR == FNR { shown[++n] = $0; next }
        { said[++m] = $0 }
        END {
            at = 1
            for (i = 1; i <= n; i++) {
                if (shown[i] == "…") {
                    if (i == n) exit
                    i++
                    while (at <= m && said[at] != shown[i]) at++
                }
                if (said[at++] != shown[i]) {
                    print "not said, or not there: " shown[i]
                    exit 1
                }
            }
            if (at <= m) {
                print "not shown: " said[at]
                exit 1
            }
        }' <(page "$2" | plain) <(plain <<<"$3")) && [ -n "$(page "$2")" ]; then
        ok "$1"
    else
        fail "$1" "$difference"$'\n'"$3"
    fi
}
status() { # NAME EXPECTED ACTUAL
    if [ "$2" = "$3" ]; then ok "$1"; else fail "$1" "status $3 instead of $2"; fi
}

output=$("$trouble/deadlock" 2>&1)
status "deadlock: status" 2 $?
as_shown "deadlock: report" deadlock "$output"

output=$(GODEBUG=leakcheck=1 "$trouble/leak" 2>&1)
status "leak: status" 0 $?
as_shown "leak: report" leak "$output"
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
env --default-signal=QUIT GOMAXPROCS=1 "$trouble/hog" >"$work/hog" 2>&1 &
while user=$(cut -d ' ' -f 14 "/proc/$!/stat" 2>/dev/null) && [ "${user:-99}" -lt 5 ]; do
    sleep 0.01 # until it has computed for 50 ms
done
kill -QUIT $!
wait $!
output=$(cat "$work/hog")
says "hog: SIGQUIT" '^SIGQUIT: quit$'
says "hog: both are shown" '^created by main at .*hog.c:'

# These two need the library and the program built for a sanitizer.
sanitized() { # SANITIZER PROGRAM: $output and $status of the program
    if ! ${CC:-cc} -fsanitize="$1" -x c -o "$work/empty" - <<<'int main(void) { return 0; }' 2>/dev/null; then
        skip "$2" "the compiler has no -fsanitize=$1 here"
        return 1
    fi
    if ! output=$(cmake -G Ninja -S "$root" -B "$work/$1" -DGO_SANITIZE="$1" -DGO_TESTS=OFF 2>&1 &&
        cmake --build "$work/$1" --target "examples_trouble_$2" 2>&1); then
        fail "$2: build" "$output"
        return 1
    fi
    output=$(timeout 60 "$work/$1/examples/trouble/$2" 2>&1)
    status=$?
}
export GOMAXPROCS=4 TSAN_OPTIONS=atexit_sleep_ms=0 ASAN_OPTIONS=detect_stack_use_after_return=1:detect_leaks=0
if sanitized thread race; then
    status "race: status" 66 "$status"
    as_shown "race: report" race "$output"
    if grep -q "'total'" <<<"$output"; then fail "race: nothing about the total" "$output"; else ok "race: nothing about the total"; fi
fi
if sanitized address gone; then
    status "gone: status" 1 "$status"
    as_shown "gone: report" gone "$output"
fi
finish
