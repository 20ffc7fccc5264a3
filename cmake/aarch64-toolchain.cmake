# SPDX-License-Identifier: MIT
#
# Cross build for AArch64; programs run under qemu-user, if it is there:
#
#   cmake -B build/aarch64 -DCMAKE_TOOLCHAIN_FILE=cmake/aarch64-toolchain.cmake
#
# Debian: gcc-aarch64-linux-gnu, libc6-dev-arm64-cross, qemu-user.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_ASM_COMPILER aarch64-linux-gnu-gcc)

# The headers and libraries of the build machine are no use.
set(GO_AARCH64_ROOT /usr/aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH ${GO_AARCH64_ROOT})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)

# try_run starts programs with this before them; so does a project that adds this one, in its tests.
find_program(GO_QEMU NAMES qemu-aarch64 qemu-aarch64-static)
if(GO_QEMU)
  set(CMAKE_CROSSCOMPILING_EMULATOR ${GO_QEMU};-L;${GO_AARCH64_ROOT})
endif()
