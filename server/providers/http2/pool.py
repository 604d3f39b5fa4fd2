"""The connections to one origin: as many as the load needs, made one at a time, replaced as they end."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import ssl
from collections import deque
from urllib.parse import urlsplit

from server.providers import tls as certificates
from server.providers.http2.connection import Connection
from server.providers.http2.exchange import Exchange
from server.providers.transport import (
    CertificateRefusedError,
    NotSentError,
    Origin,
    Request,
    Response,
    TransportError,
)

_log = logging.getLogger(__name__)
logging.getLogger("hpack").setLevel(logging.WARNING)  # it logs headers, which hold access tokens

CONNECT_SECONDS = 10.0
CLOSE_SECONDS = 5.0
IDLE_SECONDS = 600.0
FIRST_PAUSE = 0.1  # seconds between attempts to connect, doubled with each failure
LONGEST_PAUSE = 5.0
SENT_AGAIN = 3  # times a request is sent once more after a peer said that it did not process it
TICK_SECONDS = 0.2  # how exactly deadlines are kept

_HTTPS_PORT = 443


class Http2Transport:
    """`Transport` on connections of our own. ``table`` is the size of the table for response headers.

    0 lets answers be read without decoding their headers; a peer that can't do without gets the usual 4096.
    """

    def __init__(self, origin: Origin, tls: ssl.SSLContext, table: int = 0) -> None:
        parts = urlsplit(origin.url)
        if parts.scheme != "https" or not parts.hostname:
            raise ValueError("an origin is https://host[:port]")
        self._origin = origin
        self._host, self._port = parts.hostname, parts.port or _HTTPS_PORT
        host = f"[{self._host}]" if ":" in self._host else self._host
        self._authority = host if self._port == _HTTPS_PORT else f"{host}:{self._port}"
        self._tls = tls
        self._table = table
        self._loop = asyncio.get_running_loop()
        self._connections: list[Connection] = []
        self._waiting: deque[Exchange] = deque()
        self._connecting: asyncio.Task[None] | None = None
        self._attempts = 0  # to connect; picks the address
        self._failed = 0  # attempts in a row
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._idle = asyncio.Event()

    def post(self, request: Request, deadline: float) -> asyncio.Future[Response]:
        """As ``Transport`` says."""
        exchange = Exchange(request, deadline, self._loop.create_future())
        if self._closed:
            exchange.not_sent("TRANSPORT_CLOSED")
            return exchange.future
        connection = None if self._waiting else self._with_room()
        if connection is not None:
            connection.begin(exchange)
        else:
            self._waiting.append(exchange)
            self._grow()
        if self._timer is None:
            self._timer = self._loop.call_later(TICK_SECONDS, self._tick)
        return exchange.future

    def renew(self) -> None:
        """As ``Transport`` says."""
        for connection in list(self._connections):
            connection.retire()

    async def aclose(self) -> None:
        """As ``Transport`` says."""
        self._closed = True
        self._note_idle()
        await self._idle.wait()
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        for connection in list(self._connections):
            connection.close()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await asyncio.gather(*(connection.gone.wait() for connection in self._connections))
        except TimeoutError:
            for connection in list(self._connections):
                connection.abort()
        if self._timer is not None:
            self._timer.cancel()

    # What connections say

    def unprocessed(self, exchange: Exchange, code: str) -> None:
        """Send it on another connection, a few times."""
        if exchange.future.done():
            return
        exchange.sent_again += 1
        if exchange.sent_again > SENT_AGAIN:
            exchange.not_sent(code)
            return
        self._waiting.appendleft(exchange)

    def changed(self) -> None:
        """Begin what waits, where there is room, and look for more room."""
        if self._waiting:
            self._begin_waiting()
        if self._closed:
            self._note_idle()

    def _begin_waiting(self) -> None:
        while self._waiting and (connection := self._with_room()) is not None:
            exchange = self._waiting.popleft()
            if not exchange.future.done():
                connection.begin(exchange)
        if self._waiting:
            self._grow()

    def _with_room(self) -> Connection | None:
        for connection in self._connections:
            if connection.room() > 0:
                return connection
        return None

    def _note_idle(self) -> None:
        if not self._waiting and not any(connection.active for connection in self._connections):
            self._idle.set()

    # Connecting

    def _grow(self) -> None:
        """Connect once more, unless that is under way, or there are enough, or one has yet to prove itself."""
        usable = [connection for connection in self._connections if not connection.draining]
        enough = len(usable) >= self._origin.connections or any(not connection.proven for connection in usable)
        if self._connecting is None and not enough:
            self._connecting = self._loop.create_task(self._connect(), name="connect")

    async def _connect(self) -> None:
        try:
            if self._failed:
                pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (self._failed - 1))
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 # spreads load
            connection = await self._connected()
        except TransportError as error:
            self._failed += 1
            failure: TransportError | None = error
        else:
            self._failed = 0
            self._connections.append(connection)
            failure = None
        finally:
            self._connecting = None
        if failure is not None:
            self._fail_waiting(failure)
        self.changed()

    async def _connected(self) -> Connection:
        """Return a connection whose peer has said its settings. Raises ``NotSentError``."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await self._handshake(await self._address())
        except TimeoutError:
            raise NotSentError("NO_CONNECTION_IN_TIME") from None
        except ssl.SSLError as error:
            if certificates.refuses_ours(error):
                raise CertificateRefusedError("CLIENT_CERTIFICATE_REFUSED") from None
            raise NotSentError("TLS_FAILED") from None
        except Exception as error:  # noqa: BLE001 # a task nobody would hear of, and requests that wait for it
            if not isinstance(error, OSError):
                _log.warning("unexpected %s while connecting", type(error).__name__)
            raise NotSentError("CONNECT_FAILED") from None

    async def _address(self) -> str:
        """Return one of the host's addresses, asked for anew each time and another one after each attempt."""
        found = await self._loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
        address = addresses[self._attempts % len(addresses)]
        self._attempts += 1
        return address

    async def _handshake(self, address: str) -> Connection:
        origin = self._origin
        self._tls.set_alpn_protocols(["h2"])
        transport, connection = await self._loop.create_connection(
            lambda: Connection(self, self._authority, origin.streams, proof=origin.proof, table=self._table),
            address,
            self._port,
            ssl=self._tls,
            server_hostname=self._host,
        )
        try:
            _check_protocol(transport)
            await connection.ready
        except BaseException:
            transport.abort()
            raise
        return connection

    def _fail_waiting(self, error: TransportError) -> None:
        """Tell those who waited for a connection, where there is no other that they could wait for."""
        if any(not connection.draining for connection in self._connections):
            return
        waiting, self._waiting = self._waiting, deque()
        for exchange in waiting:
            exchange.fail(type(error)(error.code))

    # Time

    def _tick(self) -> None:
        """Keep the deadlines, and close what nobody needs."""
        self._timer = None
        now = self._loop.time()
        self._connections = [connection for connection in self._connections if not connection.closed]
        for connection in self._connections:
            if not connection.active and now - connection.used_at > IDLE_SECONDS:
                connection.retire()
            connection.check(now)
        self._give_up_waiting(now)
        self.changed()
        if self._connections or self._waiting:
            self._timer = self._loop.call_later(TICK_SECONDS, self._tick)

    def _give_up_waiting(self, now: float) -> None:
        waiting, self._waiting = self._waiting, deque()
        code = "NO_STREAM_IN_TIME" if self._connections else "NO_CONNECTION_IN_TIME"
        for exchange in waiting:
            if exchange.is_over(now):
                exchange.not_sent(code)
            else:
                self._waiting.append(exchange)


def _check_protocol(transport: asyncio.Transport) -> None:
    if transport.get_extra_info("ssl_object").selected_alpn_protocol() != "h2":
        raise ConnectionResetError("the peer speaks no HTTP/2")
