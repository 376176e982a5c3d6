# Everything lives in .venv, so `.venv/bin/reconciler` is the program. Needs Python 3.11 or newer with venv; uses uv where it is there.

SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
UV := $(shell command -v uv)
# Some tests wait while others compute: five at a time for two cores.
WORKERS ?= $(shell $(PYTHON) -c 'import os; cores = os.cpu_count() or 1; print(max(cores, min(8, 5 * cores // 2)))')
PYTEST = $(BIN)/pytest -n $(WORKERS) --dist worksteal
DEMO ?=
ARGS ?=

# Containers often set it; then every worker of the tests, and every command that they start, would compile everything anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test test-all strikes soak lint format types layers generated generate examples bench check wheel lock clean bubblewrap kube-assets kube

help: ## Show this
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

# --- use it ---------------------------------------------------------------------------------------------------------------

demo: .venv/.runs bubblewrap ## A fleet on this machine: simulated platform, real agents, no key (DEMO="--scenario survive", "--keep" leaves it running)
	@$(BIN)/reconciler demo $(DEMO)

# --- work on it -----------------------------------------------------------------------------------------------------------

test: .venv/.develops ## The tests of a few minutes; what this machine lacks is skipped and said why
	$(PYTEST) -m "not slow" $(ARGS)

test-all: .venv/.develops ## All tests, also the slow ones (real machines that die, one in ten of all fault points)
	$(PYTEST) $(ARGS)

strikes: .venv/.develops ## Every fault at every effect of every scenario (more than an hour of two cores; FAULT_SHARE=40: one in forty)
	FAULT_SHARE=$(or $(FAULT_SHARE),1) $(PYTEST) tests/faults $(ARGS)

soak: .venv/.develops ## Everything there is: every fault, thousands of examples of each property, wide explorations, long chaos (hours)
	SOAK=1 FAULT_SHARE=1 $(PYTEST) --hypothesis-profile=soak -o timeout=3600 $(ARGS)

check: lint types layers generated examples ## Everything that needs no tests to run

lint: .venv/.develops ## Style and common mistakes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: .venv/.develops ## Rewrite what `lint` would complain about
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: .venv/.develops ## mypy --strict
	$(BIN)/mypy
	$(BIN)/mypy benchmarks
	$(BIN)/mypy tests/conformance tests/faults tests/kinds tests/program.py tests/warm.py

layers: .venv/.develops ## Which package may import which
	$(BIN)/lint-imports

generated: .venv/.runs ## Generated files are what the code generates
	$(BIN)/reconciler crds --check

generate: .venv/.develops ## Write the generated files: CRDs, schemas, and the generated parts of docs/
	$(BIN)/python -c 'from pathlib import Path; from reconciler.api.generate import write; print(*write(Path()), sep="\n")'
	$(BIN)/python -c 'from reconciler.core.governance.permissions.tables import module; print(module(), end="")' > reconciler/agent/keeper/guardtables.mjs
	$(BIN)/python -c 'from pathlib import Path; from reconciler.core.states import states_markdown; Path("docs/states.md").write_text(states_markdown(), "utf-8")'
	$(BIN)/python -m tests.conformance.operations
	$(BIN)/python -m tests.conformance.commands
	$(BIN)/python -m tests.conformance.guarantees

examples: .venv/.runs ## Every declaration in the repository that is meant to be valid, is
	$(BIN)/reconciler validate examples
	$(BIN)/reconciler validate specs
	$(BIN)/reconciler validate tests/manifests/valid

bench: .venv/.runs ## Benchmarks, each with a floor measured in the same run (ARGS=--quick: a smoke test)
	$(BIN)/python -m benchmarks.httpcalls $(ARGS)
	$(BIN)/python -m benchmarks.start $(ARGS)
	$(BIN)/python -m benchmarks.store $(ARGS)
	$(BIN)/python -m benchmarks.converge $(ARGS)
	$(BIN)/python -m benchmarks.resync $(ARGS)
	$(BIN)/python -m benchmarks.trees $(ARGS)
	$(BIN)/python -m benchmarks.polite $(ARGS)
	$(BIN)/python -m benchmarks.files $(ARGS)
	$(BIN)/python -m benchmarks.warm $(ARGS)
	$(BIN)/python -m benchmarks.page $(ARGS)

kube-assets: ## The API server that tests/kube run against, built once into the user's cache (minutes; needs Go 1.24)
	@$(PYTHON) -m tests.kube.assets

kube: kube-assets .venv/.develops ## A cluster to try things on, without pods: prints how to reach it; Ctrl-C ends it
	@$(BIN)/python -m tests.kube

wheel: .venv/.develops ## dist/reconciler-*.whl
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

lock: ## Choose newer versions and write them to constraints.txt
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet ".[dev]"
	{ echo "# Versions this release is tested with; made by \`make lock\`. Used by the Makefile and by continuous integration."; \
	  build/lock/bin/python -m pip freeze | grep -v '^reconciler '; } > constraints.txt

clean: ## Remove what was made here, .venv too
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- how it gets here -----------------------------------------------------------------------------------------------------

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 …" >&2; exit 1; }
	@echo "making .venv" >&2
	@$(if $(UV),uv venv --quiet --seed --python $(PYTHON) .venv,$(PYTHON) -m venv .venv || { echo "venv is missing (Debian: apt-get install python3-venv)" >&2; exit 1; })

ifneq ($(UV),)
INSTALL := uv pip install --quiet --python $(BIN)/python --constraint constraints.txt
else
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
endif

.venv/.runs: pyproject.toml constraints.txt | .venv/bin/python
	@echo "installing Python packages into .venv (about a minute, once)" >&2
	@$(INSTALL) --editable .
	@touch $@

.venv/.develops: pyproject.toml constraints.txt | .venv/bin/python
	@echo "installing Python packages, also those for development, into .venv (a minute or two, once)" >&2
	@$(INSTALL) --editable ".[dev]"
	@touch $@ .venv/.runs

# Simulated machines are isolated by bubblewrap where it is; without it each is a directory and its processes, which the demo says.
bubblewrap:
	@command -v bwrap >/dev/null || if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing bubblewrap, which isolates simulated machines from each other" >&2; \
	  { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends bubblewrap; } >/dev/null 2>&1 \
	    || echo "bubblewrap can't be installed here; simulated machines will not be isolated from each other" >&2; \
	else echo "bubblewrap is missing (Debian: sudo apt-get install bubblewrap); simulated machines will not be isolated from each other" >&2; fi
