"""Servers that are no HTTP/2 servers: what a client may meet at an address instead."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field


@dataclass
class Listener:
    """`accepted` and `open` count TCP connections, `most_open` those at once."""

    port: int = 0
    accepted: int = 0
    open: int = 0
    most_open: int = 0
    handshakes: list[str] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def origin(self) -> str:
        return f"https://localhost:{self.port}"


@contextlib.asynccontextmanager
async def answering(greeting: bytes | None, tls: ssl.SSLContext | None = None) -> AsyncIterator[Listener]:
    """Says `greeting` to whoever sends something, and hangs up; None: says nothing and stays."""
    listener = Listener()
    writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        listener.accepted += 1
        listener.open += 1
        listener.came.set()
        listener.most_open = max(listener.most_open, listener.open)
        with contextlib.suppress(OSError):
            data = await reader.read(65_536)
            while greeting is None and data:
                data = await reader.read(65_536)
            writer.write(greeting or b"")
            writer.close()
            await writer.wait_closed()
        listener.open -= 1
        writers.discard(writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    listener.port = server.sockets[0].getsockname()[1]
    try:
        yield listener
    finally:
        server.close()
        for writer in list(writers):
            writer.transport.abort()
        await server.wait_closed()


@contextlib.contextmanager
def handshaking(tls: ssl.SSLContext) -> Iterator[Listener]:
    """Does handshakes in a thread, and then hangs up: unlike asyncio's, a blocking socket still sends its alert."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        listener = Listener(server.getsockname()[1])
        thread = threading.Thread(target=_handshakes, args=(server, tls, listener))
        thread.start()
        try:
            yield listener
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def _handshakes(server: socket.socket, tls: ssl.SSLContext, listener: Listener) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:  # the test is over
            return
        listener.accepted += 1
        connection.settimeout(5)
        with connection:
            listener.handshakes.append(_handshake(connection, tls))


def _handshake(connection: socket.socket, tls: ssl.SSLContext) -> str:
    """What became of it: OpenSSL's name of the error, or ''."""
    raw = connection.dup()  # a failed handshake takes the socket along
    with raw:
        try:
            with tls.wrap_socket(connection, server_side=True) as secured:
                secured.recv(65_536)
        except ssl.SSLError as error:
            _drain(raw)
            return str(error.reason)
        except OSError as error:
            return type(error).__name__
    return ""


def _drain(connection: socket.socket) -> None:
    """Read to the client's end: to close on unread bytes would reset the connection, and the alert might be lost."""
    connection.settimeout(5)
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65_536):
            pass


def unused_port() -> int:
    """A port at which nobody listens, unless somebody takes it meanwhile."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
