"""A receiver of webhooks over real HTTP or HTTPS: it keeps what it got, and answers as it is told."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from standardwebhooks import Webhook

T = TypeVar("T")


@dataclass(frozen=True)
class Got:
    """A request that arrived whole."""

    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        """The event, however it is signed."""
        event: dict[str, Any] = json.loads(self.body)
        return event

    def verified(self, secret: str) -> dict[str, Any]:
        """The event, as the reference library lets it through. Raises ``WebhookVerificationError``."""
        event: dict[str, Any] = Webhook(secret).verify(self.body, self.headers)
        return event

    @property
    def type(self) -> str:
        return str(self.event["type"])


@dataclass
class Receiver:
    """Answers 200 unless told otherwise.

    ``answers``: raw HTTP answers to the next requests, one each; ``always``: to every other one. ``refuses``: which
    requests get a 500. Held, it answers nothing until ``let_go``.
    """

    port: int = 0
    got: list[Got] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)
    always: bytes | None = None
    refuses: Callable[[Got], bool] | None = None
    connections: int = 0
    held: asyncio.Event | None = None
    at_once: int = 0
    most_at_once: int = 0
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def url(self, path: str = "/hook", host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    async def until(self, wanted: Callable[[list[Got]], T], seconds: float = 20.0) -> T:
        """Return the first true answer of ``wanted``, asked whenever something arrives."""
        async with asyncio.timeout(seconds), self._changed:
            while not (found := wanted(self.got)):
                await self._changed.wait()
            return found

    async def arrived(self, number: int) -> list[Got]:
        """Wait until so many requests have arrived."""
        return await self.until(lambda got: got[:number] if len(got) >= number else [])

    def hold(self) -> None:
        """Answer nothing from now on."""
        self.held = asyncio.Event()

    def let_go(self) -> None:
        """Answer what is held, and what comes."""
        if self.held is not None:
            self.held.set()
        self.held = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Handle one connection."""
        self.connections += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                got = await _request(reader)
                await self._note(got)
                await self._answer(got, writer)
        writer.close()

    async def _answer(self, got: Got, writer: asyncio.StreamWriter) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self.held is not None:
                await self.held.wait()
        finally:
            self.at_once -= 1
        writer.write(self._next(got))
        await writer.drain()

    def _next(self, got: Got) -> bytes:
        if self.refuses is not None and self.refuses(got):
            return answer(500)
        return self.answers.pop(0) if self.answers else self.always or answer(200)

    async def _note(self, got: Got) -> None:
        async with self._changed:
            self.got.append(got)
            self._changed.notify_all()


def answer(status: int, *headers: str, body: bytes = b"") -> bytes:
    """A whole HTTP answer."""
    lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


async def _request(reader: asyncio.StreamReader) -> Got:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers["content-length"]))
    return Got(head[0].split(" ")[1], headers, body)


@contextlib.asynccontextmanager
async def receiving(context: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    """A receiver on a free port of this machine."""
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0, ssl=context)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        receiver.let_go()
        server.close()
