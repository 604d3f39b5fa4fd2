# Needs Python 3.11+, make and git; everything else is installed into .venv from requirements.lock.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: install demo test test-external check bench contract format

install: $(INSTALLED)

$(INSTALLED): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: install
	$(BIN)/pharos demo

test: install
	$(BIN)/python -m pytest

# Needs Debian's PostgreSQL 15 (package postgresql-15) and runs everything that touches the database on it. A
# missing program fails.
POSTGRES_15 ?= /usr/lib/postgresql/15/bin

test-external: install
	$(BIN)/python tools/with_postgres.py $(POSTGRES_15) $(BIN)/python -m pytest tests/integration

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	tools/check_contract.sh

bench: install
	$(BIN)/python -m tests.benchmarks

# Writes the generated code anew after a change in proto/.
contract: install
	$(BIN)/buf format -w proto
	tools/generate.sh

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
