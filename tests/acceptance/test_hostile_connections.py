"""HTTP that no client library writes: bodies without measure, heads without sense, and people who leave."""

from __future__ import annotations

import asyncio
import base64
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.acceptance.hostile import MIB, Wire, assert_refused, chunks, post, unharmed
from tests.acceptance.programs import Program
from tests.acceptance.stack import Stack
from tests.plain_http import TRUSTS_NOBODY

_SEND: Final = "/v1/PushNotifications"
_JSON: Final = "Content-Type: application/json"
_LIMIT: Final = 32 * MIB
_UPLOAD_SECONDS: Final = 0.5


@pytest.fixture(autouse=True)
def unharmed_service(test_app: Stack) -> Iterator[None]:
    """16 bodies of the greatest size: two million keys take that much, most bodies a few times their text."""
    with unharmed(test_app, grows_at_most=16 * _LIMIT):
        yield


@pytest.fixture(scope="module")
def impatient(test_app: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The service behind a gateway of its own, which does not wait long for uploads."""
    log: Path = tmp_path_factory.mktemp("impatient") / "gateway.log"
    command = (sys.executable, "-m", "gateway", "--grpc", test_app.grpc)
    with closing(Program(command, log, PHAROS_UPLOAD_TIMEOUT_SECONDS=str(_UPLOAD_SECONDS))) as gateway:
        yield Stack(test_app.up, test_app.variables | {"PHAROS_URL": gateway.ready()["url"]})


async def _too_large(stack: Stack, head: bytes, *parts: bytes) -> None:
    async with Wire.to(stack.url) as wire:
        sending = asyncio.ensure_future(wire.send(head, *parts))
        answer = await wire.answer()
        sending.cancel()
    assert answer is not None
    assert_refused(answer.status, answer.body, 413)
    assert answer.headers["connection"] == "close"


async def test_100_mib_announced(test_app: Stack) -> None:
    await _too_large(test_app, post(_SEND, test_app, _JSON, f"Content-Length: {100 * MIB}"))


async def test_100_mib_announced_and_sent(test_app: Stack) -> None:
    head = post(_SEND, test_app, _JSON, f"Content-Length: {100 * MIB}")
    await _too_large(test_app, head, *([b"[" * MIB] * 100))


async def test_100_mib_in_chunks(test_app: Stack) -> None:
    head = post(_SEND, test_app, _JSON, "Transfer-Encoding: chunked")
    await _too_large(test_app, head, *chunks(100 * MIB, b'"' * MIB))


async def test_100_mib_by_one_who_asks_first(test_app: Stack) -> None:
    head = post(_SEND, test_app, _JSON, "Expect: 100-continue", f"Content-Length: {100 * MIB}")
    await _too_large(test_app, head)  # 413 is the first thing that is said


async def test_a_little_too_much_is_read_and_refused(test_app: Stack) -> None:
    head = post(_SEND, test_app, _JSON, f"Content-Length: {_LIMIT + 1}")
    await _too_large(test_app, head, b" " * _LIMIT, b" ")


_LARGE: Final = {
    "one text": b'"%b"' % (b"a" * (_LIMIT - 100)),
    "blanks": b" " * (_LIMIT - 100),
    "empty arrays": b"[%b[]]" % (b"[]," * (_LIMIT // 3 - 50)),
    "allowed arrays": b"[%b[]]" % (b"[]," * 990_000),
    "short texts": b"[%b1]" % (b'"ab",' * (_LIMIT // 5 - 50)),
    "zeros": b"[%b0]" % (b"0," * (_LIMIT // 2 - 50)),
    "one number": b"9" * (_LIMIT - 100),
    "allowed texts": b"[%b1]" % (b'"ab",' * 1_999_000),
    "allowed keys": b"{%b}" % b",".join(b'"%x":0' % n for n in range(1_999_000)),
    "keys": b"{%b}" % b",".join(b'"%x":0' % n for n in range(_LIMIT // 11)),
    "recipients": b"[%b{}]" % (b"{}," * 900_000),
}


@pytest.mark.parametrize("field", [b"data", b"variables"])
@pytest.mark.parametrize("value", _LARGE)
async def test_as_much_as_is_allowed_takes_bounded_memory(test_app: Stack, field: bytes, value: str) -> None:
    body = (b'{"to":[{"variables":{"a":%b}}]}' if field == b"variables" else b'{"%b":%%b}' % field) % _LARGE[value]
    async with test_app.rest() as rest:
        response = await rest.post(_SEND, content=body, headers={"Content-Type": "application/json"})
    assert_refused(response.status_code, response.content, 400)


def _head(*lines: bytes) -> bytes:
    return b"\r\n".join([*lines, b"", b""])


_BASIC: Final = b"Authorization: Basic " + base64.b64encode(b"a:b")
_HEADS: Final = {
    "nonsense": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/9.9": _head(b"GET /healthz HTTP/9.9", b"Host: x"),
    "no version": b"GET /v1/PushNotifications\r\n\r\n",
    "no path": _head(b"GET HTTP/1.1", b"Host: x"),
    "an unknown method": _head(b"STEAL /v1/PushNotifications HTTP/1.1", b"Host: x"),
    "a method in lower case": _head(b"get /v1/PushNotifications HTTP/1.1", b"Host: x"),
    "TRACE": _head(b"TRACE /v1/PushNotifications HTTP/1.1", b"Host: x"),
    "CONNECT": _head(b"CONNECT example.com:443 HTTP/1.1", b"Host: x"),
    "a NUL in the path": _head(b"GET /v1/\0 HTTP/1.1", b"Host: x"),
    "a NUL in a header": _head(b"GET /v1/PushNotifications HTTP/1.1", b"Host: x", b"X: \0"),
    "a header without a colon": _head(b"GET /v1/PushNotifications HTTP/1.1", b"Host: x", b"nonsense"),
    "blanks before a colon": _head(b"GET /v1/PushNotifications HTTP/1.1", b"Host : x"),
    "a folded header": _head(b"GET /v1/PushNotifications HTTP/1.1", b"Host: x", b"X: a", b" b"),
    "two lengths": _head(b"POST /v1/PushNotifications HTTP/1.1", b"Content-Length: 2", b"Content-Length: 3") + b"{}",
    "a length and chunks": _head(
        b"POST /v1/PushNotifications HTTP/1.1", b"Content-Length: 2", b"Transfer-Encoding: chunked"
    ),
    "a negative length": _head(b"POST /v1/PushNotifications HTTP/1.1", _BASIC, b"Content-Length: -1"),
    "a length in words": _head(b"POST /v1/PushNotifications HTTP/1.1", _BASIC, b"Content-Length: two"),
    "a huge length": _head(b"POST /v1/PushNotifications HTTP/1.1", _BASIC, b"Content-Length: " + b"9" * 40),
    "a bad chunk": _head(b"POST /v1/PushNotifications HTTP/1.1", _BASIC, _JSON.encode(), b"Transfer-Encoding: chunked")
    + b"xyz\r\n{}\r\n",
    "a huge chunk": _head(b"POST /v1/PushNotifications HTTP/1.1", _BASIC, b"Transfer-Encoding: chunked")
    + b"f" * 40
    + b"\r\n",
    "an unknown transfer encoding": _head(
        b"POST /v1/PushNotifications HTTP/1.1", _BASIC, _JSON.encode(), b"Transfer-Encoding: gzip"
    )
    + b"{}",
    "a head without an end": b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 100_000,
    "a huge header": b"GET / HTTP/1.1\r\nX: " + b"y" * MIB,
    "a huge path": b"GET /" + b"y" * MIB,
    "a huge authorization": _head(b"GET /v1/PushNotifications HTTP/1.1", b"Authorization: Basic " + b"QTpC" * 15_000),
    "10,000 headers": _head(b"GET /v1/PushNotifications HTTP/1.1", *[b"a:b"] * 10_000),
}


@pytest.mark.parametrize("name", _HEADS)
async def test_a_senseless_head_is_refused_or_the_connection_closed(test_app: Stack, name: str) -> None:
    async with Wire.to(test_app.url) as wire:
        await wire.send(_HEADS[name])
        wire.end()
        answer = await wire.answer()
    assert answer is None or 400 <= answer.status < 500, answer


async def test_credentials_that_are_too_long_for_any_account_are_a_401(test_app: Stack) -> None:
    async with Wire.to(test_app.url) as wire:
        await wire.send(_HEADS["a huge authorization"])
        answer = await wire.answer()
    assert answer is not None
    assert_refused(answer.status, answer.body, 401)


async def test_a_slow_upload_is_not_waited_for(impatient: Stack) -> None:
    async with Wire.to(impatient.url) as wire:
        await wire.send(post(_SEND, impatient, _JSON, "Content-Length: 1000000"), b"{")
        answering = asyncio.ensure_future(wire.answer())
        while not answering.done():
            await wire.send(b" ")
            await asyncio.wait([answering], timeout=_UPLOAD_SECONDS / 20)
    answer = answering.result()
    assert answer is not None
    assert_refused(answer.status, answer.body, 408)
    assert answer.headers["connection"] == "close"


async def test_pipelined_requests_are_answered_in_their_order(test_app: Stack) -> None:
    paths = [f"/v1/PushNotifications/Apps/{'test_app' if number % 3 else 'unknown'}" for number in range(20)]
    heads = [
        post(path, test_app, f"X-Request-Id: r{number}").replace(b"POST", b"GET", 1)
        for number, path in enumerate(paths)
    ]
    async with Wire.to(test_app.url) as wire:
        await wire.send(b"".join(heads))
        answers = [await wire.answer() for _ in heads]
    told = [(answer.status, answer.headers["x-request-id"]) for answer in answers if answer]
    assert told == [(200 if number % 3 else 404, f"r{number}") for number in range(20)]


async def test_people_who_leave_during_their_upload(test_app: Stack) -> None:
    for number in range(50):
        async with Wire.to(test_app.url) as wire:
            body = b'{"token":"left-%d","provider":"FCM"' % number
            await wire.send(post(f"{_SEND}/DeviceRegistrations", test_app, _JSON, "Content-Length: 1000"), body)


async def test_people_who_leave_before_their_answer(test_app: Stack) -> None:
    heads = [
        post(f"{_SEND}{path}", test_app).replace(b"POST", b"GET", 1)
        for path in ("", "/Apps/test_app", "/Operations/comms_operation_01h2xcejqtf2nbrexx3vqjhp41/Events")
    ]
    for _ in range(20):
        for head in heads:
            async with Wire.to(test_app.url) as wire:
                await wire.send(head)


async def test_an_error_says_nothing_of_the_inside(test_app: Stack) -> None:
    async with httpx.AsyncClient(base_url=test_app.url, timeout=60, verify=TRUSTS_NOBODY) as anybody:
        response = await anybody.post(_SEND, content=b"{", headers={"Authorization": "Basic AAAA"})
    assert_refused(response.status_code, response.content, 401)
    for word in (b"Traceback", b"File ", b"asyncpg", b"grpc", b"select "):
        assert word not in response.content
