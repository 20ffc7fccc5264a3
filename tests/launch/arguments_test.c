// SPDX-License-Identifier: MIT
// Arguments of every kind arrive as in a call: each function compares what it got with what was sent.
//
// matrix_test.sh builds this file with every compiler, level and way of linking.
#include <goroutine.h>

#include <complex.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "test.h"

/* AArch64 passes structures of more than 16 bytes by a pointer into the launcher's frame: launch.h refuses them. */
#ifdef __x86_64__
#define BIG_STRUCTURES 1
#else
#define BIG_STRUCTURES 0
#endif

static go_waitgroup running;

/* The launcher's frame is gone, or overwritten, before the goroutine runs: arguments must not point there. */
static __attribute__((noinline)) void scribble(void)
{
    volatile char junk[4096];
    for (size_t i = 0; i < sizeof junk; i++)
        junk[i] = (char)0xa5;
}

static void finish(void)
{
    scribble();
    go_waitgroup_wait(&running);
}

#define START() go_waitgroup_add(&running, 1)
#define END() go_waitgroup_done(&running)

/* No arguments, and one of each scalar. */

static void none(void)
{
    END();
}

TEST(no_argument)
{
    START();
    go(none);
    finish();
}

static void one_char(char c)
{
    CHECK_EQ(c, 'x');
    END();
}

static void one_schar(signed char c)
{
    CHECK_EQ(c, -3);
    END();
}

static void one_uchar(unsigned char c)
{
    CHECK_EQ(c, 44);
    END();
}

static void one_short(short s)
{
    CHECK_EQ(s, -12345);
    END();
}

static void one_bool(bool b)
{
    CHECK_EQ(b, 1);
    END();
}

static void one_uint(unsigned u)
{
    CHECK(u == 4000000000u);
    END();
}

static void one_llong(long long l)
{
    CHECK(l == LLONG_MIN + 5);
    END();
}

static void one_float(float f)
{
    CHECK(f == 1.25f);
    END();
}

static void one_double(double d)
{
    CHECK(d == -2.5e300);
    END();
}

static void one_long_double(long double d)
{
    CHECK(d == 1.0L / 3);
    END();
}

static void one_int128(__int128 i)
{
    CHECK(i == ((__int128)0x0123456789abcdef << 64 | 0xfedcba98));
    END();
}

static void one_complex_float(float complex z)
{
    CHECK(crealf(z) == 1 && cimagf(z) == -2);
    END();
}

static void one_complex(double complex z)
{
    CHECK(creal(z) == 3 && cimag(z) == 0.5);
    END();
}

static void one_complex_long(long double complex z)
{
    CHECK(creall(z) == 0.1L && cimagl(z) == -7);
    END();
}

static void one_pointer(const void *p)
{
    CHECK(p == &running);
    END();
}

static void one_string(const char *s)
{
    CHECK_STR(s, "some message");
    END();
}

enum colour { RED, GREEN = 77 };

static void one_enum(enum colour c)
{
    CHECK_EQ(c, GREEN);
    END();
}

static int increment(int x)
{
    return x + 1;
}

TEST(one_scalar)
{
    go_waitgroup_add(&running, 17);
    go(one_char, 'x');
    go(one_schar, -3);
    go(one_uchar, (unsigned char)300);
    go(one_short, -12345);
    go(one_bool, &running != NULL);
    go(one_uint, 4000000000u);
    go(one_llong, LLONG_MIN + 5);
    go(one_float, 1.25f);
    go(one_double, -2.5e300);
    go(one_long_double, 1.0L / 3);
    go(one_int128, (__int128)0x0123456789abcdef << 64 | 0xfedcba98);
    go(one_complex_float, 1 - 2 * _Complex_I);
    go(one_complex, 3 + 0.5 * _Complex_I);
    go(one_complex_long, 0.1L - 7 * (long double complex)_Complex_I);
    go(one_pointer, &running);
    go(one_string, "some message");
    go(one_enum, GREEN);
    finish();
}

/* Conversions to the types of the parameters. */

static void converted(double d, int i, char c, float f, long l, unsigned char u, bool b, const void *p, long double e,
                      double complex z)
{
    CHECK(d == 7);
    CHECK_EQ(i, 3);
    CHECK_EQ(c, 'a');
    CHECK(f == 0.5f);
    CHECK_EQ(l, -1);
    CHECK_EQ(u, 44);
    CHECK_EQ(b, 1);
    CHECK(p == NULL);
    CHECK(e == 9);
    CHECK(creal(z) == 2 && cimag(z) == 0);
    END();
}

TEST(converted_as_in_a_call)
{
    START();
    int seven = 7, three_hundred = 300;
    double three = 3.9;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
    go(converted, seven, three, 'a', 0.5, -1, three_hundred, 0.25, NULL, 9, 2);
#pragma GCC diagnostic pop
    finish();
}

static void array_and_function(const int *a, int (*f)(int), const char *s, int bits, int (*row)[3])
{
    CHECK_EQ(a[2], 30);
    CHECK_EQ(f(1), 2);
    CHECK_EQ(s[1], 'b');
    CHECK_EQ(bits, 5);
    CHECK_EQ(row[1][2], 6);
    END();
}

TEST(arrays_functions_bit_fields)
{
    static const int a[] = { 10, 20, 30 };
    static int rows[2][3] = { { 1, 2, 3 }, { 4, 5, 6 } };
    static const char text[] = "abc";
    struct {
        unsigned low : 3, high : 4;
    } bits = { 5, 9 };
    START();
    go(array_and_function, a, increment, text, bits.low, rows);
    finish();
    START();
    go(array_and_function, &a[0], &increment, &text[0], (int)bits.low, &rows[0]);
    finish();
}

/* Structures and unions by value. */

struct one { char c; };
struct three { char c[3]; };
struct point { int x, y; };
struct longs { long a, b; };
struct mixed { long a; double b; };
struct mixed2 { double a; int b; };
struct floats { float x, y; };
struct quad { float x, y, z, w; };
struct odd { char c[13]; };
struct empty { };
union word { double d; long l; };

static void structures(struct one a, struct three b, struct point c, struct longs d, struct mixed e, struct mixed2 f,
                       struct floats g, struct quad h, struct odd i, union word j, struct empty k, int last)
{
    (void)k;
    CHECK_EQ(a.c, 'q');
    CHECK(memcmp(b.c, "xyz", 3) == 0);
    CHECK(c.x == 1 && c.y == 2);
    CHECK(d.a == -3 && d.b == LONG_MAX);
    CHECK(e.a == 4 && e.b == 4.5);
    CHECK(f.a == 5.5 && f.b == 6);
    CHECK(g.x == 7 && g.y == 8);
    CHECK(h.x == 9 && h.y == 10 && h.z == 11 && h.w == 12);
    CHECK(memcmp(i.c, "thirteen char", 13) == 0);
    CHECK(j.d == 0.125);
    CHECK_EQ(last, 99);
    END();
}

TEST(structures_by_value)
{
    struct odd odd;
    memcpy(odd.c, "thirteen char", 13);
    START();
    go(structures, (struct one){ 'q' }, ((struct three){ { 'x', 'y', 'z' } }), ((struct point){ 1, 2 }),
       ((struct longs){ -3, LONG_MAX }), ((struct mixed){ 4, 4.5 }), ((struct mixed2){ 5.5, 6 }), ((struct floats){ 7, 8 }),
       ((struct quad){ 9, 10, 11, 12 }), odd, (union word){ .d = 0.125 }, (struct empty){}, 99);
    finish();
}

#if BIG_STRUCTURES

struct big { long a[10]; };
struct letters { char c[33]; };
struct wide { __attribute__((aligned(16))) long a; char c; };
struct precise { long double d; int i; };
struct huge { int a[3000]; };

static void big_ones(struct big a, int x, struct letters b, double y, struct wide c, struct precise d, char z,
                     struct wide e)
{
    for (int i = 0; i < 10; i++)
        CHECK_EQ(a.a[i], i * i - 7);
    CHECK_EQ(x, 8);
    CHECK(memcmp(b.c, "thirty-two characters and a NUL.", 33) == 0);
    CHECK(y == 0.75);
    CHECK(c.a == 3 && c.c == 'w');
    CHECK_EQ((uintptr_t)&c % 16, 0);
    CHECK(d.d == 1.1L && d.i == 12);
    CHECK_EQ(z, 'z');
    CHECK(e.a == 33 && e.c == 'W');
    END();
}

TEST(big_structures)
{
    struct big a;
    for (int i = 0; i < 10; i++)
        a.a[i] = i * i - 7;
    struct letters b;
    memcpy(b.c, "thirty-two characters and a NUL.", 33);
    START();
    go(big_ones, a, 8, b, 0.75, ((struct wide){ 3, 'w' }), ((struct precise){ 1.1L, 12 }), 'z', ((struct wide){ 33, 'W' }));
    finish();
}

static void huge_one(struct huge h, int n)
{
    for (int i = 0; i < 3000; i++)
        if (h.a[i] != i * n)
            CHECK_EQ(h.a[i], i * n);
    END();
}

TEST(huge_structure)
{
    static struct huge h;
    for (int i = 0; i < 3000; i++)
        h.a[i] = i * 3;
    START();
    go(huge_one, h, 3);
    finish();
    /* The stack asked for is what the function has besides its arguments. */
    START();
    go_options small = { .stack_size = 16 << 10 };
    go_with(small, huge_one, h, 3);
    finish();
}

static void literals(struct point p, struct big b, const int *a, int n)
{
    CHECK(p.x == 3 && p.y == 4);
    for (int i = 0; i < 10; i++)
        CHECK_EQ(b.a[i], i < 3 ? i + 1 : 0);
    for (int i = 0; i < n; i++)
        CHECK_EQ(a[i], 10 * (i + 1));
    END();
}

static void point_alone(struct point p)
{
    CHECK(p.x == 1 && p.y == 2);
    END();
}

TEST(literals_with_commas)
{
    START();
    go(literals, (struct point){ 3, 4 }, (struct big){ { 1, 2, 3 } }, (int[]){ 10, 20, 30 }, 3);
    finish();
    START();
    go(point_alone, (struct point){ 1, 2 });
    finish();
    START();
    go(point_alone, (struct point){ .x = 1, .y = ({ int two = 1, a[] = { 1, 2 }; two + a[0]; }) });
    finish();
}

#endif

typedef float vector4 __attribute__((vector_size(16)));

static void vectors(vector4 v, int i, vector4 w)
{
    CHECK(v[0] == 1 && v[3] == 4 && w[1] == 6);
    CHECK_EQ(i, 5);
    END();
}

static void vector_alone(vector4 v)
{
    CHECK(v[0] == 1 && v[1] == 2 && v[2] == 3 && v[3] == 4);
    END();
}

static void pointer_and_vectors(const char *p, vector4 v, vector4 w, vector4 z)
{
    CHECK_STR(p, "some message");
    CHECK(v[0] == 1 && v[3] == 4 && w[0] == 5 && w[3] == 8 && z[0] == 9 && z[3] == 12);
    END();
}

TEST(vectors_of_16_bytes)
{
    vector4 v = { 1, 2, 3, 4 }, w = { 5, 6, 7, 8 }, z = { 9, 10, 11, 12 };
    START();
    go(vectors, v, 5, w);
    finish();
    START();
    go(vector_alone, v);
    finish();
    START();
    go(pointer_and_vectors, "some message", v, w, z);
    finish();
}

/* GCC for AArch64 passes some of these on the stack, also where registers are free. */
typedef float vector1 __attribute__((vector_size(4)));
typedef short vector_of_short __attribute__((vector_size(2)));
typedef float vector2 __attribute__((vector_size(8)));

static void small_vectors(int k, vector1 x, vector_of_short y, vector2 z, vector1 w)
{
    CHECK(k == 1 && x[0] == 5 && y[0] == -6 && z[0] == 7 && z[1] == 8 && w[0] == 9);
    END();
}

TEST(vectors_of_a_few_bytes)
{
    START();
    go(small_vectors, 1, (vector1){ 5 }, (vector_of_short){ -6 }, ((vector2){ 7, 8 }), (vector1){ 9 });
    finish();
}

/* Many: registers of both kinds run out, and the stack takes the rest. */

static void sixteen_ints(int a, int b, int c, int d, int e, int f, int g, int h, int i, int j, int k, int l, int m, int n,
                         int o, int p)
{
    int got[] = { a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p };
    for (int x = 0; x < 16; x++)
        CHECK_EQ(got[x], x + 1);
    END();
}

static void twenty_doubles(double a, double b, double c, double d, double e, double f, double g, double h, double i,
                           double j, double k, double l, double m, double n, double o, double p, double q, double r,
                           double s, double t)
{
    double got[] = { a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t };
    for (int x = 0; x < 20; x++)
        CHECK(got[x] == x + 0.5);
    END();
}

static void mixture(int a, double b, long c, float d, const char *e, long double f, short g, __int128 h, double i,
                    struct mixed j, char k, double complex l, unsigned m, double n, long o, double p, double q, double r,
                    double s, char t, struct point u, double complex v, struct longs w, float x)
{
    CHECK_EQ(a, 1);
    CHECK(b == 2.5);
    CHECK_EQ(c, 3);
    CHECK(d == 4.5f);
    CHECK_STR(e, "five");
    CHECK(f == 6.25L);
    CHECK_EQ(g, 7);
    CHECK(h == (__int128)8 << 70);
    CHECK(i == 9.5);
    CHECK(j.a == 10 && j.b == 10.5);
    CHECK_EQ(k, 11);
    CHECK(creal(l) == 12 && cimag(l) == 12.5);
    CHECK_EQ(m, 13);
    CHECK(n == 14.5);
    CHECK_EQ(o, 15);
    CHECK(p == 16.5 && q == 17.5 && r == 18.5 && s == 19.5);
    CHECK_EQ(t, 20);
    CHECK(u.x == 21 && u.y == 22);
    CHECK(creal(v) == 23 && cimag(v) == 23.5);
    CHECK(w.a == 24 && w.b == 25);
    CHECK(x == 26.5f);
    END();
}

TEST(many_arguments)
{
    go_waitgroup_add(&running, 3);
    go(sixteen_ints, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16);
    go(twenty_doubles, 0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5, 9.5, 10.5, 11.5, 12.5, 13.5, 14.5, 15.5, 16.5, 17.5,
       18.5, 19.5);
    go(mixture, 1, 2.5, 3, 4.5f, "five", 6.25L, 7, (__int128)8 << 70, 9.5, ((struct mixed){ 10, 10.5 }), 11,
       12 + 12.5 * _Complex_I, 13, 14.5, 15, 16.5, 17.5, 18.5, 19.5, 20, ((struct point){ 21, 22 }),
       23 + 23.5 * _Complex_I, ((struct longs){ 24, 25 }), 26.5f);
    finish();
}

static void nine(long a, long b, long c, long d, long e, long f, long g, long h, long i)
{
    CHECK(a == 1 && b == 2 && c == 3 && d == 4 && e == 5 && f == 6 && g == 7 && h == 8);
    CHECK_EQ(i, 9);
    END();
}

static __attribute__((noinline)) long sum8(long a, long b, long c, long d, long e, long f, long g, long h)
{
    __asm__("");
    return a + b + c + d + e + f + g + h;
}

static __attribute__((noinline)) long sum9(long a, long b, long c, long d, long e, long f, long g, long h, long i)
{
    __asm__("");
    return a + b + c + d + e + f + g + h + i;
}

/* GCC leaves arguments of earlier calls on the stack for a while. */
TEST(calls_with_stack_arguments_around)
{
    go_waitgroup_add(&running, 5);
    long s = sum9(1, 2, 3, 4, 5, 6, 7, 8, 9);
    s += sum8(1, 2, 3, 4, 5, 6, 7, 8);
    go(nine, 1, 2, 3, 4, 5, 6, 7, 8, 9);
    go(nine, 1, 2, 3, 4, 5, 6, 7, 8, 9);
    s += sum8(1, 2, 3, 4, 5, 6, 7, 8);
    go(nine, 1, 2, 3, 4, 5, 6, 7, 8, sum9(1, 1, 1, 1, 1, 1, 1, 1, 1));
    s += sum8(1, 2, 3, 4, 5, 6, 7, 8);
    s += sum8(1, 2, 3, 4, 5, 6, 7, 8);
    go(nine, sum8(1, 0, 0, 0, 0, 0, 0, 0), 2, 3, 4, 5, 6, 7, sum8(1, 1, 1, 1, 1, 1, 1, 1), 9);
    s += sum9(1, 2, 3, 4, 5, 6, 7, 8, 9);
    go(nine, 1, 2, 3, 4, 5, 6, 7, 8, 9);
    finish();
    CHECK_EQ(s, 45 + 36 + 36 + 36 + 36 + 45);
}

/* Variables of any size in the launcher's frame, above and below its arguments. */

static __attribute__((noinline)) void use(void *p)
{
    __asm__ volatile("" : : "r"(p) : "memory");
}

static __attribute__((noinline)) void with_array(long i)
{
    char before[20000];
    memset(before, 1, sizeof before);
    use(before);
    go(nine, 1, 2, 3, 4, 5, 6, 7, 8, i);
    char after[20000];
    memset(after, 2, sizeof after);
    use(after);
    go(nine, 1, 2, 3, 4, 5, 6, 7, 8, i);
    use(before);
}

static __attribute__((noinline)) void with_vla(size_t size, long i)
{
    char array[size];
    memset(array, 1, size);
    use(array);
    go(nine, 1, 2, 3, 4, 5, 6, 7, 8, i);
    go(one_char, 'x');
    go(one_complex_long, 0.1L - 7 * (long double complex)_Complex_I);
    use(array);
}

static __attribute__((noinline)) void with_alloca(size_t size, long i)
{
    for (int round = 0; round < 3; round++) {
        char *array = __builtin_alloca(size);
        memset(array, 1, size);
        use(array);
        go(nine, 1, 2, 3, 4, 5, 6, 7, 8, i);
        use(array);
    }
}

static __attribute__((noinline)) void with_alignment(long i)
{
    __attribute__((aligned(64))) char array[100];
    memset(array, 1, sizeof array);
    use(array);
    go(nine, 1, 2, 3, 4, 5, 6, 7, 8, i);
    use(array);
}

TEST(frames_of_all_kinds)
{
    go_waitgroup_add(&running, 2 + 3 + 3 + 1);
    with_array(9);
    with_vla(50000, 9);
    with_alloca(10000, 9);
    with_alignment(9);
    finish();
}

/* A loop of launches keeps its stack as it is. */
static __attribute__((noinline)) void *stack_pointer(void)
{
    return __builtin_frame_address(0);
}

TEST(loops_do_not_grow_the_stack)
{
    void *before = stack_pointer();
    for (int i = 0; i < 1000; i++) {
        START();
        go(none);
        void *now = stack_pointer();
        if (now != before) {
            CHECK_EQ((char *)before - (char *)now, 0);
            break;
        }
    }
    finish();
}

/* Variadic functions. */

static void formatted(const char *want, const char *format, ...)
{
    char got[200];
    va_list args;
    va_start(args, format);
    vsnprintf(got, sizeof got, format, args);
    va_end(args);
    CHECK_STR(got, want);
    END();
}

TEST(variadic)
{
    go_waitgroup_add(&running, 4);
    go(formatted, "plain", "plain");
    go(formatted, "1 2.5 three c", "%d %.1f %s %c", 1, 2.5f, "three", 'c');
    go(formatted, "1 2 3 4 5 6 7 8 9 10 0.5 1.5 2.5 3.5 4.5 5.5 6.5 7.5 8.5 9.5",
       "%d %d %d %d %d %d %d %d %d %d %.1f %.1f %.1f %.1f %.1f %.1f %.1f %.1f %.1f %.1f", 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0.5,
       1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5, 9.5);
    go(formatted, "-1 0.1 18446744073709551615", "%hd %.1Lf %llu", (short)-1, 0.1L, ULLONG_MAX);
    finish();
}

/* A definition without a prototype. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpragmas"
#pragma GCC diagnostic ignored "-Wunknown-warning-option"
#pragma GCC diagnostic ignored "-Wstrict-prototypes"
#pragma GCC diagnostic ignored "-Wold-style-definition"
#pragma GCC diagnostic ignored "-Wdeprecated-non-prototype"
static void old_style(a, b) int a;
double b;
{
    CHECK_EQ(a, 4);
    CHECK(b == 0.25);
    END();
}

TEST(without_prototype)
{
    START();
    go(old_style, 4, 0.25);
    finish();
}
#pragma GCC diagnostic pop

/* The argument area of a goroutine may be written to, as a callee may do. */
static void writes(long a, long b, long c, long d, long e, long f, long g, long h, volatile long i)
{
    CHECK(a + b + c + d + e + f + g + h == 36);
    i += 1;
    CHECK_EQ(i, 10);
    END();
}

TEST(callee_owns_its_arguments)
{
    go_waitgroup_add(&running, 2);
    long i = 9;
    go(writes, 1, 2, 3, 4, 5, 6, 7, 8, i);
    go(writes, 1, 2, 3, 4, 5, 6, 7, 8, i);
    finish();
    CHECK_EQ(i, 9);
}

TEST(many_launches_in_flight)
{
    enum { N = 2000 };
    go_waitgroup_add(&running, 2 * N);
    for (int i = 0; i < N; i++) {
        go(nine, 1, 2, 3, 4, 5, 6, 7, 8, 9);
        go(formatted, "1 0.5", "%d %.1f", 1, 0.5);
    }
    finish();
}
