"""One HTTP/2 server connection (RFC 9113): framing, settings, shutting down. Requests are the matter of ``streams``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from sandbox import frames
from sandbox.frames import ACK, END_HEADERS, ConnectionFault, ErrorCode, StreamFault
from sandbox.outbox import Outbox
from sandbox.streams import Streams
from sandbox.wire import Fault, GoAway, Scripted, Vendor

GREETING_SECONDS = 10.0
_MAX_BLOCK = 32_768  # bytes of a header block in HEADERS and its CONTINUATIONs
_PRIORITY_SIZE = 5
_PING_SIZE = 8
_FIRST_BYTE = 1  # every CONTINUATION counts at least so much against _MAX_BLOCK, so empty ones end too


class _Block:
    """A header block that goes on in CONTINUATION frames."""

    __slots__ = ("cost", "data", "flags", "stream_id")

    def __init__(self, stream_id: int, flags: int, data: bytes) -> None:
        self.stream_id = stream_id
        self.flags = flags
        self.data = bytearray(data)
        self.cost = len(data)


class Http2Connection(asyncio.Protocol):
    """Speaks for one vendor to one client. Violations end in RST_STREAM or in GOAWAY and a close."""

    def __init__(self, vendor: Vendor, certificate_uid: str | None, on_lost: Callable[[Http2Connection], None]) -> None:
        self._vendor = vendor
        self._certificate_uid = certificate_uid
        self._on_lost = on_lost
        self._transport: asyncio.Transport
        self._outbox: Outbox
        self._streams: Streams
        self._unread = b""
        self._greeted = False
        self._settings_seen = False
        self._deaf = False  # nothing more is read
        self._draining = False
        self._touched = False
        self._block: _Block | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._on_frame: dict[int, Callable[[int, int, bytes], None]] = {}

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._outbox = Outbox(self._transport)
        self._streams = Streams(self._vendor.limits, self._outbox, self)
        self._on_frame = self._handlers()
        self._timer = asyncio.get_running_loop().call_later(GREETING_SECONDS, self._check_idle)
        scripted = self._vendor.on_connect()
        if scripted is not None:
            self._refuse_to_serve(scripted)
            return
        self._streams.connect(self._vendor.session(self._streams, self._certificate_uid))
        self._outbox.flush()

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        self._touched = True
        if self._unread:
            data = self._unread + data
        try:
            self._unread = self._read(data)
        except ConnectionFault as fault:
            self._fail(fault)
        self.settle()

    def pause_writing(self) -> None:
        """A client that does not read its answers is not read either: memory stays bounded."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._deaf = True
        if self._timer is not None:
            self._timer.cancel()
        self._streams.abandon()
        self._on_lost(self)

    # The listener's and the streams' side

    def shut_down(self) -> None:
        """The provider stops in good order: GOAWAY NO_ERROR, then the close."""
        self.give_up(GoAway(drain=False), self._streams.stop())

    def cut(self) -> None:
        self._deaf = True
        self._transport.abort()

    def give_up(self, goaway: GoAway, last_id: int) -> None:
        self._outbox.put(frames.goaway(last_id, goaway.code, goaway.debug))
        self._draining = True
        if not goaway.drain:
            self._close()

    def settle(self) -> None:
        """Returns window credit, writes everything at once, and closes a drained connection."""
        if self._transport.is_closing():
            return
        if not self._deaf:
            self._streams.return_credit()
        self._outbox.flush()
        if self._draining and self._streams.idle:
            self._close()

    def _close(self) -> None:
        if not self._transport.is_closing():
            self._deaf = True
            self._outbox.flush()
            self._transport.close()

    def _refuse_to_serve(self, scripted: Scripted) -> None:
        """A connection that fails before its SETTINGS, as APNs does when it is overloaded (pushy issue 831)."""
        self._deaf = True
        if scripted.fault is Fault.GOAWAY:
            self._outbox.put(frames.goaway(0, scripted.goaway.code, scripted.goaway.debug))
            self._close()
        elif scripted.fault is not Fault.STALL:
            self._transport.abort()

    def _fail(self, fault: ConnectionFault) -> None:
        self._outbox.put(frames.goaway(self._streams.stop(), fault.code, fault.text.encode()))
        self._close()

    def _check_idle(self) -> None:
        """Ends connections that never greeted, or on which nothing happened for the listener's idle time."""
        if not self._settings_seen:
            self._transport.abort()
            return
        if not self._touched and self._streams.idle:
            self.give_up(GoAway(debug=b"session_timed_out"), self._streams.stop())
            self.settle()
            return
        self._touched = False
        self._timer = asyncio.get_running_loop().call_later(self._vendor.limits.idle, self._check_idle)

    # Frames

    def _handlers(self) -> dict[int, Callable[[int, int, bytes], None]]:
        return {
            frames.DATA: self._on_data,
            frames.HEADERS: self._on_headers,
            frames.PRIORITY: self._on_priority,
            frames.RST_STREAM: self._on_rst_stream,
            frames.SETTINGS: self._on_settings,
            frames.PUSH_PROMISE: self._on_push_promise,
            frames.PING: self._on_ping,
            frames.GOAWAY: self._on_goaway,
            frames.WINDOW_UPDATE: self._on_window_update,
            frames.CONTINUATION: self._on_continuation,
        }

    def _read(self, data: bytes) -> bytes:
        """Handles every complete frame; returns the rest, less than one frame. Raises ConnectionFault."""
        at = 0 if self._greeted else self._greet(data)
        end = len(data)
        while end - at >= frames.FRAME_HEADER_SIZE and self._greeted and not self._deaf:
            high, low, kind, flags, stream_id = frames.FRAME_HEADER.unpack_from(data, at)
            size = high << 16 | low
            if size > frames.MAX_FRAME_SIZE:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "frame size")
            begin = at + frames.FRAME_HEADER_SIZE
            if begin + size > end:
                break
            at = begin + size
            self._dispatch(kind, flags, stream_id & frames.MAX_WINDOW, data[begin:at])
        return data[at:]

    def _greet(self, data: bytes) -> int:
        """The client's preface; returns where frames begin. Raises ConnectionFault for anything else."""
        if len(data) >= len(frames.PREFACE):
            self._greeted = data.startswith(frames.PREFACE)
            if self._greeted:
                return len(frames.PREFACE)
        elif frames.PREFACE.startswith(data):
            return 0
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "connection preface")

    def _dispatch(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if self._block is not None and (kind != frames.CONTINUATION or stream_id != self._block.stream_id):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a frame inside a header block")
        if not self._settings_seen and kind != frames.SETTINGS:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")
        handler = self._on_frame.get(kind)
        if handler is None:
            return  # unknown types are ignored, RFC 9113 section 4.1
        try:
            handler(flags, stream_id, payload)
        except StreamFault as fault:
            self._streams.reset(fault.stream_id, fault.code)

    def _on_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._streams.data(stream_id, flags, payload)

    def _on_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id % 2 == 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "HEADERS on a stream that is not a client's")
        block = frames.unpad(flags, payload)
        if flags & frames.PRIORITY_FLAG:
            if len(block) < _PRIORITY_SIZE:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "HEADERS priority")
            block = block[_PRIORITY_SIZE:]
        if flags & END_HEADERS:
            self._streams.headers(stream_id, flags, block)
        else:
            self._block = _Block(stream_id, flags, block)

    def _on_continuation(self, flags: int, _stream_id: int, payload: bytes) -> None:
        block = self._block
        if block is None:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "CONTINUATION without HEADERS")
        block.data += payload
        block.cost += len(payload) + _FIRST_BYTE
        if block.cost > _MAX_BLOCK:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "header block too large")
        if flags & END_HEADERS:
            self._block = None
            self._streams.headers(block.stream_id, block.flags, bytes(block.data))

    def _on_priority(self, _flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id == 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PRIORITY on the connection")
        if len(payload) != _PRIORITY_SIZE:
            raise StreamFault(stream_id, ErrorCode.FRAME_SIZE_ERROR)

    def _on_rst_stream(self, _flags: int, stream_id: int, payload: bytes) -> None:
        frames.parse_word(payload, "RST_STREAM")
        self._streams.reset_by_peer(stream_id)

    def _on_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id != 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "SETTINGS on a stream")
        if flags & ACK:
            if payload:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS ACK with a payload")
            self._streams.acknowledge_settings()
            return
        self._settings_seen = True
        self._streams.apply_settings(frames.parse_settings(payload))
        self._outbox.put(frames.frame(frames.SETTINGS, ACK, 0))

    def _on_push_promise(self, _flags: int, _stream_id: int, _payload: bytes) -> None:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE from a client")

    def _on_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id != 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != _PING_SIZE:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "PING length")
        if not flags & ACK:
            self._outbox.put(frames.frame(frames.PING, ACK, 0, payload))

    def _on_goaway(self, _flags: int, stream_id: int, _payload: bytes) -> None:
        if stream_id != 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "GOAWAY on a stream")
        self._draining = True

    def _on_window_update(self, _flags: int, stream_id: int, payload: bytes) -> None:
        self._streams.widen(stream_id, frames.parse_word(payload, "WINDOW_UPDATE"))
