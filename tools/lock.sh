#!/bin/sh
# Writes the lock files from pyproject.toml: requirements.lock is what Pharos runs with, requirements-dev.lock what its
# checks and tests need besides. Needs uv; set-up itself needs only pip.
set -eu
cd "$(dirname "$0")/.."
lock() {
  uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
    --no-emit-find-links --no-annotate --no-header --quiet "$@"
}
lock --extra embedded --group build -o requirements.lock
lock --extra embedded --group build --group dev --constraint requirements.lock -o requirements-dev.lock
