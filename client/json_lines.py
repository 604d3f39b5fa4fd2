"""Messages of the status stream as lines of JSON, with the same `data` as the REST API's events."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from pharos.push.v1 import options_pb2
from pharos.push.v1.delivery_status_pb2 import WatchDeliveryStatusResponse

_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def json_line(message: WatchDeliveryStatusResponse) -> str:
    """`{"event": ..., "resumeToken": ..., "data": {...}}`; a message of a kind not known here is `unknown`.

    ASCII: no output refuses it, and there is no other line break or control character for a reader to stumble over.
    """
    case = message.WhichOneof("message")
    data = _document(getattr(message, case)) if case else {}
    line = {"event": case or "unknown", "resumeToken": message.resume_token, "data": data}
    return json.dumps(line, separators=(",", ":"))


def _document(message: Message) -> dict[str, Any]:
    """Fields without presence are always there, others when set; what an enum's zero says is not written."""
    return dict(_members(message))


def _members(message: Message) -> Iterator[tuple[str, Any]]:
    for field in _fields(message.DESCRIPTOR):
        value = getattr(message, field.name)
        if field.has_presence and not message.HasField(field.name):
            if _options(field).nullable:
                yield field.json_name, None
        elif value or not _says_nothing_empty(field):
            yield _options(field).object_name or field.json_name, _written(field, value)


@cache
def _fields(message: Descriptor) -> tuple[FieldDescriptor, ...]:
    """Those that JSON has: a map for callers over gRPC gives way to the JSON object of its name."""
    objects = {_options(field).object_name for field in message.fields}
    return tuple(field for field in message.fields if _options(field).object_name or field.name not in objects)


def _says_nothing_empty(field: FieldDescriptor) -> bool:
    options = _options(field)
    is_enum = field.enum_type is not None and not field.is_repeated
    return is_enum or bool(options.object_name) or options.omit_empty


def _written(field: FieldDescriptor, value: Any) -> Any:
    if _options(field).object_name:
        return json.loads(value)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return dict(value)
    return [_value(field, each) for each in value] if field.is_repeated else _value(field, value)


def _value(field: FieldDescriptor, value: Any) -> Any:
    if isinstance(value, Timestamp):
        return datetime.fromtimestamp(value.seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, Message):
        return _document(value)
    return _enum_names(field.enum_type).get(value, value) if field.enum_type else value


@cache
def _options(field: FieldDescriptor) -> options_pb2.JsonField:
    return field.GetOptions().Extensions[options_pb2.json]


@cache
def _enum_names(enum: EnumDescriptor) -> dict[int, str]:
    """Short names by number, `DELIVERY_STATUS_SENT` as `SENT`."""
    prefix = _WORD_START.sub("_", enum.name).upper() + "_"
    return {value.number: value.name.removeprefix(prefix) for value in enum.values}
