"""Protobuf messages into JSON, by writers that are built from the descriptors at start."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any

import msgspec
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pool import Default

from gateway.schema import JsonField, enum_names, json_fields, json_path

# From a message and the public base URL to what stands in JSON.
Encoder = Callable[[Any, str], dict[str, Any]]
_Writer = Callable[[Any, dict[str, Any], str], None]
_Convert = Callable[[Any, str], Any]


@cache
def encoder(message: Descriptor) -> Encoder:
    """How a message becomes a dict that `msgspec.json.encode` writes.

    Fields without presence are always there, others when set; `(pharos.push.v1.json)` says what differs.
    """
    writers = [_writer(known) for known in json_fields(message) if not known.options.header]

    def encode(source: Any, base_url: str) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for write in writers:
            write(source, out, base_url)
        return out

    return encode


def _writer(known: JsonField) -> _Writer:
    if known.is_map:
        return _map_writer(known)
    if known.is_list:
        return _list_writer(known)
    if known.proto.has_presence:
        return _presence_writer(known)
    return _scalar_writer(known)


def _convert(proto: FieldDescriptor, known: JsonField | None = None) -> _Convert | None:
    """What a value needs before it is JSON; None for nothing."""
    if known is not None and (convert := _convert_by_option(known)) is not None:
        return convert
    if proto.message_type is not None:
        return encoder(proto.message_type)
    if proto.enum_type is not None:
        names = enum_names(proto.enum_type)
        return lambda value, _: names.get(value, value)
    return None


def _convert_by_option(known: JsonField) -> _Convert | None:
    """What the field's options and its type ask for beyond the proto3 JSON mapping."""
    if known.options.object_name:
        return lambda value, _: msgspec.Raw(value)
    if known.options.absolute_url:
        return lambda value, base_url: base_url + value if value else value
    if known.options.path_in_request:
        request = Default().FindMessageTypeByName(known.options.path_in_request)
        return lambda value, _: json_path(request, value)
    if known.is_timestamp:
        return lambda value, _: datetime.fromtimestamp(value.seconds, UTC)
    return None


def _scalar_writer(known: JsonField) -> _Writer:
    """Of a field without presence: its zero is left out where the zero says nothing."""
    attribute, key, convert = known.proto.name, known.name, _convert(known.proto, known)
    says_nothing = known.proto.enum_type is not None or bool(known.options.object_name) or known.options.omit_empty

    def write(source: Any, out: dict[str, Any], base_url: str) -> None:
        value = getattr(source, attribute)
        if value or not says_nothing:
            out[key] = convert(value, base_url) if convert is not None else value

    return write


def _presence_writer(known: JsonField) -> _Writer:
    attribute, key, convert = known.proto.name, known.name, _convert(known.proto, known)
    nullable, is_enum = known.options.nullable, known.proto.enum_type is not None

    def write(source: Any, out: dict[str, Any], base_url: str) -> None:
        if source.HasField(attribute):
            value = getattr(source, attribute)
            if value or not is_enum:
                out[key] = convert(value, base_url) if convert is not None else value
        elif nullable:
            out[key] = None

    return write


def _list_writer(known: JsonField) -> _Writer:
    attribute, key, convert = known.proto.name, known.name, _convert(known.proto, known)
    omit_empty = known.options.omit_empty

    def write(source: Any, out: dict[str, Any], base_url: str) -> None:
        values = getattr(source, attribute)
        if values or not omit_empty:
            out[key] = [convert(value, base_url) for value in values] if convert is not None else list(values)

    return write


def _map_writer(known: JsonField) -> _Writer:
    attribute, key, convert = known.proto.name, known.name, _convert(known.map_value)
    omit_empty = known.options.omit_empty

    def write(source: Any, out: dict[str, Any], base_url: str) -> None:
        pairs = getattr(source, attribute)
        if pairs or not omit_empty:
            out[key] = {k: convert(v, base_url) for k, v in pairs.items()} if convert is not None else dict(pairs)

    return write
