"""The JSON of FCM v1 ``messages:send``: its shape by Google's own description, as typed decoders.

``fcm_schema.json`` is derived from that description by ``tools/fcm_schema.py``. Decoding is strict and fast; only a
body that fails is walked field by field, to take the other spellings that proto JSON allows or to say what is wrong
with it in Google's words (https://protobuf.dev/programming-guides/json).
"""

from __future__ import annotations

import re
import types
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

_SCHEMA = msgspec.json.decode((Path(__file__).parent / "fcm_schema.json").read_bytes())
_DURATION = r"^-?[0-9]{1,12}(\.[0-9]{1,9})?s$"
_DATETIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$"
_INT32 = msgspec.Meta(ge=-(2**31), le=2**31 - 1)

_SCALARS: dict[str, Any] = {
    "string": str,
    "boolean": bool,
    "integer": Annotated[int, _INT32],
    "number": float,
    "duration": Annotated[str, msgspec.Meta(pattern=_DURATION)],
    "datetime": Annotated[str, msgspec.Meta(pattern=_DATETIME)],
    "object": dict[str, Any],
}
_PROTO_TYPES = {"string": "TYPE_STRING", "boolean": "TYPE_BOOL", "integer": "TYPE_INT32", "number": "TYPE_FLOAT"}
_TYPE_URLS = {
    "duration": "type.googleapis.com/google.protobuf.Duration",
    "datetime": "type.googleapis.com/google.protobuf.Timestamp",
}


class Violation(NamedTuple):
    """One entry of google.rpc.BadRequest. An empty ``field`` stands for the body as a whole."""

    field: str
    description: str


class InvalidMessage(Exception):
    """The body is not a SendMessageRequest."""

    def __init__(self, violations: list[Violation]) -> None:
        super().__init__(violations[0].description)
        self.violations = violations


def _python_type(word: str, made: dict[str, Any]) -> Any:
    kind, _, rest = word.partition(":")
    if kind == "ref":
        return _struct(rest, made)
    if kind == "enum":
        return Literal[tuple(rest.split("|"))]
    if kind == "list":
        return types.GenericAlias(list, _python_type(rest, made))
    if kind == "map":
        return types.GenericAlias(dict, (str, _SCALARS[rest]))
    return _SCALARS[kind]


def _struct(name: str, made: dict[str, Any]) -> Any:
    """The msgspec type of a message type; every field may be absent or null."""
    if name not in made:
        fields = [(field, _python_type(word, made) | None, None) for field, word in _SCHEMA["types"][name].items()]
        made[name] = msgspec.defstruct(name, fields, kw_only=True, forbid_unknown_fields=True)
    return made[name]


_REQUEST = _struct(_SCHEMA["root"], {})
_DECODER = msgspec.json.Decoder(_REQUEST)


def decode(body: bytes) -> Any:
    """The SendMessageRequest, fields in camelCase, absent ones None. Raises InvalidMessage."""
    try:
        return _DECODER.decode(body)
    except msgspec.ValidationError:
        return _decode_leniently(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidMessage([Violation("", "Invalid JSON payload received. Unexpected token.")]) from None


def _decode_leniently(body: bytes) -> Any:
    document = msgspec.json.decode(body)
    violations: list[Violation] = []
    normal = _walk_message(document, _SCHEMA["root"], "", violations)
    if violations:
        raise InvalidMessage(violations)
    try:
        return msgspec.convert(normal, _REQUEST)
    except msgspec.ValidationError as error:
        raise InvalidMessage([Violation("", f"Invalid JSON payload received. {error}")]) from None


def _walk_message(value: Any, name: str, path: str, violations: list[Violation]) -> Any:
    """The value with its fields in camelCase; what is wrong with it is added to ``violations``."""
    if not isinstance(value, dict):
        violations.append(_invalid(path or "root", f"type.googleapis.com/google.firebase.fcm.v1.{name}", value))
        return None
    fields: dict[str, str] = _SCHEMA["types"][name]
    normal = {}
    for key, item in value.items():
        field = _camel(key)
        if field not in fields:
            violations.append(_unknown(key, path))
        elif item is not None:
            normal[field] = _walk(item, fields[field], f"{path}.{key}" if path else key, violations)
    return normal


def _walk(value: Any, word: str, path: str, violations: list[Violation]) -> Any:
    kind, _, rest = word.partition(":")
    if kind == "ref":
        return _walk_message(value, rest, path, violations)
    if kind == "map":
        return _walk_map(value, path, violations)
    if kind == "list":
        items = value if isinstance(value, list) else [value]
        return [_walk(item, rest, f"{path}[{index}]", violations) for index, item in enumerate(items)]
    return _walk_scalar(value, word, path, violations)


def _walk_map(value: Any, path: str, violations: list[Violation]) -> Any:
    if not isinstance(value, dict):
        violations.append(_invalid(path, "Map", value))
        return None
    for index, item in enumerate(value.values()):
        if not isinstance(item, str):
            violations.append(_invalid(f"{path}[{index}].value", "TYPE_STRING", item))
    return value


def _walk_scalar(value: Any, word: str, path: str, violations: list[Violation]) -> Any:
    kind, _, rest = word.partition(":")
    if kind == "enum":
        return _walk_enum(value, rest.split("|"), path, violations)
    value = _number(value) if kind in ("integer", "number") else value
    try:
        return msgspec.convert(value, _SCALARS[kind])
    except msgspec.ValidationError:
        violations.append(_invalid(path, _PROTO_TYPES.get(kind) or _TYPE_URLS.get(kind, "Struct"), value))
        return None


def _walk_enum(value: Any, names: list[str], path: str, violations: list[Violation]) -> Any:
    """By name, in any case as Google's own examples write "high"; or by number, in the order of the description."""
    if isinstance(value, int) and 0 <= value < len(names):
        return names[value]
    name = value.upper() if isinstance(value, str) else value
    if name not in names:
        violations.append(_invalid(path, "TYPE_ENUM", value))
    return name


def _number(value: Any) -> Any:
    """Proto JSON takes numbers as strings too, and whole floats as integers."""
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", value):
        value = float(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _camel(name: str) -> str:
    """Proto JSON parsers accept the original snake_case names."""
    first, *others = name.split("_")
    return first + "".join(other[:1].upper() + other[1:] for other in others)


def _invalid(path: str, expected: str, value: Any) -> Violation:
    shown = msgspec.json.encode(value).decode()
    return Violation(path, f"Invalid value at '{path}' ({expected}), {shown}")


def _unknown(key: str, path: str) -> Violation:
    where = f" at '{path}'" if path else ""
    return Violation(path, f'Invalid JSON payload received. Unknown name "{key}"{where}: Cannot find field.')
