"""One HTTP/2 connection: streams, windows and settings of both sides, and what is known about each request."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol, cast

from server.providers import tls
from server.providers.http2 import frames
from server.providers.http2.blocks import RequestBlocks, ResponseBlocks, UnsendableHeader
from server.providers.http2.exchange import LARGEST_ANSWER, Exchange
from server.providers.http2.frames import ConnectionBroken, ErrorCode, Setting, StreamBroken
from server.providers.http2.reader import LARGEST_BLOCK, FrameReader
from server.providers.transport import CertificateRefusedError, NotSentError, TransportError, UnknownOutcomeError

UNKNOWNS_TO_RETIRE = 3

# A stream is reset after LARGEST_ANSWER, before its window is used up: only the connection's is replenished.
_STREAM_WINDOW = 2 * LARGEST_ANSWER
_RECEIVE_WINDOW = 1 << 24
_WRITE_BUFFER = 64 * 1024
_MOST_OWED = 1000  # acknowledgements that a peer asks for and does not take
_ONE_FRAME = frames.DEFAULT_FRAME_SIZE  # the least that a peer allows
_LAST_ID = frames.LAST_STREAM_ID
_OK, _MULTIPLE_CHOICES, _FORBIDDEN = 200, 300, 403
_HEAD = frames.HEADER.pack


@dataclass(frozen=True, slots=True)
class Timing:
    """In seconds.

    ``connect`` includes the peer's SETTINGS. ``ping`` and ``idle_ping`` are how long the peer may be silent, with and
    without open requests, until it is asked whether it is there; ``idle`` is without requests. ``close`` is how long
    a close may take to be clean.
    """

    connect: float = 10.0
    ping: float = 15.0
    idle_ping: float = 60.0
    ping_answer: float = 10.0
    idle: float = 300.0
    close: float = 5.0


class Owner(Protocol):
    """What a connection tells whoever gives it requests."""

    def has_room(self, connection: Connection) -> None:
        """It may take another request."""

    def not_sent(self, exchange: Exchange, error: NotSentError) -> None:
        """The peer certainly did not process a request that its caller still waits for."""

    def was_retired(self, connection: Connection) -> None:
        """It takes no more requests."""

    def was_lost(self, connection: Connection) -> None:
        """It has ended; the fate of its requests has been told."""


class Connection(asyncio.Protocol):
    """A connection from its TLS handshake to its end. ``ready`` is done with the peer's SETTINGS.

    ``streams`` is the most requests at once, whatever the peer allows; with ``proof`` it is one until the first answer
    that is not a 403.
    """

    def __init__(
        self, owner: Owner, blocks: RequestBlocks, responses: ResponseBlocks, streams: int, *, proof: bool
    ) -> None:
        self._loop = asyncio.get_running_loop()
        now = self._loop.time()
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self.lost: asyncio.Future[None] = self._loop.create_future()
        self.retired = False  # it takes no more requests, and closes when the present ones have ended
        self.closed_at: float | None = None
        self.answered = False
        self.proven = False
        self._owner = owner
        self._blocks = blocks
        self._responses = responses
        self._reader = FrameReader(self)
        self._transport: asyncio.Transport
        self._early_end = "CONNECTION_LOST"  # what to call an end before the peer's SETTINGS

        self._streams: dict[int, Exchange] = {}
        self._next_id = 1
        self._written_below = 1  # streams from this id on have not left the process
        self._own_limit = streams
        self._peer_limit = streams
        self._most_streams = 1 if proof else streams
        self._proof = proof
        self._window = frames.DEFAULT_WINDOW
        self._stream_window = frames.DEFAULT_WINDOW
        self._frame_size = frames.DEFAULT_FRAME_SIZE
        self._unended: dict[int, Exchange] = {}  # whose bodies wait for a window
        self._unknowns = 0  # in a row

        self._out: list[bytes] = []
        self._flushing = False
        self._paused = False
        self._owed = 0
        self._receive_window = _RECEIVE_WINDOW
        self._room_made = False

        self._read_at = self._used_at = now
        self._pinged_at = 0.0
        self._seen_id = 1

    # The transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(_WRITE_BUFFER)
        own = {
            Setting.HEADER_TABLE_SIZE: self._responses.table_size,
            Setting.ENABLE_PUSH: 0,
            Setting.INITIAL_WINDOW_SIZE: _STREAM_WINDOW,
            Setting.MAX_HEADER_LIST_SIZE: LARGEST_BLOCK,
        }
        more = frames.window_update(0, _RECEIVE_WINDOW - frames.DEFAULT_WINDOW)
        self._transport.write(frames.PREFACE + frames.settings(own) + more)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._owed = 0
        self._continue_bodies()
        self._owner.has_room(self)

    def data_received(self, data: bytes) -> None:
        if self.closed_at is not None:
            return
        self._read_at = self._loop.time()
        try:
            self._reader.feed(data)
        except ConnectionBroken as broken:
            self.close(broken.code)
        else:
            if self._room_made:
                self._room_made = False
                self._after_end()

    def connection_lost(self, exc: Exception | None) -> None:
        refused = tls.refuses_certificate(tls.failure(exc))
        # In TLS 1.3 the peer looks at our certificate after the handshake has ended for us, and before any request.
        self._end_all(CertificateRefusedError("CLIENT_CERTIFICATE_REFUSED") if refused else None)
        if not self.ready.done():
            early = CertificateRefusedError("CLIENT_CERTIFICATE_REFUSED") if refused else NotSentError(self._early_end)
            self.ready.set_exception(early)
            self.ready.exception()  # the one who waits may have given up
        self.lost.set_result(None)
        self._owner.was_lost(self)

    # Requests

    @property
    def open_streams(self) -> int:
        return len(self._streams)

    def exchanges(self) -> list[Exchange]:
        """The requests in flight."""
        return list(self._streams.values())

    def can_start(self) -> bool:
        """Whether a request can be sent now: there is a stream, room in the window, and a socket that takes it."""
        return len(self._streams) < self._most_streams and self._window > 0 and not self._paused and not self.retired

    def is_full(self) -> bool:
        """Whether another connection would help: one that has yet to prove itself would only get company."""
        return (self.proven or not self._proof) and not self.can_start()

    def start(self, exchange: Exchange) -> None:
        """Send a request with the writes of this turn of the loop. Only where ``can_start``."""
        request = exchange.request
        body = request.body
        size = len(body)
        try:
            block = self._blocks.encode(request.path, request.shared, request.own, size)
        except UnsendableHeader:
            exchange.set_exception(NotSentError("UNSENDABLE_HEADER"))
            return
        stream_id = self._next_id
        self._next_id = stream_id + 2
        exchange.open(self, stream_id, self._stream_window)
        self._streams[stream_id] = exchange
        length = len(block)
        if length <= _ONE_FRAME and size <= _ONE_FRAME and size <= self._window and size <= self._stream_window:
            self._window -= size
            exchange.window -= size
            exchange.unsent = None
            heads = (
                _HEAD(0, length, frames.HEADERS, frames.END_HEADERS, stream_id),
                _HEAD(0, size, frames.DATA, frames.END_STREAM, stream_id),
            )
            self._out.append(b"%b%b%b%b" % (heads[0], block, heads[1], body))
        else:
            self._out.append(frames.header_frames(stream_id, block, self._frame_size))
            self._send_body(exchange)
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)
        if stream_id >= _LAST_ID:
            self.retire()

    def give_up(self, exchange: Exchange) -> None:
        """The caller has cancelled the request."""
        self._reset(exchange, ErrorCode.CANCEL)
        self._after_end()

    def expire(self, now: float) -> None:
        """End the requests whose deadline has come."""
        late = [exchange for exchange in self._streams.values() if exchange.deadline <= now]
        for exchange in late:
            self._reset(exchange, ErrorCode.CANCEL)
            if exchange.unsent is None:
                self._end(exchange, UnknownOutcomeError("NO_ANSWER_IN_TIME"))
            else:
                exchange.set_exception(NotSentError("NO_STREAM_IN_TIME"))
        if late:
            self._after_end()

    def retire(self) -> None:
        """Take no more requests; close once the present ones have ended."""
        if not self.retired:
            self.retired = True
            self._owner.was_retired(self)
            if not self._streams:
                self.close()

    def close(self, code: ErrorCode = ErrorCode.NO_ERROR) -> None:
        """Say goodbye. Requests in flight end at once, with what is known about them."""
        if self.closed_at is None:
            self._out.append(frames.goaway(code))
            self._flush()
            self._end_all(None)
            self._transport.close()

    def abort(self) -> None:
        """Drop the connection without a word."""
        self._transport.abort()

    def look_after(self, now: float, timing: Timing) -> None:
        """Called every second or so: ask a silent peer whether it is there, drop one that is not, close when idle."""
        if self._streams or self._next_id != self._seen_id:
            self._used_at, self._seen_id = now, self._next_id
        if self.closed_at is not None:
            if now - self.closed_at >= timing.close:
                self.abort()
        elif self._pinged_at > self._read_at:
            if now - self._pinged_at >= timing.ping_answer:
                self.abort()
        elif now - self._used_at >= timing.idle:
            self.close()
        elif now - self._read_at >= (timing.ping if self._streams else timing.idle_ping):
            self._pinged_at = now
            self._send(frames.frame(frames.PING, 0, 0, bytes(frames.PING_BYTES)))

    # Writing

    def _flush(self) -> None:
        self._flushing = False
        if self._out and self.closed_at is None:
            self._transport.write(b"".join(self._out))
            self._out.clear()
            self._written_below = self._next_id

    def _send(self, data: bytes) -> None:
        self._out.append(data)
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _acknowledge(self, data: bytes) -> None:
        """Answer the peer; one that asks and asks and does not read must not fill our memory."""
        if self._paused:
            self._owed += 1
            if self._owed > _MOST_OWED:
                raise ConnectionBroken(ErrorCode.ENHANCE_YOUR_CALM)
        self._send(data)

    def _send_body(self, exchange: Exchange) -> None:
        """Send as much of a body as both windows allow, the rest when they open."""
        unsent = exchange.unsent or b""
        size = max(0, min(len(unsent), self._window, exchange.window))
        last = size == len(unsent)
        if size or last:
            self._send(frames.data_frames(exchange.stream_id, unsent[:size], self._frame_size, last=last))
            self._window -= size
            exchange.window -= size
        if last:
            exchange.unsent = None
            self._unended.pop(exchange.stream_id, None)
        else:
            exchange.unsent = unsent[size:]
            self._unended[exchange.stream_id] = exchange

    def _continue_bodies(self) -> None:
        for exchange in list(self._unended.values()):
            if self._window <= 0 or self._paused:
                break
            self._send_body(exchange)

    # The end of requests

    def _reset(self, exchange: Exchange, code: ErrorCode) -> None:
        self._drop(exchange)
        self._send(frames.rst_stream(exchange.stream_id, code))

    def _drop(self, exchange: Exchange) -> None:
        del self._streams[exchange.stream_id]
        if exchange.unsent is not None:
            self._unended.pop(exchange.stream_id, None)

    def _complete(self, exchange: Exchange) -> None:
        """The response is whole, or as much of it as we take."""
        self._drop(exchange)
        if exchange.unsent is not None:
            self._send(frames.rst_stream(exchange.stream_id, ErrorCode.CANCEL))
        self._room_made = True
        self._unknowns = 0
        if not self.proven:
            self.answered = True
            self.proven = exchange.status != _FORBIDDEN
            self._limit_streams()
        exchange.complete()

    def _limit_streams(self) -> None:
        own = 1 if self._proof and not self.proven else self._own_limit
        self._most_streams = min(own, self._peer_limit)

    def _end(self, exchange: Exchange, error: TransportError) -> None:
        """End a request without its whole response. A success stands: its push must not be sent again."""
        self._room_made = True
        if _OK <= exchange.status < _MULTIPLE_CHOICES:
            exchange.complete()
        elif isinstance(error, NotSentError):
            self._owner.not_sent(exchange, error)
        else:
            exchange.set_exception(error)
            self._unknowns += 1

    def _end_all(self, refusal: NotSentError | None) -> None:
        """The connection is over."""
        if self.closed_at is None:
            self.closed_at = self._loop.time()
        if not self.retired:
            self.retired = True
            self._owner.was_retired(self)
        exchanges = list(self._streams.values())
        self._streams.clear()
        self._unended.clear()
        for exchange in reversed(exchanges):  # the pool puts those that were not sent at the head of its queue
            whole = exchange.unsent is None and exchange.stream_id < self._written_below
            self._end(exchange, refusal or (UnknownOutcomeError if whole else NotSentError)("CONNECTION_LOST"))

    def _after_end(self) -> None:
        """After requests have ended: make use of the room, or go."""
        if self._unknowns >= UNKNOWNS_TO_RETIRE:
            self.retire()
        if not self.retired:
            self._owner.has_room(self)
        elif not self._streams:
            self.close()

    # What the peer says

    def on_headers(self, stream_id: int, block: bytes, *, ended: bool) -> None:
        exchange = self._streams.get(stream_id)
        if exchange is None or exchange.status:
            self._responses.skip(block)
            if exchange is None:
                self._check_opened(stream_id)
            elif ended:
                self._complete(exchange)  # trailers
            else:
                raise StreamBroken(ErrorCode.PROTOCOL_ERROR)
            return
        status, headers = self._responses.decode(block)
        if status >= _OK:
            exchange.status, exchange.headers = status, headers
            if ended:
                self._complete(exchange)
        elif ended:  # an interim response ends no stream (8.1)
            raise StreamBroken(ErrorCode.PROTOCOL_ERROR)

    def on_data(self, stream_id: int, content: bytes, length: int, *, ended: bool) -> None:
        self._receive_window -= length
        if self._receive_window < _RECEIVE_WINDOW // 2:
            self._replenish()
        exchange = self._streams.get(stream_id)
        if exchange is None:
            self._check_opened(stream_id)
            return
        if not exchange.status:
            raise StreamBroken(ErrorCode.PROTOCOL_ERROR)
        exchange.received += length
        exchange.append(content)
        if ended:
            self._complete(exchange)
        elif exchange.received > LARGEST_ANSWER:
            self._send(frames.rst_stream(stream_id, ErrorCode.CANCEL))
            self._complete(exchange)

    def _replenish(self) -> None:
        if self._receive_window < 0:
            raise ConnectionBroken(ErrorCode.FLOW_CONTROL_ERROR)
        self._acknowledge(frames.window_update(0, _RECEIVE_WINDOW - self._receive_window))
        self._receive_window = _RECEIVE_WINDOW

    def on_reset(self, stream_id: int, code: int) -> None:
        exchange = self._streams.get(stream_id)
        if exchange is None:
            self._check_opened(stream_id)
            return
        self._drop(exchange)
        if code == ErrorCode.REFUSED_STREAM:
            self._end(exchange, NotSentError("REFUSED_STREAM"))
        else:
            self._end(exchange, (UnknownOutcomeError if exchange.unsent is None else NotSentError)("STREAM_RESET"))

    def on_broken_stream(self, stream_id: int, code: ErrorCode) -> None:
        """The peer's answer makes no sense."""
        exchange = self._streams.get(stream_id)
        if exchange is not None:
            self._reset(exchange, code)
            self._end(exchange, UnknownOutcomeError("STREAM_RESET"))

    def on_settings(self, values: list[tuple[int, int]]) -> None:
        for key, value in values:
            if key == Setting.MAX_CONCURRENT_STREAMS:
                self._peer_limit = value
                self._limit_streams()
            elif key == Setting.INITIAL_WINDOW_SIZE:
                self._resize_windows(value - self._stream_window)
            elif key == Setting.MAX_FRAME_SIZE:
                self._frame_size = value
            elif key == Setting.HEADER_TABLE_SIZE:
                self._blocks.resize(value)
        self._acknowledge(frames.settings_ack())
        self._continue_bodies()
        self._room_made = True
        if not self.ready.done():
            self.ready.set_result(None)

    def _resize_windows(self, change: int) -> None:
        """6.9.2: the windows of open streams change, too, and may become negative."""
        self._stream_window += change
        for exchange in self._streams.values():
            exchange.window += change
            if exchange.window > frames.LARGEST_WINDOW:
                raise ConnectionBroken(ErrorCode.FLOW_CONTROL_ERROR)

    def on_window_update(self, stream_id: int, increment: int) -> None:
        if stream_id:
            self._widen_stream(stream_id, increment)
        else:
            self._window += increment
            if not increment:
                raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR)
            if self._window > frames.LARGEST_WINDOW:
                raise ConnectionBroken(ErrorCode.FLOW_CONTROL_ERROR)
            self._continue_bodies()
            self._room_made = True

    def _widen_stream(self, stream_id: int, increment: int) -> None:
        exchange = self._streams.get(stream_id)
        if exchange is None:
            self._check_opened(stream_id)
            return
        exchange.window += increment
        if not increment:
            raise StreamBroken(ErrorCode.PROTOCOL_ERROR)
        if exchange.window > frames.LARGEST_WINDOW:
            raise StreamBroken(ErrorCode.FLOW_CONTROL_ERROR)
        if exchange.unsent is not None and not self._paused:
            self._send_body(exchange)

    def on_ping(self, payload: bytes) -> None:
        self._acknowledge(frames.frame(frames.PING, frames.ACK, 0, payload))

    def on_goaway(self, last_stream_id: int) -> None:
        """6.8: the streams above the last one were not processed; the others may still be answered."""
        if not self.ready.done():
            self._early_end = "GOAWAY"
        above = [exchange for exchange in self._streams.values() if exchange.stream_id > last_stream_id]
        self.retired, retired = True, self.retired
        for exchange in reversed(above):
            self._drop(exchange)
            self._end(exchange, NotSentError("GOAWAY"))
        if not retired:
            self._owner.was_retired(self)
        self._room_made = True

    def _check_opened(self, stream_id: int) -> None:
        """5.1: frames for streams that have ended are late; for one never opened they are an error."""
        if stream_id >= self._next_id:
            raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR)
