"""Writes the comments of the contract, which generated Python does not have, as JSON: full names and their texts.

python tools/comments.py DESCRIPTOR_SET   A set of files with source info, as `protoc --include_source_info` makes it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.message import Message

_PACKAGE = FileDescriptorProto.PACKAGE_FIELD_NUMBER


def comments(files: FileDescriptorSet) -> dict[str, str]:
    """Of everything in the files that has a comment, the text by the full name."""
    return dict(sorted(found for file in files.file for found in _of_file(file)))


def _of_file(file: FileDescriptorProto) -> Iterator[tuple[str, str]]:
    for location in file.source_code_info.location:
        if location.leading_comments:
            names = [file.package, *_names(file, location.path)]
            yield ".".join(names), _text(location.leading_comments)


def _names(file: FileDescriptorProto, path: Sequence[int]) -> Iterator[str]:
    """The names on a path of field numbers and indexes (google/protobuf/descriptor.proto, SourceCodeInfo)."""
    if tuple(path) == (_PACKAGE,):
        return
    inside: Message = file
    for number, index in zip(path[::2], path[1::2], strict=True):
        inside = getattr(inside, inside.DESCRIPTOR.fields_by_number[number].name)[index]
        yield inside.name  # type: ignore[attr-defined]  # whatever has a comment has a name


def _text(comment: str) -> str:
    return "\n".join(line.removeprefix(" ").rstrip() for line in comment.strip("\n").splitlines())


if __name__ == "__main__":
    found = comments(FileDescriptorSet.FromString(Path(sys.argv[1]).read_bytes()))
    print(json.dumps(found, indent=2, ensure_ascii=False))
