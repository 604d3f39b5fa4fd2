"""JSON and text into the arguments of protobuf messages, by types that are built from the descriptors at start.

Of a body with wrong types the sound part is decoded, so that the service can say which rules that breaks besides. What
can't be carried out, though it is well formed, such a request hears only once its types are right.
The whole decode of a send to 10,000 recipients (1.65 MB) takes 20 ms CPU (tests/benchmarks/bench_gateway_codec.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from itertools import islice
from typing import Annotated, Any, Final, Literal

import msgspec
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from gateway.duplicates import DuplicateError, check_duplicates, duplicate_problems, has_too_many_values
from gateway.errors import MAX_PROBLEMS, ApiError, Problem, child_path, invalid
from gateway.pruning import pruned
from gateway.schema import JsonField, enum_numbers, json_fields, oneofs
from gateway.schema_rules import is_never_empty, refused_numbers, rules_of

_SCALARS: Final[dict[int, Any]] = {
    FieldDescriptor.TYPE_BOOL: bool,
    FieldDescriptor.TYPE_STRING: str,
    FieldDescriptor.TYPE_BYTES: bytes,
    FieldDescriptor.TYPE_DOUBLE: float,
    FieldDescriptor.TYPE_INT32: Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)],
    FieldDescriptor.TYPE_INT64: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)],
    FieldDescriptor.TYPE_UINT32: Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)],
}
_NOT_EMPTY: Final = Annotated[str, msgspec.Meta(min_length=1)]
_TIMESTAMP: Final = Annotated[datetime, msgspec.Meta(tz=True)]
_JSON_TYPES: Final = {dict: "object", list: "array", type(None): "null"}
# A backslash that is itself escaped does not begin `\u0000`.
_PARENT = re.compile(r"(?:\.\w+|\[[^\[\]]*\])$")
_ESCAPED_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


class _RejectedError(Exception):
    """Something is wrong that the types can't say. Where and what, the slow pass finds out."""


def _object_bytes(raw: msgspec.Raw) -> bytes | None:
    text = bytes(raw)
    if text[:1] == b"{":
        return text
    if text == b"null":
        return None
    raise _RejectedError


def _utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise _RejectedError from None


@dataclass(frozen=True, slots=True)
class Value:
    """One value of a field, list or map: its JSON type, and how what msgspec makes of it goes into a message."""

    json_type: Any
    convert: Callable[[Any], Any] | None = None
    shape: Shape | None = None
    names: Collection[str] = ()

    @classmethod
    def of(cls, proto: FieldDescriptor, known: JsonField | None = None) -> Value:
        if known is not None and known.options.object_name:
            return cls(msgspec.Raw, _object_bytes)
        if known is not None and known.is_timestamp:
            return cls(_TIMESTAMP, _utc)
        if proto.message_type is not None:
            shape = Shape.of(proto.message_type)
            return cls(shape.struct, shape.arguments, shape)
        if proto.enum_type is not None:
            refused = refused_numbers(proto)
            numbers = {name: value for name, value in enum_numbers(proto.enum_type).items() if value not in refused}
            return cls(Literal[tuple(numbers)], numbers.__getitem__, names=tuple(numbers))
        return cls(_NOT_EMPTY if is_never_empty(rules_of(proto)) else _SCALARS[proto.type])

    def problems(self, value: Any, path: str) -> Iterator[Problem]:
        """What is wrong with a decoded JSON value, each thing with its path."""
        if self.shape is not None:
            yield from self.shape.problems(value, path)
        elif self.json_type is msgspec.Raw:
            yield from _type_problem(value, dict, path)
        elif self.names:
            if value not in self.names:
                yield Problem(f"Expected one of {', '.join(self.names)}", path)
        else:
            yield from self._convert_problem(value, path)

    def _convert_problem(self, value: Any, path: str) -> Iterator[Problem]:
        try:
            converted = msgspec.convert(value, self.json_type)
            if self.convert is not None:
                self.convert(converted)
        except msgspec.ValidationError as error:
            yield Problem(str(error), path)
        except _RejectedError:
            yield Problem("Out of range", path)

    @property
    def is_word(self) -> bool:
        """Whether it can stand in a path, a query or a header."""
        return self.shape is None and self.json_type is not msgspec.Raw

    def from_text(self, text: str) -> Any:
        """What the text of a path segment, query parameter or header stands for.

        Raises ValueError with a message for the caller.
        """
        if self.json_type is str:
            return text
        if self.names and text not in self.names:
            message = f"Expected one of {', '.join(self.names)}"
            raise ValueError(message)
        try:
            as_it_is = self.convert or self.json_type is _NOT_EMPTY
            value = msgspec.convert(text, self.json_type) if as_it_is else _decode_word(text, self.json_type)
            return self.convert(value) if self.convert else value
        except msgspec.DecodeError as error:
            raise ValueError(str(error)) from None
        except _RejectedError:
            raise ValueError("Out of range") from None


def _decode_word(text: str, json_type: Any) -> Any:
    if not text or text.strip() != text:
        raise msgspec.DecodeError("Expected a value without blanks")
    try:
        return msgspec.json.decode(text, type=json_type)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        return msgspec.convert(text, json_type)  # says which type it should have been


@dataclass(frozen=True, slots=True)
class Member:
    """One field of a JSON object."""

    name: str
    proto_name: str
    value: Value
    kind: Literal["one", "list", "map"]

    @classmethod
    def of(cls, known: JsonField) -> Member:
        if known.is_map:
            return cls(known.name, known.proto.name, Value.of(known.map_value), "map")
        return cls(known.name, known.proto.name, Value.of(known.proto, known), "list" if known.is_list else "one")

    @property
    def json_type(self) -> Any:
        inner = self.value.json_type
        if inner is msgspec.Raw:
            return inner  # takes null as well; in a union msgspec would not know it
        return {"one": inner, "list": list[inner], "map": dict[str, inner]}[self.kind] | None  # type: ignore[valid-type]  # built at run time

    @property
    def convert(self) -> Callable[[Any], Any] | None:
        convert = self.value.convert
        if convert is None or self.kind == "one":
            return convert
        if self.kind == "list":
            return lambda values: [convert(value) for value in values]
        return lambda values: {key: convert(value) for key, value in values.items()}

    def problems(self, value: Any, path: str) -> Iterator[Problem]:
        if self.kind == "one":
            yield from self.value.problems(value, path)
        elif self.kind == "list":
            yield from _type_problem(value, list, path)
            for index, item in enumerate(value if isinstance(value, list) else ()):
                yield from self.value.problems(item, f"{path}[{index}]")
        else:
            yield from _type_problem(value, dict, path)
            for key, item in (value if isinstance(value, dict) else {}).items():
                yield from self.value.problems(item, child_path(path, key))


@dataclass(slots=True)
class Shape:
    """A JSON object of a message's fields."""

    members: dict[str, Member]
    oneofs: tuple[frozenset[str], ...]
    struct: type[msgspec.Struct] = field(init=False)
    _plan: tuple[tuple[str, Callable[[Any], Any] | None], ...] = field(init=False)

    @classmethod
    def of(cls, message: Descriptor, leave_out: Collection[str] = ()) -> Shape:
        """All fields but those that HTTP carries elsewhere: `leave_out`, and what has a header of its own."""
        members = [
            Member.of(known)
            for known in json_fields(message)
            if not known.options.header and known.proto.name not in leave_out
        ]
        shape = cls({member.name: member for member in members}, oneofs(message))
        shape._build(message.name)
        return shape

    def _build(self, name: str) -> None:
        members = self.members.values()
        self.struct = msgspec.defstruct(
            name,
            [(member.proto_name, member.json_type, None) for member in members],
            rename={member.proto_name: member.name for member in members},
            forbid_unknown_fields=True,
            kw_only=True,
        )
        self._plan = tuple((member.proto_name, member.convert) for member in members)

    def arguments(self, decoded: msgspec.Struct) -> dict[str, Any]:
        """What the message's constructor takes. Raises _RejectedError."""
        found = {}
        for name, convert in self._plan:
            value = getattr(decoded, name)
            if value is not None:
                found[name] = convert(value) if convert is not None else value
        for group in self.oneofs:
            if len(group & found.keys()) > 1:
                raise _RejectedError
        return found

    def problems(self, value: Any, path: str) -> Iterator[Problem]:
        """What is wrong with a decoded JSON value that should be such an object."""
        if not isinstance(value, dict):
            yield from _type_problem(value, dict, path)
            return
        for key, inner in value.items():
            member = self.members.get(key)
            if member is None:
                yield Problem(f"Unknown field `{key[:100]}`", child_path(path, key))
            elif inner is not None:
                yield from member.problems(inner, child_path(path, key))
        given = [key for key, inner in value.items() if inner is not None]
        yield from choice_problems(self.members, self.oneofs, given, path)


def choice_problems(
    members: Mapping[str, Member], groups: Iterable[frozenset[str]], given: Collection[str], path: str | None
) -> Iterator[Problem]:
    """Members of the same oneof that are given together."""
    for group in groups:
        names = [name for name, member in members.items() if name in given and member.proto_name in group]
        if len(names) > 1:
            yield Problem(f"Only one of {', '.join(names)} may be given", path)


class MalformedError(ApiError):
    """400 for what has parts of a wrong type; `sound` are the constructor's arguments for what is left of it."""

    def __init__(self, problems: list[Problem], sound: Mapping[str, Any] | None = None) -> None:
        super().__init__(HTTPStatus.BAD_REQUEST, *problems[:MAX_PROBLEMS])
        self.sound = dict(sound or {})

    def joined(self, others: Iterable[Problem]) -> ApiError:
        """The same with problems of the sound part, but for those that come of what was taken out."""
        paths = [problem.context for problem in self.problems if problem.context is not None]
        return invalid([*self.problems, *(other for other in others if not _comes_of(other, paths))])


def _comes_of(problem: Problem, malformed: Iterable[str]) -> bool:
    """Whether it is about a malformed value, what is inside of it, or the object that it was taken out of."""
    path = problem.context
    return path is not None and any(
        path == each or path.startswith((f"{each}.", f"{each}[")) or path == _PARENT.sub("", each) for each in malformed
    )


class BodyDecoder:
    """Decodes the JSON bodies of one request message."""

    def __init__(self, message: Descriptor, leave_out: Collection[str] = ()) -> None:
        self._shape = Shape.of(message, leave_out)
        self._decoder = msgspec.json.Decoder(self._shape.struct)

    def decode(self, body: bytes) -> dict[str, Any]:
        """The arguments of the message's constructor.

        Raises ApiError 400 with up to 50 problems, each with its JSON path: a MalformedError where a part is sound.
        """
        _check_text(body)
        try:
            arguments = self._shape.arguments(self._decoder.decode(body))
            check_duplicates(body)
        except (msgspec.MsgspecError, RecursionError, DuplicateError, _RejectedError):
            raise self._malformed(body) from None
        return arguments

    def _malformed(self, body: bytes) -> ApiError:
        """The slow pass, for bodies that the fast one refused: the types stop at the first problem."""
        try:
            found = list(islice(duplicate_problems(body), MAX_PROBLEMS))  # first, so that two trees are never held
            value = msgspec.json.decode(body)
            found.extend(islice(self._shape.problems(value, "$"), MAX_PROBLEMS))
            sound = msgspec.json.encode(pruned(self._shape, value))
        except msgspec.DecodeError as error:
            return invalid([Problem(f"The body is not valid JSON: {error}", "$")])
        except RecursionError:
            return invalid([Problem("The JSON is nested too deeply", "$")])
        found = found or [Problem("The body is not valid", "$")]
        try:
            return MalformedError(found, self._shape.arguments(self._decoder.decode(sound)))
        except (msgspec.MsgspecError, _RejectedError):  # a part of it is still not sound
            return invalid(found)


def _check_text(body: bytes) -> None:
    # msgspec looks at neither inside of Raw values. Lone surrogates and plain control characters it finds itself.
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError as error:
            raise invalid([Problem(f"The body is not UTF-8 (byte {error.start})", "$")]) from None
    if 0 in body or (b"\\u0000" in body and _ESCAPED_NUL.search(body)):
        raise invalid([Problem("The character U+0000 is not allowed", "$")])
    if has_too_many_values(body):
        raise invalid([Problem("The JSON has more than two million values", "$")])


def _type_problem(value: Any, expected: type, path: str) -> Iterator[Problem]:
    if not isinstance(value, expected):
        got = _JSON_TYPES.get(type(value), type(value).__name__)
        yield Problem(f"Expected `{_JSON_TYPES[expected]}`, got `{got}`", path)
