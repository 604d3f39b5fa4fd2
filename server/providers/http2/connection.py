"""One HTTP/2 connection that sends POSTs and nothing else (RFC 9113)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

from server.providers.http2 import frames
from server.providers.http2.blocks import LARGEST_BLOCK, InvalidHeader, RequestBlocks, ResponseBlocks
from server.providers.http2.exchange import LARGEST_ANSWER, Exchange
from server.providers.http2.frames import ConnectionFault, ErrorCode, FrameType, Setting

RECEIVE_WINDOW = 1 << 24  # of the connection, in bytes
PING_AFTER = 15.0  # seconds of silence while requests wait for their answers
PING_IDLE_AFTER = 60.0
PING_ANSWER = 10.0
FAILURES_TO_RETIRE = 3  # requests in a row without an answer
_MOST_UNWRITTEN = 1000  # answers to PING and SETTINGS that a peer may make us hold while it does not read

_FORBIDDEN = 403


class Owner(Protocol):
    """Who has the connection."""

    def unprocessed(self, exchange: Exchange, code: str) -> None:
        """The peer certainly did not process this request: it may be sent on another connection."""

    def changed(self) -> None:
        """There may be room for more requests, or less: or the connection is gone."""


class Connection(asyncio.Protocol):
    """Requests by stream. The owner begins no more of them than there is ``room``.

    ``streams``: the most at once, whatever the peer allows. ``proof``: one at a time until the first was answered with
    something else than 403. ``table``: the size of the table for response headers.
    """

    def __init__(self, owner: Owner, authority: str, streams: int, *, proof: bool, table: int = 0) -> None:
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._streams = streams
        self.proven = not proof
        self._requests = RequestBlocks(authority)
        self._responses = ResponseBlocks(table)
        self._table = table
        self._transport: asyncio.Transport | None = None
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self.closed = False
        self.gone = asyncio.Event()
        self.draining = False  # takes no more requests
        self._open: dict[int, Exchange] = {}
        self._next_stream = 1
        self._flushed_stream = -1  # the last one whose frames went to the socket
        self._last_stream = frames.LAST_STREAM  # that the peer processes, by its GOAWAY
        self._held: set[int] = set()  # streams with a rest of the body that waits for a window
        self._peer_streams = streams
        self._peer_frame = frames.LARGEST_FRAME
        self._peer_window = frames.DEFAULT_WINDOW
        self._window = frames.DEFAULT_WINDOW
        self._consumed = 0  # of our window
        self._out: list[bytes] = []
        self._flushing = False
        self._paused = False
        self._answers_held = 0
        self._buffer = b""
        self._block: tuple[int, int, bytes] | None = None  # stream, flags and what came of an unfinished header block
        self._failures = 0
        self._heard_at = self.used_at = self._loop.time()
        self._pinged_at: float | None = None
        self._handlers: dict[int, Callable[[int, int, bytes], None]] = {
            FrameType.DATA: self._data,
            FrameType.HEADERS: self._headers,
            FrameType.RST_STREAM: self._reset,
            FrameType.SETTINGS: self._settings,
            FrameType.PUSH_PROMISE: self._push_promise,
            FrameType.PING: self._ping,
            FrameType.GOAWAY: self._goaway,
            FrameType.WINDOW_UPDATE: self._window_update,
            FrameType.CONTINUATION: self._continuation,
        }

    # What the owner does

    @property
    def active(self) -> int:
        """Requests without an answer."""
        return len(self._open)

    def room(self) -> int:
        """Return how many requests may begin now."""
        if self.draining or self._paused or self._window <= 0 or self._held:
            return 0
        return (min(self._peer_streams, self._streams) if self.proven else 1) - len(self._open)

    def begin(self, exchange: Exchange) -> None:
        """Send a request; call it only while there is room."""
        request = exchange.request
        try:
            block = self._requests.block(request.path, request.shared, request.own, len(request.body))
        except InvalidHeader:
            exchange.not_sent("INVALID_HEADER")
            return
        stream = self._next_stream
        self._next_stream = stream + 2
        if self._next_stream > frames.LAST_STREAM:
            self.draining = True
        exchange.begin(self._peer_window)
        self._open[stream] = exchange
        self._send_block(stream, block)
        self._send_body(stream, exchange)

    def retire(self) -> None:
        """Take no more requests, and close when the present ones have ended."""
        self.draining = True
        self._close_if_done()

    def check(self, now: float) -> None:
        """Give up what is past its deadline or given up by its caller, and look whether the peer is still there."""
        for stream, exchange in [item for item in self._open.items() if item[1].is_over(now)]:
            self._give_up(stream, exchange)
        if self._pinged_at is not None:
            if now - self._pinged_at > PING_ANSWER:
                self.abort()
        elif now - self._heard_at > (PING_AFTER if self._open else PING_IDLE_AFTER):
            self._pinged_at = now
            self._send(frames.frame(FrameType.PING, 0, 0, b"pharos!!"))
        self._close_if_done()

    def abort(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def close(self, code: ErrorCode = ErrorCode.NO_ERROR) -> None:
        """Say goodbye and end."""
        self.draining = True
        if self._transport is not None and not self._transport.is_closing():
            self._send(frames.goaway(0, code))
            self._flush()
            self._transport.close()

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class
        self._transport = transport
        ours = {Setting.HEADER_TABLE_SIZE: self._table, Setting.ENABLE_PUSH: 0}
        widened = frames.window_update(0, RECEIVE_WINDOW - frames.DEFAULT_WINDOW)
        transport.write(frames.PREFACE + frames.settings(ours) + widened)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._answers_held = 0
        self._owner.changed()

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = self.draining = True
        self.gone.set()
        if not self.ready.done():
            self.ready.set_exception(error or ConnectionResetError("closed by the peer"))
        streams, self._open = self._open, {}
        for stream, exchange in streams.items():
            if stream > self._flushed_stream or stream in self._held:
                self._owner.unprocessed(exchange, "CONNECTION_LOST")
            else:
                exchange.break_off("CONNECTION_LOST")
        self._owner.changed()

    def data_received(self, data: bytes) -> None:
        self._heard_at = self._loop.time()
        self._pinged_at = None
        if self._buffer:
            data = self._buffer + data
        try:
            self._buffer = self._read(data)
        except ConnectionFault as fault:
            self.close(fault.code)
            self.abort()
            return
        self._replenish()
        self._owner.changed()
        self._close_if_done()

    # Receiving

    def _read(self, data: bytes) -> bytes:
        """Handle the whole frames in ``data`` and return the rest."""
        at, end = 0, len(data)
        handlers = self._handlers
        while end - at >= frames.HEADER_SIZE:
            high, low, kind, flags, stream = frames.unpack_header(data, at)
            length = high << 16 | low
            if length > frames.LARGEST_FRAME:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR)
            following = at + frames.HEADER_SIZE + length
            if following > end:
                break
            if self._block is not None and kind != FrameType.CONTINUATION:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR)
            handle = handlers.get(kind)
            if handle is not None:  # unknown frames are ignored (RFC 9113, 4.1)
                handle(flags, stream & frames.LAST_STREAM, data[at + frames.HEADER_SIZE : following])
            at = following
        return data[at:]

    def _data(self, flags: int, stream: int, payload: bytes) -> None:
        self._consumed += len(payload)
        if self._consumed > RECEIVE_WINDOW:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR)
        exchange = self._stream(stream)
        if exchange is None:
            return
        if not exchange.status:
            self._fail_stream(stream, ErrorCode.PROTOCOL_ERROR)
            return
        content = frames.unpadded(flags & frames.PADDED, payload) if flags & frames.PADDED else payload
        exchange.body = exchange.body + content if exchange.body else content
        if flags & frames.END_STREAM:
            self._answered(stream, exchange)
        elif len(exchange.body) >= LARGEST_ANSWER:
            self._send(frames.reset(stream, ErrorCode.CANCEL))
            self._answered(stream, exchange)

    def _headers(self, flags: int, stream: int, payload: bytes) -> None:
        block = frames.unpadded(flags, payload) if flags & (frames.PADDED | frames.PRIORITY_FIELDS) else payload
        if flags & frames.END_HEADERS:
            self._header_block(flags, stream, block)
        else:
            self._block = (stream, flags, block)

    def _continuation(self, flags: int, stream: int, payload: bytes) -> None:
        if self._block is None or self._block[0] != stream:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR)
        _, first_flags, begun = self._block
        block = begun + payload
        if len(block) > LARGEST_BLOCK or (not payload and not flags & frames.END_HEADERS):
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM)
        self._block = (stream, first_flags, block)
        if flags & frames.END_HEADERS:
            self._block = None
            self._header_block(first_flags, stream, block)

    def _header_block(self, flags: int, stream: int, block: bytes) -> None:
        exchange = self._stream(stream)
        status, headers = self._responses.read(block)
        if exchange is None:
            return
        over = bool(flags & frames.END_STREAM)
        if exchange.status:  # trailers
            if not over:
                self._fail_stream(stream, ErrorCode.PROTOCOL_ERROR)
                return
        elif status is None or (status < 200 and over):  # noqa: PLR2004 # RFC 9110, 15.2: a response follows
            self._fail_stream(stream, ErrorCode.PROTOCOL_ERROR)
            return
        elif status >= 200:  # noqa: PLR2004
            exchange.status, exchange.headers = status, headers
        if over:
            self._answered(stream, exchange)

    def _reset(self, _: int, stream: int, payload: bytes) -> None:
        code = _whole_word(payload)
        exchange = self._stream(stream)
        if exchange is None:
            return
        self._forget(stream)
        if code == ErrorCode.REFUSED_STREAM:
            self._owner.unprocessed(exchange, "REFUSED_STREAM")
        else:
            exchange.break_off("STREAM_RESET")

    def _settings(self, flags: int, stream: int, payload: bytes) -> None:
        if stream:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR)
        if flags & frames.ACK:
            if payload:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR)
            return
        for name, value in frames.read_settings(payload):
            self._setting(name, value)
        self._reply(frames.frame(FrameType.SETTINGS, frames.ACK, 0))
        if not self.ready.done():
            self.ready.set_result(None)
        self._send_held()

    def _setting(self, name: int, value: int) -> None:
        match name:
            case Setting.HEADER_TABLE_SIZE:
                self._requests.limit_table(value)
            case Setting.ENABLE_PUSH if value:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR)
            case Setting.MAX_CONCURRENT_STREAMS:
                self._peer_streams = value
            case Setting.INITIAL_WINDOW_SIZE:
                self._resize_windows(value)
            case Setting.MAX_FRAME_SIZE:
                if not frames.LARGEST_FRAME <= value < 1 << 24:
                    raise ConnectionFault(ErrorCode.PROTOCOL_ERROR)
                self._peer_frame = value

    def _resize_windows(self, size: int) -> None:
        """Change the windows of all streams, which may become negative (RFC 9113, 6.9.2)."""
        if size > frames.LARGEST_WINDOW:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR)
        change, self._peer_window = size - self._peer_window, size
        for exchange in self._open.values():
            exchange.window += change
            if exchange.window > frames.LARGEST_WINDOW:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR)

    def _push_promise(self, *_: object) -> None:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR)  # our settings forbid it

    def _ping(self, flags: int, stream: int, payload: bytes) -> None:
        if stream:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR)
        if len(payload) != 8:  # noqa: PLR2004 # RFC 9113, 6.7
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR)
        if not flags & frames.ACK:
            self._reply(frames.frame(FrameType.PING, frames.ACK, 0, payload))

    def _goaway(self, _: int, stream: int, payload: bytes) -> None:
        if stream:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR)
        frames.read_word(payload, 4)
        self.draining = True
        self._last_stream = min(self._last_stream, frames.read_word(payload) & frames.LAST_STREAM)
        for number in [number for number in self._open if number > self._last_stream]:
            exchange = self._open[number]
            self._forget(number)
            self._owner.unprocessed(exchange, "GOAWAY")
        if not self.ready.done():  # instead of settings
            self.ready.set_exception(ConnectionResetError("GOAWAY"))

    def _window_update(self, _: int, stream: int, payload: bytes) -> None:
        increment = _whole_word(payload) & frames.LARGEST_WINDOW
        if stream:
            self._widen(stream, increment)
            return
        if not increment:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR)
        self._window += increment
        if self._window > frames.LARGEST_WINDOW:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR)
        self._send_held()

    def _widen(self, stream: int, increment: int) -> None:
        exchange = self._stream(stream)
        if exchange is None:
            return
        exchange.window += increment
        if not increment:
            self._fail_stream(stream, ErrorCode.PROTOCOL_ERROR)
        elif exchange.window > frames.LARGEST_WINDOW:
            self._fail_stream(stream, ErrorCode.FLOW_CONTROL_ERROR)
        elif stream in self._held:
            self._send_body(stream, exchange)

    def _stream(self, stream: int) -> Exchange | None:
        """Return the exchange on a stream, None where it has ended. Raises ``ConnectionFault`` for one never begun."""
        exchange = self._open.get(stream)
        if exchange is None and (stream % 2 == 0 or stream >= self._next_stream):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR)
        return exchange

    # The ends of a stream

    def _answered(self, stream: int, exchange: Exchange) -> None:
        self._failures = 0
        if exchange.status != _FORBIDDEN:
            self.proven = True
        if stream in self._held:  # answered before it had the whole request
            self._send(frames.reset(stream, ErrorCode.CANCEL))
        self._forget(stream)
        exchange.answer()

    def _fail_stream(self, stream: int, code: ErrorCode) -> None:
        """End a stream on which the peer broke the protocol."""
        exchange = self._open[stream]
        self._forget(stream)
        self._send(frames.reset(stream, code))
        exchange.break_off("PROTOCOL_ERROR")

    def _give_up(self, stream: int, exchange: Exchange) -> None:
        """End a stream whose time is over, or whose caller is gone."""
        held = stream in self._held
        self._forget(stream)
        self._send(frames.reset(stream, ErrorCode.CANCEL))
        if exchange.future.done():
            return
        if held:
            exchange.not_sent("NO_WINDOW_IN_TIME")
            return
        exchange.break_off("NO_ANSWER_IN_TIME")
        self._failures += 1
        if self._failures >= FAILURES_TO_RETIRE:
            self.draining = True

    def _forget(self, stream: int) -> None:
        del self._open[stream]
        self._held.discard(stream)
        self.used_at = self._loop.time()

    # Sending

    def _send_block(self, stream: int, block: bytes) -> None:
        largest = self._peer_frame
        if len(block) <= largest:
            self._send(frames.frame(FrameType.HEADERS, frames.END_HEADERS, stream, block))
            return
        parts = [block[at : at + largest] for at in range(0, len(block), largest)]
        for number, part in enumerate(parts):
            kind = FrameType.CONTINUATION if number else FrameType.HEADERS
            self._send(frames.frame(kind, frames.END_HEADERS if number == len(parts) - 1 else 0, stream, part))

    def _send_body(self, stream: int, exchange: Exchange) -> None:
        """Send as much of the body as the windows allow; what is left is held."""
        while True:
            rest = exchange.unsent
            size = max(min(len(rest), exchange.window, self._window, self._peer_frame), 0)
            if size < len(rest) and size == 0:
                self._held.add(stream)
                return
            whole = size == len(rest)
            self._window -= size
            exchange.window -= size
            exchange.unsent = rest[size:]
            self._send(frames.frame(FrameType.DATA, frames.END_STREAM if whole else 0, stream, rest[:size]))
            if whole:
                self._held.discard(stream)
                return

    def _send_held(self) -> None:
        for stream in sorted(self._held):
            self._send_body(stream, self._open[stream])

    def _reply(self, answer: bytes) -> None:
        """Answer a frame; a peer that makes us answer and does not read is not followed for ever."""
        if self._paused:
            self._answers_held += 1
            if self._answers_held > _MOST_UNWRITTEN:
                raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM)
        self._send(answer)

    def _replenish(self) -> None:
        if self._consumed > RECEIVE_WINDOW // 4:
            self._send(frames.window_update(0, self._consumed))
            self._consumed = 0

    def _send(self, data: bytes) -> None:
        """Write once for each turn of the loop, whatever was sent in it."""
        self._out.append(data)
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._out and self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(self._out))
            self._out.clear()
            self._flushed_stream = self._next_stream - 2

    def _close_if_done(self) -> None:
        if self.draining and not self._open and not self.closed:
            self.close()


def _whole_word(payload: bytes) -> int:
    if len(payload) != 4:  # noqa: PLR2004 # RFC 9113, 6.4 and 6.9
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR)
    return frames.read_word(payload)
