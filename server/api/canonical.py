"""The one form that all equal requests have, however they are written: what a repeated request is recognised by.

Read from the descriptors: JSON objects have sorted keys and one spelling of each value, with the map of the same name
merged in; a default that is spelled out, an empty object and the other prefix of user ids make no difference. A zero
that means something stays: ``badge`` 0 removes the badge, ``ttl`` 0 is at once or never.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from functools import cache
from typing import Any, Final, TypeVar

import msgspec
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from pharos.push.v1 import options_pb2, push_notifications_pb2

M = TypeVar("M", bound=Message)
_Step = Callable[[Any], None]

# What fields with presence mean when they are unset, as the contract documents it.
_DEFAULTS: Final[Mapping[str, Any]] = {
    "pharos.push.v1.CreateCredentialRequest.is_default": False,
    "pharos.push.v1.SendPushNotificationRequest.priority": push_notifications_pb2.PRIORITY_HIGH,
    "pharos.push.v1.SendPushNotificationRequest.interruption_level": push_notifications_pb2.INTERRUPTION_LEVEL_ACTIVE,
}
_PACKAGE: Final = "pharos.push.v1"
_USER, _USER_ALIAS = "comms_pushnotificationuser_", "comms_user_"
_decode_object = msgspec.json.Decoder(dict[str, Any]).decode
_encode_object = msgspec.json.Encoder(order="deterministic").encode


def canonical(request: M) -> M:
    """Return a copy in canonical form, without its ``request_id``. What is not valid stays as it is."""
    copy = type(request)()
    copy.CopyFrom(request)
    copy.ClearField("request_id")
    _settle(copy)
    return copy


def _settle(message: Message) -> None:
    for step in _steps(message.DESCRIPTOR):
        step(message)


@cache
def _steps(descriptor: Descriptor) -> tuple[_Step, ...]:
    steps = (_step(field, set(descriptor.fields_by_name)) for field in descriptor.fields)
    return tuple(step for step in steps if step is not None)


def _step(field: FieldDescriptor, siblings: AbstractSet[str]) -> _Step | None:
    name, object_name = field.name, field.GetOptions().Extensions[options_pb2.json].object_name
    if object_name:
        return _object_step(name, object_name if object_name in siblings else None)
    if field.full_name in _DEFAULTS:
        return _default_step(name, _DEFAULTS[field.full_name])
    if name == "user_id":
        return _settle_user
    if field.message_type is None or field.message_type.file.package != _PACKAGE:
        return None
    if field.is_repeated:
        return None if field.message_type.GetOptions().map_entry else _elements_step(name)
    return _inner_step(name) if field.containing_oneof is None else None


def _object_step(name: str, map_name: str | None) -> _Step:
    """Of a JSON object as bytes, and of the map of the same name, which it is merged over."""

    def settle(message: Any) -> None:
        raw = getattr(message, name)
        texts = getattr(message, map_name) if map_name else None
        if not raw and not texts:
            return
        try:
            typed = {**(texts or {}), **(_decode_object(raw) if raw else {})}
            setattr(message, name, _encode_object(typed) if typed else b"")
        except (msgspec.MsgspecError, UnicodeError, OverflowError, RecursionError):
            return
        if texts:
            message.ClearField(map_name)

    return settle


def _default_step(name: str, default: Any) -> _Step:
    def settle(message: Any) -> None:
        if getattr(message, name) == default:
            message.ClearField(name)

    return settle


def _settle_user(message: Any) -> None:
    if message.user_id.startswith(_USER_ALIAS):
        message.user_id = _USER + message.user_id.removeprefix(_USER_ALIAS)


def _elements_step(name: str) -> _Step:
    def settle(message: Any) -> None:
        for element in getattr(message, name):
            _settle(element)

    return settle


def _inner_step(name: str) -> _Step:
    """Of a message inside; an empty one is as good as none."""

    def settle(message: Any) -> None:
        if message.HasField(name):
            inner = getattr(message, name)
            _settle(inner)
            if not inner.ByteSize():
                message.ClearField(name)

    return settle
