"""JSON Schemas (Draft 2020-12) of the contract's messages, true to what decode.py reads and encode.py writes.

One message may stand in requests and in answers, and the two differ: a request may have null for what is absent and
holds nothing unknown; an answer always has what has no presence, and may have more in a later version.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable
from typing import Any, Final

from buf.validate import validate_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, OneofDescriptor

from gateway.comments import comment, comment_of
from gateway.schema import JsonField, enum_names, json_fields
from gateway.schema_rules import byte_limit, is_required, keywords, refused_numbers, rules_of

Schema = dict[str, Any]

_SCALARS: Final[dict[int, Schema]] = {
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_DOUBLE: {"type": "number", "format": "double"},
    FieldDescriptor.TYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.TYPE_INT64: {"type": "integer", "format": "int64"},
}
_BOUNDS: Final[dict[int, Schema]] = {
    FieldDescriptor.TYPE_INT32: {"minimum": -(2**31), "maximum": 2**31 - 1},
    FieldDescriptor.TYPE_INT64: {"minimum": -(2**63), "maximum": 2**63 - 1},
}
_NULL: Final[Schema] = {"type": "null"}
# What the rules between fields (CEL) say, by their id: the first field goes with the second one, and only with it.
# None: only the description says it, as of a list beside which an empty one is allowed.
_COMPANIONS: Final[dict[str, tuple[str, str] | None]] = {
    "recipient.provider": ("provider", "token"),
    "token.scope": None,
}


class Schemas:
    """The named schemas of a document, made when something refers to them."""

    def __init__(self) -> None:
        self.named: dict[str, Schema] = {}
        self.requests = _Requests(self)
        self.answers = _Answers(self)

    def refer(self, name: str, make: Callable[[], Schema]) -> Schema:
        """A reference to the schema of this name, which is made if there is none yet."""
        if name not in self.named:
            self.named[name] = {}  # a message may hold itself
            self.named[name] = make()
        return {"$ref": f"#/components/schemas/{name}"}


class _Side(ABC):
    """Messages as they stand in requests, or in answers."""

    def __init__(self, schemas: Schemas) -> None:
        self._schemas = schemas

    @abstractmethod
    def message(self, message: Descriptor) -> Schema:
        """A reference to the message's schema."""

    @abstractmethod
    def property(self, known: JsonField) -> Schema:
        """What a field may be when it is there."""

    @abstractmethod
    def _object(self, fields: Iterable[JsonField], needed: Collection[str], excluded: Collection[str]) -> Schema: ...

    def _described(self, message: Descriptor, leave_out: Collection[str] = ()) -> Schema:
        fields = [f for f in json_fields(message) if not f.options.header and f.proto.name not in leave_out]
        choices = [group for group in message.oneofs if len(group.fields) > 1]  # else an `optional` field's own
        about = {"description": comment(message)}
        if not choices:
            return about | self._object(fields, (), ())
        [choice] = choices  # of two there would have to be every pair
        alternatives = [self._alternative(case, choice, fields) for case in choice.fields]
        if not choice.GetOptions().Extensions[validate_pb2.oneof].required:
            every = {case.name for case in choice.fields}
            alternatives.append({"title": "with none of these", **self._object(fields, (), every)})
        return about | {"oneOf": alternatives}

    def _alternative(self, case: FieldDescriptor, choice: OneofDescriptor, fields: Iterable[JsonField]) -> Schema:
        companions = _companions(choice.containing_type)
        others = {field.name for field in choice.fields if field is not case}
        excluded = others | {first for first, second in companions.items() if second in others}
        needed = {case.name} | {first for first, second in companions.items() if second == case.name}
        return {"title": f"with {case.json_name}", **self._object(fields, needed, excluded)}

    def _value(self, proto: FieldDescriptor, known: JsonField | None = None) -> Schema:
        if known is not None and known.options.object_name:
            return {"type": "object", "additionalProperties": True}  # said aloud: generators take silence for "empty"
        if known is not None and known.is_timestamp:
            return {"type": "string", "format": "date-time"}
        if proto.message_type is not None:
            return self.message(proto.message_type)
        if proto.enum_type is not None:
            return self._enum(proto.enum_type, refused_numbers(proto))
        return dict(_SCALARS[proto.type])

    def _enum(self, enum: EnumDescriptor, refused: frozenset[int]) -> Schema:
        names = enum_names(enum)
        if refused & names.keys():
            return {"type": "string", "enum": [name for number, name in names.items() if number not in refused]}
        return self._schemas.refer(enum.name, lambda: _enum(enum))


class _Requests(_Side):
    def message(self, message: Descriptor) -> Schema:
        return self.body(message, ())

    def body(self, message: Descriptor, leave_out: Collection[str]) -> Schema:
        """A reference to what the message's fields are in a body; `leave_out` is what the path has."""
        name = message.name if message.name.endswith("Request") else f"{message.name}Input"
        return self._schemas.refer(name, lambda: self._described(message, leave_out))

    def property(self, known: JsonField) -> Schema:
        rules = rules_of(known.proto)
        return self._shape(known, rules) | {"description": _with_limit(comment(known.proto), byte_limit(rules))}

    def _shape(self, known: JsonField, rules: validate_pb2.FieldRules) -> Schema:
        if known.is_map:
            values = self._bounded(known.map_value, rules.map.values)
            return {"type": "object", "additionalProperties": values} | keywords(rules)
        if known.is_list:
            return {"type": "array", "items": self._bounded(known.proto, rules.repeated.items)} | keywords(rules)
        return self._bounded(known.proto, rules, known)

    def _bounded(
        self, proto: FieldDescriptor, rules: validate_pb2.FieldRules, known: JsonField | None = None
    ) -> Schema:
        return self._value(proto, known) | _BOUNDS.get(proto.type, {}) | keywords(rules)

    def _object(self, fields: Iterable[JsonField], needed: Collection[str], excluded: Collection[str]) -> Schema:
        required = {known.name for known in fields if is_required(known.proto) or known.proto.name in needed}
        properties = {
            known.name: _NULL if known.proto.name in excluded else self._member(known, required) for known in fields
        }
        return _object(properties, [name for name in properties if name in required]) | {"additionalProperties": False}

    def _member(self, known: JsonField, required: Collection[str]) -> Schema:
        schema = self.property(known)
        return schema if known.name in required else _or_null(schema)


class _Answers(_Side):
    def message(self, message: Descriptor) -> Schema:
        return self._schemas.refer(message.name, lambda: self._described(message))

    def property(self, known: JsonField) -> Schema:
        schema = self._shape(known) | {"description": comment(known.proto)}
        return _or_null(schema) if known.options.nullable else schema

    def _shape(self, known: JsonField) -> Schema:
        if known.is_map:
            return {"type": "object", "additionalProperties": self._value(known.map_value)}
        if known.is_list:
            return {"type": "array", "items": self._value(known.proto)}
        address = {"format": "uri"} if known.options.absolute_url else {}
        return self._value(known.proto, known) | address

    def _object(self, fields: Iterable[JsonField], needed: Collection[str], excluded: Collection[str]) -> Schema:
        there = [known for known in fields if known.proto.name not in excluded]
        cases = {known.proto.name for known in there if known.proto.containing_oneof is not None}
        required = [
            known.name
            for known in there
            if is_always_written(known) or is_required(known.proto) or known.proto.name in cases & set(needed)
        ]
        return _object({known.name: self.property(known) for known in there}, required)


def is_always_written(known: JsonField) -> bool:
    """Whether an answer has the field whatever its value: the rule of encode.py."""
    if known.options.omit_empty:
        return False
    if known.is_map or known.is_list:
        return True
    if known.proto.has_presence:
        return known.options.nullable
    return known.proto.enum_type is None and not known.options.object_name


def _companions(message: Descriptor) -> dict[str, str]:
    rules = message.GetOptions().Extensions[validate_pb2.message].cel
    return dict(pair for rule in rules if (pair := _COMPANIONS[rule.id]) is not None)


def _enum(enum: EnumDescriptor) -> Schema:
    names = enum_names(enum)
    lines = [
        f"- `{names[value.number]}`: {comment_of(f'{enum.full_name}.{value.name}')}"
        for value in enum.values
        if value.number in names
    ]
    return {"type": "string", "enum": list(names.values()), "description": "\n".join([comment(enum), "", *lines])}


def _object(properties: Schema, required: list[str]) -> Schema:
    return {"type": "object", "properties": properties} | ({"required": required} if required else {})


def _or_null(schema: Schema) -> Schema:
    if "type" in schema:
        return schema | {"type": [schema["type"], "null"]}
    described = {"description": schema.pop("description")}
    return {"anyOf": [schema, _NULL]} | described


def _with_limit(text: str, limit: int) -> str:
    return f"{text} At most {limit:,} bytes of UTF-8." if limit else text
