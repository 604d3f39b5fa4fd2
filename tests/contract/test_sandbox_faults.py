"""The sandbox's misbehaviour by rule, seen by an h2 client that looks at every frame."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import jwt
import pytest
from h2.settings import SettingCodes

from sandbox import Rule, Sandbox
from sandbox.identity import APNS_KEY_ID, APNS_TEAM_ID, APNS_TOPIC
from sandbox.ledger import Provider
from sandbox.rules import GoAwaySpec
from sandbox.wire import Fault

DEVICE = "ab" * 32


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sandbox")


@pytest.fixture
async def sandbox(directory: Path) -> AsyncIterator[Sandbox]:
    async with Sandbox.start(directory) as running:
        yield running


class Peer:
    """One HTTP/2 connection; ``events`` is everything that came, ``closed`` whether the sandbox hung up."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self.h2.initiate_connection()
        self.events: list[Any] = []
        self.closed = False

    async def flush(self) -> None:
        self._writer.write(self.h2.data_to_send())
        await self._writer.drain()

    async def until(self, done: Callable[[Peer], Any]) -> None:
        """Reads until the condition holds, for five seconds at most."""
        async with asyncio.timeout(5):
            while not done(self):
                await self.flush()
                try:
                    data = await self._reader.read(65_536)
                except ConnectionError:
                    data = b""
                self.closed = not data
                self.events += self.h2.receive_data(data)
                assert not self.closed or done(self), f"closed after {self.events}"

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def statuses(self) -> dict[int, int]:
        return {event.stream_id: int(dict(event.headers)[b":status"]) for event in self.of(h2.events.ResponseReceived)}

    def close(self) -> None:
        self._writer.transport.abort()


@pytest.fixture
async def connect(sandbox: Sandbox) -> AsyncIterator[Callable[..., Any]]:
    peers: list[Peer] = []

    async def dial(url: str, *, certificate: bool = False) -> Peer:
        tls = ssl.create_default_context(cafile=sandbox.identity.ca_file)
        tls.set_alpn_protocols(["h2"])
        if certificate:
            tls.load_cert_chain(sandbox.identity.apns_cert_file, sandbox.identity.apns_key_file)
        host, port = "localhost", int(url.rpartition(":")[2])
        peers.append(Peer(*await asyncio.open_connection(host, port, ssl=tls)))
        return peers[-1]

    yield dial
    for peer in peers:
        peer.close()


def push(sandbox: Sandbox, peer: Peer, token: str = DEVICE, **options: Any) -> int:
    """Puts a push on a new stream without waiting; returns the stream's id."""
    bearer = jwt.encode(
        {"iss": APNS_TEAM_ID, "iat": int(time.time())},
        sandbox.identity.apns_p8_file.read_text(),
        "ES256",
        headers={"kid": APNS_KEY_ID},
    )
    stream_id: int = peer.h2.get_next_available_stream_id()
    headers = [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", f"/3/device/{token}"),
        ("authorization", f"bearer {options.get('bearer', bearer)}"),
        ("apns-topic", APNS_TOPIC),
    ]
    peer.h2.send_headers(stream_id, headers)
    peer.h2.send_data(stream_id, b'{"aps":{"alert":"x"}}', end_stream=True)
    return stream_id


def limit(peer: Peer) -> int:
    return int(peer.h2.remote_settings.max_concurrent_streams)


async def test_apns_allows_one_stream_until_a_token_was_good(sandbox: Sandbox, connect: Any) -> None:
    peer = await connect(sandbox.urls.apns)
    await peer.until(lambda seen: seen.of(h2.events.RemoteSettingsChanged))
    assert limit(peer) == 1
    push(sandbox, peer, bearer="a.b.c")
    await peer.until(lambda seen: seen.statuses() == {1: 403})
    assert limit(peer) == 1
    push(sandbox, peer)
    await peer.until(lambda seen: seen.statuses() == {1: 403, 3: 200})
    assert limit(peer) == 1000


async def test_apns_refuses_more_than_one_stream_before_a_token_was_good(sandbox: Sandbox, connect: Any) -> None:
    peer = await connect(sandbox.urls.apns)
    stalled, refused = push(sandbox, peer, "57a1" * 16, bearer="a.b.c"), push(sandbox, peer)
    # The first is answered at once, so the second would find its place: hold the first with an unfinished body.
    assert (stalled, refused) == (1, 3)
    await peer.until(lambda seen: 3 in seen.statuses())

    held = await connect(sandbox.urls.apns)
    await held.flush()
    held.h2.send_headers(1, [(":method", "POST"), (":scheme", "https"), (":path", "/3/device/x")])
    push(sandbox, held)
    await held.until(lambda seen: seen.of(h2.events.StreamReset))
    (reset,) = held.of(h2.events.StreamReset)
    assert (reset.stream_id, reset.error_code) == (3, 7)


async def test_apns_settings_are_those_of_production(sandbox: Sandbox, connect: Any) -> None:
    peer = await connect(sandbox.urls.apns, certificate=True)
    await peer.until(lambda seen: seen.of(h2.events.RemoteSettingsChanged))
    settings = peer.h2.remote_settings
    assert limit(peer) == 1000
    assert settings.initial_window_size == 65_535
    assert settings.max_frame_size == 16_384
    assert settings[SettingCodes.MAX_HEADER_LIST_SIZE] == 8000


async def test_fcm_ends_a_connection_with_too_many_streams(sandbox: Sandbox, connect: Any) -> None:
    peer = await connect(sandbox.urls.fcm)
    for stream_id in range(1, 203, 2):  # the h2 client has not seen the limit yet
        peer.h2.send_headers(stream_id, [(":method", "POST"), (":scheme", "https"), (":path", "/token")])
    await peer.until(lambda seen: seen.of(h2.events.ConnectionTerminated))
    (end,) = peer.of(h2.events.ConnectionTerminated)
    assert (end.error_code, end.additional_data) == (1, b"exceeded_max_concurrent_streams")


async def test_goaway_tells_what_was_not_processed(sandbox: Sandbox, connect: Any) -> None:
    peer = await connect(sandbox.urls.apns)
    push(sandbox, peer)
    await peer.until(lambda seen: seen.statuses() == {1: 200})
    sandbox.rules.load(b'[{"fault": "goaway", "times": 1, "goaway": {"debug": "{\\"reason\\":\\"Shutdown\\"}"}}]')
    push(sandbox, peer)
    await peer.until(lambda seen: seen.of(h2.events.ConnectionTerminated))
    (end,) = peer.of(h2.events.ConnectionTerminated)
    assert (end.last_stream_id, end.error_code, end.additional_data) == (1, 0, b'{"reason":"Shutdown"}')
    assert sandbox.ledger.summary()["APN"].accepted == 1


async def test_a_graceful_goaway_answers_what_it_includes(sandbox: Sandbox, connect: Any) -> None:
    sandbox.rules.replace(Rule(token="aa", latency_ms=50), Rule(token="bb", fault=Fault.GOAWAY, processed=True))
    peer = await connect(sandbox.urls.apns, certificate=True)
    push(sandbox, peer, "aa" * 32)
    push(sandbox, peer, "bb" * 32)
    await peer.until(lambda seen: seen.statuses() == {1: 200, 3: 200})
    (end,) = peer.of(h2.events.ConnectionTerminated)
    assert end.last_stream_id == 3
    assert sandbox.ledger.summary()["APN"].accepted == 2


async def test_a_hard_goaway_leaves_an_accepted_push_unanswered(sandbox: Sandbox, connect: Any) -> None:
    hard = GoAwaySpec(code=2, drain=False)
    sandbox.rules.replace(Rule(fault=Fault.GOAWAY, goaway=hard, processed=True))
    peer = await connect(sandbox.urls.apns)
    push(sandbox, peer)
    await peer.until(lambda seen: seen.closed)
    (end,) = peer.of(h2.events.ConnectionTerminated)
    assert (end.last_stream_id, end.error_code, peer.statuses()) == (1, 2, {})
    assert sandbox.ledger.summary()["APN"].accepted == 1


@pytest.mark.parametrize("processed", [False, True])
async def test_a_cut_connection_says_nothing(sandbox: Sandbox, connect: Any, processed: bool) -> None:  # noqa: FBT001 - the parameter of the test
    sandbox.rules.replace(Rule(fault=Fault.CUT, processed=processed))
    peer = await connect(sandbox.urls.apns)
    push(sandbox, peer)
    await peer.until(lambda seen: seen.closed)
    assert not peer.of(h2.events.ConnectionTerminated)
    assert sandbox.ledger.summary()["APN"].accepted == int(processed)


async def test_a_stream_is_refused_by_rule_and_others_are_not(sandbox: Sandbox, connect: Any) -> None:
    sandbox.rules.replace(Rule(token="aa", fault=Fault.REFUSE))
    peer = await connect(sandbox.urls.apns, certificate=True)
    refused, served = push(sandbox, peer, "aa" * 32), push(sandbox, peer, "bb" * 32)
    await peer.until(lambda seen: seen.statuses() == {served: 200})
    (reset,) = peer.of(h2.events.StreamReset)
    assert (reset.stream_id, reset.error_code) == (refused, 7)
    assert sandbox.ledger.summary()["APN"].accepted == 1


async def test_a_stall_may_have_been_accepted(sandbox: Sandbox, connect: Any) -> None:
    sandbox.rules.replace(Rule(token="aa", fault=Fault.STALL, processed=True))
    peer = await connect(sandbox.urls.apns, certificate=True)
    push(sandbox, peer, "aa" * 32)
    served = push(sandbox, peer)
    await peer.until(lambda seen: seen.statuses() == {served: 200})
    assert sandbox.ledger.summary()["APN"].accepted == 2


async def test_the_stream_limit_can_be_lowered_in_flight(sandbox: Sandbox, connect: Any) -> None:
    sandbox.rules.replace(Rule(times=1, max_streams=7))
    peer = await connect(sandbox.urls.apns, certificate=True)
    push(sandbox, peer)
    await peer.until(lambda seen: seen.statuses() == {1: 200})
    assert limit(peer) == 7


async def test_goaway_may_come_instead_of_settings(sandbox: Sandbox, connect: Any) -> None:
    busy = GoAwaySpec(debug="busy")
    sandbox.rules.replace(Rule(provider=Provider.APN, on="connect", times=1, fault=Fault.GOAWAY, goaway=busy))
    first = await connect(sandbox.urls.apns)
    await first.until(lambda seen: seen.of(h2.events.ConnectionTerminated))
    assert not first.of(h2.events.RemoteSettingsChanged)
    second = await connect(sandbox.urls.apns)
    await second.until(lambda seen: seen.of(h2.events.RemoteSettingsChanged))


async def test_a_connection_may_be_cut_before_it_begins(sandbox: Sandbox, connect: Any) -> None:
    sandbox.rules.replace(Rule(on="connect", fault=Fault.CUT))
    for url in (sandbox.urls.apns, sandbox.urls.fcm):
        try:
            peer = await connect(url)
        except ConnectionError:
            continue
        await peer.until(lambda seen: seen.closed)


async def test_the_end_of_the_sandbox_is_a_goaway(directory: Path) -> None:
    async with Sandbox.start(directory) as ending:
        tls = ssl.create_default_context(cafile=ending.identity.ca_file)
        tls.set_alpn_protocols(["h2"])
        port = int(ending.urls.apns.rpartition(":")[2])
        peer = Peer(*await asyncio.open_connection("localhost", port, ssl=tls))
        push(ending, peer)
        await peer.until(lambda seen: seen.statuses() == {1: 200})
    await peer.until(lambda seen: seen.of(h2.events.ConnectionTerminated))
    (end,) = peer.of(h2.events.ConnectionTerminated)
    assert (end.last_stream_id, end.error_code) == (1, 0)
    peer.close()
