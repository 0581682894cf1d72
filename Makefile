# SPDX-License-Identifier: Apache-2.0
# Two commands set everything up on a fresh Debian 12, as root: `make demo` and `make test`.

JOBS ?= $(shell nproc)
PYTHON := /usr/bin/python3
SOURCES = $(shell git ls-files '*.cpp' '*.h')

.DEFAULT_GOAL := help
.PHONY: help demo test guest bench bench-publish build asan tsan fuzz fresh format tidy clean install-packages

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 26

demo: build ## the main job on real traffic, in network namespaces (ARGS=--stay keeps it up)
	@$(PYTHON) deploy/demo/demo $(ARGS)

test: install-packages ## everything CI runs: build, unit, packet, end to end, sanitizers, instructions
	@JOBS=$(JOBS) tests/run

guest: build ## end to end once more, over virtio-net's queues in a virtual machine (not part of make test)
	@deploy/install-packages guest
	@tests/run guest

bench: build ## all benches beside their targets; JSON and plots in build/bench (ARGS=--record keeps them)
	@bench/run $(ARGS)

bench-publish: install-packages ## control speed alone: loading, changes under traffic (build/bench/publish.json)
	@JOBS=$(JOBS) deploy/build release publish_bench
	@mkdir -p build/bench
	@build/release/bench/publish/publish_bench --out=build/bench/publish.json

build: install-packages ## release build in build/release
	@JOBS=$(JOBS) deploy/build release all

asan: install-packages ## unit and packet tests under address and undefined sanitizers
	@JOBS=$(JOBS) deploy/build asan sluice_tests
	@ctest --test-dir build/asan --output-on-failure --no-tests=error -j $(JOBS)

tsan: install-packages ## the tests that use threads, under the thread sanitizer
	@JOBS=$(JOBS) deploy/build tsan sluice_threaded_tests
	@ctest --test-dir build/tsan --output-on-failure --no-tests=error -L threads -j $(JOBS)

fuzz: build ## the fuzzers, over packets and over Kubernetes objects, for FUZZ_SECONDS (600); 2 minutes are in make test
	@JOBS=$(JOBS) deploy/build fuzz pipeline_fuzz kubernetes_objects_fuzz
	@tests/fuzz/run $(or $(FUZZ_SECONDS),600)

fresh: install-packages ## demo and test, twice each, from a clone in a minimal Debian 12 chroot
	@deploy/fresh

format: install-packages ## clang-format over every tracked source
	@clang-format-14 -i $(SOURCES)

tidy: build ## clang-tidy over every tracked source, in build/release
	@git ls-files '*.cpp' | xargs -P $(JOBS) -n 4 clang-tidy-14 --quiet --extra-arg=-Wno-unknown-warning-option -p build/release

clean: ## removes build/
	@rm -rf build

install-packages: ## the Debian packages of deploy/packages.txt that are not there yet
	@deploy/install-packages
