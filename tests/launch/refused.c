// SPDX-License-Identifier: MIT
// Go statements that a compiler must refuse, one for each CASE; without CASE all is right. For refused_test.sh, which
// finds what is to be said behind "says:".
#include <goroutine.h>

struct pair { long a, b; };
struct other { long a, b; };
union either { long l; double d; };

struct pair returns_pair(int n);
union either returns_union(void);
_Complex double returns_complex(int n);
long double returns_long_double(void);
_Complex long double returns_large_complex(int n);
__extension__ __int128 returns_int128(void);
void takes_int(int n);
void takes_pair(struct pair p);
void takes_pointer(const char *s);
void takes_two(int a, double b);
void takes_none(void);
_Noreturn void never_returns(void);
int is_const(int n) __attribute__((const));
void takes_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

void use(struct pair p, struct other o, const go_options *options, go_scope *scope, const void *v);
void use(struct pair p, struct other o, const go_options *options, go_scope *scope, const void *v)
{
    (void)p, (void)o, (void)options, (void)scope, (void)v;
#if !defined(CASE)
    go(takes_int, 1);
    go(takes_pair, p);
    go(takes_pointer, "text");
    go(takes_two, 1, 2);
    go(takes_none);
    go(never_returns);
    go(is_const, 1);
    go(takes_format, "%d", 1);
    go(returns_complex, 1);
    go(returns_long_double);
    go(returns_large_complex, 1);
    go(returns_int128);
    go_with(*options, takes_int, 1);
    go_scope_go(scope, takes_int, 1);
#elif CASE == 1
    go(returns_pair, 1); /* says: returns a structure or union by value */
#elif CASE == 2
    go(returns_union); /* says: returns a structure or union by value */
#elif CASE == 3
    go(takes_int); /* says: too few arguments */
#elif CASE == 4
    go(takes_int, 1, 2); /* says: too many arguments */
#elif CASE == 5
    go(takes_none, 1); /* says: too many arguments */
#elif CASE == 6
    go(takes_int, p); /* says: incompatible type */
#elif CASE == 7
    go(takes_pair, o); /* says: incompatible type */
#elif CASE == 8
    go(takes_pair, 1); /* says: incompatible type */
#elif CASE == 9
    go(takes_pointer, 5); /* says: pointer */
#elif CASE == 10
    go(takes_pointer, &p); /* says: incompatible pointer type */
#elif CASE == 11
    go(takes_int, "text"); /* says: integer */
#elif CASE == 12
    go(7); /* says: */
#elif CASE == 13
    go(p, 1); /* says: */
#elif CASE == 14
    go(unheard_of, 1); /* says: undeclared */
#elif CASE == 15
    go(v, 1); /* says: */
#elif CASE == 16
    go_with(5, takes_int, 1); /* says: */
#elif CASE == 17
    go_with(options, takes_int, 1); /* says: */
#elif CASE == 18
    go_scope_go(options, takes_int, 1); /* says: incompatible pointer type */
#elif CASE == 19
    int n = go(takes_int, 1); /* says: void */
#elif CASE == 20
    go(returns_pair); /* says: too few arguments */
#elif CASE == 21
    go_scope_go(scope, returns_pair, 1); /* says: returns a structure or union by value */
#elif CASE == 22
    go_with(*options, takes_pair, o); /* says: incompatible type */
#elif CASE == 23
    typedef long wide __attribute__((vector_size(64)));
    wide (*returns_wide)(void) = (wide (*)(void))(void *)v;
    go(returns_wide); /* says: returns its value in memory */
#else
#error "that is all"
#endif
}
