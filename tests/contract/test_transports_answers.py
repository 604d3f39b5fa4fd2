"""Both transports before answers of every shape that HTTP/2 allows, and of some that it does not."""

from __future__ import annotations

import itertools
import os
import struct
from collections.abc import Callable, Iterator

import hyperframe.frame as hf
import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from server.providers.transport import Response
from tests.contract.fates import SOON, Tally, assert_answers_match, paths, post_all, tally
from tests.contract.http2_exchange import Exchange, content_of
from tests.contract.http2_server import ScriptedServer
from tests.contract.scripts import Drip, at, ignore, on_first_connection
from tests.contract.wires import Wire

MEBIBYTE = 1 << 20
KEPT = 64 * 1024


def _frame(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    return struct.pack(">BHBBL", len(payload) >> 16, len(payload) & 0xFFFF, kind, flags, stream_id) + payload


def _padded(exchange: Exchange) -> None:
    exchange.process()
    headers = exchange.peer.headers(exchange.stream_id, [(":status", "200"), ("apns-id", exchange.path)])
    headers.flags |= {"PADDED", "PRIORITY"}
    headers.pad_length, headers.depends_on, headers.stream_weight = 255, 0, 15
    body = content_of(exchange.path)
    parts = [hf.DataFrame(exchange.stream_id, data=b"", flags=["PADDED"], pad_length=9)]
    for piece, last in ((body[:4], False), (body[4:], True)):
        flags = ["PADDED", "END_STREAM"] if last else ["PADDED"]
        parts.append(hf.DataFrame(exchange.stream_id, data=piece, flags=flags, pad_length=200))
    exchange.peer.send(headers, *parts)
    exchange.answered = True


def _continued(exchange: Exchange) -> None:
    """The header block in pieces of one byte, an empty one among them."""
    exchange.process()
    frame = exchange.peer.headers(exchange.stream_id, [(":status", "200"), ("apns-id", exchange.path)])
    block = frame.data
    frame.data = b""
    frame.flags.discard("END_HEADERS")
    more = [hf.ContinuationFrame(exchange.stream_id, data=block[at : at + 1]) for at in range(len(block))]
    last = hf.ContinuationFrame(exchange.stream_id, data=b"", flags=["END_HEADERS"])
    exchange.peer.send(frame, *more, last)
    exchange.data(content_of(exchange.path), end=True)


def _interim(exchange: Exchange) -> None:
    for status in (100, 103, 103):
        exchange.head(status, [("link", "</style.css>; rel=preload")])
    exchange.answer(fields=[("apns-id", exchange.path)])


def _trailers(exchange: Exchange) -> None:
    exchange.answer(fields=[("apns-id", exchange.path)], trailers=[("grpc-status", "0"), ("x-checksum", "1")])


def _unknown_frames(exchange: Exchange) -> None:
    odd = [
        _frame(0xBE, 0xFF, 0, bytes(50)),
        _frame(0xBF, 0x05, exchange.stream_id, b""),
        hf.AltSvcFrame(0, origin=b"https://x", field=b'h3=":443"'),
        hf.PriorityFrame(exchange.stream_id, depends_on=0, stream_weight=1),
        hf.PriorityFrame(exchange.stream_id + 100, depends_on=0, stream_weight=1),
    ]
    exchange.peer.send(*odd)
    exchange.peer.settings({0x4D: 7, 0xFFFF: 1})
    exchange.answer(fields=[("apns-id", exchange.path)])
    exchange.peer.send(hf.WindowUpdateFrame(exchange.stream_id, window_increment=10))
    exchange.peer.send(_frame(0xBF, 0, exchange.stream_id, b"late"))


def _reset_afterwards(exchange: Exchange) -> None:
    """Legal, and says that the rest of the request is not needed (RFC 9113, 8.1)."""
    exchange.answer(fields=[("apns-id", exchange.path)])
    exchange.peer.send(hf.RstStreamFrame(exchange.stream_id, error_code=ErrorCodes.NO_ERROR))


def _many_headers(exchange: Exchange) -> None:
    """New names and values every time, which a stateful decoder has to keep up with."""
    more = [(f"x-{exchange.stream_id}-{number}", "v" * number) for number in range(30)]
    exchange.answer(fields=[("apns-id", exchange.path), *more])


def _empty_parts(exchange: Exchange) -> None:
    exchange.process()
    exchange.head(200, [("apns-id", exchange.path)])
    for _ in range(20):
        exchange.data(b"")
    exchange.data(content_of(exchange.path))
    exchange.data(b"", end=True)


def _empty_settings(exchange: Exchange) -> None:
    exchange.peer.settings({})
    exchange.answer(fields=[("apns-id", exchange.path)])


def _spelled_out(exchange: Exchange) -> None:
    """Names as literals that the static table has, and a table size update before them (RFC 7541, 4.2 and 6.2.2)."""
    exchange.process()
    fields = [(b":status", b"200"), (b"apns-id", exchange.path.encode())]
    block = b"\x20" + b"".join(b"\x00%c%b%c%b" % (len(name), name, len(value), value) for name, value in fields)
    exchange.peer.send(hf.HeadersFrame(exchange.stream_id, data=block, flags=["END_HEADERS"]))
    exchange.data(content_of(exchange.path), end=True)


SHAPES = [
    _spelled_out,
    _padded,
    _continued,
    _interim,
    _trailers,
    _unknown_frames,
    _reset_afterwards,
    _many_headers,
    _empty_parts,
    _empty_settings,
]


@pytest.mark.parametrize("script", SHAPES, ids=lambda script: script.__name__.strip("_"))
async def test_any_lawful_answer(wire: Wire, server: ScriptedServer, script: Callable[[Exchange], None]) -> None:
    server.script = script
    transport = wire.connect(server.origin)
    fates = [*await post_all(transport, paths(100)), *await post_all(transport, paths(20, "/again/"))]
    wire.judge(fates, server, Tally(answered=120))
    assert_answers_match(fates, whole=wire.exact)
    for fate in fates:
        if isinstance(fate.result, Response):
            assert fate.result.headers["apns-id"] == fate.path
    if wire.exact:
        assert len(server.peers) == 1


@pytest.mark.parametrize("status", [200, 201, 204, 400, 404, 410, 429, 500, 503, 599])
async def test_any_status_with_and_without_a_body(wire: Wire, server: ScriptedServer, status: int) -> None:
    server.script = lambda exchange: exchange.answer(status, b"" if exchange.path == "/empty" else None)
    fates = await post_all(wire.connect(server.origin), ["/empty", "/full"])
    assert wire.judge(fates, server) == Tally(answered=2)
    assert [fate.code for fate in fates] == [str(status)] * 2
    assert [fate.result.body for fate in fates if isinstance(fate.result, Response)] == [b"", b"answer to /full"]


async def test_an_answer_before_the_request_is_whole(wire: Wire, server: ScriptedServer) -> None:
    """413 while the body still waits for credit; the answer counts, and the stream is free again."""
    server.greeting = {SettingCodes.INITIAL_WINDOW_SIZE: 10, SettingCodes.MAX_CONCURRENT_STREAMS: 2}
    server.gives_credit = False

    def early(exchange: Exchange) -> None:
        exchange.reply(413, b"too large")
        exchange.reset(ErrorCodes.NO_ERROR)

    server.began = early
    fates = await post_all(wire.connect(server.origin), paths(10), 2 * SOON)
    assert len(fates) == sum(tally(fates))
    if wire.exact:
        assert {fate.code for fate in fates} == {"413"}
        assert server.violations == []


async def test_sixteen_mebibytes(wire: Wire, server: ScriptedServer) -> None:
    """Four at once among small ones: no more than a bound is kept, and the windows serve the others all the same."""
    huge = os.urandom(MEBIBYTE) * 16

    def script(exchange: Exchange) -> None:
        exchange.answer(body=huge if exchange.path.startswith("/huge/") else None)

    server.script = script
    transport = wire.connect(server.origin)
    fates = await post_all(transport, [*paths(4, "/huge/"), *paths(60, "/small/")])
    fates += await post_all(transport, paths(60, "/later/"))
    wire.judge(fates, server, Tally(answered=124))
    for fate in fates[:4]:
        if isinstance(fate.result, Response):
            assert fate.result.status == 200
            assert len(fate.result.body) <= KEPT
            assert huge.startswith(fate.result.body)
    assert_answers_match(fates[4:])


async def test_more_answers_than_any_window(wire: Wire, server: ScriptedServer) -> None:
    """Forty MiB in answers just below the bound, on one connection: credit has to come back all the time."""
    large = b"x" * 60_000
    server.script = lambda exchange: exchange.answer(body=large)
    fates = await post_all(wire.connect(server.origin), paths(700))
    wire.judge(fates, server, Tally(answered=700))
    assert {fate.result.body for fate in fates if isinstance(fate.result, Response)} <= {large} or not wire.exact
    if wire.exact:
        assert len(server.peers) == 1


async def test_a_long_answer_to_a_failure_is_cut_as_well(wire: Wire, server: ScriptedServer) -> None:
    server.script = lambda exchange: exchange.answer(500, b"<html>" * MEBIBYTE)
    fates = await post_all(wire.connect(server.origin), paths(3))
    wire.judge(fates, server, Tally(answered=3))
    assert all(len(fate.result.body) <= KEPT for fate in fates if isinstance(fate.result, Response))


async def test_answers_in_writes_of_one_byte(wire: Wire, server: ScriptedServer) -> None:
    """Each byte in a TLS record and a loop turn of its own, those of the settings too."""
    usual = server.welcome
    server.welcome = lambda peer: (Drip(peer), usual(peer))
    fates = await post_all(wire.connect(server.origin), paths(20))
    assert wire.judge(fates, server) == Tally(answered=20)
    assert_answers_match(fates)


def _endless_headers(exchange: Exchange) -> Iterator[bytes]:
    yield struct.pack(">BHBBL", 0, 16_000, 1, 4, exchange.stream_id)
    yield from itertools.repeat(b"\x00")


def _endless_block(exchange: Exchange) -> Iterator[bytes]:
    block = exchange.peer.headers(exchange.stream_id, [(":status", "200")])
    block.flags.discard("END_HEADERS")
    yield block.serialize()
    yield from itertools.repeat(hf.ContinuationFrame(exchange.stream_id, data=b"").serialize())


def _endless_body(exchange: Exchange) -> Iterator[bytes]:
    yield exchange.peer.headers(exchange.stream_id, [(":status", "503")]).serialize()
    yield from itertools.repeat(hf.DataFrame(exchange.stream_id, data=b"x").serialize())


@pytest.mark.parametrize("pieces", [_endless_headers, _endless_block, _endless_body], ids=lambda made: made.__name__)
async def test_a_slow_loris(wire: Wire, server: ScriptedServer, pieces: Callable[[Exchange], Iterator[bytes]]) -> None:
    """Something comes all the time and leads nowhere: the deadline holds."""

    def script(exchange: Exchange) -> None:
        exchange.process()
        if exchange.peer.slowly is None:
            Drip(exchange.peer, pause=0.02).add(pieces(exchange))

    server.script = script
    fates = await post_all(wire.connect(server.origin), paths(3), SOON)
    wire.judge(fates, server, Tally(unknown=3))


async def test_pings_are_answered(wire: Wire, server: ScriptedServer) -> None:
    """A few hundred at once, and between the answers."""
    data = [struct.pack(">Q", number) for number in range(400)]
    server.script = at(5, lambda peer: [peer.send_ping(ping) for ping in data], Exchange.answer)
    fates = await post_all(wire.connect(server.origin), paths(50))
    assert wire.judge(fates, server) == Tally(answered=50)
    await server.until(lambda: server.peers[0].pings == data)


def _head(exchange: Exchange, *fields: tuple[str, str]) -> bytes:
    return exchange.peer.headers(exchange.stream_id, fields).serialize()


def _ok(exchange: Exchange) -> bytes:
    return _head(exchange, (":status", "200"))


UNLAWFUL: dict[str, Callable[[Exchange], bytes]] = {
    "no frame at all": lambda _: b"HTTP/1.1 400 Bad Request\r\n\r\n" * 3,
    "zeros": lambda _: bytes(500),
    "a frame of 16 MiB": lambda exchange: struct.pack(">BHBBL", 255, 65_535, 0, 0, exchange.stream_id),
    "SETTINGS of five bytes": lambda _: _frame(4, 0, 0, b"12345"),
    "SETTINGS on a stream": lambda exchange: _frame(4, 0, exchange.stream_id, b""),
    "SETTINGS ACK with content": lambda _: _frame(4, 1, 0, b"123456"),
    "a window beyond 2^31-1": lambda _: _frame(4, 0, 0, struct.pack(">HL", 4, 2**31)),
    "a frame size of 1": lambda _: _frame(4, 0, 0, struct.pack(">HL", 5, 1)),
    "PING of seven bytes": lambda _: _frame(6, 0, 0, b"1234567"),
    "WINDOW_UPDATE of nothing": lambda _: _frame(8, 0, 0, bytes(4)),
    "a window that overflows": lambda _: _frame(8, 0, 0, struct.pack(">L", 2**31 - 1)),
    "DATA on stream 0": lambda _: _frame(0, 0, 0, b"x"),
    "DATA on an idle stream": lambda _: _frame(0, 0, 999, b"x"),
    "DATA before HEADERS": lambda exchange: _frame(0, 1, exchange.stream_id, b"x"),
    "HEADERS on stream 0": lambda _: _frame(1, 5, 0, b"\x88"),
    "HEADERS on an idle stream": lambda _: _frame(1, 5, 999, b"\x88"),
    "HEADERS on a stream of the server's": lambda _: _frame(1, 5, 2, b"\x88"),
    "PUSH_PROMISE": lambda exchange: _frame(5, 4, exchange.stream_id, struct.pack(">L", 2) + b"\x88"),
    "CONTINUATION of nothing": lambda exchange: _frame(9, 4, exchange.stream_id, b"\x88"),
    "a block that is interrupted": lambda exchange: (
        _frame(1, 0, exchange.stream_id, b"\x88") + _frame(6, 0, 0, bytes(8))
    ),
    "more padding than frame": lambda exchange: _frame(1, 0xD, exchange.stream_id, b"\xff\x88"),
    "an index beyond the table": lambda exchange: _frame(1, 5, exchange.stream_id, b"\x88\xff\xff\x7f"),
    "a Huffman code that is none": lambda exchange: _frame(
        1, 5, exchange.stream_id, b"\x88\x40\x84\xff\xff\xff\xff\x00"
    ),
    "a table larger than allowed": lambda exchange: _frame(1, 5, exchange.stream_id, b"\x3f\xe1\xff\x7f\x88"),
    "no status": lambda exchange: _head(exchange, ("apns-id", "1")),
    "a status that is no number": lambda exchange: _head(exchange, (":status", "two hundred")),
    "a name in upper case": lambda exchange: _frame(1, 5, exchange.stream_id, b"\x88\x00\x03Bad\x01x"),
    "trailers that do not end it": lambda exchange: _ok(exchange) + _head(exchange, ("a", "b")),
    "RST_STREAM of an idle stream": lambda _: _frame(3, 0, 999, bytes(4)),
    "RST_STREAM of three bytes": lambda exchange: _frame(3, 0, exchange.stream_id, bytes(3)),
    "GOAWAY of four bytes": lambda _: _frame(7, 0, 0, bytes(4)),
}


@pytest.mark.parametrize("breach", UNLAWFUL)
async def test_an_unlawful_answer(wire: Wire, server: ScriptedServer, breach: str) -> None:
    """The requests end as unknown or are called answered, never as not sent; later ones are served."""

    def script(exchange: Exchange) -> None:
        exchange.process()
        exchange.peer.send(UNLAWFUL[breach](exchange))

    server.script = on_first_connection(script)
    transport = wire.connect(server.origin)
    fates = await post_all(transport, paths(3), SOON)
    found = wire.judge(fates, server)
    assert not (wire.exact and found.not_sent)
    waves: list[Tally] = []
    while len(waves) < 6 and Tally(answered=5) not in waves:
        waves.append(tally(await post_all(transport, paths(5, f"/{len(waves)}/"), SOON)))
        server.script = Exchange.answer  # the stream alone may have been at fault
    assert waves[-1] == Tally(answered=5), waves


async def test_endless_continuations_are_bounded(wire: Wire, server: ScriptedServer) -> None:
    """CVE-2024-27316 and its like: a header block that grows for ever."""

    def script(exchange: Exchange) -> None:
        exchange.process()
        block = exchange.peer.headers(exchange.stream_id, [(":status", "200")])
        block.flags.discard("END_HEADERS")
        more = hf.ContinuationFrame(exchange.stream_id, data=b"\x00\x01a\x7f\x80\x3f" + b"x" * 8_000).serialize()
        exchange.peer.send(block, more * 2_000)

    server.script = on_first_connection(script)
    transport = wire.connect(server.origin)
    fates = await post_all(transport, paths(1), 2 * SOON)
    found = wire.judge(fates, server)
    assert not (wire.exact and found.not_sent)
    if wire.exact:
        await server.until(server.peers[0].lost.done)


async def test_more_than_the_window_allows(wire: Wire, server: ScriptedServer) -> None:
    """A peer that sends beyond our windows is not to be borne with: what it sends is memory."""

    def script(exchange: Exchange) -> None:
        exchange.process()
        exchange.head(500)
        part = hf.DataFrame(exchange.stream_id, data=bytes(16_384)).serialize()
        for _ in range(4_096):
            exchange.peer.send(part)

    server.script = on_first_connection(script)
    fates = await post_all(wire.connect(server.origin), paths(1), 2 * SOON)
    found = wire.judge(fates, server)
    assert not (wire.exact and found.not_sent)


async def test_acks_and_errors_reach_a_strict_peer(wire: Wire, server: ScriptedServer) -> None:
    """Which breach it was: the exact transport ends the connection with GOAWAY, so that the peer's log says it."""

    def script(exchange: Exchange) -> None:
        exchange.process()
        exchange.peer.send(_frame(0, 0, 0, b"x"))

    server.script = on_first_connection(script, ignore)
    await post_all(wire.connect(server.origin), paths(1), SOON)
    if wire.exact:
        goaway = server.peers[0].goaway
        assert goaway is not None
        assert goaway.error_code == ErrorCodes.PROTOCOL_ERROR
