"""Both transports within a peer's limits: streams, windows, header tables, lowered and raised while requests are on.

The server notes every overstepping; the exact transport must not have any (`Wire.judge`).
"""

from __future__ import annotations

import asyncio

import pytest
from h2.settings import SettingCodes

from server.providers.transport import SharedHeaders, Transport
from tests.contract.fates import LATER, SOON, Tally, assert_answers_match, ended, paths, post, post_all
from tests.contract.http2_exchange import Exchange
from tests.contract.http2_peer import LARGEST_WINDOW
from tests.contract.http2_server import ScriptedServer, nothing
from tests.contract.scripts import Gate, at
from tests.contract.wires import Wire

STREAMS = SettingCodes.MAX_CONCURRENT_STREAMS
WINDOW = SettingCodes.INITIAL_WINDOW_SIZE
TABLE = SettingCodes.HEADER_TABLE_SIZE
LONG = b"<" + b"x" * 9_998 + b">"


async def _warm(wire: Wire, server: ScriptedServer) -> Transport:
    """One that has answered once, and so knows the settings: httpx does not wait for them."""
    transport = wire.connect(server.origin)
    assert (await post(transport, "/warm")).code == "200"
    server.exchanges.clear()
    return transport


async def test_each_answer_is_to_its_own_request(wire: Wire, server: ScriptedServer) -> None:
    fates = await post_all(wire.connect(server.origin), paths(500))
    assert wire.judge(fates, server) == Tally(answered=500)
    assert_answers_match(fates)
    assert len(server.peers) == 1
    assert {bytes(exchange.body) for exchange in server.exchanges} == {b'{"aps":{"alert":"Hello"}}'}
    for exchange in server.exchanges:
        assert exchange.headers["apns-id"] == exchange.path
        assert exchange.headers["authorization"] == "bearer s3cret"
        assert exchange.headers[":authority"] == f"localhost:{server.port}"


@pytest.mark.parametrize(("peers", "origins", "most"), [(1, 100, 1), (7, 100, 7), (1000, 20, 20), (50, 100, 50)])
async def test_no_more_streams_than_allowed(
    wire: Wire, server: ScriptedServer, peers: int, origins: int, most: int
) -> None:
    """By the peer's settings and by what the origin's operator documents."""
    server.greeting = {STREAMS: peers}
    gate = server.script = Gate()
    transport = wire.connect(server.origin, streams=origins)
    posts = [asyncio.ensure_future(post(transport, path)) for path in paths(120)]
    await server.arrivals(most)
    gate.open()
    fates = await ended(posts)
    assert wire.judge(fates, server) == Tally(answered=120)
    assert [peer.most_open for peer in server.peers] == [most]


async def test_a_limit_lowered_in_flight_and_raised_again(wire: Wire, server: ScriptedServer) -> None:
    """What left httpx hanging for good: more streams open than it may have."""
    gate = server.script = Gate()
    transport = wire.connect(server.origin, streams=1000)
    posts = [asyncio.ensure_future(post(transport, path, 4 * SOON)) for path in paths(1000)]
    await server.until(lambda: len(server.exchanges) == (1000 if wire.exact else 100))
    [peer] = server.peers
    more = [asyncio.ensure_future(post(transport, path, 4 * SOON)) for path in paths(200, "/later/")]
    peer.settings({STREAMS: 10})
    await server.until(lambda: peer.limits[STREAMS] == 10)
    if wire.exact:
        gate.release(985)
        await server.until(lambda: server.processed.total() == 985)
        assert len(peer.open) == 15
    gate.open()
    await server.until(lambda: server.processed.total() >= 100)
    peer.settings({STREAMS: 200})
    fates = await ended([*posts, *more], 4 * SOON)
    wire.judge(fates, server, Tally(answered=1200))


async def test_a_limit_of_none_is_waited_out(wire: Wire, server: ScriptedServer) -> None:
    server.greeting = {STREAMS: 0}
    transport = wire.connect(server.origin)
    impatient = await post_all(transport, paths(3), SOON)
    wire.judge(impatient, server, Tally(not_sent=3))
    assert not (wire.exact and server.exchanges)
    patient = [asyncio.ensure_future(post(transport, path)) for path in paths(20, "/patient/")]
    await server.until(lambda: bool(server.peers) and STREAMS in server.peers[-1].limits)
    for peer in server.peers:
        peer.settings({STREAMS: 5})
    wire.judge(await ended(patient), server, Tally(answered=20))


async def test_nothing_is_sent_before_the_first_settings(wire: Wire, server: ScriptedServer) -> None:
    """Apple's first limit is 1: who guesses 100 before it is known gets 99 refusals."""
    server.welcome = nothing
    transport = wire.connect(server.origin)
    posts = [asyncio.ensure_future(post(transport, path)) for path in paths(50)]
    await server.until(lambda: bool(server.peers) and server.peers[0].greeted.is_set())
    server.peers[0].settings({STREAMS: 1})
    fates = await ended(posts)
    wire.judge(fates, server, Tally(answered=50))
    if wire.exact:
        assert [peer.most_open for peer in server.peers] == [1]


@pytest.mark.parametrize("window", [1, 20, 300])
async def test_a_tiny_stream_window_that_grows_byte_by_byte(wire: Wire, server: ScriptedServer, window: int) -> None:
    server.greeting = {WINDOW: window}
    server.gives_credit = False
    server.starved = lambda exchange: exchange.widen(1)
    fates = await post_all(wire.connect(server.origin), paths(30))
    assert wire.judge(fates, server) == Tally(answered=30)
    assert_answers_match(fates)


async def test_a_window_of_nothing_ends_at_the_deadline(wire: Wire, server: ScriptedServer) -> None:
    """Headers without a body's end are no request that a peer may process."""
    transport = await _warm(wire, server)
    [peer] = server.peers
    peer.settings({WINDOW: 0})
    if wire.exact:  # idle, httpx reads nothing
        await server.until(lambda: peer.limits[WINDOW] == 0)
    wire.judge(await post_all(transport, paths(5), SOON), server, Tally(not_sent=5))
    if wire.exact:  # and they gave their streams back
        await server.until(lambda: not peer.open)
        peer.settings({WINDOW: 65_535})
        wire.judge(await post_all(transport, paths(100, "/again/")), server, Tally(answered=100))


async def test_a_window_lowered_below_what_was_sent(wire: Wire, server: ScriptedServer) -> None:
    """RFC 9113, 6.9.2: it is negative then, and nothing more may be sent until it is positive again."""
    server.greeting = {WINDOW: 4_000}
    server.gives_credit = False
    transport = await _warm(wire, server)
    posts = [asyncio.ensure_future(post(transport, path, body=LONG)) for path in paths(3)]
    await wire.reach(server, lambda: _sent(server) == [4_000] * 3, posts)
    [peer] = server.peers
    peer.settings({WINDOW: 1_000})
    await wire.reach(server, lambda: peer.limits[WINDOW] == 1_000, posts)
    for exchange in peer.open:
        exchange.widen(2_999)
    peer.send_ping(b"negative")
    await wire.reach(server, lambda: b"negative" in peer.pings, posts)
    assert _sent(server) == [4_000] * 3 or not wire.exact, "the window is still -1"
    for exchange in peer.open:
        exchange.widen(501)
    await wire.reach(server, lambda: _sent(server) == [4_500] * 3, posts)
    peer.settings({WINDOW: 20_000})
    wire.judge(await ended(posts), server, Tally(answered=3))
    assert {bytes(exchange.body) for exchange in server.exchanges} <= {LONG}


def _sent(server: ScriptedServer) -> list[int]:
    return [len(exchange.body) for peer in server.peers for exchange in peer.open]


async def test_the_connections_window_runs_dry(wire: Wire, server: ScriptedServer) -> None:
    """65,535 bytes are six and a half of these bodies; the rest waits for credit, which comes in small pieces."""
    server.greeting = {WINDOW: LARGEST_WINDOW}
    server.gives_credit = False
    transport = await _warm(wire, server)
    posts = [asyncio.ensure_future(post(transport, path, body=LONG)) for path in paths(20)]
    [peer] = server.peers
    await wire.reach(server, lambda: peer.room == 0, posts)
    peer.send_ping(b"run dry!")
    await wire.reach(server, lambda: b"run dry!" in peer.pings, posts)
    assert len(server.exchanges) <= 6
    for size in (1, 10, 100, 40_000, 40_000, 60_000):
        peer.widen(size)
        await wire.reach(server, lambda: peer.room == 0 or len(server.exchanges) == 20, posts)
    wire.judge(await ended(posts), server, Tally(answered=20))
    assert {bytes(exchange.body) for exchange in server.exchanges} <= {LONG}


async def test_a_body_larger_than_a_frame_and_the_windows(wire: Wire, server: ScriptedServer) -> None:
    body = bytes(range(256)) * 800
    fates = await post_all(wire.connect(server.origin), paths(5), body=body)
    assert wire.judge(fates, server) == Tally(answered=5)
    assert {bytes(exchange.body) for exchange in server.exchanges} == {body}


@pytest.mark.parametrize("size", [0, 1, 60, 100, 4_096, 65_536])
async def test_any_header_table(wire: Wire, server: ScriptedServer, size: int) -> None:
    server.greeting = {TABLE: size}
    transport = wire.connect(server.origin)
    for prefix in ("/a/", "/b/"):
        fates = await post_all(transport, paths(50, prefix))
        assert wire.judge(fates, server) == Tally(answered=50)
    assert {exchange.headers["authorization"] for exchange in server.exchanges} == {"bearer s3cret"}


async def test_a_header_table_changed_in_flight(wire: Wire, server: ScriptedServer) -> None:
    """Smaller, gone, back, and twice before the client can answer: each block is right for the table of its time."""
    server.greeting = {STREAMS: 1}
    transport = wire.connect(server.origin)
    changes = [{TABLE: 0}, {TABLE: 4_096}, {TABLE: 70}, {TABLE: 200}, {TABLE: 0}, {TABLE: 8_192}]
    script = Exchange.answer
    for number, change in enumerate(changes):
        script = at(20 * number + 10, lambda peer, change=change: peer.settings(change), script)  # type: ignore[misc]
    server.script = at(7, lambda peer: (peer.settings({TABLE: 0}), peer.settings({TABLE: 4_096})), script)
    fates = await post_all(transport, paths(150))
    wire.judge(fates, server, Tally(answered=150))
    assert all(exchange.headers["authorization"] == "bearer s3cret" for exchange in server.exchanges)


async def test_other_shared_headers_are_not_mixed_up(wire: Wire, server: ScriptedServer) -> None:
    """More sets of shared headers than any table holds, in turns, as tokens are renewed."""
    server.greeting = {TABLE: 300}
    transport = wire.connect(server.origin)
    sets = [SharedHeaders((("authorization", f"bearer {number:0100}"), ("apns-topic", "app"))) for number in range(12)]
    fates = []
    for turn in range(3):
        work = [
            asyncio.ensure_future(post(transport, f"/{turn}/{number}/{token}", shared=shared))
            for token in range(5)
            for number, shared in enumerate(sets)
        ]
        fates += await ended(work)
    assert wire.judge(fates, server) == Tally(answered=180)
    for exchange in server.exchanges:
        number = int(exchange.path.split("/")[2])
        assert exchange.headers["authorization"] == f"bearer {number:0100}"


async def test_a_stream_that_is_given_up_is_given_back(wire: Wire, server: ScriptedServer) -> None:
    """By cancelling and by deadline: the slots serve others, and the peer is told."""
    server.greeting = {STREAMS: 4}
    held: list[Exchange] = []
    server.script = held.append
    transport = wire.connect(server.origin)
    posts = [asyncio.ensure_future(post(transport, path)) for path in paths(4)]
    await server.arrivals(4)
    for work in posts:
        work.cancel()
    await asyncio.gather(*posts, return_exceptions=True)
    if wire.exact:
        await server.until(lambda: [exchange.reset_by for exchange in held] == ["client"] * 4)
    late = await post_all(transport, paths(2, "/late/"), SOON)  # few, so that the connection is not given up
    wire.judge(late, server, Tally(unknown=2))
    server.script = Exchange.answer
    fates = await post_all(transport, paths(40, "/after/"), LATER)
    wire.judge(fates, server, Tally(answered=40))
    if wire.exact:
        assert len(server.peers) == 1
