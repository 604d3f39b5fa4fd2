"""What no generated client sends to the gRPC door is refused with a clear status, writes nothing, and harms nobody."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest
from grpc import StatusCode
from grpc_status import rpc_status
from pharos.push.v1 import push_notifications_pb2 as pb
from pharos.push.v1 import types_pb2
from pharos.push.v1.delivery_status_pb2 import WatchDeliveryStatusRequest

from client.calls import basic_auth
from tests.acceptance.hostile import MIB, unharmed
from tests.acceptance.stack import Stack

_SEND: Final = "/pharos.push.v1.PushNotificationService/SendPushNotification"
_REGISTER: Final = "/pharos.push.v1.DeviceRegistrationService/RegisterDevice"
_WATCH: Final = "/pharos.push.v1.DeliveryStatusService/WatchDeliveryStatus"
_USER: Final = types_pb2.Recipient(user_id="comms_pushnotificationuser_01h2xcejqtf2nbrexx3vqjhp41")
_RESUME_TOKEN: Final = WatchDeliveryStatusRequest.RESUME_TOKEN_FIELD_NUMBER
_OPTIONS: Final = [("grpc.max_send_message_length", -1), ("grpc.max_metadata_size", 1 << 20)]


@pytest.fixture(autouse=True, scope="module")
def unharmed_service(test_app: Stack) -> Iterator[None]:
    with unharmed(test_app, grows_at_most=12 * 32 * MIB):
        yield


@pytest.fixture
async def channel(test_app: Stack) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(test_app.grpc, options=_OPTIONS) as channel:
        yield channel


@pytest.fixture
def metadata(test_app: Stack) -> Any:
    return basic_auth(test_app.variables["PHAROS_ACCOUNT_ID"], test_app.variables["PHAROS_AUTH_TOKEN"])


async def _refused(channel: grpc.aio.Channel, method: str, message: bytes, metadata: Any) -> grpc.aio.AioRpcError:
    if method == _WATCH:
        answer = anext(aiter(channel.unary_stream(method)(message, metadata=metadata, timeout=60)))
    else:
        answer = channel.unary_unary(method)(message, metadata=metadata, timeout=60)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await answer
    return caught.value


def _fields(error: grpc.aio.AioRpcError) -> set[str]:
    found, status = BadRequest(), rpc_status.from_call(error)
    assert status is not None
    assert any(detail.Unpack(found) for detail in status.details)
    return {violation.field for violation in found.field_violations}


def _field(number: int, value: bytes) -> bytes:
    """A length-delimited field by hand."""
    return bytes([number << 3 | 2]) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + _varint(value >> 7)


_GARBAGE: Final = {
    "noise": bytes(range(255, 0, -1)),
    "an endless number": b"\x70" + b"\xff" * 20,
    "a length beyond the end": b"\x0a\xff\xff\xff\xff\x07a",
    "a group without an end": b"\x0b",
    "field zero": b"\x00\x01",
    "JSON": b'{"to":[]}',
    "groups in groups": b"\x0b" * 100_000,
    "messages in messages": b"\x0a" * 1000,
}


_BAD_TEXTS: Final = {
    "text that is not UTF-8": b"\xff",
    "a surrogate": b"\xed\xa0\x80",
    "half a character": b"\xe2\x82",
    "an overlong slash": b"\xc0\xaf",
    "beyond Unicode": b"\xf4\x90\x80\x80",
}


@pytest.mark.parametrize("method", [_SEND, _REGISTER, _WATCH])
@pytest.mark.parametrize("name", _GARBAGE)
async def test_bytes_that_are_no_message(channel: grpc.aio.Channel, metadata: Any, name: str, method: str) -> None:
    error = await _refused(channel, method, _GARBAGE[name], metadata)
    assert error.code() is StatusCode.INVALID_ARGUMENT, error.details()


@pytest.mark.parametrize("name", _BAD_TEXTS)
async def test_text_that_is_not_unicode(channel: grpc.aio.Channel, metadata: Any, name: str) -> None:
    text = _BAD_TEXTS[name]
    for method, message in {
        "sound": (_SEND, _field(5, text)),
        "token": (_SEND, _field(1, _field(1, text))),
        "a variable": (_SEND, _field(1, _field(4, _field(1, b"a") + _field(2, text)))),
        "a variable's name": (_SEND, _field(1, _field(4, _field(1, text) + _field(2, b"a")))),
        "request_id": (_REGISTER, _field(5, text)),
        "app_name": (_REGISTER, _field(1, text)),
        "resume_token": (_WATCH, _field(_RESUME_TOKEN, text)),
    }.values():
        error = await _refused(channel, method, message, metadata)
        assert error.code() is StatusCode.INVALID_ARGUMENT, error.details()


_VARIABLES: Final = {
    "not JSON": b"{",
    "an array": b"[]",
    "bytes": b"\xff\xfe",
    "text that is not UTF-8": b'{"a":"\xff"}',
    "U+0000": b'{"a":"\\u0000"}',
    "U+0000 as it is": b'{"a":"\0"}',
    "a lone surrogate": b'{"a":"\\ud800"}',
    "too deep": b'{"a":%b}' % (b"[" * 30_000 + b"]" * 30_000),
    "too large a number": b'{"a":1e999}',
    "NaN": b'{"a":NaN}',
    "too much": b'{"a":"%b"}' % (b"a" * 65_536),
}


@pytest.mark.parametrize("name", _VARIABLES)
async def test_variables_that_are_no_decent_object(channel: grpc.aio.Channel, metadata: Any, name: str) -> None:
    bad = types_pb2.Recipient(user_id=_USER.user_id, variables_json=_VARIABLES[name])
    request = pb.SendPushNotificationRequest(to=[_USER, bad], content={"body": "{{ a"}, request_id="hostile")
    error = await _refused(channel, _SEND, request.SerializeToString(), metadata)
    assert error.code() is StatusCode.INVALID_ARGUMENT
    assert _fields(error) == {"to[1].variables_json", "content.body"}


async def test_one_recipient_too_many_and_all_else_that_is_wrong(channel: grpc.aio.Channel, metadata: Any) -> None:
    sender = {"app_name": "nobodys"}
    request = pb.SendPushNotificationRequest(to=[_USER] * 10_001, content={"body": "{{"}, badge=-1, sender=sender)
    error = await _refused(channel, _SEND, request.SerializeToString(), metadata)
    assert _fields(error) == {"to", "content.body", "badge", "sender.app_name"}


async def test_a_message_over_32_mib(channel: grpc.aio.Channel, metadata: Any) -> None:
    error = await _refused(channel, _SEND, _field(5, b"a" * 33 * MIB), metadata)
    assert error.code() is StatusCode.RESOURCE_EXHAUSTED


async def test_a_message_of_almost_32_mib(channel: grpc.aio.Channel, metadata: Any) -> None:
    error = await _refused(channel, _SEND, _field(5, b"a" * (32 * MIB - 100)), metadata)
    assert _fields(error) >= {"to", "sound"}


async def test_a_million_empty_recipients(channel: grpc.aio.Channel, metadata: Any) -> None:
    error = await _refused(channel, _SEND, b"\x0a\x00" * 1_000_000, metadata)
    assert len(_fields(error)) == 50


@pytest.mark.parametrize(
    "value",
    ["", "Basic", "Bearer x", "Basic Og==", "Basic ====", "Basic " + "A" * 7_000, "Basic " + "A" * 300_000],
    ids=len,
)
async def test_strange_credentials(channel: grpc.aio.Channel, value: str) -> None:
    error = await _refused(channel, _SEND, b"", (("authorization", value),))
    assert error.code() in {StatusCode.UNAUTHENTICATED, StatusCode.RESOURCE_EXHAUSTED}
    assert error.code() is StatusCode.UNAUTHENTICATED or len(value) > 8_000


async def test_without_credentials_nothing_is_even_read(channel: grpc.aio.Channel) -> None:
    for message in _GARBAGE.values():
        assert (await _refused(channel, _SEND, message, ())).code() is StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("keys", [1, 2_000])
async def test_strange_metadata(channel: grpc.aio.Channel, metadata: Any, keys: int) -> None:
    more = tuple((f"x-{number}-bin", bytes(range(256))) for number in range(keys))
    error = await _refused(channel, _SEND, b"", (*metadata, *more, ("x-request-id", "a b" * 100)))
    assert error.code() in {StatusCode.INVALID_ARGUMENT, StatusCode.RESOURCE_EXHAUSTED}


@pytest.mark.parametrize("method", ["/x/y", "/pharos.push.v1.PushNotificationService/Steal", "/", f"/{'a' * 4000}/b"])
async def test_unknown_methods(channel: grpc.aio.Channel, metadata: Any, method: str) -> None:
    assert (await _refused(channel, method, b"", metadata)).code() is StatusCode.UNIMPLEMENTED
