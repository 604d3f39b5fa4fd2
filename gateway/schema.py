"""How the contract's messages look in JSON: names, options and enum values, read from the descriptors."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.timestamp_pb2 import Timestamp
from pharos.push.v1 import options_pb2

_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_STEP = re.compile(
    r"""\.?(?P<name>[A-Za-z_]\w*)
        (?P<subscript>\[(?:\w+|'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")\])?""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class JsonField:
    """One field of a message as REST has it; `name` is its key in JSON and in the query."""

    proto: FieldDescriptor
    name: str
    options: options_pb2.JsonField

    @property
    def message(self) -> Descriptor | None:
        """The type of a message field that stands in JSON as an object of its own fields."""
        return None if self.is_map or self.is_timestamp else self.proto.message_type

    @property
    def is_map(self) -> bool:
        kind = self.proto.message_type
        return kind is not None and kind.GetOptions().map_entry

    @property
    def is_timestamp(self) -> bool:
        kind = self.proto.message_type
        return kind is not None and kind.full_name == Timestamp.DESCRIPTOR.full_name

    @property
    def is_list(self) -> bool:
        return self.proto.is_repeated and not self.is_map

    @property
    def map_value(self) -> FieldDescriptor:
        """The values' field of a map. Raises TypeError for another field."""
        if self.proto.message_type is None:
            raise TypeError(self.proto.full_name)
        return self.proto.message_type.fields_by_name["value"]


@cache
def json_fields(message: Descriptor) -> tuple[JsonField, ...]:
    """The fields that have a JSON form, in the order of the contract."""
    every = [json_field(field) for field in message.fields]
    objects = {field.name for field in every if field.options.object_name}
    return tuple(field for field in every if field.options.object_name or field.name not in objects)


def json_field(field: FieldDescriptor) -> JsonField:
    """The field with its options."""
    options = field.GetOptions().Extensions[options_pb2.json]
    return JsonField(field, options.object_name or field.json_name, options)


@cache
def oneofs(message: Descriptor) -> tuple[frozenset[str], ...]:
    """The field names of each oneof with a choice, which an `optional` field's own oneof doesn't have."""
    groups = [frozenset(field.name for field in group.fields) for group in message.oneofs]
    return tuple(group for group in groups if len(group) > 1)


@cache
def enum_names(enum: EnumDescriptor) -> dict[int, str]:
    """Short names by number, `PROVIDER_FCM` as `FCM`. Zero, which says nothing, has none."""
    prefix = _WORD_START.sub("_", enum.name).upper() + "_"
    return {value.number: value.name.removeprefix(prefix) for value in enum.values if value.number}


@cache
def enum_numbers(enum: EnumDescriptor) -> dict[str, int]:
    """Numbers by short name."""
    return {name: number for number, name in enum_names(enum).items()}


def json_path(message: Descriptor, proto_path: str) -> str | None:
    """The JSON path of a field named as `google.rpc.BadRequest` names it: `to[3].user_id` is `$.to[3].userId`.

    A oneof, or a field that this gateway does not know, gives the path of the object it is in. None for a
    field that is not in the JSON at all because an HTTP header carries it.
    """
    path = "$"
    inside: Descriptor | None = message
    for step in _STEP.finditer(proto_path):
        field = inside.fields_by_name.get(step["name"]) if inside is not None else None
        if field is None:
            break
        known = json_field(field)
        if known.options.header:
            return None
        path += f".{known.name}{step['subscript'] or ''}"
        inside = field.message_type
    return path


def header_of(message: Descriptor, proto_path: str) -> str:
    """The HTTP header that carries a top-level field; empty when none does."""
    field = message.fields_by_name.get(proto_path)
    return json_field(field).options.header if field is not None else ""
