# Trimtab's one entry point. `make help` documents itself.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SEED ?= 1
KEEP ?=
# Long campaigns draw other examples each time; a seed that was printed tells the same again.
STORIES ?= $(shell date +%s)
STORIES := $(STORIES)
ARGS ?=
export PYTHONPATH := operator:hack
# Two busy cores make threaded linear algebra on small matrices ten times slower, not faster.
export OPENBLAS_NUM_THREADS := 1
export OMP_NUM_THREADS := 1
# What was compiled is kept: else each run rewrites the asserts of every test module anew, for seconds per process.
unexport PYTHONDONTWRITEBYTECODE

# Long campaigns, a target each; `make chaos` runs them all. The one that needs the most of the machine is the last.
CAMPAIGNS := chaos-simulation chaos-hostile chaos-crashes chaos-rivals chaos-soak chaos-cluster

.PHONY: help setup check lint generate verify test test-fast test-cluster chaos $(CAMPAIGNS) demo bench bench-peers \
	bench-optimizer bench-safety bench-joint bench-breaches \
	build-controlplane clean

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  \033[1m%-20s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## Make .venv with everything that development needs

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python >= 3.11 is needed: make setup PYTHON=python3.12")'
	@echo "setup: installing into $(VENV) (about a minute the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $(STAMP)

check: setup lint test-fast ## Lint, types, layers, generated files, fast tests: under a minute, no network

lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/deptry operator
	@$(BIN)/python hack/generate.py --check

test-fast: setup
	@mkdir -p build
	@$(BIN)/python -m pytest -n 2 -q -m "not thorough" tests/unit tests/contract tests/simulation $(ARGS)

generate: setup ## Write CRDs, reference docs and the chart's copies from the types
	@$(BIN)/python hack/generate.py

verify: setup ## Fail when a generated file differs from what the types say
	@$(BIN)/python hack/generate.py --check

build-controlplane: setup ## Build kube-apiserver, etcd, Prometheus, ... once into the user's cache
	@$(BIN)/python -m controlplane build

# Four workers on two cores: half of the tests wait for a cluster most of the time, see tests/sharing.py. What they wait
# for comes later on so busy a machine; what is promised in seconds is measured, not waited for.
test: export WAITING_PATIENCE := 2
test: setup build-controlplane lint ## Everything: the fast tests, then the real control plane and Prometheus
	@mkdir -p build
	@$(BIN)/python -m pytest -n 4 --dist loadscope tests $(ARGS)

test-cluster: setup build-controlplane ## Only the tests on the real control plane
	@$(BIN)/python -m pytest -n 2 --dist loadscope tests/cluster $(ARGS)

chaos: ## Every long campaign, hours in total, whatever one of them found: what `make test` has a short form of
	@failed=; for campaign in $(CAMPAIGNS); do $(MAKE) $$campaign || failed="$$failed $$campaign"; done; \
		test -z "$$failed" || { echo "chaos: failed:$$failed" >&2; exit 1; }

chaos-simulation: setup ## Ten thousand simulated worlds in which everything goes wrong (ARGS='--seeds 500')
	@mkdir -p build
	@$(BIN)/python -m chaos $(ARGS)
	@echo "stories of --hypothesis-seed $(STORIES)"
	@$(BIN)/python -m pytest --long -q --hypothesis-seed $(STORIES) tests/simulation tests/unit/test_scaled_examples.py

chaos-hostile: setup ## A hundred thousand hostile manifests, names, queries, quantities and files
	@echo "examples of --hypothesis-seed $(STORIES)"
	@TRIMTAB_HOSTILE_EXAMPLES=100000 $(BIN)/python -m pytest -n 2 -q --timeout 7200 --hypothesis-seed $(STORIES) \
		tests/unit/hostile

chaos-crashes: setup ## A crash before and after each effect of each story, and a second one soon after
	@$(BIN)/python -m benchmarks.simulation.branches --jobs 2 $(ARGS)

chaos-rivals: setup ## Two operators at once: the leadership is moved at each effect of each story
	@$(BIN)/python -m benchmarks.simulation.rivals --jobs 2 $(ARGS)

chaos-soak: setup ## 5,000 trials of 250 Experiments in virtual time: does anything grow?
	@mkdir -p build/chaos
	@$(BIN)/python -m benchmarks.simulation.soak --json build/chaos/soak.json $(ARGS)

chaos-cluster: setup build-controlplane ## The campaigns on the real control plane: crashes, bad networks, soak
	@mkdir -p build/chaos
	@$(BIN)/python -m pytest --long -s tests/cluster $(ARGS)

demo: setup build-controlplane ## Tune the example web service on a real control plane (SEED=n, KEEP=1)
	@$(BIN)/python -m demo --seed $(SEED) $(if $(KEEP),--keep)

bench: setup ## Print the benchmarks' figures
	@$(BIN)/python -m benchmarks.run $(ARGS)

bench-peers: setup ## Install the optimizers that the benchmark compares with, into the user's cache (5.7 GB)
	@$(BIN)/python -m benchmarks.optimizer.venv

bench-optimizer: setup ## Safety of the optimizer beside its rivals, a few minutes (ARGS=--full: three hours)
	@peers=$$($(BIN)/python -m benchmarks.optimizer.venv --python 2>/dev/null) || peers=$(BIN)/python; \
		PYTHONPATH=$(PYTHONPATH):. $$peers -W ignore -m benchmarks.optimizer $(ARGS)

bench-safety: setup ## False withdrawals, time to find bad canaries, caps: minutes (ARGS=--full: 2,000 trials a cell)
	@PYTHONPATH=$(PYTHONPATH):. $(BIN)/python -m benchmarks.safety $(ARGS)

bench-joint: setup ## Requests and target together against one after the other: a minute (ARGS=--full: 20 seeds)
	@PYTHONPATH=$(PYTHONPATH):. $(BIN)/python -m benchmarks.joint $(ARGS)

bench-breaches: setup build-controlplane ## Thirty forced breaches, ticks beside fits, a killed leader (ARGS='--only reap --only burn')
	@PYTHONPATH=$(PYTHONPATH):. $(BIN)/python -m benchmarks.operator.breaches --json build/bench/breaches.json $(ARGS)

clean: ## Remove build outputs (the user's cache stays)
	@rm -rf build .pytest_cache .mypy_cache .ruff_cache .hypothesis
