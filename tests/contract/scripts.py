"""Scripts for the scripted HTTP/2 server that more than one test plays."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tests.contract.http2_exchange import Exchange
from tests.contract.http2_peer import Peer

Script = Callable[[Exchange], Any]


class Gate:
    """Holds the answers back while it is shut."""

    def __init__(self) -> None:
        self.held: list[Exchange] = []
        self._shut = True

    def __call__(self, exchange: Exchange) -> None:
        if self._shut:
            self.held.append(exchange)
        else:
            exchange.answer()

    def open(self) -> None:
        """From now on everything is answered."""
        self._shut = False
        self.release(len(self.held))

    def release(self, count: int) -> None:
        """Answers the oldest ones."""
        released, self.held = self.held[:count], self.held[count:]
        for exchange in released:
            exchange.answer()


def at(count: int, action: Callable[[Peer], Any], then: Script) -> Script:
    """Acts once, when the request of that number (from 1) arrives, and goes on as `then`."""
    arrived = 0

    def script(exchange: Exchange) -> None:
        nonlocal arrived
        arrived += 1
        if arrived == count:
            action(exchange.peer)
        then(exchange)

    return script


def on_first_connection(script: Script, then: Script = Exchange.answer) -> Script:
    """One script for the requests of the first connection and another for all later ones."""

    def play(exchange: Exchange) -> None:
        first = exchange.peer is exchange.peer.server.peers[0]
        (script if first else then)(exchange)

    return play


def process(exchange: Exchange) -> None:
    """Taken, and never answered."""
    exchange.process()


def ignore(exchange: Exchange) -> None:
    """Neither taken nor answered."""


class Drip:
    """All that a connection sends, in small pieces: each a TLS record of its own, `pause` seconds apart."""

    def __init__(self, peer: Peer, pause: float = 0.0) -> None:
        self._peer = peer
        self._pause = pause
        self._pieces: deque[Iterator[bytes]] = deque()
        self._busy = False
        peer.slowly = lambda data: self.add(data[at : at + 1] for at in range(len(data)))

    def add(self, pieces: Iterable[bytes]) -> None:
        """After what was added before."""
        self._pieces.append(iter(pieces))
        if not self._busy:
            self._busy = True
            self._write()

    def _write(self) -> None:
        piece = self._next()
        if piece is None or self._peer.lost.done():
            self._busy = False
            return
        self._peer.write(piece)
        asyncio.get_running_loop().call_later(self._pause, self._write)

    def _next(self) -> bytes | None:
        while self._pieces:
            if (piece := next(self._pieces[0], None)) is not None:
                return piece
            self._pieces.popleft()
        return None
