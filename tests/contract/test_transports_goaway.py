"""Both transports when the peer ends a connection in good order: what it did not process is told apart by stream id.

RFC 9113, 6.8 and 8.7. The exact transport repeats what certainly was not processed, on a new connection.
"""

from __future__ import annotations

import asyncio

import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from tests.contract.fates import LATER, SOON, Fate, Tally, assert_answers_match, ended, paths, post, post_all
from tests.contract.http2_exchange import Exchange
from tests.contract.http2_peer import LARGEST_WINDOW, Peer
from tests.contract.http2_server import ScriptedServer
from tests.contract.scripts import Gate, at, ignore, on_first_connection, process
from tests.contract.wires import Wire


async def _held(wire: Wire, server: ScriptedServer, count: int, seconds: float = LATER) -> list[asyncio.Future[Fate]]:
    """So many posts under way on one connection, unanswered and unprocessed; later connections serve."""
    server.script = on_first_connection(ignore)
    transport = wire.connect(server.origin)
    posts = [asyncio.ensure_future(post(transport, path, seconds)) for path in paths(count)]
    await server.arrivals(count)
    return posts


@pytest.mark.parametrize("code", [ErrorCodes.NO_ERROR, ErrorCodes.INTERNAL_ERROR, ErrorCodes.ENHANCE_YOUR_CALM])
async def test_a_last_stream_below(wire: Wire, server: ScriptedServer, code: ErrorCodes) -> None:
    """The twelve that it includes are answered after it, the eight above it were never looked at."""
    posts = await _held(wire, server, 20)
    [peer] = server.peers
    included = peer.open[:12]
    peer.go_away(included[-1].stream_id, code, b"so long")
    for exchange in included:
        exchange.answer()
    peer.close()
    fates = await ended(posts)
    found = wire.judge(fates, server, Tally(answered=20))
    assert_answers_match(fates, whole=wire.exact)
    if wire.exact:
        assert len(server.peers) == 2
    assert found.answered + found.not_sent + found.unknown == 20


async def test_a_last_stream_below_and_nothing_answered(wire: Wire, server: ScriptedServer) -> None:
    posts = await _held(wire, server, 20)
    [peer] = server.peers
    for exchange in peer.open[:12]:
        exchange.process()
    peer.go_away(peer.open[11].stream_id)
    peer.close()
    wire.judge(await ended(posts), server, Tally(answered=8, unknown=12))


async def test_a_last_stream_equal_to_ours(wire: Wire, server: ScriptedServer) -> None:
    posts = await _held(wire, server, 20)
    [peer] = server.peers
    held = list(peer.open)
    peer.go_away(held[-1].stream_id)
    for exchange in reversed(held):
        exchange.answer()
    peer.close()
    fates = await ended(posts)
    wire.judge(fates, server, Tally(answered=20))
    assert_answers_match(fates, whole=wire.exact)
    if wire.exact:
        assert len(server.peers) == 1


@pytest.mark.parametrize("closes", [True, False])
async def test_a_last_stream_of_zero(wire: Wire, server: ScriptedServer, closes: bool) -> None:  # noqa: FBT001 - the parameter of the test
    posts = await _held(wire, server, 20, 3 * SOON)
    [peer] = server.peers
    peer.go_away(0)
    if closes:
        peer.close()
    wire.judge(await ended(posts, 3 * SOON), server, Tally(answered=20))


async def test_a_last_stream_equal_and_no_answer_ever(wire: Wire, server: ScriptedServer) -> None:
    """Who keeps the connection open owes an answer, until the deadline; others are served elsewhere meanwhile."""
    server.script = on_first_connection(process)
    transport = wire.connect(server.origin)
    posts = [asyncio.ensure_future(post(transport, path, 2 * SOON)) for path in paths(10)]
    await server.arrivals(10)
    [peer] = server.peers
    peer.go_away(peer.open[-1].stream_id)
    others = await post_all(transport, paths(10, "/other/"), SOON)
    fates = await ended(posts, 2 * SOON)
    wire.judge(fates, server, Tally(unknown=10))
    if wire.exact:
        assert {fate.code for fate in others} == {"200"}


async def test_what_waits_is_served_elsewhere_once_every_connection_was_told_to_go(
    wire: Wire, server: ScriptedServer
) -> None:
    """All at once, as when a provider restarts, and long before the requests on them are answered."""
    gate = server.script = Gate()
    transport = wire.connect(server.origin, streams=10, connections=2)
    posts = [asyncio.ensure_future(post(transport, path)) for path in paths(30)]
    await server.arrivals(20 if wire.exact else 10)
    server.script = Exchange.answer
    for peer in server.peers:
        peer.go_away(peer.open[-1].stream_id)
    await wire.reach(server, lambda: len(server.exchanges) == 30, posts)
    if wire.exact:
        assert len(gate.held) == 20
        assert len(server.peers) == 3
    gate.open()
    wire.judge(await ended(posts), server, Tally(answered=30))


async def test_goaway_twice_as_a_server_that_drains(wire: Wire, server: ScriptedServer) -> None:
    """2^31-1 first: "stop", then the id of the last stream that came in before the client could stop."""
    gate = server.script = Gate()
    transport = wire.connect(server.origin)
    posts = [asyncio.ensure_future(post(transport, path)) for path in paths(100)]
    await server.arrivals(100)
    [peer] = server.peers
    peer.go_away(LARGEST_WINDOW)
    later = [asyncio.ensure_future(post(transport, path)) for path in paths(50, "/later/")]
    gate.release(30)
    peer.send_ping(b"seen 30?")
    await server.until(lambda: b"seen 30?" in peer.pings or peer.lost.done())
    if not peer.lost.done():
        peer.go_away(max(peer.exchanges))
    gate.open()
    peer.close()
    wire.judge(await ended([*posts, *later]), server, Tally(answered=150))


async def test_goaway_every_hundred_requests(wire: Wire, server: ScriptedServer) -> None:
    """As a server with a limit per connection does; nothing is lost, nothing comes twice."""

    def script(exchange: Exchange) -> None:
        peer = exchange.peer
        if peer in leaving:
            return
        exchange.answer()
        if sum(seen.whole for seen in peer.exchanges.values()) == 100:
            leaving.append(peer)
            peer.go_away(exchange.stream_id)
            peer.close()

    leaving: list[Peer] = []
    server.script = script
    fates = await post_all(wire.connect(server.origin), paths(1000))
    wire.judge(fates, server, Tally(answered=1000))
    assert_answers_match(fates, whole=wire.exact)
    if wire.exact:
        assert len(server.peers) in (10, 11)


async def test_goaway_instead_of_settings(wire: Wire, server: ScriptedServer) -> None:
    """As APNs does when it is overloaded."""

    def welcome(peer: Peer) -> None:
        if len(server.peers) == 1:
            peer.go_away(0, ErrorCodes.ENHANCE_YOUR_CALM, b'{"reason":"Shutdown"}')
            peer.close()
        else:
            peer.settings({SettingCodes.MAX_CONCURRENT_STREAMS: 100})

    server.welcome = welcome
    fates = await post_all(wire.connect(server.origin), paths(20))
    found = wire.judge(fates, server)
    if wire.exact:
        assert found.unknown == 0
        again = await post_all(wire.connect(server.origin), paths(20, "/again/"))
        wire.judge(again, server, Tally(answered=20))


async def test_a_long_farewell(wire: Wire, server: ScriptedServer) -> None:
    """Debug data is the peer's to choose, as long as a frame allows."""
    posts = await _held(wire, server, 5)
    [peer] = server.peers
    peer.go_away(0, ErrorCodes.NO_ERROR, b"x" * 16_000)
    peer.close()
    wire.judge(await ended(posts), server, Tally(answered=5))


async def test_some_streams_refused(wire: Wire, server: ScriptedServer) -> None:
    """Every tenth, once: it is safe to send them again, and none of the others is disturbed."""
    refused: set[str] = set()

    def script(exchange: Exchange) -> None:
        if len(server.exchanges) % 10 == 0 and exchange.path not in refused:
            refused.add(exchange.path)
            exchange.refuse()
        else:
            exchange.answer()

    server.script = script
    fates = await post_all(wire.connect(server.origin), paths(300))
    found = wire.judge(fates, server, Tally(answered=300))
    assert len(refused) >= 25
    assert found.unknown == 0 or not wire.exact
    if wire.exact:
        assert len(server.peers) == 1


async def test_every_stream_refused(wire: Wire, server: ScriptedServer) -> None:
    """Not sent, and said so without hammering the peer."""
    server.script = Exchange.refuse
    fates = await post_all(wire.connect(server.origin), paths(20), 2 * SOON)
    assert wire.judge(fates, server) == Tally(not_sent=20)
    assert {fate.code for fate in fates} <= {"REFUSED_STREAM", "NO_STREAM_IN_TIME"}
    assert len(server.exchanges) <= 20 * 8


async def test_refused_before_the_body_is_whole(wire: Wire, server: ScriptedServer) -> None:
    server.greeting = {SettingCodes.INITIAL_WINDOW_SIZE: 10}
    server.gives_credit = False
    server.began = Exchange.refuse
    fates = await post_all(wire.connect(server.origin), paths(10), 2 * SOON)
    wire.judge(fates, server, Tally(not_sent=10))


async def test_refused_once_the_limit_is_lowered(wire: Wire, server: ScriptedServer) -> None:
    """The streams that were on their way while the limit sank."""
    limit = 50

    def lower(peer: Peer) -> None:
        nonlocal limit
        limit = 5
        peer.settings({SettingCodes.MAX_CONCURRENT_STREAMS: limit})

    def refuse_above(exchange: Exchange) -> None:
        if len(exchange.peer.open) > limit:
            exchange.refuse()
        else:
            exchange.answer()

    server.greeting = {SettingCodes.MAX_CONCURRENT_STREAMS: limit}
    server.script = at(30, lower, refuse_above)
    fates = await post_all(wire.connect(server.origin), paths(200))
    found = wire.judge(fates, server)
    if wire.exact:
        assert found.unknown == 0
