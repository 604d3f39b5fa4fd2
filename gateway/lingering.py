"""Closing a connection whose client is still sending, so that it gets the answer.

What has arrived and was not read makes a plain close a reset, and a reset takes the answer away that the client has
not read yet. So our side is ended after the answer, and what still comes is thrown away for a while (RFC 9112, 9.6).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

_SECONDS: Final = 10.0
_MOST_BYTES: Final = 256 * 1024 * 1024


class LingeringTransport:
    """A transport whose ``close`` lingers while ``is_sending`` says that the client has not sent all of its request."""

    def __init__(
        self, transport: asyncio.Transport, is_sending: Callable[[], bool], closed: Callable[[Exception | None], None]
    ) -> None:
        self._transport = transport
        self._is_sending = is_sending
        self._closed = closed
        self._lingers = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def close(self) -> None:
        if self._lingers or not self._is_sending() or self._transport.is_closing():
            self._transport.close()
            return
        self._lingers = True
        self._transport.set_protocol(_Drain(self._transport, self._closed))
        self._transport.write_eof()
        self._transport.resume_reading()


class _Drain(asyncio.Protocol):
    """Throws away what comes, up to an end."""

    def __init__(self, transport: asyncio.Transport, closed: Callable[[Exception | None], None]) -> None:
        self._transport = transport
        self._closed = closed
        self._left = _MOST_BYTES
        self._timer = asyncio.get_running_loop().call_later(_SECONDS, transport.abort)

    def data_received(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._closed(exc)
