#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The go statement of the article's program is a call of go_newproc, as the disassembly shows.
. "$(dirname "$0")/../script.sh"

source=$root/examples/heavyweight_champ.c
program=$build/examples/heavyweight_champ
line=$(grep -n 'go(heavyWeightChamp' "$source" | cut -d: -f1)

# The instructions of main that belong to the line.
objdump -d -l --no-show-raw-insn "$program" |
    awk -v line="$line" '
        /^[0-9a-f]+ <.*>:$/ { inside = $2 == "<main>:"; next }
        inside && /heavyweight_champ\.c:[0-9]+/ { at = $0; sub(/.*heavyweight_champ\.c:/, "", at); sub(/ .*/, "", at); next }
        inside && at == line { print }' >"$work/text"

calls=$(grep -cE '\<(call|callq|bl)\>.*<go_newproc>' "$work/text")
if [ "$calls" = 1 ]; then
    ok "line $line calls go_newproc"
else
    fail "line $line calls go_newproc" "$(cat "$work/text")"
fi
others=$(grep -E '\<(call|callq|bl|blr)\>' "$work/text" | grep -v '<go_newproc>')
if [ -z "$others" ]; then
    ok "line $line calls nothing else"
else
    fail "line $line calls nothing else" "$others"
fi

# docs/launching.md shows these instructions. Addresses are not compared.
bare() {
    sed -nE 's/^ +([0-9a-f]+:[[:space:]]+)?([a-z].*)$/\2/p' | sed -E 's/0x[0-9a-f]+\(%rip\)/X(%rip)/; s/ *# .*//; s/^(call|jmp) +[0-9a-f]+/\1/; s/[[:space:]]+/ /g'
}
if readelf -p .comment "$program" | grep -q 'GCC: (Debian 12' && [ "$(uname -m)" = x86_64 ] && ! nm "$program" | grep -q __asan; then
    sed -n '/^heavyweight_champ.c:12$/,/^```$/p' "$root/docs/launching.md" | bare >"$work/shown"
    empty "docs/launching.md shows it" diff "$work/shown" <(bare <"$work/text")
else
    skip "docs/launching.md shows it" "it shows what Debian's GCC 12 makes"
fi

output=$("$program" 2>&1 >/dev/null)
if [[ $output =~ ^[0-9]{4}/[0-9]{2}/[0-9]{2}\ [0-9]{2}:[0-9]{2}:[0-9]{2}\ heavyWeightChamp:\ Received\ message\ \'some\ message\'$ ]]; then
    ok "what it prints"
else
    fail "what it prints" "$output"
fi
finish
