"""The sandbox's HTTP/2 limits and its misbehaviour by rule, seen by a client that looks at every frame."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import hpack
import jwt
import pytest
from hyperframe import frame as hf

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
    """One HTTP/2 connection that keeps every frame: h2 itself would take nothing after a GOAWAY."""

    def __init__(self, sandbox: Sandbox, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._unread = b""
        self._decoder = hpack.Decoder()
        self._encoder = hpack.Encoder()
        self._next_id = 1
        self.bearer = provider_token(sandbox)
        self.frames: list[hf.Frame] = []
        self.statuses: dict[int, int] = {}
        self.settings: dict[int, int] = {}
        self.closed = False
        self.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", hf.SettingsFrame(0))

    def send(self, *parts: hf.Frame | bytes) -> None:
        self._writer.write(b"".join(part if isinstance(part, bytes) else part.serialize() for part in parts))

    def begin(self, path: str, *more: tuple[str, str]) -> int:
        """The headers of a request on a new stream; returns its id."""
        stream_id, self._next_id = self._next_id, self._next_id + 2
        pseudo = [(":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", path)]
        block = self._encoder.encode([*pseudo, *more])
        self.send(hf.HeadersFrame(stream_id, data=block, flags=["END_HEADERS"]))
        return stream_id

    def push(self, token: str = DEVICE) -> int:
        """A whole push on a new stream; returns its id."""
        stream_id = self.begin(
            f"/3/device/{token}", ("authorization", f"bearer {self.bearer}"), ("apns-topic", APNS_TOPIC)
        )
        self.send(hf.DataFrame(stream_id, data=b'{"aps":{"alert":"x"}}', flags=["END_STREAM"]))
        return stream_id

    async def until(self, done: Callable[[Peer], Any]) -> None:
        """Reads until the condition holds, for five seconds at most."""
        async with asyncio.timeout(5):
            while not done(self):
                assert not self.closed, f"closed after {self.frames}"
                try:
                    data = await self._reader.read(65_536)
                except ConnectionError:
                    data = b""
                self.closed = not data
                self._parse(self._unread + data)

    def _parse(self, data: bytes) -> None:
        while len(data) >= 9:
            frame, size = hf.Frame.parse_frame_header(memoryview(data)[:9])
            if len(data) < 9 + size:
                break
            frame.parse_body(memoryview(data)[9 : 9 + size])
            data = data[9 + size :]
            self._note(frame)
        self._unread = data

    def _note(self, frame: hf.Frame) -> None:
        self.frames.append(frame)
        if isinstance(frame, hf.HeadersFrame):
            self.statuses[frame.stream_id] = int(dict(self._decoder.decode(frame.data))[":status"])
        elif isinstance(frame, hf.SettingsFrame) and "ACK" not in frame.flags:
            self.settings |= frame.settings
            self.send(hf.SettingsFrame(0, flags=["ACK"]))

    def of(self, kind: type[hf.Frame]) -> list[Any]:
        return [frame for frame in self.frames if isinstance(frame, kind)]

    @property
    def goaway(self) -> tuple[int, int, bytes] | None:
        """Last stream id, error code and debug data."""
        frames = self.of(hf.GoAwayFrame)
        return (frames[0].last_stream_id, frames[0].error_code, frames[0].additional_data) if frames else None

    @property
    def resets(self) -> dict[int, int]:
        return {frame.stream_id: frame.error_code for frame in self.of(hf.RstStreamFrame)}

    @property
    def limit(self) -> int | None:
        return self.settings.get(hf.SettingsFrame.MAX_CONCURRENT_STREAMS)

    def close(self) -> None:
        self._writer.transport.abort()


def provider_token(sandbox: Sandbox) -> str:
    key = sandbox.identity.apns_p8_file.read_text()
    return jwt.encode({"iss": APNS_TEAM_ID, "iat": int(time.time())}, key, "ES256", headers={"kid": APNS_KEY_ID})


async def dial(sandbox: Sandbox, url: str, *, certificate: bool = False) -> Peer:
    tls = ssl.create_default_context(cafile=sandbox.identity.ca_file)
    tls.set_alpn_protocols(["h2"])
    if certificate:
        tls.load_cert_chain(sandbox.identity.apns_cert_file, sandbox.identity.apns_key_file)
    port = int(url.rpartition(":")[2])
    return Peer(sandbox, *await asyncio.open_connection("localhost", port, ssl=tls))


@pytest.fixture
async def connect(sandbox: Sandbox) -> AsyncIterator[Callable[..., Any]]:
    peers: list[Peer] = []

    async def connected(url: str, *, certificate: bool = False) -> Peer:
        peers.append(await dial(sandbox, url, certificate=certificate))
        return peers[-1]

    yield connected
    for peer in peers:
        peer.close()


async def test_apns_allows_one_stream_until_a_token_was_good(sandbox: Sandbox, connect: Any) -> None:
    peer = await connect(sandbox.urls.apns)
    await peer.until(lambda seen: seen.limit == 1)
    good, peer.bearer = peer.bearer, "a.b.c"
    peer.push()
    await peer.until(lambda seen: seen.statuses == {1: 403})
    assert peer.limit == 1
    peer.bearer = good
    peer.push()
    await peer.until(lambda seen: seen.statuses == {1: 403, 3: 200})
    assert peer.limit == 1000


async def test_apns_refuses_a_second_stream_before_a_token_was_good(sandbox: Sandbox, connect: Any) -> None:
    peer = await connect(sandbox.urls.apns)
    unfinished = peer.begin("/3/device/ab")
    refused = peer.push()
    await peer.until(lambda seen: seen.resets == {refused: 7})
    assert unfinished not in peer.resets
    assert sandbox.ledger.summary()["APN"].accepted == 0


async def test_apns_settings_are_those_of_production(sandbox: Sandbox, connect: Any) -> None:
    peer = await connect(sandbox.urls.apns, certificate=True)
    await peer.until(lambda seen: seen.settings)
    assert peer.settings == {
        hf.SettingsFrame.MAX_CONCURRENT_STREAMS: 1000,
        hf.SettingsFrame.INITIAL_WINDOW_SIZE: 65_535,
        hf.SettingsFrame.MAX_HEADER_LIST_SIZE: 8000,
    }


async def test_fcm_ends_a_connection_with_too_many_streams(sandbox: Sandbox, connect: Any) -> None:
    peer = await connect(sandbox.urls.fcm)
    for _ in range(101):
        peer.begin("/token")
    await peer.until(lambda seen: seen.closed)
    assert peer.limit == 100
    assert peer.goaway == (0, 1, b"exceeded_max_concurrent_streams")


async def test_goaway_tells_what_was_not_processed(sandbox: Sandbox, connect: Any) -> None:
    peer = await connect(sandbox.urls.apns)
    peer.push()
    await peer.until(lambda seen: seen.statuses == {1: 200})
    sandbox.rules.load(b'[{"fault": "goaway", "times": 1, "goaway": {"debug": "{\\"reason\\":\\"Shutdown\\"}"}}]')
    peer.push()
    await peer.until(lambda seen: seen.closed)
    assert peer.goaway == (1, 0, b'{"reason":"Shutdown"}')
    assert sandbox.ledger.summary()["APN"].accepted == 1


async def test_a_graceful_goaway_answers_what_it_includes(sandbox: Sandbox, connect: Any) -> None:
    sandbox.rules.replace(Rule(token="aa", latency_ms=50), Rule(token="bb", fault=Fault.GOAWAY, processed=True))
    peer = await connect(sandbox.urls.apns, certificate=True)
    for token in ("aa" * 32, "bb" * 32, "cc" * 32):
        peer.push(token)
    await peer.until(lambda seen: seen.closed)
    assert peer.goaway == (3, 0, b"")
    assert peer.statuses == {1: 200, 3: 200}
    assert sandbox.ledger.summary()["APN"].accepted == 2


async def test_a_hard_goaway_leaves_an_accepted_push_unanswered(sandbox: Sandbox, connect: Any) -> None:
    hard = GoAwaySpec(code=2, drain=False)
    sandbox.rules.replace(Rule(fault=Fault.GOAWAY, goaway=hard, processed=True))
    peer = await connect(sandbox.urls.apns)
    peer.push()
    await peer.until(lambda seen: seen.closed)
    assert (peer.goaway, peer.statuses) == ((1, 2, b""), {})
    assert sandbox.ledger.summary()["APN"].accepted == 1


@pytest.mark.parametrize("processed", [False, True])
async def test_a_cut_connection_says_nothing(sandbox: Sandbox, connect: Any, processed: bool) -> None:  # noqa: FBT001 - the parameter of the test
    sandbox.rules.replace(Rule(fault=Fault.CUT, processed=processed))
    peer = await connect(sandbox.urls.apns)
    peer.push()
    await peer.until(lambda seen: seen.closed)
    assert (peer.goaway, peer.statuses) == (None, {})
    assert sandbox.ledger.summary()["APN"].accepted == int(processed)


async def test_a_stream_is_refused_by_rule_and_others_are_not(sandbox: Sandbox, connect: Any) -> None:
    sandbox.rules.replace(Rule(token="aa", fault=Fault.REFUSE))
    peer = await connect(sandbox.urls.apns, certificate=True)
    refused, served = peer.push("aa" * 32), peer.push("bb" * 32)
    await peer.until(lambda seen: seen.statuses == {served: 200})
    assert peer.resets == {refused: 7}
    assert sandbox.ledger.summary()["APN"].accepted == 1


async def test_a_stall_may_have_been_accepted(sandbox: Sandbox, connect: Any) -> None:
    sandbox.rules.replace(Rule(token="aa", fault=Fault.STALL, processed=True))
    peer = await connect(sandbox.urls.apns, certificate=True)
    peer.push("aa" * 32)
    served = peer.push()
    await peer.until(lambda seen: seen.statuses == {served: 200})
    assert sandbox.ledger.summary()["APN"].accepted == 2


async def test_the_stream_limit_can_be_lowered_in_flight(sandbox: Sandbox, connect: Any) -> None:
    sandbox.rules.replace(Rule(times=1, max_streams=7))
    peer = await connect(sandbox.urls.apns, certificate=True)
    peer.push()
    await peer.until(lambda seen: seen.statuses == {1: 200})
    assert peer.limit == 7


async def test_goaway_may_come_instead_of_settings(sandbox: Sandbox, connect: Any) -> None:
    busy = GoAwaySpec(debug="busy")
    sandbox.rules.replace(Rule(provider=Provider.APN, on="connect", times=1, fault=Fault.GOAWAY, goaway=busy))
    first = await connect(sandbox.urls.apns)
    await first.until(lambda seen: seen.closed)
    assert (first.goaway, first.settings) == ((0, 0, b"busy"), {})
    second = await connect(sandbox.urls.apns)
    await second.until(lambda seen: seen.settings)


async def test_a_connection_may_be_cut_before_it_begins(sandbox: Sandbox, connect: Any) -> None:
    sandbox.rules.replace(Rule(on="connect", fault=Fault.CUT))
    for url in (sandbox.urls.apns, sandbox.urls.fcm):
        try:
            peer = await connect(url)
        except ConnectionError:
            continue  # the cut may win against the end of the handshake
        await peer.until(lambda seen: seen.closed)
        assert not peer.frames


async def test_the_end_of_the_sandbox_is_a_goaway(directory: Path) -> None:
    async with Sandbox.start(directory) as ending:
        peer = await dial(ending, ending.urls.apns)
        peer.push()
        await peer.until(lambda seen: seen.statuses == {1: 200})
    await peer.until(lambda seen: seen.closed)
    assert peer.goaway == (1, 0, b"")
    peer.close()
