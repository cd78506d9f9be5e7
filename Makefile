# The commands of the house. `make help` lists them; each makes the environment that it needs in .venv.

PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$python" && break; done)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
DEVELOPING := $(VENV)/developing
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# What the programs behind the commands are started with: make run SERVE_OPTIONS='--port 8100'.
SERVE_OPTIONS ?=
BENCH_OPTIONS ?=
CHAOS_OPTIONS ?=
PYTEST_OPTIONS ?=
# Processes that run tests; each has a database server of its own.
WORKERS ?= 2

# Every branch of these is run by a test: what they get wrong cannot be put right afterwards.
FULLY_COVERED := domain/*,infrastructure/event_store*.py,infrastructure/codec.py

.DEFAULT_GOAL := help
.PHONY: help install develop run test lint format typecheck pytest bench chaos fuzz lock

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Install Rapport into .venv, every package pinned by its hash

develop: $(DEVELOPING) ## Install what tests and linters need, too

run: install ## Start the database, the API and the projector
	$(BIN)/rapport serve $(SERVE_OPTIONS)

test: lint pytest ## Check everything: format, lint, types, layers, spelling, tests, coverage

lint: develop ## Check format, lint, types, layers and spelling
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

pytest: develop
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder --cov --cov-report= $(PYTEST_OPTIONS)
	$(BIN)/coverage report --fail-under=85
	$(BIN)/coverage report --include="$(FULLY_COVERED)" --fail-under=100

format: develop ## Put every file into the format of the house
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: develop ## Measure what is fast and what is not, side by side in one run
	$(BIN)/python -m tests.benchmarks $(BENCH_OPTIONS)

chaos: develop ## Kill, stop and starve everything that runs, under load, and examine what is stored
	$(BIN)/python -m tests.chaos $(CHAOS_OPTIONS)

fuzz: develop ## Send malformed input at length, and hold every operation to its description in every role
	RAPPORT_FULL=1 $(BIN)/python -m pytest tests/fuzz tests/interface --capture no $(PYTEST_OPTIONS)

lock: ## Pin all packages again, from pyproject.toml (needs uv)
	uv pip compile --universal --generate-hashes --no-header --no-strip-extras --no-emit-index-url --quiet --upgrade \
		pyproject.toml --group build --output-file requirements.txt
	uv pip compile --universal --generate-hashes --no-header --no-strip-extras --no-emit-index-url --quiet --upgrade \
		pyproject.toml --group build --group dev --constraint requirements.txt --output-file requirements-dev.txt

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Rapport needs Python 3.11 or newer, and found none."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(INSTALLED): requirements.txt pyproject.toml | $(BIN)/python
	$(PIP) install --require-hashes --only-binary :all: -r requirements.txt
	$(PIP) install --no-deps --no-build-isolation --no-index --editable .
	@touch $@

$(DEVELOPING): requirements-dev.txt $(INSTALLED)
	$(PIP) install --require-hashes --only-binary :all: -r requirements-dev.txt
	@touch $@
