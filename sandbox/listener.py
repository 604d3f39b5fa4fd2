"""A listening port for one vendor: TLS where it is wanted, the protocol by ALPN, an orderly end."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import cast

from sandbox.http1 import Http1Connection
from sandbox.http2 import Http2Connection
from sandbox.identity import Identity
from sandbox.wire import Vendor

MAX_CONNECTIONS = 512
_CLOSE_SECONDS = 2.0
_HANDSHAKE_SECONDS = 10.0
_SHUTDOWN_SECONDS = 1.0
_USER_ID = "userId"  # how Python's ssl module names the subject's UID

Connection = Http1Connection | Http2Connection


def server_tls(identity: Identity, protocols: list[str], *, client_certificates: bool) -> ssl.SSLContext:
    """The sandbox's side of TLS 1.2 or later; client certificates, where taken, must come from the sandbox's CA."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(*identity.server_files)
    context.set_alpn_protocols(protocols)
    if client_certificates:
        context.load_verify_locations(identity.ca_file)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


class Listener:
    """Serves ``vendor`` on one port, in the clear without a TLS context.

    With ``http1`` a client that did not negotiate h2 is spoken to in HTTP/1.1; without it, HTTP/2 is all there is and
    needs no negotiation: APNs takes clients that send no ALPN, aioapns among them.
    """

    def __init__(self, vendor: Vendor, tls: ssl.SSLContext | None, *, http1: bool) -> None:
        self._vendor = vendor
        self._tls = tls
        self._http1 = http1
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        self._empty = asyncio.Event()
        self._empty.set()

    async def open(self, host: str, port: int) -> int:
        """Listens; returns the port, which the system chose if 0 was asked for. Raises OSError if it is taken."""
        loop = asyncio.get_running_loop()
        secure = self._tls is not None
        self._server = await loop.create_server(
            lambda: _Doorman(self),
            host,
            port,
            ssl=self._tls,
            backlog=1024,
            ssl_handshake_timeout=_HANDSHAKE_SECONDS if secure else None,
            ssl_shutdown_timeout=_SHUTDOWN_SECONDS if secure else None,
        )
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stops listening, says goodbye on every connection, and resets those that don't end in two seconds."""
        if self._server is None:
            return
        self._server.close()
        for connection in list(self._connections):
            connection.shut_down()
        try:
            await asyncio.wait_for(self._empty.wait(), _CLOSE_SECONDS)
        except TimeoutError:
            for connection in list(self._connections):
                connection.cut()
            await asyncio.wait_for(self._empty.wait(), _CLOSE_SECONDS)
        with suppress(TimeoutError):  # who is in a handshake now ends by its timeout
            await asyncio.wait_for(self._server.wait_closed(), _CLOSE_SECONDS)

    def admit(self, transport: asyncio.Transport) -> None:
        """Gives a new connection, its handshake done, to the protocol that was negotiated."""
        if len(self._connections) >= MAX_CONNECTIONS:
            transport.abort()
            return
        connection = self._choose(transport)
        self._connections.add(connection)
        self._empty.clear()
        transport.set_protocol(connection)
        connection.connection_made(transport)

    def _choose(self, transport: asyncio.Transport) -> Connection:
        session = cast("ssl.SSLObject | None", transport.get_extra_info("ssl_object"))
        uid = _certificate_uid(session)
        negotiated = session is not None and session.selected_alpn_protocol() == "h2"
        if negotiated or not self._http1:
            return Http2Connection(self._vendor, uid, self._forget)
        return Http1Connection(self._vendor, uid, self._forget)

    def _forget(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()


class _Doorman(asyncio.Protocol):
    """Only there until the handshake is done: ALPN decides which protocol takes over."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._listener.admit(cast("asyncio.Transport", transport))


def _certificate_uid(session: ssl.SSLObject | None) -> str | None:
    """The UID of a verified client certificate's subject, which is the topic in Apple's."""
    certificate = session.getpeercert() if session is not None else None
    subject = cast("tuple[tuple[tuple[str, str], ...], ...]", (certificate or {}).get("subject", ()))
    for relative_name in subject:
        for key, value in relative_name:
            if key == _USER_ID:
                return value
    return None
