"""The sandbox's HTTP/2 by itself, frame by frame: what is legal is served, what is not ends as RFC 9113 says."""

from __future__ import annotations

import asyncio
import random
import struct
from typing import Any

import hpack
import pytest
from hyperframe import frame as hf

from sandbox import http2
from sandbox.frames import PREFACE, ErrorCode
from sandbox.http2 import Http2Connection
from sandbox.wire import Answer, Fault, GoAway, Limits, Link, Reply, Request, Scripted

HEADERS = [(":method", "POST"), (":scheme", "https"), (":path", "/x"), (":authority", "localhost")]
BLOCK = hpack.Encoder().encode(HEADERS)


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.ended = asyncio.Event()
        self.reading = True
        self.wrote = asyncio.Event()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)
        self.wrote.set()

    def is_closing(self) -> bool:
        return self.closed

    @property
    def closed(self) -> bool:
        return self.ended.is_set()

    def close(self) -> None:
        self.ended.set()

    abort = close

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def take(self) -> list[hf.Frame]:
        """The frames written since the last call."""
        data, self.written = memoryview(self.written), b""
        taken = []
        while data:
            frame, size = hf.Frame.parse_frame_header(data[:9])
            frame.parse_body(data[9 : 9 + size])
            taken.append(frame)
            data = data[9 + size :]
        return taken


class EchoVendor:
    """Answers with the size of what it got, or as ``script`` says."""

    initial_streams = 5
    limits = Limits(max_header_list=8000, max_body=100_000)

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.script: Answer | None = None
        self.link: Link

    def session(self, link: Link, certificate_uid: str | None) -> EchoVendor:  # noqa: ARG002 - the seam's signature
        self.link = link
        return self

    def on_connect(self) -> Scripted | None:
        return None

    def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        return self.script or Reply(200, ((b"x", b"y"),), b"%d" % len(request.body))


class Bench:
    """A connection with its fake transport."""

    def __init__(self, vendor: EchoVendor | None = None) -> None:
        self.vendor = vendor or EchoVendor()
        self.wire = Wire()
        self.connection = Http2Connection(self.vendor, None, lambda _: None)
        self.connection.connection_made(self.wire)

    def greet(self, settings: dict[int, int] | None = None) -> Bench:
        self.raw(PREFACE)
        self.frames(hf.SettingsFrame(0, settings=settings or {}))
        self.wire.take()
        return self

    def raw(self, data: bytes) -> None:
        self.connection.data_received(data)

    def frames(self, *frames: hf.Frame) -> list[hf.Frame]:
        self.raw(b"".join(frame.serialize() for frame in frames))
        return self.wire.take()

    def end(self) -> None:
        self.connection.connection_lost(None)


@pytest.fixture
async def bench() -> Any:
    made = Bench()
    yield made
    made.end()


def headers(stream_id: int, *flags: str, block: bytes = BLOCK) -> hf.HeadersFrame:
    return hf.HeadersFrame(stream_id, data=block, flags=["END_HEADERS", *flags])


def data(stream_id: int, content: bytes, *flags: str, pad: int = 0) -> hf.DataFrame:
    return hf.DataFrame(stream_id, data=content, pad_length=pad, flags=[*flags, *(["PADDED"] if pad else [])])


def bodies(frames: list[hf.Frame]) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    for frame in frames:
        if isinstance(frame, hf.DataFrame):
            found[frame.stream_id] = found.get(frame.stream_id, b"") + frame.data
    return found


def resets(frames: list[hf.Frame]) -> dict[int, int]:
    return {frame.stream_id: frame.error_code for frame in frames if isinstance(frame, hf.RstStreamFrame)}


def goaway(frames: list[hf.Frame]) -> hf.GoAwayFrame:
    return next(frame for frame in frames if isinstance(frame, hf.GoAwayFrame))


async def test_bytes_may_arrive_one_by_one(bench: Bench) -> None:
    stream = PREFACE + b"".join(
        frame.serialize() for frame in (hf.SettingsFrame(0), headers(1), data(1, b"abc", "END_STREAM"))
    )
    for byte in stream:
        bench.raw(bytes([byte]))
    assert bodies(bench.wire.take()) == {1: b"3"}


async def test_padding_priority_and_continuation_make_no_difference(bench: Bench) -> None:
    first = hf.HeadersFrame(1, data=BLOCK[:3], pad_length=7, depends_on=0, stream_weight=9)
    first.flags |= {"PADDED", "PRIORITY"}
    rest = [hf.ContinuationFrame(1, data=BLOCK[3:5]), hf.ContinuationFrame(1, data=BLOCK[5:], flags=["END_HEADERS"])]
    got = bench.greet().frames(first, *rest, data(1, b"abc", pad=50), data(1, b"de", "END_STREAM", pad=1))
    assert bodies(got) == {1: b"5"}
    assert bench.vendor.requests[0].body == b"abcde"


async def test_a_ping_is_answered_with_its_own_payload(bench: Bench) -> None:
    (answer,) = bench.greet().frames(hf.PingFrame(0, opaque_data=b"12345678"))
    assert isinstance(answer, hf.PingFrame)
    assert "ACK" in answer.flags
    assert answer.opaque_data == b"12345678"


async def test_trailers_end_a_request(bench: Bench) -> None:
    trailer = hpack.Encoder().encode([("x-checksum", "1")])
    got = bench.greet().frames(headers(1), data(1, b"abc"), headers(1, "END_STREAM", block=trailer))
    assert bodies(got) == {1: b"3"}


async def test_windows_are_given_back_as_a_body_comes_in(bench: Bench) -> None:
    bench.greet().frames(headers(1))
    given = {0: 0, 1: 0}
    for _ in range(10):
        for frame in bench.frames(data(1, b"a" * 16_000, pad=100)):
            given[frame.stream_id] += frame.window_increment
    assert min(given.values()) > 10 * 16_101 - 65_535
    assert max(given.values()) <= 10 * 16_101


async def test_a_body_above_the_limit_is_cut_not_kept(bench: Bench) -> None:
    bench.vendor.limits = Limits(max_header_list=8000, max_body=10)
    small = Bench(bench.vendor)
    small.greet().frames(headers(1), data(1, b"a" * 16_000), data(1, b"a" * 16_000, "END_STREAM"))
    assert len(bench.vendor.requests[0].body) == 11
    small.end()


async def test_a_response_waits_for_the_peers_windows(bench: Bench) -> None:
    bench.vendor.script = Reply(200, (), b"0123456789")
    bench.greet({hf.SettingsFrame.INITIAL_WINDOW_SIZE: 4})
    assert bodies(bench.frames(headers(1, "END_STREAM"))) == {1: b"0123"}
    assert bodies(bench.frames(hf.WindowUpdateFrame(1, window_increment=3))) == {1: b"456"}
    last = bench.frames(hf.SettingsFrame(0, settings={hf.SettingsFrame.INITIAL_WINDOW_SIZE: 100}))
    assert bodies(last) == {1: b"789"}
    assert any("END_STREAM" in frame.flags for frame in last)


@pytest.mark.parametrize("size", [10_000, 40_000])
async def test_the_connection_window_holds_all_streams_back(bench: Bench, size: int) -> None:
    bench.vendor.script = Reply(200, (), b"x" * size)
    bench.greet({hf.SettingsFrame.INITIAL_WINDOW_SIZE: 1_000_000})
    count = 65_535 // size + 1
    first = bodies(bench.frames(*(headers(2 * number + 1, "END_STREAM") for number in range(count))))
    assert sum(map(len, first.values())) == 65_535
    second = bodies(bench.frames(hf.WindowUpdateFrame(0, window_increment=100_000)))
    assert len(first[2 * count - 1]) + len(second[2 * count - 1]) == size


async def test_streams_above_the_limit_are_refused_and_the_limit_counts_open_ones_only(bench: Bench) -> None:
    bench.vendor.script = Scripted(fault=Fault.STALL)
    bench.greet()
    got = bench.frames(*(headers(stream_id, "END_STREAM") for stream_id in (1, 3, 5, 7, 9, 11)))
    assert resets(got) == {11: ErrorCode.REFUSED_STREAM}
    assert not resets(bench.frames(hf.RstStreamFrame(1, error_code=8), headers(13, "END_STREAM")))


async def test_a_raised_limit_holds_at_once_and_a_lowered_one_after_its_acknowledgement(bench: Bench) -> None:
    bench.vendor.script = Scripted(fault=Fault.STALL)
    bench.greet().frames(hf.SettingsFrame(0, flags=["ACK"]))
    bench.vendor.link.allow_streams(1)
    assert not resets(bench.frames(headers(1, "END_STREAM"), headers(3, "END_STREAM")))
    assert resets(bench.frames(hf.SettingsFrame(0, flags=["ACK"]), headers(5, "END_STREAM"))) == {5: 7}
    bench.vendor.link.allow_streams(3)
    assert not resets(bench.frames(headers(7, "END_STREAM")))


async def test_a_late_answer_is_dropped_when_the_client_resets_first(bench: Bench) -> None:
    bench.vendor.script = Scripted(reply=Reply(200), delay=0.01)
    bench.greet().frames(headers(1, "END_STREAM"), headers(3, "END_STREAM"), hf.RstStreamFrame(1, error_code=8))
    bench.wire.wrote.clear()
    await asyncio.wait_for(bench.wire.wrote.wait(), 5)
    assert [frame.stream_id for frame in bench.wire.take()] == [3]


async def test_goaway_excludes_what_was_not_processed(bench: Bench) -> None:
    bench.greet().frames(headers(1, "END_STREAM"))
    bench.vendor.script = Scripted(fault=Fault.GOAWAY, goaway=GoAway(0, b'{"reason":"Shutdown"}'))
    frame = goaway(bench.frames(headers(3, "END_STREAM")))
    assert (frame.last_stream_id, frame.error_code, frame.additional_data) == (1, 0, b'{"reason":"Shutdown"}')
    assert bench.wire.closed


async def test_goaway_includes_what_was_processed_and_drains_it(bench: Bench) -> None:
    bench.vendor.script = Scripted(reply=Reply(200), delay=0.01)
    bench.greet().frames(headers(1, "END_STREAM"))
    bench.vendor.script = None
    bench.vendor.script = Scripted(fault=Fault.GOAWAY, reply=Reply(201), processed=True)
    got = bench.frames(headers(3, "END_STREAM"), headers(5, "END_STREAM"))
    assert goaway(got).last_stream_id == 3
    assert [frame.stream_id for frame in got if isinstance(frame, hf.HeadersFrame)] == [3]


async def test_a_stream_below_a_processed_one_is_refused_beside_the_goaway(bench: Bench) -> None:
    bench.greet().frames(headers(1), headers(3, "END_STREAM"))
    bench.vendor.script = Scripted(fault=Fault.GOAWAY)
    got = bench.frames(data(1, b"", "END_STREAM"))
    assert goaway(got).last_stream_id == 3
    assert resets(got) == {1: ErrorCode.REFUSED_STREAM}


@pytest.mark.parametrize(
    ("fault", "code"), [(Fault.REFUSE, ErrorCode.REFUSED_STREAM), (Fault.RESET, ErrorCode.INTERNAL_ERROR)]
)
async def test_a_stream_can_be_reset_by_script(bench: Bench, fault: Fault, code: ErrorCode) -> None:
    bench.vendor.script = Scripted(fault=fault)
    assert resets(bench.greet().frames(headers(1, "END_STREAM"))) == {1: code}
    assert not bench.frames(data(1, b"late")), "what still comes on a reset stream is ignored"


async def test_a_client_that_does_not_read_is_not_read(bench: Bench) -> None:
    bench.greet()
    bench.connection.pause_writing()
    assert not bench.wire.reading
    bench.connection.resume_writing()
    assert bench.wire.reading


async def test_an_idle_connection_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2, "GREETING_SECONDS", 0.01)
    vendor = EchoVendor()
    vendor.limits = Limits(max_header_list=8000, max_body=10, idle=0.01)
    silent, idle = Bench(vendor), Bench(vendor).greet()
    for bench in (silent, idle):
        await asyncio.wait_for(bench.wire.ended.wait(), 5)
        bench.end()
    assert goaway(idle.wire.take()).additional_data == b"session_timed_out"


def raw(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    return struct.pack(">BHBBL", 0, len(payload), kind, flags, stream_id) + payload


CONNECTION_ERRORS = {
    "data on the connection": (raw(0, 1, 0, b"x"), 1),
    "data on an idle stream": (raw(0, 1, 9, b"x"), 1),
    "headers on an even stream": (raw(1, 5, 2, BLOCK), 1),
    "headers on a closed stream": (raw(1, 5, 3, BLOCK) + raw(1, 5, 1, BLOCK), 5),
    "a frame inside a header block": (raw(1, 1, 1, BLOCK[:2]) + raw(6, 0, 0, b"12345678"), 1),
    "continuation of another stream": (raw(1, 1, 1, BLOCK[:2]) + raw(9, 4, 3, BLOCK[2:]), 1),
    "continuation of nothing": (raw(9, 4, 1, BLOCK), 1),
    "padding longer than the frame": (raw(0, 8, 1, b"\x05abc"), 1),
    "a short priority": (raw(1, 0x25, 1, b"abc"), 6),
    "a bad header block": (raw(1, 5, 1, b"\xff\xff\xff\xff\xff\xff"), 9),
    "settings on a stream": (raw(4, 0, 1), 1),
    "settings of an odd length": (raw(4, 0, 0, b"12345"), 6),
    "settings ack with a payload": (raw(4, 1, 0, b"123456"), 6),
    "a window too large in settings": (raw(4, 0, 0, struct.pack(">HL", 4, 2**31)), 3),
    "a frame size too small in settings": (raw(4, 0, 0, struct.pack(">HL", 5, 100)), 1),
    "push promise": (raw(5, 4, 1, b"\0\0\0\2"), 1),
    "ping of the wrong size": (raw(6, 0, 0, b"1234"), 6),
    "ping on a stream": (raw(6, 0, 1, b"12345678"), 1),
    "window update of zero": (raw(8, 0, 0, b"\0\0\0\0"), 1),
    "window update of the wrong size": (raw(8, 0, 0, b"\0\0\1"), 6),
    "the connection window overflows": (raw(8, 0, 0, b"\x7f\xff\xff\xff"), 3),
    "reset of an idle stream": (raw(3, 0, 9, b"\0\0\0\0"), 1),
    "more data than the connection window": (raw(1, 4, 1, BLOCK) + raw(0, 0, 1, b"a" * 16_384) * 5, 3),
}


@pytest.mark.parametrize(("stream", "code"), CONNECTION_ERRORS.values(), ids=CONNECTION_ERRORS.keys())
async def test_a_broken_connection_ends_with_goaway(bench: Bench, stream: bytes, code: int) -> None:
    bench.greet().raw(stream)
    assert goaway(bench.wire.take()).error_code == code
    assert bench.wire.closed


@pytest.mark.parametrize(
    "greeting",
    [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", PREFACE + raw(6, 0, 0, b"12345678"), PREFACE + b"\xff" * 20],
    ids=["http/1.1", "no settings", "an enormous frame"],
)
async def test_a_wrong_greeting_ends_with_goaway(bench: Bench, greeting: bytes) -> None:
    bench.raw(greeting)
    assert goaway(bench.wire.take()).error_code in (ErrorCode.PROTOCOL_ERROR, ErrorCode.FRAME_SIZE_ERROR)
    assert bench.wire.closed


STREAM_ERRORS = {
    "data after the end": ([headers(1, "END_STREAM"), data(1, b"x")], 5),
    "headers after the end": ([headers(1, "END_STREAM"), headers(1, "END_STREAM")], 5),
    "trailers without an end": ([headers(1), headers(1)], 1),
    "a wrong content-length": (
        [headers(1, block=hpack.Encoder().encode([*HEADERS, ("content-length", "5")])), data(1, b"four", "END_STREAM")],
        1,
    ),
    "no path": ([headers(1, "END_STREAM", block=hpack.Encoder().encode(HEADERS[:2]))], 1),
    "the stream window overflows": ([headers(1), hf.WindowUpdateFrame(1, window_increment=2**31 - 1)], 3),
}


@pytest.mark.parametrize(("frames", "code"), STREAM_ERRORS.values(), ids=STREAM_ERRORS.keys())
async def test_a_broken_stream_is_reset_and_the_others_live(bench: Bench, frames: list[hf.Frame], code: int) -> None:
    bench.vendor.script = Scripted(fault=Fault.STALL)
    assert resets(bench.greet().frames(*frames)) == {1: code}
    bench.vendor.script = None
    assert bodies(bench.frames(headers(3, "END_STREAM"))) == {3: b"0"}


async def test_endless_continuations_are_not_collected(bench: Bench) -> None:
    bench.greet().frames(hf.HeadersFrame(1, data=b""))
    for _ in range(40_000):
        bench.raw(raw(9, 0, 1))
        if bench.wire.closed:
            break
    assert goaway(bench.wire.take()).error_code == ErrorCode.ENHANCE_YOUR_CALM


async def test_unfinished_bodies_are_not_collected_without_end(bench: Bench) -> None:
    bench.vendor.initial_streams = 1000
    wide = Bench(bench.vendor).greet()
    for stream_id in range(1, 2000, 2):
        got = wide.frames(headers(stream_id), data(stream_id, b"a" * 16_000))
        if wide.wire.closed:
            break
    assert goaway(got).error_code == ErrorCode.ENHANCE_YOUR_CALM
    assert stream_id < 200
    wide.end()


async def test_junk_never_raises(bench: Bench) -> None:
    chance = random.Random(5)  # noqa: S311 - a repeatable test
    valid = b"".join(
        frame.serialize() for frame in (headers(1), data(1, b"abc", "END_STREAM"), headers(3, "END_STREAM"))
    )
    for _ in range(2000):
        junk = bytearray(valid)
        for _ in range(chance.randrange(1, 4)):
            junk[chance.randrange(len(junk))] = chance.randrange(256)
        fuzzed = Bench()
        fuzzed.greet().raw(bytes(junk) + chance.randbytes(30))
        fuzzed.end()
    assert not bench.wire.closed
