"""One request and what becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Protocol

from server.providers.http2.frames import LARGEST_WINDOW, ConnectionBroken, ErrorCode, StreamBroken
from server.providers.transport import Request, Response

LARGEST_ANSWER = 64 * 1024


class Holder(Protocol):
    """Whoever a request waits at: the pool's queue, or the connection it was sent on."""

    def give_up(self, exchange: Exchange) -> None:
        """Its caller does not want the answer any more."""


class Exchange(asyncio.Future[Response]):
    """The future of a response is the request in flight itself, so that a push costs one object and no callback.

    The attributes from ``stream_id`` on are those of the stream that carries it, and are set anew for each one.
    """

    __slots__ = (
        "body",
        "deadline",
        "headers",
        "holder",
        "received",
        "request",
        "resends",
        "stale",
        "status",
        "stream_id",
        "unsent",
        "window",
    )

    request: Request
    deadline: float
    holder: Holder
    resends: int
    stale: bool  # made before a renewal: no fresh connection may carry it
    stream_id: int
    window: int  # how many bytes of the body the stream may still carry; negative after a smaller setting
    unsent: bytes | None  # the rest of the body; None once the stream is ended from our side
    status: int  # 0 until the response's headers are here
    headers: Mapping[str, str]
    body: bytes | bytearray
    received: int  # bytes of DATA payloads, padding included

    def __init__(self, request: Request, deadline: float, holder: Holder, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self.request = request
        self.deadline = deadline
        self.holder = holder
        self.resends = 0
        self.stale = False

    def cancel(self, msg: object = None) -> bool:
        """Give the request up; where it was already sent, the peer is told."""
        if not super().cancel(msg):
            return False
        self.holder.give_up(self)
        return True

    def open(self, holder: Holder, stream_id: int, window: int) -> None:
        """Begin a stream of ``holder``."""
        self.holder = holder
        self.stream_id = stream_id
        self.window = window
        self.unsent = self.request.body
        self.status = 0
        self.body = b""
        self.received = 0

    def widen(self, increment: int) -> None:
        """A WINDOW_UPDATE of the stream (6.9)."""
        self.window += increment
        if not increment:
            raise StreamBroken(ErrorCode.PROTOCOL_ERROR)
        if self.window > LARGEST_WINDOW:
            raise StreamBroken(ErrorCode.FLOW_CONTROL_ERROR)

    def append(self, chunk: bytes) -> None:
        """Add to the response's body; a second chunk makes it a buffer that grows without being copied."""
        if not self.body:
            self.body = chunk
            return
        if isinstance(self.body, bytes):
            self.body = bytearray(self.body)
        self.body += chunk

    def complete(self) -> None:
        """Give the caller the response."""
        self.set_result(Response(self.status, self.headers, bytes(self.body[:LARGEST_ANSWER])))


def change_windows(exchanges: Iterable[Exchange], change: int) -> None:
    """6.9.2: with the setting the windows of open streams change, too, and may become negative."""
    for exchange in exchanges:
        exchange.window += change
        if exchange.window > LARGEST_WINDOW:
            raise ConnectionBroken(ErrorCode.FLOW_CONTROL_ERROR)
