#!/bin/sh
# The contract: formatted, linted, not broken since the last commit that is elsewhere, and its generated code in step.
#   PHAROS_CONTRACT_BASE  the git reference to compare with; default: the branch's last commit before this one
set -eu
cd "$(dirname "$0")/.."
PATH="$PWD/${VENV:-.venv}/bin:$PATH"
buf lint
buf format --diff --exit-code proto
base=${PHAROS_CONTRACT_BASE:-HEAD~1}
if git rev-parse --quiet --verify "$base:buf.yaml" >/dev/null; then
  buf breaking --against ".git#ref=$base"
else
  echo "buf breaking: $base has no contract to compare with"
fi
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
tools/generate.sh "$copy"
for file in $(cd "$copy" && find . -type f); do
  diff -u "proto/$file" "$copy/$file" || { echo "proto/$file is out of step with its .proto: run make contract" >&2; exit 1; }
done
