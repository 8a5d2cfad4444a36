.DEFAULT_GOAL := help
.PHONY: help build deb demo test sweep bench coverage fuzz lint

help: ## Show this list
	@sed -n 's/^\([a-z]*\): ## /\1\t/p' $(MAKEFILE_LIST) | expand -t 8

build: ## Build the program into target/release/drainswap
	cargo build --release --locked

deb: ## Build a Debian package of it into target/debian
	.ci/deb

demo: ## Replace four real containers behind a real HAProxy under load
	.ci/parts run sh -c "cargo build --quiet --locked && cargo run --quiet --locked --example demo"

test: ## Run all tests, with what they need installed and started
	.ci/parts test

sweep: ## Run what the tests leave out: kills, every HAProxy and engine, the wide simulation
	.ci/sweep

bench: ## Measure
	.ci/parts run cargo bench --locked

coverage: ## Fail where a branch of the modules that decide is entered by no test
	.ci/coverage

fuzz: ## Try every reader of stored or received bytes with a fuzzer, for TIME seconds each
	.ci/fuzz

lint: ## Check the format and the lints, of the scripts too where shellcheck is installed
	cargo fmt --check
	rustfmt --check --edition 2024 fixtures/app/main.rs
	cargo clippy --locked --all-targets -- -D warnings
	@if command -v shellcheck >/dev/null; then shellcheck .ci/run .ci/parts .ci/deb .ci/haproxy-versions .ci/coverage .ci/fuzz .ci/sweep .ci/engines; fi
