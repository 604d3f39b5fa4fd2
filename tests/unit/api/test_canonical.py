"""Equal requests have one canonical form, others have another."""

from __future__ import annotations

from typing import Any, TypeVar

import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from pharos.push.v1 import credentials_pb2, device_registrations_pb2, types_pb2
from pharos.push.v1 import push_notifications_pb2 as pb

from server.api.canonical import canonical

M = TypeVar("M", bound=Message)

_SUFFIX = "01m815cb4hev1ssrsmmsa7gj7q"
_USER, _ALIAS = f"comms_pushnotificationuser_{_SUFFIX}", f"comms_user_{_SUFFIX}"
_FCM = types_pb2.PROVIDER_FCM


def _send(**fields: Any) -> pb.SendPushNotificationRequest:
    return pb.SendPushNotificationRequest(**{"to": [types_pb2.Recipient(user_id=_USER)], **fields})


def _to(raw: bytes = b"", **texts: str) -> pb.SendPushNotificationRequest:
    return _send(to=[types_pb2.Recipient(user_id=_USER, variables_json=raw, variables=texts)])


def _upload(**fields: Any) -> credentials_pb2.CreateCredentialRequest:
    content = credentials_pb2.CredentialContent(private_key="a")
    return credentials_pb2.CreateCredentialRequest(content=content, **fields)


def _register(**fields: Any) -> device_registrations_pb2.RegisterDeviceRequest:
    return device_registrations_pb2.RegisterDeviceRequest(token="t", provider=_FCM, **fields)


def _form(request: Message) -> bytes:
    return canonical(request).SerializeToString(deterministic=True)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (_to(b'{"a":1,"b":{"d":[1,{"x":1,"y":2}],"c":null}}'), _to(b' { "b":{"c":null,"d":[1,{"y":2,"x":1}]},"a":1}')),
        (_to(b'{"\\u00e9":"\\/\\u0041"}'), _to('{"é":"/A"}'.encode())),
        (_to(b'{"a":100.0}'), _to(b'{"a":1e2}')),
        (_to(b"{}"), _to()),
        (_to(b'{"a":"1","b":"2"}'), _to(a="1", b="2")),
        (_to(b'{"a":"over"}', a="under", b="2"), _to(a="over", b="2")),
        (_send(overrides=pb.Overrides(fcm_json=b'{"a":1,"b":2}')), _send(overrides={"fcm_json": b'{"b":2, "a":1}'})),
        (_send(overrides={"fcm_json": b"{}", "apn_json": b"{ }"}), _send(overrides={})),
        (_send(overrides={}), _send()),
        (_send(priority=pb.PRIORITY_HIGH), _send()),
        (_send(interruption_level=pb.INTERRUPTION_LEVEL_ACTIVE), _send()),
        (_send(sender={}), _send()),
        (_send(content={}), _send()),
        (_send(tags={}, data={}, dry_run=False, mutable_content=False), _send()),
        (_send(data={"a": "1", "b": "2"}), _send(data={"b": "2", "a": "1"})),
        (_send(to=[types_pb2.Recipient(user_id=_ALIAS)]), _send()),
        (_send(request_id="a"), _send(request_id="b")),
        (_register(user_id=_ALIAS), _register(user_id=_USER)),
        (_register(user_id="", app_name=""), _register()),
        (_upload(is_default=False), _upload()),
        (
            device_registrations_pb2.BatchRegisterDevicesRequest(registrations=[_register(user_id=_ALIAS)]),
            device_registrations_pb2.BatchRegisterDevicesRequest(registrations=[_register(user_id=_USER)]),
        ),
    ],
)
def test_equal_requests_have_one_form(one: Message, other: Message) -> None:
    assert _form(one) == _form(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (_to(b'{"a":1}'), _to(b'{"a":1.0}')),  # not rendered alike
        (_to(b'{"a":1}'), _to(b'{"a":"1"}')),
        (_to(b'{"a":null}'), _to()),
        (_to(b'{"a":[1,2]}'), _to(b'{"a":[2,1]}')),
        (_to(b'{"a":9007199254740993}'), _to(b'{"a":9007199254740992}')),
        (_send(badge=0), _send()),
        (_send(ttl=0), _send()),
        (_send(relevance_score=0), _send()),
        (_send(sound=""), _send()),
        (_send(content={"title": ""}), _send(content={})),
        (_send(priority=pb.PRIORITY_LOW), _send()),
        (_send(content_available=True), _send()),
        (_send(schedule={"send_at": Timestamp()}), _send()),
        (_send(sender={"app_name": "a"}), _send()),
        (_send(to=[types_pb2.Recipient(user_id=_USER)] * 2), _send()),
        (_send(to=[types_pb2.Recipient(token=_USER, provider=_FCM)]), _send()),
        (_upload(is_default=True), _upload()),
        (_register(user_id=_USER), _register()),
        (_to(b"not JSON"), _to(b"nor this")),
    ],
)
def test_other_requests_have_other_forms(one: Message, other: Message) -> None:
    assert _form(one) != _form(other)


def test_the_request_itself_stays_as_it_is() -> None:
    request = _to(b'{"b":1, "a":2}', c="3")
    before = request.SerializeToString(deterministic=True)
    canonical(request)
    assert request.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("raw", [b'{"a":' + b"[" * 100_000, b'{"a":1e999}', b'{"a":' + b"9" * 5000 + b"}", b"\xff"])
def test_what_is_not_valid_stays_as_it_is(raw: bytes) -> None:
    assert canonical(_to(raw)).to[0].variables_json == raw
