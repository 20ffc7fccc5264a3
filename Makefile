# SPDX-License-Identifier: MIT
# The front door: each target is a few commands around CMake and tests/run. `make help` lists them.

BUILD ?= build
PREFIX ?= /usr/local
JOBS ?= $(shell nproc)
CMAKE_FLAGS ?=
export JOBS

configure = cmake -G Ninja -S . -Wno-dev -DCMAKE_INSTALL_PREFIX="$(PREFIX)" $(CMAKE_FLAGS)
build = cmake --build
# PROCS=2,4: at these numbers of Ps instead of 1, 2, 4 and 8.
procs = $(if $(PROCS),-p $(PROCS))
# TSan's pause at exit would let goroutines run on after main has returned.
sanitizer_options = ASAN_OPTIONS=detect_stack_use_after_return=1:detect_leaks=0:$$ASAN_OPTIONS \
	UBSAN_OPTIONS=print_stacktrace=1:$$UBSAN_OPTIONS TSAN_OPTIONS=atexit_sleep_ms=0:second_deadlock_stack=1:$$TSAN_OPTIONS

.PHONY: all run test test-clang test-debug asan tsan aarch64 bench install check-format clean help

all: ## build the library, the examples and the tests
	@tools/install-deps build
	@$(configure) -B $(BUILD) >/dev/null
	@$(build) $(BUILD) -j $(JOBS)

run: ## build and run the program of the article
	@tools/install-deps build
	@$(configure) -B $(BUILD) >/dev/null
	@$(build) $(BUILD) -j $(JOBS) --target examples_heavyweight_champ
	$(BUILD)/examples/heavyweight_champ

test: ## all tests, at GOMAXPROCS 1, 2, 4 and 8; TESTS=chan for those with chan in their names
	@tools/install-deps build test
	@$(configure) -B $(BUILD) -DGO_TESTS=ON -DGO_WERROR=ON >/dev/null
	@$(build) $(BUILD) -j $(JOBS)
	@tests/run -s $(procs) $(BUILD) $(TESTS)

test-debug: ## all tests with every invariant check compiled in
	@tools/install-deps build test
	@$(configure) -B $(BUILD)/debug -DGO_DEBUG_LEVEL=2 -DGO_WERROR=ON >/dev/null
	@$(build) $(BUILD)/debug -j $(JOBS)
	@TEST_SLOW=3 tests/run $(procs) $(BUILD)/debug $(TESTS)

test-clang: ## all tests, built with Clang
	@tools/install-deps build test
	@$(configure) -B $(BUILD)/clang -DCMAKE_C_COMPILER=clang -DGO_WERROR=ON >/dev/null
	@$(build) $(BUILD)/clang -j $(JOBS)
	@tests/run $(procs) $(BUILD)/clang $(TESTS)

asan: ## all tests under AddressSanitizer and UBSan
	@tools/install-deps build test
	@$(configure) -B $(BUILD)/asan -DGO_SANITIZE=address -DGO_WERROR=ON >/dev/null
	@$(build) $(BUILD)/asan -j $(JOBS)
	@$(sanitizer_options) TEST_SLOW=5 tests/run $(procs) $(BUILD)/asan $(TESTS)

tsan: ## all tests under ThreadSanitizer
	@tools/install-deps build test
	@$(configure) -B $(BUILD)/tsan -DGO_SANITIZE=thread -DGO_WERROR=ON >/dev/null
	@$(build) $(BUILD)/tsan -j $(JOBS)
	@$(sanitizer_options) TEST_SLOW=10 tests/run $(procs) $(BUILD)/tsan $(TESTS)

aarch64: ## all tests on the other processor, cross-built and run by qemu
	@tools/install-deps build aarch64
	@$(configure) -B $(BUILD)/aarch64 -DCMAKE_TOOLCHAIN_FILE=$(CURDIR)/cmake/aarch64-toolchain.cmake -DGO_WERROR=ON >/dev/null
	@$(build) $(BUILD)/aarch64 -j $(JOBS)
	@TEST_SLOW=10 TEST_EMULATOR="qemu-aarch64 -L /usr/aarch64-linux-gnu" tests/run $(procs) $(BUILD)/aarch64 $(TESTS)

bench: ## compare with Go and others; WORK=select RUNS=9 GO=/path/to/go
	@tools/install-deps build bench
	@$(configure) -B $(BUILD) >/dev/null
	@$(build) $(BUILD) -j $(JOBS)
	@bench/run $(BUILD)

install: ## install below PREFIX (/usr/local); DESTDIR is honoured
	@tools/install-deps build
	@$(configure) -B $(BUILD)/release -DGO_TESTS=OFF -DGO_EXAMPLES=OFF >/dev/null
	@$(build) $(BUILD)/release -j $(JOBS)
	@cmake --install $(BUILD)/release

check-format: ## the rules of layout that can be checked
	@tools/check-format

clean: ## remove what was built
	rm -rf $(BUILD)

help: ## this list
	@sed -nE 's/^([a-z0-9-]+): ## (.*)/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-20s %s\n", $$1, $$2 }'
