# SPDX-License-Identifier: MIT
# Writes a test program of functions with random signatures, launched with values that they check:
#
#   awk -v seed=1 -v n=60 -v big=1 -f signatures.awk >signatures.c
#
# big=0 leaves out what AArch64 refuses.
function add(type, value, check) {
    types[count] = type
    values[count] = value
    checks[count++] = check ? check : "v == (" type ")(" value ")"
}

function random(limit) {
    return int(rand() * limit)
}


# Text with the words K and v replaced.
function replace(text, k, v,   out, i, c, word) {
    out = ""
    word = ""
    for (i = 1; i <= length(text) + 1; i++) {
        c = substr(text, i, 1)
        if (c ~ /[A-Za-z0-9_]/) {
            word = word c
            continue
        }
        out = out (word == "K" ? k : word == "v" ? v : word) c
        word = ""
    }
    return out
}

BEGIN {
    srand(seed)
    count = 0
    add("char", "(K) % 100")
    add("unsigned char", "(K) % 200")
    add("short", "-(K)")
    add("int", "(K) * 1000003")
    add("unsigned", "(K) * 7u")
    add("long", "(K) * -1000000007l")
    add("unsigned long long", "~0ull - (K)")
    add("bool", "(K) % 2")
    add("float", "(K) + 0.5f")
    add("double", "(K) + 0.25")
    add("long double", "(K) + 0.125L")
    add("__int128", "((__int128)(K) << 66) + (K)")
    add("float complex", "(K) + 2.5f * _Complex_I")
    add("double complex", "(K) - 3.5 * _Complex_I")
    add("void *", "&bytes[(K)]")
    add("struct longs", "((struct longs){ (K), -(K) })", "v.a == (K) && v.b == -(K)")
    add("struct mixed", "((struct mixed){ (K), (K) + 0.5 })", "v.a == (K) && v.b == (K) + 0.5")
    add("struct mixed2", "((struct mixed2){ (K) + 0.5, (K) })", "v.a == (K) + 0.5 && v.b == (K)")
    add("struct floats", "((struct floats){ (K), 0.5f })", "v.x == (K) && v.y == 0.5f")
    add("struct quad", "((struct quad){ (K), 2, 3, 4.5f })", "v.x == (K) && v.w == 4.5f")
    add("vector4", "((vector4){ (K), 1, 2, 3 })", "v[0] == (K) && v[3] == 3")
    if (big) {
        add("long double complex", "(K) + 0.75L * (long double complex)_Complex_I")
        add("struct wide", "((struct wide){ (K), 3 })", "v.a == (K) && v.c == 3 && (uintptr_t)&v % 16 == 0")
        add("struct precise", "((struct precise){ (K), 3 })", "v.d == (K) && v.i == 3")
    }
    most = big ? 40 : 16
    print "#include <goroutine.h>"
    print "#include <complex.h>"
    print "#include <string.h>"
    print "#include \"test.h\""
    print "static go_waitgroup running;"
    print "static char bytes[100];"
    print "typedef float vector4 __attribute__((vector_size(16)));"
    print "struct longs { long a, b; };"
    print "struct mixed { long a; double b; };"
    print "struct mixed2 { double a; int b; };"
    print "struct floats { float x, y; };"
    print "struct quad { float x, y, z, w; };"
    print "struct wide { __attribute__((aligned(16))) long a; char c; };"
    print "struct precise { long double d; int i; };"
    for (size = 1; size <= most; size++) {
        printf "struct s%d { unsigned char c[%d]; };\n", size, size
        printf "static struct s%d make%d(int k) { struct s%d s; for (int i = 0; i < %d; i++) s.c[i] = (unsigned char)(k + 3 * i); return s; }\n", size, size, size, size
        printf "static __attribute__((unused)) bool is%d(struct s%d s, int k) { struct s%d t = make%d(k); return memcmp(&s, &t, sizeof s) == 0; }\n", size, size, size, size
        add("struct s" size, "make" size "(K)", "is" size "(v, K)")
    }
    print "static __attribute__((noinline)) long sum9(long a, long b, long c, long d, long e, long f, long g, long h, long i)"
    print "{ __asm__(\"\"); return a + b + c + d + e + f + g + h + i; }"

    basic = 21
    for (f = 0; f < n; f++) {
        arity[f] = random(20)
        # Results are discarded, wherever they come.
        split("void,int,double,long double,_Complex double,_Complex long double", results, ",")
        r = 1 + random(6)
        printf "static %s f%d(", results[r], f
        body = ""
        for (a = 0; a < arity[f]; a++) {
            # Structures of bytes are many: scalars half of the time.
            t = random(2) ? random(basic) : random(count)
            k = 1 + random(50)
            call[f] = call[f] ", " replace(values[t], k, "")
            printf "%s%s a%d", a ? ", " : "", types[t], a
            body = body sprintf("    CHECK(%s);\n", replace(checks[t], k, "a" a))
        }
        printf "%s)\n{\n%s    go_waitgroup_done(&running);\n%s}\n\n", arity[f] ? "" : "void", body, (r > 1 ? "    return 7;\n" : "")
    }
    for (f = 0; f < n; f += 5) {
        printf "static __attribute__((noinline)) void launch%d(size_t size)\n{\n    long s = 0;\n", f
        if (random(3) == 0)
            print "    char array[size];\n    memset(array, 1, size);\n    __asm__ volatile(\"\" : : \"r\"(array) : \"memory\");"
        else
            print "    (void)size;"
        for (i = f; i < f + 5 && i < n; i++) {
            if (random(2))
                print "    s += sum9(1, 2, 3, 4, 5, 6, 7, 8, s);"
            printf "    go(f%d%s);\n", i, call[i]
        }
        print "    CHECK(s >= 0);\n}\n"
    }
    print "TEST(random_signatures)\n{"
    printf "    go_waitgroup_add(&running, %d);\n", n
    for (f = 0; f < n; f += 5)
        printf "    launch%d(%d);\n", f, 100 + random(3000)
    print "    go_waitgroup_wait(&running);\n}"
}
