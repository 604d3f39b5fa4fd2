"""The transport: one origin's connections, grown under load, replaced as they break, and the queue in front of them."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import ssl
from collections import deque
from urllib.parse import urlsplit

from server.providers.http2.blocks import RequestBlocks, ResponseBlocks, StatefulBlocks, StatelessBlocks
from server.providers.http2.connection import Connection
from server.providers.http2.dialing import Dialer
from server.providers.http2.exchange import Exchange
from server.providers.http2.upkeep import Timing
from server.providers.transport import RENEWED, CertificateRefusedError, NotSentError, Origin, Request

_log = logging.getLogger(__name__)

MOST_RESENDS = 3

_TOO_LATE = "NO_STREAM_IN_TIME"
_SWEEP_SECONDS = 0.05  # the shortest time between two looks at the deadlines
_TICK_SECONDS = 1.0
_GROW_SECONDS = 0.05  # a queue that lasts this long asks for another connection
_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.1, 10.0


class Http2Transport:
    """`Transport` on connections of our own.

    Requests wait in one queue, first come first served. ``response_table`` is the size of the table for response
    headers that is offered to the peer; 0 saves decoding most of them. Must be made in a running event loop.
    """

    def __init__(
        self, origin: Origin, tls: ssl.SSLContext, *, response_table: int = 0, timing: Timing | None = None
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._origin = origin
        self._authority = urlsplit(origin.url).netloc
        self._response_table = response_table
        self._timing = timing or Timing()
        self._dialer = Dialer(origin.url, tls, self._make, self._timing.connect)
        self._dialing: asyncio.Task[None] | None = None
        self._failures = 0  # connections in a row that could not be made, or that gave no answer
        self._newest: Connection | None = None
        self._open: list[Connection] = []
        self._leaving: set[Connection] = set()  # retired ones, until they are lost
        self._waiting: deque[Exchange] = deque()
        self._closed = False
        self._sweep_at = math.inf
        self._sweeping: asyncio.TimerHandle | None = None
        self._ticking: asyncio.TimerHandle | None = None
        self._growing: asyncio.TimerHandle | None = None
        self._serving = False

    def post(self, request: Request, deadline: float) -> Exchange:
        exchange = Exchange(request, deadline, self, self._loop)
        if self._closed:
            exchange.set_exception(NotSentError("TRANSPORT_CLOSED"))
            return exchange
        if deadline <= self._loop.time():
            exchange.set_exception(NotSentError(_TOO_LATE))
            return exchange
        if deadline < self._sweep_at:
            self._sweep_by(deadline)
        if self._waiting:  # then no connection has room, or the queue is about to be served
            self._waiting.append(exchange)
            return exchange
        for connection in self._open:
            if connection.can_start():
                connection.start(exchange)
                return exchange
        self._waiting.append(exchange)
        self._find_room()
        return exchange

    def renew(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        for connection in self._connections():
            for exchange in connection.exchanges():
                exchange.stale = True
        for connection in list(self._open):
            connection.retire()
        for exchange in waiting:
            if not exchange.done():
                exchange.set_exception(NotSentError(RENEWED))

    async def aclose(self) -> None:
        self._closed = True
        while unanswered := self._exchanges():
            await asyncio.wait(unanswered)
        if self._dialing is not None:
            self._dialing.cancel()
            await asyncio.wait([self._dialing])
        await self._close_connections()
        for timer in (self._sweeping, self._ticking, self._growing):
            if timer is not None:
                timer.cancel()

    # What connections tell

    def has_room(self, connection: Connection) -> None:
        """Give it the requests that waited longest."""
        waiting = self._waiting
        now = self._loop.time()
        while waiting and connection.can_start():
            exchange = waiting.popleft()
            if exchange.done():
                continue
            if exchange.deadline <= now:  # the loop was busy, and the next look at the deadlines is still to come
                exchange.set_exception(NotSentError(_TOO_LATE))
            else:
                connection.start(exchange)

    def not_sent(self, exchange: Exchange, error: NotSentError) -> None:
        """Send it again, before all others, a few times."""
        over = exchange.resends >= MOST_RESENDS or exchange.deadline <= self._loop.time()
        if over or isinstance(error, CertificateRefusedError):
            exchange.set_exception(error)
            return
        if exchange.stale:
            exchange.set_exception(NotSentError(RENEWED))
            return
        exchange.resends += 1
        exchange.holder = self
        self._waiting.appendleft(exchange)
        if not self._serving:
            self._serving = True
            self._loop.call_soon(self._serve)

    def was_retired(self, connection: Connection) -> None:
        if connection in self._open:
            self._open.remove(connection)
            self._leaving.add(connection)
            self._find_room()

    def was_lost(self, connection: Connection) -> None:
        if connection in self._leaving:
            self._leaving.remove(connection)
            if not connection.answered:
                self._failures += 1
            self._find_room()

    def give_up(self, exchange: Exchange) -> None:
        """Cancelled while it waited: it leaves the queue when its turn comes, or at the next look at the deadlines."""

    # The queue and its deadlines

    def _serve(self) -> None:
        self._serving = False
        for connection in self._open:
            self.has_room(connection)
        self._find_room()

    def _exchanges(self) -> list[Exchange]:
        """All requests without an answer."""
        waiting = [exchange for exchange in self._waiting if not exchange.done()]
        return waiting + [e for connection in self._connections() for e in connection.exchanges()]

    def _sweep_by(self, deadline: float) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
        self._sweep_at = deadline
        self._sweeping = self._loop.call_at(deadline, self._sweep)

    def _sweep(self) -> None:
        """End what has come to its deadline, and look again when the next one is due."""
        now = self._loop.time()
        self._expire_waiting(now)
        for connection in self._connections():
            connection.expire(now)
        self._sweeping, self._sweep_at = None, math.inf
        earliest = min((exchange.deadline for exchange in self._exchanges()), default=math.inf)
        if earliest < math.inf:
            self._sweep_by(max(earliest, now + _SWEEP_SECONDS))

    def _expire_waiting(self, now: float) -> None:
        code = _TOO_LATE if self._open else "NO_CONNECTION_IN_TIME"
        kept: deque[Exchange] = deque()
        for exchange in self._waiting:
            if exchange.done():
                continue
            if exchange.deadline > now:
                kept.append(exchange)
            else:
                exchange.set_exception(NotSentError(code))
        self._waiting = kept

    # The connections

    def _make(self) -> Connection:
        responses: ResponseBlocks = StatefulBlocks(self._response_table) if self._response_table else StatelessBlocks()
        origin = self._origin
        return Connection(self, RequestBlocks(self._authority), responses, origin.streams, proof=origin.proof)

    def _connections(self) -> list[Connection]:
        return [*self._open, *self._leaving]

    def _find_room(self) -> None:
        """See that what waits gets a connection: at once where there is none, soon where all are full."""
        if not self._waiting or self._dialing is not None:
            return
        if not self._open:
            self._dial()
        elif self._growing is None and len(self._open) < self._origin.connections:
            self._growing = self._loop.call_later(_GROW_SECONDS, self._grow)

    def _grow(self) -> None:
        self._growing = None
        if self._waiting and self._dialing is None and all(connection.is_full() for connection in self._open):
            self._dial()
        else:
            self._find_room()

    def _dial(self) -> None:
        self._dialing = self._loop.create_task(self._connect(), name="http2 connection")

    async def _connect(self) -> None:
        """One connection, or the reason for those who waited for it. Never two at a time."""
        try:
            await asyncio.sleep(self._backoff())
            connection = await self._dialer.dial()
        except NotSentError as error:
            self._dialing = self._newest = None
            self._failures += 1
            self._fail_waiting(error)
        else:
            self._dialing = None
            self._admit(connection)

    def _backoff(self) -> float:
        """Seconds to wait, with full jitter, since the connections before this one were of no use."""
        if self._newest is not None and self._newest.answered:
            self._failures = 0
            return 0.0
        useless = self._failures + sum(not connection.answered for connection in self._leaving)
        if not useless:
            return 0.0
        longest = min(_LONGEST_BACKOFF, _FIRST_BACKOFF * 2.0 ** min(useless, 10))  # no float holds 2.0 ** 1024
        return random.uniform(0, longest)  # noqa: S311  # no secret

    def _fail_waiting(self, error: NotSentError) -> None:
        _log.warning("no connection to %s: %s", self._authority, error.code)
        if self._open:
            self._find_room()
            return
        waiting, self._waiting = self._waiting, deque()
        for exchange in waiting:
            if not exchange.done():
                exchange.set_exception(type(error)(error.code))

    def _admit(self, connection: Connection) -> None:
        self._newest = connection
        if connection.lost.done():
            self._failures += 1
        elif connection.retired:
            self._leaving.add(connection)
        else:
            self._open.append(connection)
        if self._ticking is None:
            self._tick()
        self._serve()

    def _tick(self) -> None:
        now = self._loop.time()
        for connection in self._connections():
            connection.look_after(now, self._timing, self._origin.idle)
        more = self._open or self._leaving
        self._ticking = self._loop.call_later(_TICK_SECONDS, self._tick) if more else None

    async def _close_connections(self) -> None:
        connections = self._connections()
        for connection in connections:
            connection.close()
        if connections:
            _, late = await asyncio.wait([connection.lost for connection in connections], timeout=self._timing.close)
            for connection in connections:
                if connection.lost in late:
                    connection.abort()
            await asyncio.wait([connection.lost for connection in connections])
