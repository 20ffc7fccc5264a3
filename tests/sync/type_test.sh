#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# What has the wrong type is refused by the compiler or warned about; what is right passes at the strictest settings.
. "$(dirname "$0")/../script.sh"

program() { # STATEMENTS
    cat <<END
#include <goroutine.h>
struct a { int x, y; };
struct b { struct a first; int z; };
union u { int i; double d; };
extern chan(int) c;
extern chan(double) d;
extern chan(struct a) sa;
extern chan(struct b) sb;
extern chan(union u) un;
extern chan(int *) ip;
extern chan(chan(int)) cc;
extern chan(const char *) cs;
extern int i, *p;
extern double x;
extern struct a a;
extern struct b b;
extern bool ok;
void takes(chan(int) channel);
void f(void);
void f(void)
{
    $1
}
END
}

compile() { # CC FLAGS...
    "$@" -std=c11 -O1 "${include:--I}" "$root/include" -c "$work/program.c" -o /dev/null
}

strict="-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror"
right() { # STATEMENTS
    program "$1" >"$work/program.c"
    # shellcheck disable=SC2086
    check "$cc takes: $(echo $1)" compile $cc $strict
}

# Refused with -Werror and nothing else, so by a warning that is on by default, or an error. Where the header has been installed for
# the system compilers are silent about what is written in it.
wrong() { # STATEMENTS
    local include
    program "$1" >"$work/program.c"
    for include in -I -isystem; do
        if compile "$cc" -Werror >/dev/null 2>&1; then fail "$cc $include refuses: $1"; else ok "$cc $include refuses: $1"; fi
    done
}

for cc in $(compilers); do
    right 'chan_send(c, 1);'
    right 'chan_send(d, i); chan_send(d, 1);'
    right 'chan_send(sa, (struct a){ 1, 2 }); chan_send(sa, a); chan_try_send(sa, (struct a){ .y = 2 });'
    right 'chan_send(sb, b); chan_send(un, ((union u){ .d = x }));'
    right 'chan_send(ip, p); chan_send(ip, &i); chan_send(ip, NULL); chan_send(ip, 0);'
    right 'chan_send(cs, "text"); chan_send(cc, c); chan_send(cc, NULL);'
    right 'chan_recv(c, &i); chan_recv(c, p); chan_recv(c, NULL); chan_try_recv(sa, &a); chan_recv(cc, &c);'
    right 'takes(c); takes(NULL); takes(chan_make(int, 3)); c = chan_ref(c); chan_unref(c);'
    right 'void *v = c; c = v; if (c == NULL || !c) return;'
    right 'chan_range(c, &i) {
        chan_range(d, &x) if (x > 1) break;
        continue;
    }'
    right 'chan_send(c, chan_send(c, chan_try_recv(c, &i)));'
    right 'chan(int) all[3] = { c }; chan_send(all[i++], i); chan_recv(all[--i], &i); chan_close(all[i++]);'
    right 'struct { chan(struct a) in; chan(chan(int)) out[2]; } s = { sa, { cc } }; chan_send(s.in, a); chan_send(s.out[1], c);'
    right 'struct { unsigned bits : 3; } s = { 1 }; chan_send(d, s.bits);'
    right 'chan_send_from(sa, &a); chan_try_send_from(c, p);'
    right 'go_select(case_recv(c, &i), case_recv(c, NULL, &ok), case_send(sa, a, &ok), case_send(d, 1), case_default);'
    right 'go_select(case_send(sa, ((struct a){ 1, 2 })), case_send_from(sa, &a, &ok), case_after(GO_SECOND), case_until(3));'
    right 'go_select(); go_select(case_readable(i), case_writable(i)); go_case all[2] = { case_recv(c, &i), case_default }; go_selectv(all, 2);'
    right 'go_select(case_send(c, i++), case_recv(d, &x));'

    include=-I
    for statement in 'chan_recv(c, (unsigned *)p);' 'chan_send_from(c, (unsigned *)p);' 'go_select(case_recv(c, (unsigned *)p));'; do
        program "$statement" >"$work/program.c"
        refused "$cc refuses a sign: $statement" pointer compile "$cc" -Werror
    done
    unset include
    wrong 'chan_send(c, a);'
    wrong 'chan_send(sa, i);'
    wrong 'chan_send(sa, b);'
    wrong 'chan_send(sb, a);'
    wrong 'chan_send(un, i);'
    wrong 'chan_send(ip, &x);'
    wrong 'chan_send(ip, i);'
    wrong 'chan_send(c, p);'
    wrong 'chan_send(cc, d);'
    wrong 'chan_try_send(sb, a);'
    wrong 'chan_send_from(c, &x);'
    wrong 'chan_send_from(sb, &a);'
    wrong 'chan_recv(c, &x);'
    wrong 'chan_recv(d, &i);'
    wrong 'chan_recv(c, i);'
    wrong 'chan_recv(sb, &a);'
    wrong 'chan_try_recv(cc, &d);'
    wrong 'takes(d);'
    wrong 'takes(cc);'
    wrong 'c = d;'
    wrong 'c = chan_make(double, 1);'
    wrong 'c = chan_ref(d);'
    wrong 'chan_send(i, 1);'
    wrong 'chan_send(p, 1);'
    wrong 'chan_recv(p, &i);'
    wrong 'chan_close(i);'
    wrong 'chan_close(p);'
    wrong 'i = (int)chan_len(p);'
    wrong 'chan_unref(&i);'
    wrong 'chan_range(c, &x) { }'
    wrong 'go_select(case_recv(c, &x));'
    wrong 'go_select(case_recv(p, &i));'
    wrong 'go_select(case_recv(c, &i, &i));'
    wrong 'go_select(case_send(sa, i));'
    wrong 'go_select(case_send(sb, a, &ok));'
    wrong 'go_select(case_send(c, a));'
    wrong 'go_select(case_send(c, 1, p));'
    wrong 'go_select(case_send_from(c, &x));'
    wrong 'go_select(c);'
    wrong 'go_selectv(c, 1);'
done
finish
