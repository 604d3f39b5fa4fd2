# Needs Python 3.11+, make and git; everything else is installed into .venv from requirements.lock.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile

# Compiled modules are kept: hundreds of processes start in the tests, and would compile the same ones again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install demo test robustness test-external check bench contract format liquid-expectations liquid-fuzz

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

# Most tests wait more than they work: so many run at once. tests/parallel.py says which go together.
TEST_WORKERS ?= 4

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n $(TEST_WORKERS)

# The robustness scenarios in full size, as 20 sends of 10,000 under 25 kills; `make test` runs them small. Repeat a run
# with PHAROS_ROBUSTNESS_SEED, which failures print.
robustness: $(VENV)/.installed-dev
	PHAROS_ROBUSTNESS=full $(BIN)/python -m pytest tests/robustness

# Needs programs of others, which fail where they are missing: Debian's packages postgresql-15, curl, nodejs (18 or
# newer) with npm, chromium, nghttp2-server and nginx-light; npm also needs its registry. Everything that touches the
# database runs on PostgreSQL 15; the documented commands run in curl and Node, the pages and an event stream in
# Chromium, and both transports to the providers talk to nghttpd, nginx and Node (tests/external).
POSTGRES_15 ?= /usr/lib/postgresql/15/bin

test-external: $(VENV)/.installed-dev
	@test -x $(POSTGRES_15)/postgres || { echo "error: no PostgreSQL in $(POSTGRES_15): install postgresql-15" >&2; exit 1; }
	PHAROS_TEST_POSTGRES_BIN=$(POSTGRES_15) $(BIN)/python -m pytest -n $(TEST_WORKERS) tests/integration tests/external

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	tools/check_contract.sh

# Measures what a push costs on this machine and saves the report in docs/. Debian's packages nginx-light (without it
# little can be measured), nghttp2-server and nghttp2-client have what Pharos is measured against. BENCH=--help tells more.
BENCH ?= --save

bench: $(VENV)/.installed-dev
	$(BIN)/python -m tests.benchmarks $(BENCH)

# Needs Node 18 or newer with npm and its registry. Writes down what LiquidJS renders for the suite of
# tests/unit/rendering/liquidjs.json, and prints how much of it comes out the same of python-liquid and of Pharos.
liquid-expectations: $(VENV)/.installed-dev tools/liquidjs/node_modules
	$(BIN)/python tools/liquidjs/expectations.py
	$(BIN)/python tools/liquidjs/rates.py

# Templates by chance, against LiquidJS; writes docs/personalization_fuzz.md.
liquid-fuzz: $(VENV)/.installed-dev tools/liquidjs/node_modules
	$(BIN)/python -m tools.liquidjs.fuzz

tools/liquidjs/node_modules: tools/liquidjs/package-lock.json
	cd tools/liquidjs && npm ci --ignore-scripts --no-audit --no-fund
	touch $@

# Writes the generated code anew after a change in proto/.
contract: $(VENV)/.installed-dev
	$(BIN)/buf format -w proto
	tools/generate.sh

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
