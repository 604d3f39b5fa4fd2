"""Messages with something in every field, for tests that must not forget one."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from gateway.contract import Rpc
from gateway.schema import JsonField, json_field, json_fields, oneofs
from gateway.schema_rules import is_required
from tests.contract.gateway_upstream import NOON


def filled(message: Descriptor) -> Message:
    """The message with every field that JSON has; of a oneof, the first."""
    made = GetMessageClass(message)()
    decided: set[str] = set()
    for known in json_fields(message):
        group = known.proto.containing_oneof
        if group is None or group.name not in decided:
            _fill(made, known)
        if group is not None:
            decided.add(group.name)
    return made


def bare(rpc: Rpc) -> Message:
    """The RPC's answer with nothing but what it can't be without."""
    kind = rpc.method.output_type
    made = _needed(kind)
    if rpc.rest.location_field and not json_field(kind.fields_by_name[rpc.rest.location_field]).options.omit_empty:
        setattr(made, rpc.rest.location_field, "/v1/x")
    return made


def _needed(message: Descriptor) -> Any:
    """The message with the fields that the contract requires, and in those with theirs."""
    made = GetMessageClass(message)()
    for known in json_fields(message):
        if not is_required(known.proto):
            continue
        if known.message is None or oneofs(known.message):  # of a choice one is needed, and the first will do
            _fill(made, known)
        else:
            getattr(made, known.proto.name).CopyFrom(_needed(known.message))
    return made


def _fill(made: Any, known: JsonField) -> None:
    if known.is_map:
        getattr(made, known.proto.name)["key"] = _word(known.map_value)
    elif known.is_timestamp:
        getattr(made, known.proto.name).CopyFrom(NOON)
    elif known.message is not None and known.is_list:
        getattr(made, known.proto.name).append(filled(known.message))
    elif known.message is not None:
        getattr(made, known.proto.name).CopyFrom(filled(known.message))
    elif known.is_list:
        getattr(made, known.proto.name).append(_word(known.proto))
    else:
        setattr(made, known.proto.name, _word(known.proto))


def _word(field: FieldDescriptor) -> Any:
    if field.enum_type is not None:
        return 1
    if field.type == FieldDescriptor.TYPE_BYTES:
        return b'{"a": [1, null]}'
    return {
        FieldDescriptor.TYPE_BOOL: True,
        FieldDescriptor.TYPE_STRING: "/v1/x",
        FieldDescriptor.TYPE_DOUBLE: 0.5,
        FieldDescriptor.TYPE_INT32: 7,
        FieldDescriptor.TYPE_INT64: 2**40,
    }[field.type]
