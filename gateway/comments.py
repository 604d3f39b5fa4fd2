"""What the contract says in words: the protos' comments, which its generated code does not have."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import Protocol

import msgspec

from gateway.contract import PACKAGE, message_fields
from gateway.schema import json_field

_QUOTED = re.compile(r"`([a-z0-9_.]+)`")


class Named(Protocol):
    """Any descriptor."""

    @property
    def full_name(self) -> str: ...


def comment(described: Named) -> str:
    """The comment as callers over REST read it: fields that it quotes have their names in JSON, or their header's.

    Markdown of one or more paragraphs. Raises KeyError if there is none.
    """
    return comment_of(described.full_name)


def comment_of(full_name: str) -> str:
    """The same for a full name, of an enum value for one, which descriptors don't give as comments have it."""
    names = _rest_names()
    return _QUOTED.sub(lambda quoted: f"`{names.get(quoted[1], quoted[1])}`", _comments()[full_name])


def summary(text: str) -> str:
    """The first sentence, without its full stop."""
    first = text.split("\n\n", 1)[0].replace("\n", " ")
    return re.split(r"[.:] ", first, maxsplit=1)[0].rstrip(".")


@cache
def _comments() -> dict[str, str]:
    # Written by tools/generate.sh.
    text = resources.files(PACKAGE).joinpath("comments.json").read_bytes()
    return msgspec.json.decode(text, type=dict[str, str])


@cache
def _rest_names() -> dict[str, str]:
    known = [json_field(field) for field in message_fields()]
    return {field.proto.name: field.options.header or field.name for field in known}
