# Needs Python 3.11+, make and git; everything else is installed into .venv from requirements.lock.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile

.PHONY: install demo test test-external check bench contract format

install: $(VENV)/.installed

# What Pharos runs with; the checks and tests need the second file besides.
$(VENV)/.installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) --require-hashes -r requirements.lock
	$(PIP) --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.installed
	$(PIP) --require-hashes -r requirements-dev.lock
	touch $@

demo: install
	$(BIN)/pharos demo

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest

# Needs Debian's PostgreSQL 15 (package postgresql-15) and runs everything that touches the database on it. A
# missing program fails.
POSTGRES_15 ?= /usr/lib/postgresql/15/bin

test-external: $(VENV)/.installed-dev
	$(BIN)/python tools/with_postgres.py $(POSTGRES_15) $(BIN)/python -m pytest tests/integration

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	tools/check_contract.sh

bench: $(VENV)/.installed-dev
	$(BIN)/python -m tests.benchmarks

# Writes the generated code anew after a change in proto/.
contract: $(VENV)/.installed-dev
	$(BIN)/buf format -w proto
	tools/generate.sh

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
