#!/bin/sh
# Writes the generated Python, and the protos' comments, beside the protos. `make check` runs it into a copy and compares.
#   tools/generate.sh [OUT]   OUT: the folder that stands for proto/, default proto
set -eu
cd "$(dirname "$0")/.."
out=${1:-proto}
bin=${VENV:-.venv}/bin
PATH="$PWD/$bin:$PATH"
mkdir -p "$out/third_party"
# google.api's generated code comes from googleapis-common-protos; only buf.validate has none on PyPI.
python -m grpc_tools.protoc -I proto/third_party \
  --python_out="$out/third_party" --mypy_out="quiet:$out/third_party" \
  buf/validate/validate.proto
python -m grpc_tools.protoc -I proto -I proto/third_party \
  --python_out="$out" --grpc_python_out="$out" \
  --mypy_out="quiet:$out" --mypy_grpc_out="quiet,only_async:$out" \
  $(cd proto && find pharos -name '*.proto' | sort)
# Generated Python has no comments; the gateway's documents are made of them.
described=$(mktemp)
trap 'rm -f "$described"' EXIT
python -m grpc_tools.protoc -I proto -I proto/third_party \
  --include_source_info --descriptor_set_out="$described" \
  $(cd proto && find pharos -name '*.proto' | sort)
python tools/comments.py "$described" >"$out/pharos/push/v1/comments.json"
