"""Keys that stand twice in one JSON object: what one reader takes for the first another takes for the last.

msgspec does not see them; Python's own parser shows each object's pairs (9 ms CPU for 10,000 recipients, 1.65 MB).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

from gateway.errors import Problem, child_path

# What is read takes up to 250 bytes of memory a value, of which a hostile body has one in two bytes
# (tests/acceptance/test_hostile_connections.py). 10,000 recipients can have 200 each.
_MOST_VALUES: Final = 2_000_000
_PATH_LENGTH: Final = 1000

_Pairs = list[tuple[str, Any]]


class DuplicateError(ValueError):
    """An object has the same key twice."""


class _Object(tuple[tuple[str, Any], ...]):
    """An object's members as they were written; a tuple, where an array is a list."""

    __slots__ = ()


def _refuse(pairs: _Pairs) -> None:
    if len(dict(pairs)) != len(pairs):
        raise DuplicateError


def _nothing(_: str) -> None:
    """What numbers become: there are integers that Python does not convert."""


def _decoder(hook: Callable[[_Pairs], Any]) -> Callable[[str], Any]:
    return json.JSONDecoder(
        object_pairs_hook=hook, parse_int=_nothing, parse_float=_nothing, parse_constant=_nothing
    ).decode


_check, _read = _decoder(_refuse), _decoder(_Object)


def check_duplicates(body: bytes) -> None:
    """Raise DuplicateError if there are any, RecursionError for what is nested too deep; `body` is valid JSON."""
    _check(body.decode())


def has_too_many_values(body: bytes) -> bool:
    """Whether there are more values than anyone should have to read: each is behind a comma or a bracket."""
    return body.count(b",") + body.count(b"{") + body.count(b"[") > _MOST_VALUES


def duplicate_problems(body: bytes) -> Iterator[Problem]:
    """Each key that stands twice, with its path, in the order of the text; none in what is not JSON.

    Raises RecursionError.
    """
    try:
        stack = [("$", _children(_read(body.decode())))]
    except ValueError:
        return
    while stack:
        step = next(stack[-1][1], None)
        if step is None:
            stack.pop()
            continue
        key, value, again = step
        if again:
            path = "".join(part for part, _ in stack) + key
            yield Problem("The key stands twice in the same object", path[:_PATH_LENGTH])
        if isinstance(value, list | _Object):
            stack.append((key, _children(value)))


def _children(value: Any) -> Iterator[tuple[str, Any, bool]]:
    """What is inside: the step of its path, itself, and whether its key is there for the second time."""
    if isinstance(value, _Object):
        seen: Counter[str] = Counter()
        for key, inner in value:
            seen[key] += 1
            yield child_path("", key), inner, seen[key] == 2  # noqa: PLR2004 - a third one is the same problem
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield f"[{index}]", inner, False
