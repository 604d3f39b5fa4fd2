"""Both transports when the peer or the network fails: resets, cuts, silence. What may have been done is unknown."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from tests.contract.fates import SOON, Fate, Tally, assert_answers_match, ended, paths, post, post_all, tally
from tests.contract.http2_exchange import Exchange
from tests.contract.http2_peer import Peer
from tests.contract.http2_server import ScriptedServer, nothing
from tests.contract.scripts import Gate, ignore, on_first_connection, process
from tests.contract.wires import Wire

RESETS = [code for code in ErrorCodes if code is not ErrorCodes.REFUSED_STREAM]


@pytest.mark.parametrize("code", RESETS, ids=lambda code: code.name)
async def test_a_reset_says_nothing_about_what_was_done(wire: Wire, server: ScriptedServer, code: ErrorCodes) -> None:
    def script(exchange: Exchange) -> None:
        exchange.process()
        exchange.reset(code)

    server.script = script
    fates = await post_all(wire.connect(server.origin), paths(10))
    wire.judge(fates, server, Tally(unknown=10))
    if wire.exact:
        assert {fate.code for fate in fates} == {"STREAM_RESET"}
        assert len(server.peers) == 1


@pytest.mark.parametrize("end", [Peer.cut, Peer.close], ids=["TCP reset", "FIN"])
async def test_a_cut_with_requests_under_way(wire: Wire, server: ScriptedServer, end: Callable[[Peer], None]) -> None:
    """The thirty that were taken are unknown, the seventy that had no stream yet are served by the next connection."""
    server.greeting = {SettingCodes.MAX_CONCURRENT_STREAMS: 30}
    server.script = on_first_connection(process)
    transport = wire.connect(server.origin)
    posts = [asyncio.ensure_future(post(transport, path)) for path in paths(100)]
    await server.arrivals(30)
    end(server.peers[0])
    fates = await ended(posts)
    wire.judge(fates, server, Tally(answered=70, unknown=30))
    assert_answers_match(fates, whole=wire.exact)


async def test_a_cut_amid_a_frame(wire: Wire, server: ScriptedServer) -> None:
    def script(exchange: Exchange) -> None:
        exchange.process()
        exchange.peer.send(exchange.peer.headers(exchange.stream_id, [(":status", "200")]).serialize()[:7])
        exchange.peer.close()

    server.script = on_first_connection(script)
    wire.judge([await post(wire.connect(server.origin))], server, Tally(unknown=1))


@pytest.mark.parametrize("sent", [0, 300], ids=["headers", "part of the body"])
async def test_a_cut_before_the_body_was_whole_is_not_sent(wire: Wire, server: ScriptedServer, sent: int) -> None:
    """No peer may process half a request; the exact transport sends it anew."""
    server.greeting = {SettingCodes.INITIAL_WINDOW_SIZE: sent}
    server.gives_credit = False
    transport = wire.connect(server.origin)
    posts = [asyncio.ensure_future(post(transport, path, body=b"x" * 1_000)) for path in paths(10)]

    def half_sent() -> bool:
        return bool(server.peers) and [len(exchange.body) for exchange in server.peers[0].open] == [sent] * 10

    await wire.reach(server, half_sent, posts)
    server.greeting, server.gives_credit = {}, True
    server.peers[0].cut()
    wire.judge(await ended(posts), server, Tally(answered=10))


@pytest.mark.parametrize("end", [Peer.cut, Peer.close], ids=["TCP reset", "FIN"])
async def test_connections_that_die_before_they_begin(
    wire: Wire, server: ScriptedServer, end: Callable[[Peer], None]
) -> None:
    """Never sent, and the peer is not stormed with attempts."""
    server.welcome = end
    fates = await post_all(wire.connect(server.origin), paths(50), 2 * SOON)
    wire.judge(fates, server, Tally(not_sent=50))
    if wire.exact:
        assert server.accepted <= 12
        assert server.most_connecting == 1


async def test_a_silent_stream_ends_at_its_deadline_alone(wire: Wire, server: ScriptedServer) -> None:
    """Every tenth is never answered; the others are, on the same connection."""
    count = 0

    def script(exchange: Exchange) -> None:
        nonlocal count
        count += 1
        if count % 10 == 0:
            exchange.process()
        else:
            exchange.answer()

    server.script = script
    fates = await post_all(wire.connect(server.origin), paths(200), 2 * SOON)
    wire.judge(fates, server, Tally(answered=180, unknown=20))
    if wire.exact:
        assert {fate.code for fate in fates} == {"200", "NO_ANSWER_IN_TIME"}
        assert len(server.peers) == 1


async def test_a_silent_connection_is_replaced(wire: Wire, server: ScriptedServer) -> None:
    """The peer, or the network to it, is gone without a word: posts find a new connection within a few deadlines."""
    server.script = on_first_connection(ignore)
    server.pinged = nothing
    transport = wire.connect(server.origin)
    waves: list[Tally] = []
    while len(waves) < 6 and Tally(answered=10) not in waves:
        fates = await post_all(transport, paths(10, f"/{len(waves)}/"), SOON)
        waves.append(wire.judge(fates, server))
    assert waves[-1] == Tally(answered=10), waves


@pytest.mark.parametrize("size", [100, 60_000])
async def test_a_peer_that_stops_reading(wire: Wire, server: ScriptedServer, size: int) -> None:
    """Half-open: what is written goes nowhere. 500 large bodies are more than all buffers on the way."""
    server.greeting = {
        SettingCodes.MAX_CONCURRENT_STREAMS: 500,
        SettingCodes.INITIAL_WINDOW_SIZE: 2**31 - 1,
    }
    server.script = ignore  # what had reached it before
    server.settled = lambda peer: (peer.widen(2**30), peer.transport.pause_reading())  # type: ignore[func-returns-value]
    fates = await post_all(wire.connect(server.origin, streams=500), paths(500), 2 * SOON, b"x" * size)
    found = wire.judge(fates, server)
    assert not (wire.exact and found.answered)


async def test_an_answer_that_never_ends(wire: Wire, server: ScriptedServer) -> None:
    """Headers and a part of the body, then nothing. The status of a success stands; nothing hangs."""

    def script(exchange: Exchange) -> None:
        exchange.process()
        exchange.head(503)
        exchange.data(b"half of")

    server.script = script
    fates = await post_all(wire.connect(server.origin), paths(5), SOON)
    wire.judge(fates, server, Tally(unknown=5))


async def test_the_server_is_killed_and_comes_back(wire: Wire, server: ScriptedServer) -> None:
    gate = server.script = Gate()
    transport = wire.connect(server.origin)
    posts = [asyncio.ensure_future(post(transport, path)) for path in paths(30)]
    await server.arrivals(30)
    for exchange in gate.held:
        exchange.process()
    port = server.port
    await server.stop()
    wire.judge(await ended(posts), server, Tally(unknown=30))
    gone = await post_all(transport, paths(10, "/gone/"), SOON)
    assert tally(gone) == Tally(not_sent=10)
    async with ScriptedServer(server.tls, port=port) as second:
        fates = await post_all(transport, paths(50, "/back/"))
        wire.judge(fates, second, Tally(answered=50))


class Chaos:
    """At every request something else, by a seed: answers now, later or never, refusals, resets, cuts, farewells."""

    def __init__(self, seed: int) -> None:
        self._choice = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._held: list[Exchange] = []
        self._left: set[Peer] = set()

    def __call__(self, exchange: Exchange) -> None:
        if exchange.peer in self._left:
            return
        usual = [Exchange.answer] * 60 + [self._held.append] * 20 + [self._release] * 6
        rare = [Exchange.refuse, self._reset, process, ignore, self._limits, self._go_away, self._cut]
        self._choice.choice([*usual, *rare])(exchange)

    def _release(self, exchange: Exchange) -> None:
        exchange.answer()
        held, self._held = self._held, []
        self._choice.shuffle(held)
        for other in held:
            if other.peer not in self._left and other.open:
                other.answer()

    def _reset(self, exchange: Exchange) -> None:
        if self._choice.random() < 0.5:
            exchange.process()
        exchange.reset(ErrorCodes.INTERNAL_ERROR)

    def _limits(self, exchange: Exchange) -> None:
        limits = [
            {SettingCodes.MAX_CONCURRENT_STREAMS: self._choice.choice([1, 5, 50, 100])},
            {SettingCodes.INITIAL_WINDOW_SIZE: self._choice.choice([20, 500, 65_535])},
            {SettingCodes.HEADER_TABLE_SIZE: self._choice.choice([0, 100, 4_096])},
        ]
        exchange.peer.settings(self._choice.choice(limits))
        exchange.answer()

    def _go_away(self, exchange: Exchange) -> None:
        """Includes this one or not; what is included and held may be answered or not."""
        included = self._choice.random() < 0.5
        last = max([0, *(other.stream_id for other in exchange.peer.exchanges.values() if self._taken(other))])
        exchange.peer.go_away(max(last, exchange.stream_id) if included else last)
        if included:
            exchange.answer()
        self._left.add(exchange.peer)
        exchange.peer.close()

    def _taken(self, exchange: Exchange) -> bool:
        return bool(exchange.peer.server.processed[exchange.path])

    def _cut(self, exchange: Exchange) -> None:
        exchange.process()
        self._left.add(exchange.peer)
        exchange.peer.cut()


@pytest.mark.parametrize("seed", range(8))
async def test_anything_at_any_time(wire: Wire, server: ScriptedServer, seed: int) -> None:
    """And when the storm is over, everything is served again."""
    server.script = Chaos(seed)
    transport = wire.connect(server.origin, connections=1 + seed % 3)
    fates: list[Fate] = []
    for wave in range(4):
        fates += await post_all(transport, paths(150, f"/{wave}/"), SOON)
    assert sum(wire.judge(fates, server)) == 600
    assert_answers_match(fates, whole=False)
    server.script = Exchange.answer
    wire.judge(await post_all(transport, paths(50, "/calm/")), server, Tally(answered=50))
