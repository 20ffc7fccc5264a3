#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The shape of the tree: which layer includes which, and what each file begins with.
. "$(dirname "$0")/../script.sh"
cd "$root" || exit 1

# A layer, and the layers whose headers it may include. sched declares what debug and io supply to it. launch.S needs
# the offsets of fields in a G, and nothing else of the scheduler.
layers='base base
arch base arch
os base arch os
sched base arch os sched
sync base os sched sync
io base os sched sync io
debug base arch os sched sync io debug'

includes() { # the includes of $1 that are not below the layers in $2
    local layer=$1 allowed=" $2 "
    grep -rnE '^[[:space:]]*#[[:space:]]*include "' "src/$layer" | while IFS=: read -r file line text; do
        header=$(sed -nE 's/.*"([^"]+)".*/\1/p' <<<"$text")
        case $header in
        arch_*.h) target=arch ;;
        sched/g_offsets.h) [ "$layer" = arch ] && continue || target=sched ;;
        */*) target=${header%%/*} ;;
        *) target=$layer ;;
        esac
        case $allowed in
        *" $target "*) ;;
        *) echo "$file:$line: $layer includes $header" ;;
        esac
    done
}
while read -r layer allowed; do
    [ -d "src/$layer" ] && empty "layer $layer" includes "$layer" "$allowed"
done <<<"$layers"
strangers() {
    find src -mindepth 1 -maxdepth 1 -type d -printf '%f\n' | grep -vxF "$(cut -d' ' -f1 <<<"$layers")"
}
empty "there is no other layer" strangers

headers() {
    local header
    for header in $(cd src && find . -name '*.h' -printf '%P\n' | grep -v '^arch/'); do
        printf '#include "%s"\nint main(void) { return 0; }\n' "$header" >"$work/alone.c"
        gcc -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -fsyntax-only -Iinclude -Isrc "-Isrc/arch/$(uname -m)" "$work/alone.c" ||
            echo "$header does not stand alone"
    done
}
empty "each internal header stands alone" headers
tour() { # what src/README.md names is there
    local part file names name
    sed -nE 's/^\|.*\| (.*) \|$/\1/p' src/README.md | tr ';' '\n' | grep '`' | while read -r part; do
        file=
        for name in $(grep -oE '`[^`]+`' <<<"$part" | tr -d '`'); do
            case $name in
            */*)
                file=$(cd src && ls -d $name ../$name 2>/dev/null)
                [ -n "$file" ] || echo "src/README.md: there is no $name"
                ;;
            *) (cd src && grep -qw "$name" $file) || echo "src/README.md: $name is not in $file" ;;
            esac
        done
    done
}
empty "the tour of the source is true" tour
links() { # relative links in the documents
    local file link
    for file in *.md docs/*.md src/*.md; do
        grep -oE '\]\([^)#]+' "$file" | sed 's/^](//' | grep -v '^http' | while read -r link; do
            [ -e "$(dirname "$file")/$link" ] || echo "$file: there is no $link"
        done
    done
}
empty "links lead somewhere" links
empty "the layout is kept" tools/check-format
finish
