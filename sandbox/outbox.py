"""The sending half of an HTTP/2 connection: coalesced writes, responses, the peer's flow-control windows."""

from __future__ import annotations

import asyncio

from sandbox import frames
from sandbox.frames import DEFAULT_WINDOW, END_HEADERS, END_STREAM, MAX_FRAME_SIZE, MAX_WINDOW, ErrorCode


class Outgoing:
    """A response body on its way."""

    __slots__ = ("body", "window")

    def __init__(self, window: int) -> None:
        self.window = window
        self.body = b""


class Outbox:
    """Collects frames until ``flush`` writes them all at once."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._frames: list[bytes] = []
        self._window = DEFAULT_WINDOW
        self._initial_window = DEFAULT_WINDOW
        self._waiting: dict[int, Outgoing] = {}

    def put(self, frame: bytes) -> None:
        self._frames.append(frame)

    def flush(self) -> None:
        if self._frames:
            self._transport.write(b"".join(self._frames))
            self._frames.clear()

    def new_stream(self) -> Outgoing:
        return Outgoing(self._initial_window)

    def respond(self, stream_id: int, outgoing: Outgoing, block: bytes, body: bytes) -> bool:
        """Puts a whole response; False if part of the body has to wait for the peer's window."""
        size = len(body)
        if not size:
            self.put(frames.frame(frames.HEADERS, END_HEADERS | END_STREAM, stream_id, block))
            return True
        self.put(frames.frame(frames.HEADERS, END_HEADERS, stream_id, block))
        if size > MAX_FRAME_SIZE or size > self._window or size > outgoing.window or self._waiting:
            outgoing.body = body
            self._waiting[stream_id] = outgoing
            return self._advance(stream_id, outgoing)
        self._window -= size
        self.put(frames.frame(frames.DATA, END_STREAM, stream_id, body))
        return True

    def forget(self, stream_id: int) -> None:
        """The stream is gone; what waited for its window is dropped."""
        self._waiting.pop(stream_id, None)

    def widen(self, increment: int) -> list[int]:
        """The peer's WINDOW_UPDATE for the connection; returns the streams that it completed."""
        self._window += _checked(increment)
        if self._window > MAX_WINDOW:
            raise frames.ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "connection window")
        return self._advance_all()

    def widen_stream(self, stream_id: int, outgoing: Outgoing, increment: int) -> list[int]:
        """The same for one stream."""
        outgoing.window += _checked(increment)
        if outgoing.window > MAX_WINDOW:
            raise frames.StreamFault(stream_id, ErrorCode.FLOW_CONTROL_ERROR)
        return self._advance_all()

    def set_initial_window(self, size: int, open_streams: list[Outgoing]) -> list[int]:
        """SETTINGS_INITIAL_WINDOW_SIZE moves the windows of open streams too, even below zero (RFC 9113, 6.9.2)."""
        change, self._initial_window = size - self._initial_window, size
        for outgoing in open_streams:
            outgoing.window += change
            if outgoing.window > MAX_WINDOW:
                raise frames.ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "stream window")
        return self._advance_all()

    def _advance_all(self) -> list[int]:
        return [stream_id for stream_id, outgoing in list(self._waiting.items()) if self._advance(stream_id, outgoing)]

    def _advance(self, stream_id: int, outgoing: Outgoing) -> bool:
        """Sends what the windows allow; True once the body is out."""
        while outgoing.body:
            room = min(self._window, outgoing.window, MAX_FRAME_SIZE)
            if room <= 0:
                return False
            chunk, outgoing.body = outgoing.body[:room], outgoing.body[room:]
            self._window -= len(chunk)
            outgoing.window -= len(chunk)
            self.put(frames.frame(frames.DATA, 0 if outgoing.body else END_STREAM, stream_id, chunk))
        self._waiting.pop(stream_id, None)
        return True


def _checked(increment: int) -> int:
    increment &= MAX_WINDOW
    if increment == 0:
        raise frames.ConnectionFault(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of zero")
    return increment
