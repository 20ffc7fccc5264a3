#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# What the headers declare, what the symbol map lets out, what the shared library has and what the manual describes are
# the same. Names that end in an underscore serve the macros: they are let out, but not described.
. "$(dirname "$0")/../script.sh"

map=$root/src/libgoroutine.map
sed -nE 's/^[[:space:]]+((go|chan|case)_[a-z0-9_]+);$/\1/p' "$map" >"$work/map.unsorted"
sort -u "$work/map.unsorted" >"$work/map"
nm -D --defined-only "$build/libgoroutine.so" | sed -nE 's/^[0-9a-f]+ [TDBRWVi] ([^@]+)@.*/\1/p' | sort -u >"$work/library"

# The functions declared, and those that inline functions and macros name.
echo '#include <goroutine.h>' | gcc -E -P -I"$root/include" -x c - >"$work/text"
grep -oE '\bgo_[a-z0-9_]+[[:space:]]*\(' "$work/text" | tr -d ' (' | sort -u >"$work/called"
cat "$root"/include/goroutine/*.h | grep -oE '\bgo_newproc_capture\b' | sort -u >>"$work/called"
# Macros with arguments, for the manual.
cat "$root"/include/goroutine/*.h |
    sed -nE 's/^[[:space:]]*#[[:space:]]*define (go|chan|((go|chan|case)_[a-z0-9_]+))\(.*/\1/p' | sort -u >"$work/macros"
sed -nE 's/^[[:space:]]*#[[:space:]]*define ((go_)?case_[a-z0-9_]+) .*/\1/p' "$root"/include/goroutine/*.h | sort -u >>"$work/macros"

empty "the map is sorted" diff <(sort "$work/map.unsorted") "$work/map.unsorted"
empty "the map has what the library has" diff "$work/map" "$work/library"
# The archive has no map, and hidden symbols collide with a program's as well as others do: their names are none in C, or the library's own.
global() { # [VISIBILITY]
    readelf -sW "$build/libgoroutine.a" | awk -v "v=${1-}" '$5 != "LOCAL" && (!v || $6 == v) && $7 ~ /^[0-9]+$/ { print $8 }' | sort -u
}
empty "the archive lets out what the map does" diff "$work/map" <(global DEFAULT)
global >"$work/global"
empty "nothing else of the archive can collide with a program's names" grep -vE '^(go_|goroutine_|goroutine\.\.|arch_)' "$work/global"
cat >"$work/user.c" <<'END'
#include <goroutine.h>
#include <stdio.h>
int options = 7, sched;
void fatal(const char *text) { puts(text); }
void park(void) { go_sleep(1); }
void schedule(int n) { if (n == 7) fatal("mine"); }
int main(void) { go(schedule, options); park(); return sched; }
END
collide() { # prints what is wrong
    gcc -Wall -Wextra -Werror -I"$root/include" -o "$work/user" "$work/user.c" "$build/libgoroutine.a" -pthread 2>&1 && "$work/user" | grep -vx mine
}
empty "a program may use the library's inner names" collide
empty "each name of the map is in a header" comm -23 "$work/map" <(sort -u "$work/called" "$work/macros")

sort -u "$work/map" "$work/macros" | grep -vE '_$|^go_newproc_capture$' >"$work/public"
"$root/tools/man-links" "$root/man" "$work/man"
find "$work/man/man3" -name '*.3' -printf '%f\n' | sed 's/\.3$//' | sort -u >"$work/manual"
empty "each public name has a manual page" comm -23 "$work/public" "$work/manual"
cat "$root"/include/goroutine/*.h | sed -nE 's/^(typedef .*|\}) \*?(go_[a-z_]+);.*/\2/p' | sort -u "$work/public" - >"$work/nouns"
empty "each manual page is of a public name" comm -13 "$work/nouns" "$work/manual"
if command -v man >/dev/null; then
    pages() {
        local page
        for page in "$root"/man/*.[37]; do
            MANROFFSEQ='' MANWIDTH=100 man --warnings -E UTF-8 -l -Tutf8 "$page" 2>&1 >/dev/null
        done
    }
    empty "the pages are sound" pages
else
    skip "the pages are sound" "there is no man"
fi
references() { # each name in SEE ALSO is a page
    local page name
    for page in "$root"/man/*.[37]; do
        sed -n '/^\.SH SEE ALSO/,$p' "$page" | sed -nE 's/^\.BR ([a-z0-9_]+) \(([37])\),?$/\1 \2/p' |
            while read -r name section; do
                [ -e "$work/man/man$section/$name.$section" ] || echo "$(basename "$page") refers to $name($section)"
            done
    done | grep -vE '(^| )(read|write|close|poll|sendfile|splice|printf)\('
}
empty "references lead somewhere" references
finish
