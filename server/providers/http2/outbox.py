"""What a connection has to write: all frames of one turn of the loop in one write."""

from __future__ import annotations

import asyncio

from server.providers.http2.frames import ConnectionBroken, ErrorCode

_MOST_OWED = 1000


class Outbox:
    """``paused`` is the socket's doing: it takes no more for now."""

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport) -> None:
        self.paused = False
        self.last_written = 0  # the highest stream that has left for the socket
        self._last_queued = 0
        self._loop = loop
        self._transport = transport
        self._frames: list[bytes] = []
        self._scheduled = False
        self._owed = 0

    def begin(self, stream_id: int, data: bytes) -> None:
        """Write the beginning of a stream."""
        self._last_queued = stream_id
        self.send(data)

    def send(self, data: bytes) -> None:
        self._frames.append(data)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self.flush)

    def acknowledge(self, data: bytes) -> None:
        """Write what the peer has asked for. One that asks and asks and does not read must not fill our memory."""
        if self.paused:
            self._owed += 1
            if self._owed > _MOST_OWED:
                raise ConnectionBroken(ErrorCode.ENHANCE_YOUR_CALM)
        self.send(data)

    def resume(self) -> None:
        self.paused = False
        self._owed = 0

    def flush(self) -> None:
        self._scheduled = False
        if self._frames and not self._transport.is_closing():
            self._transport.write(b"".join(self._frames))
            self._frames.clear()
            self.last_written = self._last_queued

    def close(self) -> None:
        """Write the rest, then close the transport."""
        self.flush()
        self._transport.close()
