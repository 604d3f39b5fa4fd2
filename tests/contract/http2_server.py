"""A server on the loopback that speaks TLS and HTTP/2 as a script says, and writes down what it processed."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

import hyperframe.frame as hf
from h2.settings import SettingCodes

from tests.contract.http2_exchange import Exchange
from tests.contract.http2_peer import Peer

_HANDSHAKE_SECONDS = 10.0
_WAIT_SECONDS = 20.0

APPLE = {SettingCodes.MAX_CONCURRENT_STREAMS: 1000, SettingCodes.INITIAL_WINDOW_SIZE: 65_535}


def nothing(*_: Any) -> None:
    """Stands where a hook does nothing."""


class ScriptedServer:
    """Use it with `async with`. Its hooks are functions that a test puts in place of what they do by default.

    `greeting`: the first SETTINGS; None: none are sent. `gives_credit`: whether what the client sent is given back to
    its windows at once. `processed`: how often each path was. `most_connecting`: the most TCP connections at once
    whose handshake was not over.
    """

    def __init__(self, tls: ssl.SSLContext, greeting: Mapping[int, int] | None = APPLE, port: int = 0) -> None:
        self.greeting = greeting
        self.gives_credit = True
        self.script: Callable[[Exchange], None] = Exchange.answer  # a whole request arrived
        self.began: Callable[[Exchange], None] = nothing  # its headers did
        self.starved: Callable[[Exchange], None] = nothing  # DATA came, and no credit went back
        self.settled: Callable[[Peer], None] = nothing  # the client acknowledged SETTINGS
        self.pinged: Callable[[Peer, bytes], None] = _acknowledge
        self.welcome: Callable[[Peer], None] = self._greet  # a handshake is over
        self.processed: Counter[str] = Counter()
        self.exchanges: list[Exchange] = []  # the whole requests
        self.peers: list[Peer] = []
        self.violations: list[str] = []
        self.mistakes: list[Exception] = []  # the script's own
        self.accepted = 0
        self.connecting = 0
        self.most_connecting = 0
        self.handshake_failures: list[Exception] = []
        self.tls = tls
        self._listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        self._listener.setblocking(False)
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def origin(self) -> str:
        return f"https://localhost:{self.port}"

    async def until(self, holds: Callable[[], bool]) -> None:
        """Returns once it holds, looked at whenever something happened to the server."""
        async with asyncio.timeout(_WAIT_SECONDS):
            while not holds():
                self._changed.clear()
                await self._changed.wait()

    async def arrivals(self, count: int) -> None:
        """Returns once so many whole requests came."""
        await self.until(lambda: len(self.exchanges) >= count)

    async def __aenter__(self) -> Self:
        self._start(self._accept())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """The end of the process, as a client sees it: nothing listens, and what was open is reset."""
        self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for peer in self.peers:
            peer.cut()
        await asyncio.gather(*(peer.lost for peer in self.peers))
        if self.mistakes:
            raise ExceptionGroup("the script failed", self.mistakes)

    # What a peer tells

    def connected(self, peer: Peer) -> None:
        self.peers.append(peer)
        self.welcome(peer)
        self.changed()

    def arrived(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)
        self.script(exchange)

    def changed(self) -> None:
        self._changed.set()

    # Accepting

    def _greet(self, peer: Peer) -> None:
        if self.greeting is not None:
            peer.settings(self.greeting)

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self) -> None:
        """By hand, to count what asyncio's server hides: connections before and during the handshake."""
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(self._listener)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.accepted += 1
            self.connecting += 1
            self.most_connecting = max(self.most_connecting, self.connecting)
            self.changed()
            self._start(self._admit(connection))

    async def _admit(self, connection: socket.socket) -> None:
        try:
            with contextlib.closing(_Unless(connection)) as guard:
                await asyncio.get_running_loop().connect_accepted_socket(
                    lambda: Peer(self), connection, ssl=self.tls, ssl_handshake_timeout=_HANDSHAKE_SECONDS
                )
                guard.keep()
        except OSError as error:  # ssl's errors are such, too
            self.handshake_failures.append(error)
        finally:
            self.connecting -= 1
            self.changed()


class _Unless:
    """Closes a socket unless it was given away."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection: socket.socket | None = connection

    def keep(self) -> None:
        self._connection = None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


def _acknowledge(peer: Peer, data: bytes) -> None:
    peer.send(hf.PingFrame(0, opaque_data=data, flags=["ACK"]))
