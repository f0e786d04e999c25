# The one entry point: a person, a script and continuous integration all come through here.
# The work itself is in scripts/, one small program per step, so that each can be run alone.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Flags given in the environment would rebuild every crate: .cargo/config.toml is the only place for them.
unexport RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_RUSTFLAGS

ONCE ?=
CASES ?= 1000000
ROUNDS ?= 200
SOAK ?= 3600
export ONCE

.PHONY: run test check build setup bench bench-peers bench-vectors soak fuzz chaos clean help

run: ## Set up, build, show every model answering real input, keep serving (ONCE=1: stop after the answers)
	@scripts/run

test: ## Everything that must hold before a change lands: check, all tests, real clients, the demonstration
	@scripts/test

check: ## The quick half of `test`: format, lints, dependency policy
	@scripts/check

build: ## Build the binary with the one profile: target/release/manpasik
	@scripts/setup || [[ $$? == 3 ]]
	@scripts/build

setup: ## Install what is missing (tools, ONNX Runtime) and say what and why
	@scripts/setup

bench: build ## Measure the server against a bare echo on this machine (docs/benchmarks.md)
	@target/release/manpasik bench serve

bench-peers: build ## Measure it beside Triton, MLServer, BentoML, LitServe and Ray Serve (2 GB of packages, half an hour)
	@scripts/peers

bench-vectors: build ## Measure the vector store beside usearch and hnsw_rs alone (a quarter of an hour)
	@cargo build --release --locked --manifest-path benches/hnsw_alone/Cargo.toml
	@target/release/manpasik bench vectors --peer benches/hnsw_alone/target/release/hnsw_alone

soak: build ## Load the server for SOAK (default 3,600) seconds while its model is swapped: no error, no growth of memory
	@target/release/manpasik bench soak --seconds $(SOAK)

fuzz: ## Throw CASES (default 1,000,000) broken inputs at every decoder that faces the network
	@PROPTEST_CASES=$(CASES) cargo test --release --workspace --lib --bins --tests -- fuzz

chaos: ## Kill the vector store and the registry ROUNDS (default 200) times at random points, load the store for a minute, and models 1,000 times
	@MANPASIK_CHAOS_ROUNDS=$(ROUNDS) cargo test --release --workspace --lib --bins --tests -- chaos
	@MANPASIK_CYCLES=1000 .venv/bin/python tests/clients/test_cycles.py

clean: ## Remove what was built here (the data folder of the user is kept)
	@cargo clean
	@rm -rf .venv .venv-mlflow2 .venv-mlflow3 .s3rver

help: ## This list
	@printf 'usage: make TARGET\n\n'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
