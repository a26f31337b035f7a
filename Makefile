# The command list: people and CI use these and nothing else. `make help` says what each does.
SHELL := /bin/bash
.DEFAULT_GOAL := help

export VIRTUAL_ENV := $(CURDIR)/.venv
export PATH := $(VIRTUAL_ENV)/bin:$(PATH)
DEMO := demo
NATIVE := Cargo.toml Cargo.lock pyproject.toml $(shell find native -path native/fuzz -prune -o -path native/pkcs11-shim -prune -o -name '*.rs' -print -o -name Cargo.toml -print)
SHIM := Cargo.toml Cargo.lock $(shell find native/pkcs11-shim -name '*.rs' -o -name Cargo.toml)
SECONDS := 60
MINUTES := 60

.PHONY: help prepare run serve test soak check shim kryoptic cover fuzz bench report wheel clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## */\1\t/' | expand -t 12

prepare: .venv/native.stamp  ## install what is missing and build the extension

run: prepare  ## demo: HSM-backed vectors issued, verified, refused and traced, with rates; two organisations in line
	@python -m bench demo --home $(DEMO)

serve: prepare  ## the demo home, running until Ctrl-C
	@test -d $(DEMO) || appliance init $(DEMO) --demo
	@appliance serve --home $(DEMO)

test: check shim  ## every check and test that CI runs
	@scripts/prepare.sh test
	cargo test --workspace --locked --quiet
	pytest -m "not soak" --cov --cov-report=term:skip-covered

soak: prepare shim  ## an hour of load, faults, rotations and reloads (MINUTES=n), then the long variants of tests
	python -m bench soak --minutes $(MINUTES)
	pytest -m soak --timeout 3600

check: prepare  ## format, lint, types, layers
	ruff format --check .
	ruff check .
	lint-imports
	mypy
	python -m mypy.stubtest appliance.native._native
	cargo fmt --all --check
	cargo fmt --manifest-path native/fuzz/Cargo.toml --check
	cargo clippy --workspace --all-targets --locked --quiet -- -D warnings

shim: .venv/shim.stamp  ## build the PKCS#11 fault injector that tests and benchmarks put before a token

kryoptic: | system  ## build kryoptic, another PKCS#11 token for the contract suite (a minute or two)
	@scripts/prepare.sh kryoptic
	cargo build --release --locked --quiet --manifest-path tests/kryoptic/Cargo.toml --target-dir target/kryoptic

fuzz: prepare  ## fuzz the XML core: SECONDS=n for each target (60), TARGETS='reader verify' for some of them
	@scripts/prepare.sh fuzz
	@native/fuzz/run.sh $(SECONDS) $(TARGETS)

bench: prepare shim  ## the token's ceiling, then the appliance on it
	@python -m bench ceiling --home $(DEMO)
	@python -m bench load --home $(DEMO)

report: prepare shim  ## every measurement, as report/report.html, .md and .json; QUICK=--quick for minutes instead of most of an hour
	@python -m bench report $(QUICK) $(if $(wildcard target/java/opensaml*.jar),--jars target/java) report

wheel: prepare  ## a wheel in dist/
	maturin build --release --locked --out dist

clean:  ## remove everything that was built, and the demo homes
	rm -rf .venv target dist report $(DEMO) $(DEMO)-a $(DEMO)-b appliance/native/*.so

.PHONY: system
system:
	@scripts/prepare.sh

.venv/native.stamp: $(NATIVE) | system
	@echo "prepare: building the extension (release)"
	@maturin develop --release --locked --quiet >.venv/native.log 2>&1 || { cat .venv/native.log; exit 1; }
	@touch $@

.venv/shim.stamp: $(SHIM) | .venv/native.stamp
	@echo "prepare: building the fault injector (release)"
	@cargo build --release --locked --quiet -p pkcs11-shim
	@touch $@
