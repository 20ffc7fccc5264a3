#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# An installed tree works through pkg-config, static and shared, and through CMake; and can be moved.
. "$(dirname "$0")/../script.sh"

prefix=$work/usr
if ! output=$(make -C "$root" install PREFIX="$prefix" BUILD="$work/build" 2>&1); then
    fail "make install" "$output"
    finish
fi
ok "make install"
for file in include/goroutine.h include/goroutine/launch.h lib/libgoroutine.a lib/libgoroutine.so lib/pkgconfig/goroutine.pc \
    lib/cmake/goroutine/goroutine-config.cmake share/man/man3/go.3 share/man/man3/go_yield.3 share/man/man7/goroutine.7; do
    check "$file is there" test -s "$prefix/$file"
done
check "the library has a soname" \
    sh -c "readelf -d '$prefix/lib/libgoroutine.so' | grep -q 'SONAME.*libgoroutine.so.0.1\]'"
check "the library is bound at once" sh -c "readelf -d '$prefix/lib/libgoroutine.so' | grep -q BIND_NOW"
check "the library stays, for its threads do" sh -c "readelf -d '$prefix/lib/libgoroutine.so' | grep -q NODELETE"
check "its soname is a file" test -e "$prefix/lib/libgoroutine.so.0.1"
empty "the tree does not name the build" grep -rIl "$work/build" "$prefix"

export PKG_CONFIG_PATH=$prefix/lib/pkgconfig
runs() { # NAME COMMAND...
    local name=$1 output
    shift
    output=$("$@" 2>&1)
    if [[ $output = "sum 45, deferred 1" ]]; then ok "$name"; else fail "$name" "$output"; fi
}
if command -v pkg-config >/dev/null; then
    for cc in $(compilers); do
        # shellcheck disable=SC2046
        check "pkg-config $cc" $cc -O2 -o "$work/shared" "$root/tests/build/user.c" $(pkg-config --cflags --libs goroutine)
        runs "a program of the shared library, $cc" env LD_LIBRARY_PATH="$prefix/lib" "$work/shared"
        # shellcheck disable=SC2046
        check "pkg-config --static $cc" $cc -static -O2 -o "$work/static" "$root/tests/build/user.c" \
            $(pkg-config --static --cflags --libs goroutine)
        runs "a static program, $cc" "$work/static"
        check "the archive $cc" $cc -O2 -o "$work/archive" "$root/tests/build/user.c" \
            $(pkg-config --cflags goroutine) "$prefix/lib/libgoroutine.a" -pthread
        runs "a program with the archive, $cc" "$work/archive"
    done
else
    skip "pkg-config" "there is none"
fi

spaced="$work/a b"
check "make install to a folder with a space" make -C "$root" install PREFIX="$spaced" BUILD="$work/build"
if command -v pkg-config >/dev/null; then
    check "pkg-config with a space" env PKG_CONFIG_PATH="$spaced/lib/pkgconfig" sh -c \
        "eval gcc -static -o '$work/spaced' '$root/tests/build/user.c' \"\$(pkg-config --static --cflags --libs goroutine)\""
    runs "a program of a folder with a space" "$work/spaced"
fi

mkdir "$work/user"
cp "$root/tests/build/user.c" "$work/user/"
cat >"$work/user/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.18)
project(user C)
find_package(goroutine 0.1 REQUIRED)
add_executable(user user.c)
target_link_libraries(user PRIVATE goroutine::goroutine)
add_executable(user_shared user.c)
target_link_libraries(user_shared PRIVATE goroutine::goroutine_shared)
END
mv "$prefix" "$work/moved"
check "CMake configures" cmake -G Ninja -S "$work/user" -B "$work/user/build" -DCMAKE_PREFIX_PATH="$work/moved"
check "CMake builds" cmake --build "$work/user/build"
runs "a CMake program of a tree that was moved" "$work/user/build/user"
runs "a CMake program of the shared library" "$work/user/build/user_shared"
finish
