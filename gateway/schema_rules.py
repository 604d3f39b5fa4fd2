"""protovalidate's rules of a field as JSON Schema keywords, so far as JSON Schema has a form for them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from buf.validate import validate_pb2
from google.protobuf.descriptor import FieldDescriptor

Keywords = dict[str, Any]

# A text has at most as many characters as bytes. That it may have fewer, its description has to say.
_STRING: Final = {"min_len": "minLength", "max_len": "maxLength", "max_bytes": "maxLength", "pattern": "pattern"}
_NUMBER: Final = {"gte": "minimum", "lte": "maximum"}


def rules_of(field: FieldDescriptor) -> validate_pb2.FieldRules:
    """The field's rules; empty where it has none."""
    rules: validate_pb2.FieldRules = field.GetOptions().Extensions[validate_pb2.field]
    return rules


def keywords(rules: validate_pb2.FieldRules) -> Keywords:
    """What the rules say of a value. Raises ValueError for a rule that this module doesn't know."""
    kind = rules.WhichOneof("type")
    if kind is None:
        return {}
    found = _KINDS[kind](getattr(rules, kind))
    return {"minLength": 1} | found if is_never_empty(rules) else found


def is_never_empty(rules: validate_pb2.FieldRules) -> bool:
    """Whether a text that is there has to have characters: where the empty one means none, REST leaves it out.

    An empty one comes of a variable that was never set, and would be taken for a wish: a new user, the whole set.
    """
    return bool(rules.WhichOneof("type") == "string" and rules.ignore == validate_pb2.IGNORE_IF_ZERO_VALUE)


def byte_limit(rules: validate_pb2.FieldRules) -> int:
    """The most bytes that the value may have; 0 for any number. JSON Schema has no form for it."""
    return int(rules.bytes.max_len or rules.string.max_bytes)


def refused_numbers(field: FieldDescriptor) -> frozenset[int]:
    """Values of the field's enum that it never has."""
    rules = rules_of(field)
    return frozenset((rules.repeated.items if field.is_repeated else rules).enum.not_in)


def is_required(field: FieldDescriptor) -> bool:
    """Whether the field has to be given: what stands for its absence breaks a rule."""
    rules = rules_of(field)
    if field.has_presence or rules.ignore == validate_pb2.IGNORE_IF_ZERO_VALUE:
        return bool(rules.required)
    found = keywords(rules)
    zero = found.get("minLength") or found.get("minItems") or found.get("minimum", 0) > 0
    return bool(rules.required or zero or 0 in rules.enum.not_in) or _refuses_empty(found.get("pattern"))


def _refuses_empty(pattern: str | None) -> bool:
    return pattern is not None and re.search(pattern, "") is None


def _renamed(rules: Any, names: dict[str, str], apart: frozenset[str] = frozenset()) -> Keywords:
    found = {field.name: value for field, value in rules.ListFields() if field.name not in apart}
    if unknown := found.keys() - names.keys():
        message = f"{rules.DESCRIPTOR.full_name}: no JSON Schema for {', '.join(sorted(unknown))}"
        raise ValueError(message)
    return {names[name]: value for name, value in found.items()}


def _string(rules: validate_pb2.StringRules) -> Keywords:
    return _renamed(rules, _STRING)


def _number(rules: Any) -> Keywords:
    return _renamed(rules, _NUMBER)


def _repeated(rules: validate_pb2.RepeatedRules) -> Keywords:
    return _renamed(rules, {"min_items": "minItems", "max_items": "maxItems"}, frozenset({"items"}))


def _map(rules: validate_pb2.MapRules) -> Keywords:
    found = _renamed(rules, {"max_pairs": "maxProperties"}, frozenset({"keys", "values"}))
    if names := keywords(rules.keys):
        found["propertyNames"] = names
    return found


_KINDS: Final[dict[str, Callable[[Any], Keywords]]] = {
    "string": _string,
    "int32": _number,
    "double": _number,
    "repeated": _repeated,
    "map": _map,
    "enum": lambda _: {},  # the names that JSON has are the defined ones, and zero has none; see refused_numbers
    "bytes": lambda _: {},  # see byte_limit
}
