from __future__ import annotations

import asyncio
import datetime as dt
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from h2.errors import ErrorCodes

from server.providers import tls
from server.providers.http2.pool import Http2Transport
from server.providers.httpx_transport import FAILURES_TO_RETIRE, HttpxTransport
from server.providers.transport import (
    CertificateRefusedError,
    NotSentError,
    Origin,
    Request,
    Response,
    SharedHeaders,
    Transport,
    TransportError,
    UnknownOutcomeError,
)

SHARED = SharedHeaders((("authorization", "bearer s3cret"),))
SOON = 0.5
LATER = 10.0


async def post(transport: Transport, seconds: float = LATER, path: str = "/3/device/f00d") -> Response:
    deadline = asyncio.get_running_loop().time() + seconds
    return await transport.post(Request(path, SHARED, (("apns-id", "7"),), b"{}"), deadline)


async def code_of(transport: Transport, kind: type[TransportError], seconds: float = LATER) -> str:
    with pytest.raises(TransportError) as caught:
        await post(transport, seconds)
    assert type(caught.value) is kind
    return caught.value.code


class Connect(Protocol):
    """Makes a transport of the kind under test, closed after the test."""

    def __call__(self, origin: str, context: ssl.SSLContext, streams: int = 1000) -> Transport: ...


@pytest.fixture(params=[Http2Transport, HttpxTransport])
async def connect(request: pytest.FixtureRequest) -> AsyncIterator[Connect]:
    made: list[Transport] = []

    def connect_one(origin: str, context: ssl.SSLContext, streams: int = 1000) -> Transport:
        made.append(request.param(Origin(origin, streams, 1), context))
        return made[-1]

    yield connect_one
    for transport in made:
        await transport.aclose()


@pytest.fixture
async def transport(connect: Connect, h2_server: Any, ca_file: Path) -> Transport:
    return connect(h2_server.origin, tls.trusting(ca_file))


async def test_answer_has_status_headers_and_body(transport: Transport, h2_server: Any) -> None:
    h2_server.script = lambda request: request.respond(410, b'{"reason":"Unregistered"}', apns_id="42")
    response = await post(transport)
    assert (response.status, response.body) == (410, b'{"reason":"Unregistered"}')
    assert response.headers["apns-id"] == "42"
    [request] = h2_server.requests
    assert (request.headers[":method"], request.headers[":path"]) == ("POST", "/3/device/f00d")
    assert (request.headers["authorization"], request.body) == ("bearer s3cret", b"{}")


async def test_many_at_once_share_one_connection(transport: Transport, h2_server: Any) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(post(transport)) for _ in range(150)]
    assert {task.result().status for task in tasks} == {200}
    assert len(h2_server.connections) == 1


async def test_refused_connection_is_not_sent(connect: Connect, ca_file: Path, unused_tcp_port: int) -> None:
    transport = connect(f"https://localhost:{unused_tcp_port}", tls.trusting(ca_file))
    assert await code_of(transport, NotSentError) == "CONNECT_FAILED"


async def test_a_host_that_can_not_be_one_is_not_sent_each_time(connect: Connect, ca_file: Path) -> None:
    transport = connect(f"https://{'x' * 64}.example", tls.trusting(ca_file))
    for _ in range(2):
        assert await code_of(transport, NotSentError) == "CONNECT_FAILED"


async def test_untrusted_server_is_not_sent(connect: Connect, h2_server: Any) -> None:
    transport = connect(h2_server.origin, tls.trusting(None))
    assert await code_of(transport, NotSentError) == "TLS_FAILED"
    assert h2_server.requests == []


async def test_server_that_never_speaks_is_not_sent(connect: Connect, ca_file: Path) -> None:
    ended = asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        ended.set()

    server = await asyncio.start_server(listen, "localhost", 0)
    transport = connect(f"https://localhost:{server.sockets[0].getsockname()[1]}", tls.trusting(ca_file))
    assert await code_of(transport, NotSentError, SOON) == "NO_CONNECTION_IN_TIME"
    await ended.wait()
    server.close()
    await server.wait_closed()


def _refuse_handshake(listener: socket.socket, context: ssl.SSLContext) -> str:
    """Unlike asyncio's, a blocking TLS socket still sends the alert when it refuses a certificate."""
    connection, _ = listener.accept()
    with connection, pytest.raises(ssl.SSLError) as caught:
        context.wrap_socket(connection, server_side=True)
    return str(caught.value.reason)


async def test_refused_client_certificate_is_known_as_such(
    connect: Connect, server_tls: ssl.SSLContext, ca_file: Path, samples: Any
) -> None:
    """With TLS 1.2: in 1.3 the handshake is over for the client before the server refuses, and httpx may miss why."""
    server_tls.maximum_version = ssl.TLSVersion.TLSv1_2
    server_tls.verify_mode = ssl.CERT_REQUIRED
    server_tls.load_verify_locations(ca_file)
    key = samples.rsa_key()
    expired = samples.authority.issue(key, not_after=dt.datetime.now(dt.UTC) - dt.timedelta(days=1))
    with socket.create_server(("localhost", 0)) as listener:
        origin = f"https://localhost:{listener.getsockname()[1]}"
        transport = connect(origin, tls.identified(ca_file, expired, samples.pem_of(key)))
        refusal = asyncio.create_task(asyncio.to_thread(_refuse_handshake, listener, server_tls))
        assert await code_of(transport, CertificateRefusedError) == "CLIENT_CERTIFICATE_REFUSED"
        assert await refusal == "CERTIFICATE_VERIFY_FAILED"


async def test_client_certificate_is_presented(
    connect: Connect, h2_server: Any, server_tls: ssl.SSLContext, ca_file: Path, samples: Any
) -> None:
    server_tls.verify_mode = ssl.CERT_REQUIRED
    server_tls.load_verify_locations(ca_file)
    key = samples.rsa_key()
    certificate = samples.authority.issue(key, uid="com.example.app")
    transport = connect(h2_server.origin, tls.identified(ca_file, certificate, samples.pem_of(key)))
    assert (await post(transport)).status == 200
    [connection] = h2_server.connections
    subject = dict(pair[0] for pair in connection.transport.get_extra_info("peercert")["subject"])
    assert subject["userId"] == "com.example.app"


@pytest.mark.parametrize(
    ("script", "kind", "code"),
    [
        (lambda request: request.connection.transport.close(), UnknownOutcomeError, "CONNECTION_LOST"),
        (lambda request: request.connection.transport.abort(), UnknownOutcomeError, "CONNECTION_LOST"),
        (lambda request: request.reset(ErrorCodes.REFUSED_STREAM), NotSentError, "REFUSED_STREAM"),
        (lambda request: request.reset(ErrorCodes.INTERNAL_ERROR), UnknownOutcomeError, "STREAM_RESET"),
        (lambda request: request.go_away(last_stream_id=0), NotSentError, "GOAWAY"),
        (
            lambda request: (
                request.go_away(request.stream_id) or request.connection.flush() or request.connection.transport.close()
            ),
            UnknownOutcomeError,
            "CONNECTION_LOST",
        ),
        (lambda request: request.begin_response(500) or request.reset(2), UnknownOutcomeError, "STREAM_RESET"),
        (lambda request: request.connection.transport.write(b"\0" * 64), UnknownOutcomeError, "CONNECTION_LOST"),
    ],
    ids=["closed", "aborted", "refused", "reset", "go away below", "go away above", "answer cut", "no HTTP/2"],
)
async def test_what_a_peer_did_tells_what_is_known(
    transport: Transport, h2_server: Any, script: Any, kind: type[TransportError], code: str
) -> None:
    h2_server.script = script
    assert await code_of(transport, kind) == code


async def test_no_answer_in_time_is_unknown(transport: Transport, h2_server: Any) -> None:
    h2_server.script = lambda _: None
    assert await code_of(transport, UnknownOutcomeError, SOON) == "NO_ANSWER_IN_TIME"
    assert len(h2_server.requests) == 1


async def test_success_stands_when_its_body_is_lost(transport: Transport, h2_server: Any) -> None:
    h2_server.script = lambda request: request.begin_response(200) or request.reset(ErrorCodes.INTERNAL_ERROR)
    assert (await post(transport)).status == 200


async def test_success_stands_when_httpx_fails_to_end_it(
    transport: Transport, h2_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where requests were cancelled while it connected, httpcore miscounts its streams and fails behind the answer."""

    async def fail(*_: Any, **__: Any) -> None:
        raise ValueError("semaphore released too many times")

    monkeypatch.setattr("httpcore._async.http2.AsyncHTTP2Connection._response_closed", fail)
    h2_server.script = lambda request: request.respond(200, b"{}")
    assert (await post(transport)).body == b"{}"


async def test_waiting_for_a_stream_counts_towards_the_deadline(
    connect: Connect, h2_server: Any, ca_file: Path
) -> None:
    transport = connect(h2_server.origin, tls.trusting(ca_file), streams=1)
    h2_server.script = lambda _: None
    async with asyncio.TaskGroup() as group:
        first = group.create_task(post(transport))
        request = await h2_server.arrived.get()
        assert await code_of(transport, NotSentError, SOON) == "NO_STREAM_IN_TIME"
        request.respond()
        request.connection.flush()
    assert first.result().status == 200
    assert len(h2_server.requests) == 1


async def test_client_that_keeps_failing_is_replaced_and_closed(transport: Transport, h2_server: Any) -> None:
    h2_server.script = lambda _: None
    for _ in range(FAILURES_TO_RETIRE):
        await code_of(transport, UnknownOutcomeError, SOON)
    [broken] = h2_server.connections
    await broken.lost
    h2_server.script = lambda request: request.respond()
    assert (await post(transport)).status == 200
    assert len(h2_server.connections) == 2


async def test_success_between_failures_keeps_the_client(transport: Transport, h2_server: Any) -> None:
    h2_server.script = lambda request: request.respond() if request.stream_id % 4 == 1 else request.reset(2)
    for _ in range(FAILURES_TO_RETIRE + 1):
        await post(transport)
        await code_of(transport, UnknownOutcomeError)
    assert len(h2_server.connections) == 1


async def test_lowered_stream_limit_does_not_hang_it_for_good(transport: Transport, h2_server: Any) -> None:
    """httpcore counts the streams wrong from then on, and without help every later request waits for ever."""
    h2_server.script = lambda _: None
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(code_of(transport, UnknownOutcomeError, 1.0)) for _ in range(60)]
        for _ in range(60):
            request = await h2_server.arrived.get()
        request.connection.limit_streams(10)
    assert {task.result() for task in tasks} == {"NO_ANSWER_IN_TIME"}
    h2_server.script = lambda request: request.respond()
    async with asyncio.TaskGroup() as group:
        again = [group.create_task(post(transport)) for _ in range(60)]
    assert {task.result().status for task in again} == {200}


async def test_renewed_transport_uses_a_new_connection(transport: Transport, h2_server: Any) -> None:
    await post(transport)
    transport.renew()
    await post(transport)
    first, second = h2_server.connections
    await first.lost
    assert not second.lost.done()


async def test_requests_in_flight_survive_renewal_and_close(transport: Transport, h2_server: Any) -> None:
    h2_server.script = lambda _: None
    async with asyncio.TaskGroup() as group:
        posts = [group.create_task(post(transport))]
        first = await h2_server.arrived.get()
        transport.renew()
        posts.append(group.create_task(post(transport)))
        second = await h2_server.arrived.get()
        closing = group.create_task(transport.aclose())
        for request, answered in zip((first, second), posts, strict=True):
            request.respond()
            request.connection.flush()
            assert not closing.done()
            await answered
    assert [task.result().status for task in posts] == [200, 200]
    assert first.connection is not second.connection
    assert await code_of(transport, NotSentError) == "TRANSPORT_CLOSED"


async def test_cancelled_caller_frees_its_place(connect: Connect, h2_server: Any, ca_file: Path) -> None:
    transport = connect(h2_server.origin, tls.trusting(ca_file), streams=1)
    h2_server.script = lambda _: None
    task = asyncio.create_task(post(transport))
    await h2_server.arrived.get()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    h2_server.script = lambda request: request.respond()
    assert (await post(transport)).status == 200


async def test_logs_hold_no_tokens(transport: Transport, h2_server: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        await post(transport)
        h2_server.script = lambda request: request.connection.transport.abort()
        await code_of(transport, UnknownOutcomeError)
    assert "f00d" not in caplog.text
    assert "s3cret" not in caplog.text
