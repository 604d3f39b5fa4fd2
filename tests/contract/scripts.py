"""Scripts for the scripted HTTP/2 server that more than one test plays."""

from __future__ import annotations

import asyncio
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
    """Writes to one connection in small pieces, each a TLS record of its own, `pause` seconds apart."""

    def __init__(self, pause: float = 0.0) -> None:
        self.busy = False
        self._pause = pause
        self._pieces: list[Iterator[bytes]] = []

    def add(self, peer: Peer, pieces: Iterable[bytes]) -> None:
        """After what was added before."""
        self._pieces.append(iter(pieces))
        if not self.busy:
            self.busy = True
            self._write(peer)

    def _write(self, peer: Peer) -> None:
        piece = self._next()
        if piece is None or peer.lost.done():
            self.busy = False
            return
        peer.send(piece)
        asyncio.get_running_loop().call_later(self._pause, self._write, peer)

    def _next(self) -> bytes | None:
        while self._pieces:
            if (piece := next(self._pieces[0], None)) is not None:
                return piece
            self._pieces.pop(0)
        return None


def bytes_of(data: bytes) -> Iterator[bytes]:
    """One by one."""
    return (data[at : at + 1] for at in range(len(data)))
