"""One connection, judged by h2's own state machine where it is about the protocol, and by hand where it is about us."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
import hyperframe.frame as hf
import pytest

from server.providers.http2 import frames
from server.providers.http2.exchange import LARGEST_ANSWER, Exchange
from server.providers.http2.upkeep import Timing
from server.providers.transport import CertificateRefusedError, Request, SharedHeaders, UnknownOutcomeError
from tests.unit.providers.http2_peers import SHARED, Conversation

STREAMS = h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS
WINDOW = h2.settings.SettingCodes.INITIAL_WINDOW_SIZE
FRAME = h2.settings.SettingCodes.MAX_FRAME_SIZE
TABLE = h2.settings.SettingCodes.HEADER_TABLE_SIZE


@dataclass
class Judge:
    """h2's server at the other end. It raises for anything that a client may not do."""

    talk: Conversation
    server: h2.connection.H2Connection = field(
        default_factory=lambda: h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        )
    )
    headers: dict[int, dict[str, str]] = field(default_factory=dict)
    bodies: dict[int, bytes] = field(default_factory=dict)
    ended: list[int] = field(default_factory=list)
    resets: dict[int, int] = field(default_factory=dict)
    generous: bool = True

    async def greet(self, **limits: int) -> None:
        names = {"streams": STREAMS, "window": WINDOW, "frame": FRAME, "table": TABLE}
        self.server.local_settings.update({names[name]: value for name, value in limits.items()})
        self.server.local_settings.acknowledge()
        self.server.initiate_connection()
        await self.exchange()

    async def exchange(self) -> None:
        """Everything that either side has to say, until both are silent."""
        while True:
            await asyncio.sleep(0)
            said, self.talk.socket.written = bytes(self.talk.socket.written), bytearray()
            for event in self.server.receive_data(said):
                self._take(event)
            answer = self.server.data_to_send()
            if not said and not answer:
                return
            self.talk.connection.data_received(answer)

    def _take(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.RequestReceived():
                self.headers[event.stream_id] = {str(name): str(value) for name, value in event.headers}
            case h2.events.DataReceived():
                self.bodies[event.stream_id] = self.bodies.get(event.stream_id, b"") + event.data
                if self.generous:
                    self.server.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.StreamEnded():
                self.ended.append(event.stream_id)
            case h2.events.StreamReset():
                self.resets[event.stream_id] = int(event.error_code)

    def answer(self, stream_id: int, status: int = 200, body: bytes = b"", **headers: str) -> None:
        self.server.send_headers(stream_id, [(":status", str(status)), *headers.items()], end_stream=not body)
        if body:
            self.server.send_data(stream_id, body, end_stream=True)


def exchange_of(talk: Conversation, body: bytes, shared: SharedHeaders = SHARED) -> Exchange:
    request = Request("/3/device/f00d", shared, (("apns-id", "42"),), body)
    loop = asyncio.get_running_loop()
    return Exchange(request, loop.time() + 60, talk.pool, loop)


async def test_h2_understands_every_request_and_we_its_answers() -> None:
    for table in (0, 4096):
        talk = Conversation(30, table)
        judge = Judge(talk)
        await judge.greet()
        talk.begin()
        await judge.exchange()
        assert judge.headers[59] == {
            ":method": "POST",
            ":scheme": "https",
            ":authority": "localhost",
            ":path": "/29",
            "authorization": "bearer s3cret",
            "apns-topic": "com.example.app",
            "content-length": "2",
        }
        for stream_id in judge.ended:
            judge.answer(stream_id, 429, b"slower", **{"retry-after": str(stream_id)})
        await judge.exchange()
        answers = [exchange.result() for exchange in talk.exchanges]
        assert [answer.headers["retry-after"] for answer in answers] == [str(2 * n + 1) for n in range(30)]
        assert {(answer.status, answer.body) for answer in answers} == {(429, b"slower")}


@pytest.mark.parametrize("size", [0, 1, 16_384, 16_385, 65_535, 65_536, 300_000])
async def test_a_body_of_any_size_arrives_whole(size: int) -> None:
    talk = Conversation(0)
    judge = Judge(talk)
    await judge.greet()
    exchange = exchange_of(talk, bytes(size))
    talk.connection.start(exchange)
    await judge.exchange()
    assert (len(judge.bodies.get(1, b"")), judge.ended) == (size, [1])
    judge.answer(1)
    await judge.exchange()
    assert exchange.result().status == 200


async def test_a_request_cut_short_by_the_window_was_not_sent() -> None:
    talk = Conversation(0)
    judge = Judge(talk, generous=False)
    await judge.greet()
    large, small = exchange_of(talk, bytes(100_000)), exchange_of(talk, b"{}")
    talk.connection.start(large)
    await judge.exchange()
    assert not talk.connection.can_start()
    talk.connection.connection_lost(None)
    assert talk.pool.given_back == [large]
    assert not small.done()


async def test_headers_larger_than_a_frame_go_on_in_another() -> None:
    talk = Conversation(0)
    judge = Judge(talk)
    await judge.greet()
    shared = SharedHeaders(tuple((f"x-{number}", "v" * 4000) for number in range(9)))
    for _ in range(2):
        talk.connection.start(exchange_of(talk, b"{}", shared))
    await judge.exchange()
    assert [judge.headers[stream_id]["x-8"] for stream_id in (1, 3)] == ["v" * 4000] * 2


async def test_what_has_not_left_was_not_sent_and_what_has_is_unknown() -> None:
    talk = Conversation(2)
    await Judge(talk).greet()
    first, second = talk.exchanges
    talk.connection.start(first)
    await asyncio.sleep(0)
    talk.connection.start(second)
    talk.connection.connection_lost(None)
    assert isinstance(first.exception(), UnknownOutcomeError)
    assert talk.pool.given_back == [second]


def _alert() -> ssl.SSLError:
    error = ssl.SSLError(1, "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED]")
    error.reason = "TLSV13_ALERT_CERTIFICATE_REQUIRED"
    return error


async def test_a_late_refusal_of_our_certificate_means_that_nothing_was_processed() -> None:
    talk = Conversation(1)
    await Judge(talk).greet()
    refusals: list[Exception] = []
    talk.pool.not_sent = lambda _, error: refusals.append(error)  # type: ignore[method-assign]
    talk.begin()
    await asyncio.sleep(0)
    talk.connection.connection_lost(_alert())
    assert [type(error) for error in refusals] == [CertificateRefusedError]


async def test_an_alert_on_a_connection_that_gave_answers_proves_nothing() -> None:
    talk = Conversation(2)
    judge = Judge(talk)
    await judge.greet()
    talk.begin()
    await judge.exchange()
    judge.answer(1)
    await judge.exchange()
    talk.connection.connection_lost(_alert())
    assert isinstance(talk.exchanges[1].exception(), UnknownOutcomeError)


async def test_a_canceled_request_frees_its_stream() -> None:
    talk = Conversation(2)
    judge = Judge(talk)
    await judge.greet(streams=1)
    talk.connection.start(talk.exchanges[0])
    await judge.exchange()
    assert not talk.connection.can_start()
    talk.exchanges[0].cancel()
    await judge.exchange()
    assert judge.resets == {1: h2.errors.ErrorCodes.CANCEL}
    assert talk.connection.can_start()


async def test_an_endless_answer_is_cut_once_and_its_status_stands() -> None:
    talk = Conversation(2)
    judge = Judge(talk)
    await judge.greet()
    talk.begin()
    await judge.exchange()
    judge.server.send_headers(1, [(":status", "500")])
    for _ in range(8):
        judge.server.send_data(1, bytes(16_000))
    await judge.exchange()
    assert (talk.exchanges[0].result().status, len(talk.exchanges[0].result().body)) == (500, LARGEST_ANSWER)
    assert judge.resets == {1: h2.errors.ErrorCodes.CANCEL}
    judge.answer(3)
    await judge.exchange()
    assert talk.exchanges[1].result().status == 200


async def test_the_last_stream_id_is_used_and_then_the_connection_retires() -> None:
    talk = Conversation(1)
    judge = Judge(talk)
    await judge.greet()
    talk.connection._next_id = frames.LAST_STREAM_ID  # noqa: SLF001 # a billion requests take too long
    talk.begin()
    assert talk.connection.retired
    assert not talk.connection.can_start()
    await judge.exchange()
    judge.answer(frames.LAST_STREAM_ID)
    await judge.exchange()
    assert talk.exchanges[0].result().status == 200
    assert talk.socket.closed


async def test_a_socket_that_takes_no_more_gets_no_more() -> None:
    talk = Conversation(1)
    judge = Judge(talk, generous=False)
    await judge.greet()
    large = exchange_of(talk, bytes(70_000))
    talk.connection.start(large)
    await judge.exchange()
    talk.connection.pause_writing()
    assert not talk.connection.can_start()
    judge.server.acknowledge_received_data(65_535, 1)
    talk.connection.data_received(judge.server.data_to_send())
    await asyncio.sleep(0)
    assert not talk.socket.written
    talk.connection.resume_writing()
    await judge.exchange()
    assert judge.ended == [1]


@pytest.mark.parametrize(
    "asked",
    [
        lambda: hf.PingFrame(0, b"12345678").serialize(),
        lambda: hf.SettingsFrame(0).serialize(),
    ],
    ids=["pings", "settings"],
)
async def test_a_peer_that_asks_without_end_and_reads_nothing_is_dropped(asked: Callable[[], bytes]) -> None:
    talk = Conversation(1)
    await Judge(talk).greet()
    talk.connection.pause_writing()
    for _ in range(50):
        talk.connection.data_received(asked() * 100)
    assert talk.socket.closed
    assert len(talk.socket.written) < 100_000


async def test_a_protocol_error_is_told_with_its_code() -> None:
    talk = Conversation(1)
    judge = Judge(talk)
    await judge.greet()
    talk.begin()
    await judge.exchange()
    talk.connection.data_received(frames.frame(frames.WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"))
    goaway, length = hf.Frame.parse_frame_header(memoryview(bytes(talk.socket.written[:9])))
    goaway.parse_body(memoryview(bytes(talk.socket.written[9 : 9 + length])))
    assert isinstance(goaway, hf.GoAwayFrame)
    assert goaway.error_code == h2.errors.ErrorCodes.FLOW_CONTROL_ERROR
    assert isinstance(talk.exchanges[0].exception(), UnknownOutcomeError)
    assert talk.socket.closed


async def test_a_silent_peer_is_asked_and_then_dropped() -> None:
    talk = Conversation(1)
    judge = Judge(talk)
    await judge.greet()
    talk.begin()
    await judge.exchange()
    now, timing = asyncio.get_running_loop().time(), Timing(ping=15, ping_answer=10)
    aborted: list[bool] = []
    talk.socket.abort = lambda: aborted.append(True)  # type: ignore[method-assign]
    talk.connection.look_after(now + 16, timing, 300)
    await asyncio.sleep(0)
    assert bytes(talk.socket.written) == hf.PingFrame(0, bytes(8)).serialize()
    talk.connection.look_after(now + 20, timing, 300)
    assert not aborted
    talk.connection.look_after(now + 27, timing, 300)
    assert aborted


async def test_an_idle_connection_says_goodbye() -> None:
    talk = Conversation(0)
    await Judge(talk).greet()
    now = asyncio.get_running_loop().time()
    talk.connection.look_after(now + 200, Timing(idle_ping=1000), 300)
    assert not talk.socket.closed
    talk.connection.look_after(now + 301, Timing(idle_ping=1000), 300)
    assert talk.socket.closed
