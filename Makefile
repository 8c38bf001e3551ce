# ruwsgi: build, run, test, install. `make help` lists the goals.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build

PREFIX ?= /usr/local
DESTDIR ?=
PORT ?= 8000
CARGO ?= cargo
ARGS ?=

# rustup's directory, for shells that have not read its profile yet
ifeq ($(shell command -v cargo),)
export PATH := $(PATH):$(HOME)/.cargo/bin
endif
export CARGO_TARGET_DIR ?= $(CURDIR)/target
TARGET := $(CARGO_TARGET_DIR)

.PHONY: help build run test lint bench install clean

help: ## this list
	@echo "make GOAL, GOAL being one of:"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 12
	@echo "  install honours PREFIX ($(PREFIX)) and DESTDIR, run PORT ($(PORT)), test and bench ARGS"

build: ## the binary and the extension module, optimised, in target/release
	@scripts/need build
	$(CARGO) build --release --workspace

run: ## serve the example site on http://127.0.0.1:$PORT/ (installs what is missing)
	@scripts/need run
	@scripts/run-example check "$(PORT)"
	@$(MAKE) --no-print-directory build
	@exec scripts/run-example serve "$(PORT)" "$(TARGET)/release/ruwsgi"

# The modules that an interpreter loads are no dependency of the tests in cargo's eyes, hence the build first.
test: ## every test (installs what is missing: nginx, python3-venv ...)
	@scripts/need test
	$(CARGO) build --workspace
	KIT_PYTHON="$${KIT_PYTHON:-$$(scripts/python)}" CARGO="$(CARGO)" scripts/test $(ARGS)

lint: ## the formatting and clippy's opinion, warnings being errors
	@scripts/need lint
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

bench: ## speed and memory beside uWSGI's (ARGS="--case post8k --rounds 5")
	@scripts/need bench
	$(CARGO) build --release --workspace
	@scripts/bench-venv "$(TARGET)/bench-venv"
	$(CARGO) bench --bench hello -- $(ARGS)
	$(CARGO) bench --bench memory
	$(CARGO) bench --bench emperor

install: ## bin/ruwsgi and lib/ruwsgi/ below $DESTDIR$PREFIX, safe while a ruwsgi runs from there
	@scripts/install "$(DESTDIR)$(PREFIX)" "$(TARGET)/release" "$(PREFIX)"

clean: ## remove what was built
	$(CARGO) clean
