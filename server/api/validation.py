"""The rules that the contract states, checked before a handler sees a request."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from protovalidate import Validator
from protovalidate import Violation as RuleViolation

from server.api.errors import MAX_VIOLATIONS
from server.api.meaning import meaningless
from server.domain.errors import Invalid, Violation

# Collecting takes about 20 us a violation: of what can have more than these, only the first is named.
_MOST_ENTRIES: Final = 5000

_MESSAGES: Final = {
    "enum.not_in": "is none of the possible values",
    "required": "is required",
    "enum.defined_only": "is unknown",
}

# Rules that an empty text, or an enum's zero, breaks because something has to be there.
_EMPTY: Final = frozenset({"string.min_len", "string.pattern", "enum.not_in"})

_validator = Validator()


def check(request: Message) -> None:
    """Raise ``Invalid`` with the first problems unless the request keeps the contract's rules and has no U+0000."""
    found = broken_rules(request)
    if found:
        raise Invalid(*meaningless(request, found)[:MAX_VIOLATIONS])


def broken_rules(request: Message) -> list[Violation]:
    """Return every problem that ``check`` raises. Raises ``Invalid`` where these are too many to find them all."""
    found = _violations(request) if _validator.collect_violations(request, fail_fast=True) else []
    if len(found) >= MAX_VIOLATIONS or (found and _widest(request) > _MOST_ENTRIES):
        raise Invalid(*found[:MAX_VIOLATIONS])
    if b"\0" in request.SerializePartialToString():
        nul = islice(_nul_fields(request, ""), MAX_VIOLATIONS)
        found.extend(Violation(field, "must not contain U+0000") for field in nul)
    return found


def _violations(request: Message) -> list[Violation]:
    """The elements one by one, so that 10,000 bad ones end at the 50th; with few bad ones, the whole."""
    in_elements = list(islice(_in_elements(request), MAX_VIOLATIONS))
    if len(in_elements) == MAX_VIOLATIONS:
        return in_elements
    in_whole = [Violation(_path(found), _message(found)) for found in _collect(request, _widest(request))]
    return max(in_whole, in_elements, key=len)


def _in_elements(request: Message) -> Iterator[Violation]:
    for name, index, element in _elements(request):
        for found in _collect(element, _entries(element)):
            yield Violation(f"{name}[{index}].{_path(found)}".rstrip("."), _message(found))


def _elements(request: Message) -> Iterator[tuple[str, int, Message]]:
    for field, value in request.ListFields():
        if _is_repeated_message(field):
            for index, element in enumerate(value):
                yield field.name, index, element


def _collect(message: Message, entries: int) -> list[RuleViolation]:
    return _validator.collect_violations(message, fail_fast=entries > _MOST_ENTRIES)


def _widest(request: Message) -> int:
    return max(_entries(request), *(_entries(element) for _, _, element in _elements(request)), 0)


def _entries(message: Message) -> int:
    """How many values maps and lists hold, those of repeated messages aside."""
    return sum(
        _entries(value) if _is_message(field) else len(value)
        for field, value in message.ListFields()
        if _is_message(field) or (field.is_repeated and not _is_repeated_message(field))
    )


def _path(violation: RuleViolation) -> str:
    """As ``to[3].variables["name"]``; empty for a rule of the whole message."""
    field = violation.proto.field
    return "" if field is None else ".".join(_element(element) for element in field.elements)


def _element(element: Any) -> str:
    subscript = element.subscript
    if subscript is None:
        return str(element.field_name)
    key = f'"{subscript.value}"' if isinstance(subscript.value, str) else subscript.value
    return f"{element.field_name}[{key}]"


def _message(violation: RuleViolation) -> str:
    rule = violation.proto.rule_id
    if rule == "required" and _is_oneof(violation):
        return "exactly one of its alternatives is required"
    if rule in _EMPTY and not violation.field_value:
        return "is required"
    return _MESSAGES.get(rule, violation.proto.message or rule)


def _is_oneof(violation: RuleViolation) -> bool:
    """A path to a oneof ends in its name alone: only fields have numbers."""
    field = violation.proto.field
    return field is not None and not field.elements[-1].field_number


def _nul_fields(message: Message, prefix: str) -> Iterator[str]:
    for field, value in message.ListFields():
        path = f"{prefix}{field.name}"
        if _is_map(field):
            yield from (path for entry in chain.from_iterable(value.items()) if _has_nul(entry))
        elif field.is_repeated:
            for index, element in enumerate(value):
                yield from _nul_in(element, f"{path}[{index}]")
        else:
            yield from _nul_in(value, path)


def _nul_in(value: object, path: str) -> Iterator[str]:
    if isinstance(value, Message):
        yield from _nul_fields(value, f"{path}.")
    elif _has_nul(value):
        yield path


def _has_nul(value: object) -> bool:
    return isinstance(value, str) and "\0" in value


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _is_message(field: FieldDescriptor) -> bool:
    return field.message_type is not None and not field.is_repeated


def _is_repeated_message(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.is_repeated and not _is_map(field)
