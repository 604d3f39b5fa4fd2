"""From bytes to frames to what they say: all that RFC 9113 lets a client check without knowing its streams."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from server.providers.http2 import frames
from server.providers.http2.frames import ConnectionBroken, ErrorCode, StreamBroken

LARGEST_BLOCK = 64 * 1024
_MOST_PIECES = 128  # of a header block: each may be empty
_PLAIN_HEADERS = frames.END_HEADERS
_LARGEST_FRAME = frames.DEFAULT_FRAME_SIZE  # we never allow more

_Handler = Callable[[int, int, bytes], None]


class Receiver(Protocol):
    """Takes what the frames say. Every method may raise ConnectionBroken, and StreamBroken for its stream."""

    def on_headers(self, stream_id: int, block: bytes, *, ended: bool) -> None:
        """A whole header block."""

    def on_data(self, stream_id: int, content: bytes, length: int, *, ended: bool) -> None:
        """``length`` is what flow control counts: the content with its padding."""

    def on_reset(self, stream_id: int, code: int) -> None: ...

    def on_settings(self, values: list[tuple[int, int]]) -> None: ...

    def on_ping(self, payload: bytes) -> None: ...

    def on_goaway(self, last_stream_id: int) -> None: ...

    def on_window_update(self, stream_id: int, increment: int) -> None:
        """Of the connection where the stream id is 0."""

    def on_broken_stream(self, stream_id: int, code: ErrorCode) -> None:
        """A StreamBroken was raised: the stream has to be reset."""


class FrameReader:
    """Cuts a byte stream into frames and hands them on. Holds no more than one frame and one header block."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._rest = bytearray()  # the beginning of a frame
        self._needed = 0  # how many bytes it takes to go on
        self._block = bytearray()  # of HEADERS that CONTINUATIONs follow
        self._pieces = 0
        self._block_stream = 0
        self._block_flags = 0
        self._usual: dict[int, _Handler] = {
            frames.DATA: self._data,
            frames.HEADERS: self._headers,
            frames.PRIORITY: self._priority,
            frames.RST_STREAM: self._rst_stream,
            frames.SETTINGS: self._settings,
            frames.PUSH_PROMISE: self._unexpected,
            frames.PING: self._ping,
            frames.GOAWAY: self._goaway,
            frames.WINDOW_UPDATE: self._window_update,
            frames.CONTINUATION: self._unexpected,
        }
        # A connection begins with SETTINGS (3.4), though some peers only say goodbye.
        self._handlers: dict[int, _Handler] = {frames.SETTINGS: self._first_settings, frames.GOAWAY: self._goaway}
        self._other = self._unexpected

    def feed(self, data: bytes) -> None:
        """Take the next bytes. Raises ConnectionBroken, after which nothing may be fed any more."""
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needed:
                return
            data = bytes(self._rest)
            self._rest.clear()
        used = self._read(data)
        if used < len(data):
            self._rest += data[used:]

    def _read(self, data: bytes) -> int:
        """Hand on all whole frames, and return how many bytes they had."""
        position, end = 0, len(data)
        unpack = frames.HEADER.unpack_from
        while end - position >= frames.HEADER_BYTES:
            high, low, kind, flags, stream_id = unpack(data, position)
            if high or low > _LARGEST_FRAME:
                self._check_size(high << 16 | low)
            start = position + frames.HEADER_BYTES
            stop = start + low
            if stop > end:
                self._needed = stop - position
                return position
            position = stop
            try:
                self._handlers.get(kind, self._other)(flags, stream_id & frames.LAST_STREAM_ID, data[start:stop])
            except StreamBroken as broken:
                self._receiver.on_broken_stream(stream_id & frames.LAST_STREAM_ID, broken.code)
        self._needed = frames.HEADER_BYTES
        return position

    def _check_size(self, length: int) -> None:
        if length > _LARGEST_FRAME:
            raise ConnectionBroken(ErrorCode.FRAME_SIZE_ERROR)

    def _headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        _check_stream(stream_id)
        if flags & (frames.PADDED | frames.PRIORITISED):
            payload = frames.unpadded(flags, payload)
        if flags & frames.END_HEADERS:
            self._receiver.on_headers(stream_id, payload, ended=flags & frames.END_STREAM != 0)
            return
        self._block_stream, self._block_flags, self._pieces = stream_id, flags, 0
        self._block += payload
        self._handlers, self._other = {frames.CONTINUATION: self._continuation}, self._unexpected

    def _continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        """6.10: nothing may come in between, not even a frame of an unknown kind."""
        if stream_id != self._block_stream:
            raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR)
        self._block += payload
        self._pieces += 1
        if len(self._block) > LARGEST_BLOCK or self._pieces > _MOST_PIECES:
            raise ConnectionBroken(ErrorCode.ENHANCE_YOUR_CALM)
        if flags & frames.END_HEADERS:
            block = bytes(self._block)
            self._block.clear()
            self._go_on()
            self._receiver.on_headers(stream_id, block, ended=self._block_flags & frames.END_STREAM != 0)

    def _data(self, flags: int, stream_id: int, payload: bytes) -> None:
        _check_stream(stream_id)
        content = frames.unpadded(flags & frames.PADDED, payload) if flags & frames.PADDED else payload
        self._receiver.on_data(stream_id, content, len(payload), ended=flags & frames.END_STREAM != 0)

    def _priority(self, _: int, stream_id: int, payload: bytes) -> None:
        _check_stream(stream_id)
        frames.check_priority(payload)

    def _rst_stream(self, _: int, stream_id: int, payload: bytes) -> None:
        _check_stream(stream_id)
        self._receiver.on_reset(stream_id, frames.number(payload))

    def _first_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if flags & frames.ACK:
            raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR)
        self._go_on()
        self._settings(flags, stream_id, payload)

    def _settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        _check_connection(stream_id)
        if not flags & frames.ACK:
            self._receiver.on_settings(frames.read_settings(payload))
        elif payload:
            raise ConnectionBroken(ErrorCode.FRAME_SIZE_ERROR)

    def _ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        _check_connection(stream_id)
        if len(payload) != frames.PING_BYTES:
            raise ConnectionBroken(ErrorCode.FRAME_SIZE_ERROR)
        if not flags & frames.ACK:
            self._receiver.on_ping(payload)

    def _goaway(self, _: int, stream_id: int, payload: bytes) -> None:
        _check_connection(stream_id)
        self._receiver.on_goaway(frames.read_goaway(payload))

    def _window_update(self, _: int, stream_id: int, payload: bytes) -> None:
        self._receiver.on_window_update(stream_id, frames.number(payload) & frames.LARGEST_WINDOW)

    def _unexpected(self, _: int, __: int, ___: bytes) -> None:
        raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR)

    def _ignored(self, _: int, __: int, ___: bytes) -> None:
        """5.5: frames of unknown kinds are dropped."""

    def _go_on(self) -> None:
        self._handlers, self._other = self._usual, self._ignored


def _check_stream(stream_id: int) -> None:
    """A server opens no streams when it may not push, so its own, even ids are as wrong as the connection's 0."""
    if not stream_id & 1:
        raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR)


def _check_connection(stream_id: int) -> None:
    if stream_id:
        raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR)
