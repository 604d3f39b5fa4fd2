"""What is left of a JSON value when all that has a wrong type is taken out: the rules can still be held against it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from gateway.decode import Member, Shape, Value

_GONE: Final = object()


def pruned(shape: Shape, value: Any) -> dict[str, Any]:
    """The object without unknown members and those that the shape can't take. Elements of lists keep their places."""
    members = value.items() if isinstance(value, dict) else ()
    kept = {
        name: left
        for name, inner in members
        if name in shape.members and inner is not None and (left := _member(shape.members[name], inner)) is not _GONE
    }
    for group in shape.oneofs:
        given = [name for name in kept if shape.members[name].proto_name in group]
        for name in given if len(given) > 1 else ():
            del kept[name]
    return kept


def _member(member: Member, value: Any) -> Any:
    if member.kind == "one":
        return _value(member.value, value)
    if member.kind == "map":
        entries = value.items() if isinstance(value, dict) else ()
        return {key: left for key, inner in entries if (left := _value(member.value, inner)) is not _GONE}
    return _list(member.value, value) if isinstance(value, list) else _GONE


def _list(kind: Value, values: Iterable[Any]) -> Any:
    left = [_value(kind, value) for value in values]
    if kind.shape is not None:
        return [{} if value is _GONE else value for value in left]
    return _GONE if any(value is _GONE for value in left) else left


def _value(kind: Value, value: Any) -> Any:
    if kind.shape is not None:
        return pruned(kind.shape, value) if isinstance(value, dict) else _GONE
    return _GONE if any(kind.problems(value, "$")) else value
