#!/bin/sh
# Writes requirements.lock from pyproject.toml. Needs uv; set-up itself needs only pip.
exec uv pip compile pyproject.toml --extra embedded --group dev --universal --python-version 3.11 \
  --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header --quiet -o requirements.lock "$@"
