.DEFAULT_GOAL := help
.PHONY: help build deb check parts demo test sweep bench coverage fuzz lint

help: ## Show this list
	@sed -n 's/^\([a-z]*\): ## /\1\t/p' $(MAKEFILE_LIST) | expand -t 8

build: ## Build target/release/drainswap
	cargo build --release --locked

deb: ## Build a Debian package in target/debian
	.ci/deb

demo: ## Replace four real containers behind a real HAProxy under load
	.ci/parts stage sh -c "cargo build --quiet --locked --bins --example demo && cargo run --quiet --locked --example demo"

check: ## Check what needs nothing but Rust: the format, the lints, the unit tests, a part of the simulation
	cargo fmt --check
	cargo clippy --locked --lib --bins -- -D warnings
	cargo test --locked --lib --test tidy --test fuzz
	cargo test --locked --test simulation -- stories fixed_cases a_few_faults

parts: ## Install what the tests need: HAProxy, Docker, a registry, …
	.ci/parts install

test: ## Run all tests; installs and starts what they need
	.ci/parts test

sweep: ## Run the slow tests: kills, every HAProxy and engine, the wide simulation
	.ci/sweep

bench: ## Run the benchmarks
	.ci/parts stage cargo bench --locked

coverage: ## Check that tests cover every branch of deploy, plan and run; REAL=1 counts those with real parts
	.ci/coverage $(if $(REAL),--real)

fuzz: ## Fuzz every parser of stored or received bytes, for TIME seconds each
	.ci/fuzz

lint: ## Check formatting and lints, and the scripts if shellcheck is installed
	cargo fmt --check
	rustfmt --check --edition 2024 fixtures/app/main.rs
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --lib --bins -- -D warnings
	@if command -v shellcheck >/dev/null; then shellcheck --external-sources --severity=warning .ci/run .ci/parts .ci/ansible .ci/deb .ci/haproxy-versions .ci/coverage .ci/fuzz .ci/sweep .ci/engines; fi
