"""A TCP proxy before PostgreSQL that cuts connections at a chosen moment: committed, and the answer lost.

It reads along in PostgreSQL's protocol (version 3, "Message Formats" of its manual) without TLS: from the client the
statements that are executed, from the server the end of each transaction. Answers to them are held back up to the
next ReadyForQuery, which tells whether that was the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qs, quote, urlsplit, urlunsplit

_LENGTH: Final = 4
_READY, _ERROR, _ROW = b"Z", b"E", b"D"
_IDLE: Final = b"I"


@dataclass
class Transaction:
    """What was executed in one, and what came of it."""

    statements: list[str] = field(default_factory=list)
    rows: int = 0
    failed: bool = False


Moment = Callable[[Transaction], bool]


def accepting(transaction: Transaction) -> bool:
    return _has(transaction, "insert into operations")


def recording(transaction: Transaction) -> bool:
    return _has(transaction, "insert into notifications")


def claiming(transaction: Transaction) -> bool:
    """A claim that got something."""
    return _has(transaction, "skip locked") and transaction.rows > 0


def _has(transaction: Transaction, text: str) -> bool:
    return any(text in " ".join(statement.lower().split()) for statement in transaction.statements)


class Proxy:
    """Make it with `proxied`. ``url`` is the database's address through it."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._armed: tuple[Moment, asyncio.Event] | None = None
        self._sessions: set[_Session] = set()
        self.url = ""
        self.lost = 0

    async def lose(self, moment: Moment) -> None:
        """Cuts the connection of the next transaction of this kind when it is committed, instead of its answer."""
        happened = asyncio.Event()
        self._armed = moment, happened
        async with asyncio.timeout(60):
            await happened.wait()

    def cut(self) -> None:
        """Resets every connection, whatever it is doing."""
        for session in list(self._sessions):
            session.cut()

    def loses(self, transaction: Transaction) -> bool:
        if self._armed is None or transaction.failed or not self._armed[0](transaction):
            return False
        _, happened = self._armed
        self._armed = None
        self.lost += 1
        happened.set()
        return True

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream = await _connect(self._upstream)
        except OSError:
            writer.transport.abort()
            return
        session = _Session(self, (reader, writer), upstream)
        self._sessions.add(session)
        await session.run()
        self._sessions.discard(session)


Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Session:
    """One connection. Each end's end, or a cut, ends both."""

    def __init__(self, proxy: Proxy, client: Stream, server: Stream) -> None:
        self._proxy = proxy
        self._from_client, self._to_client = client
        self._from_server, self._to_server = server
        self._prepared: dict[bytes, str] = {}
        self._bound: dict[bytes, str] = {}
        self._transaction = Transaction()
        self._executing = False

    def cut(self) -> None:
        self._to_client.transport.abort()
        self._to_server.transport.abort()

    async def run(self) -> None:
        directions = [asyncio.create_task(self._ask()), asyncio.create_task(self._answer())]
        try:
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.cut()
            for direction in directions:
                direction.cancel()
            await asyncio.gather(*directions, return_exceptions=True)

    async def _ask(self) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await self._pass(await _body(self._from_client))  # the startup message, which has no type
            while True:
                kind = await self._from_client.readexactly(1)
                body = await _body(self._from_client)
                self._note(kind, body[_LENGTH:])
                await self._pass(kind + body)

    async def _pass(self, message: bytes) -> None:
        self._to_server.write(message)
        await self._to_server.drain()

    def _note(self, kind: bytes, body: bytes) -> None:
        """Parse, Bind, Execute and simple Query."""
        first, _, rest = body.partition(b"\0")
        second = rest.partition(b"\0")[0]
        match kind:
            case b"P":
                self._prepared[first] = second.decode("utf-8", "replace")
            case b"B":
                self._bound[first] = self._prepared.get(second, "")
            case b"E":
                self._execute(self._bound.get(first, ""))
            case b"Q":
                self._execute(first.decode("utf-8", "replace"))

    def _execute(self, statement: str) -> None:
        self._transaction.statements.append(statement)
        self._executing = True

    async def _answer(self) -> None:
        held = bytearray()
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                kind = await self._from_server.readexactly(1)
                body = await _body(self._from_server)
                held += kind + body
                self._transaction.rows += kind == _ROW
                self._transaction.failed |= kind == _ERROR
                if kind == _READY:
                    self._executing = False
                    if self._ends(body[_LENGTH:]):
                        return
                if not self._executing:
                    self._to_client.write(bytes(held))
                    held.clear()
                    await self._to_client.drain()

    def _ends(self, status: bytes) -> bool:
        """Whether the connection ends here, with a transaction whose answer is lost."""
        if status != _IDLE:
            return False
        done, self._transaction = self._transaction, Transaction()
        return self._proxy.loses(done)


@asynccontextmanager
async def proxied(url: str) -> AsyncIterator[Proxy]:
    """A proxy before this database, on a free port of this machine."""
    proxy = Proxy(url)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    parts = urlsplit(url)
    user = parts.netloc.rpartition("@")[0]
    address = f"{user}@127.0.0.1:{server.sockets[0].getsockname()[1]}"
    proxy.url = urlunsplit(parts._replace(netloc=address, query="sslmode=disable"))
    try:
        yield proxy
    finally:
        server.close()
        proxy.cut()
        await server.wait_closed()


async def _connect(url: str) -> Stream:
    """To the host that the address names, or the folder with the socket."""
    parts = urlsplit(url)
    [folder] = parse_qs(parts.query).get("host", [""])
    if folder.startswith("/"):
        return await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.5432")
    return await asyncio.open_connection(parts.hostname or quote(folder), parts.port or 5432)


async def _body(reader: asyncio.StreamReader) -> bytes:
    """A message's length, which counts itself, and what follows."""
    length = await reader.readexactly(_LENGTH)
    return length + await reader.readexactly(int.from_bytes(length, "big") - _LENGTH)
