# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# `make demo` and `make test` set up everything they need in .venv, from Python 3.11 or newer. `make help` lists the rest.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
# Pinned and installed first, so that no other version is fetched. Where this brings gigabytes of GPU libraries that you do
# not want: make TORCH='torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu'
TORCH  ?= torch==2.13.0
# Python compiles what is imported; all of PyTorch would take longer.
INSTALL := pip install --quiet --no-compile
# Each worker compiles with all cores, so two keep a machine busy; a file's tests share what they compile. In the order of
# their names the last files are short ones, so that both end together.
WORKERS ?= -n 2 --dist loadfile --no-loadscope-reorder
WHEEL_VENV := build/wheel-venv
EMPTY      := build/empty

.PHONY: help demo test test-all test-wheel lint types pytest sweep bench lit format clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(READY) ## train a network on handwritten digits with eager, inductor and Flambeau
	$(BIN)/python examples/digits.py

test: lint types ## lint, types, pytest without the slow tests, lit
	$(MAKE) lit
	$(MAKE) pytest PYTEST_FLAGS='-m "not slow"'

test-all: lint types ## the same with the slow tests, and again from an installed wheel
	$(MAKE) lit
	$(MAKE) test-wheel
	$(MAKE) pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

pytest: $(READY) ## all of pytest; PYTEST_FLAGS='-k name' for some
	$(BIN)/python -m pytest $(WORKERS) $(PYTEST_FLAGS)

sweep: export OMP_WAIT_POLICY = PASSIVE
sweep: $(READY) ## PyTorch's databases of operators and modules, hours; goes on where it stopped; writes docs/coverage.md
	$(BIN)/python -m tests.sweeps --db op_db module_db --shapes static dynamic --samples 2 --record $(SWEEP_FLAGS)
	$(BIN)/python -m tests.sweeps --dtype float64 float16 bfloat16 int64 bool --samples 1 --record $(SWEEP_FLAGS)

lit: $(READY) ## all of lit
	$(BIN)/lit -v lit_tests

# The wheel in an environment of its own, tested from a folder that holds nothing but the tests: those that would miss a
# file of the package, a program or an entry point. tests/test_packaging.py compares the wheel's files with the sources.
WHEEL_TESTS := tests/frontend/test_api.py tests/frontend/test_export.py tests/tools tests/test_packaging.py
test-wheel: $(READY)
	rm -rf $(WHEEL_VENV) $(EMPTY) dist
	$(BIN)/python -m build --wheel --outdir dist .
	$(PYTHON) -m venv $(WHEEL_VENV)
	$(WHEEL_VENV)/bin/python -m pip install --quiet --upgrade pip
	$(WHEEL_VENV)/bin/python -m $(INSTALL) $(TORCH)
	$(WHEEL_VENV)/bin/python -m $(INSTALL) "$$(ls dist/*.whl)[test]"
	mkdir -p $(EMPTY)
	cp -r tests lit_tests pyproject.toml $(EMPTY)
	cd $(EMPTY) && ../../$(WHEEL_VENV)/bin/lit -v lit_tests/pipelines
	cd $(EMPTY) && ../../$(WHEEL_VENV)/bin/python -m pytest $(WORKERS) -m "not slow and not checkout" $(WHEEL_TESTS)

bench: $(READY) ## models beside eager and inductor, half an hour on a quiet machine; writes docs/performance.md
	$(BIN)/python -m benchmarks.models --page docs/performance.md $(BENCH_FLAGS)

format: $(READY) ## rewrite the sources in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove what the other targets made
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache *.egg-info

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed, this is $$($(PYTHON) --version); say which: make PYTHON=python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(READY): $(BIN)/python pyproject.toml
	$(BIN)/python -m $(INSTALL) $(TORCH)
	$(BIN)/python -m $(INSTALL) -e '.[test,demo]'
	@touch $@
