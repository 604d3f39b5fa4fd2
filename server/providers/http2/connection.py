"""One HTTP/2 connection: streams, windows and settings of both sides, and what is known about each request."""

from __future__ import annotations

import asyncio
from typing import cast

from server.providers import tls
from server.providers.http2 import frames
from server.providers.http2.blocks import RequestBlocks, ResponseBlocks, UnsendableHeader
from server.providers.http2.exchange import LARGEST_ANSWER, Exchange, change_windows
from server.providers.http2.frames import ConnectionBroken, ErrorCode, Setting, StreamBroken
from server.providers.http2.limits import Intake, Limits, greeting
from server.providers.http2.outbox import Outbox
from server.providers.http2.owner import Owner
from server.providers.http2.reader import FrameReader
from server.providers.http2.upkeep import Step, Timing, Upkeep
from server.providers.transport import CertificateRefusedError, NotSentError, TransportError, UnknownOutcomeError

UNKNOWNS_TO_RETIRE = 3

_WRITE_BUFFER = 64 * 1024
_ONE_FRAME = frames.DEFAULT_FRAME_SIZE  # the least that a peer allows
_OK, _MULTIPLE_CHOICES, _FORBIDDEN = 200, 300, 403
_HEAD = frames.HEADER.pack


class Connection(asyncio.Protocol):
    """A connection from its TLS handshake to its end. ``ready`` is done with the peer's SETTINGS.

    ``streams`` is the most requests at once, whatever the peer allows; with ``proof`` it is one until the first answer
    that is not a 403.
    """

    def __init__(
        self, owner: Owner, blocks: RequestBlocks, responses: ResponseBlocks, streams: int, *, proof: bool
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._upkeep = Upkeep(self._loop.time())
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self.lost: asyncio.Future[None] = self._loop.create_future()
        self.retired = False  # it takes no more requests, and closes when the present ones have ended
        self.answered = False
        self.proven = False
        self._owner = owner
        self._blocks = blocks
        self._responses = responses
        self._reader = FrameReader(self)
        self._transport: asyncio.Transport
        self._outbox: Outbox
        self._early_end = "CONNECTION_LOST"  # what to call an end before the peer's SETTINGS
        self._streams: dict[int, Exchange] = {}
        self._next_id = 1
        self._seen_id = 1
        self._limits = Limits(streams, proof=proof)
        self._unended: dict[int, Exchange] = {}  # whose bodies wait for a window
        self._unknowns = 0  # in a row
        self._intake = Intake()
        self._room_made = False

    # The transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(_WRITE_BUFFER)
        self._outbox = Outbox(self._loop, self._transport)
        self._outbox.send(greeting(self._responses.table_size))

    def pause_writing(self) -> None:
        self._outbox.paused = True

    def resume_writing(self) -> None:
        self._outbox.resume()
        self._continue_bodies()
        self._owner.has_room(self)

    def data_received(self, data: bytes) -> None:
        if self._upkeep.closed_at is not None:
            return
        self._upkeep.read_at = self._loop.time()
        try:
            self._reader.feed(data)
        except ConnectionBroken as broken:
            self.close(broken.code)
        else:
            if self._room_made:
                self._room_made = False
                self._after_end()

    def eof_received(self) -> None:
        """The transport closes itself; nothing more can be sent."""
        self._leave()

    def connection_lost(self, exc: Exception | None) -> None:
        refusal = self._refusal(exc)
        self._end_all(refusal)
        if not self.ready.done():
            self.ready.set_exception(refusal or NotSentError(self._early_end))
            self.ready.exception()  # the one who waits may have given up
        self.lost.set_result(None)
        self._owner.was_lost(self)

    def _refusal(self, exc: Exception | None) -> NotSentError | None:
        """In TLS 1.3 the peer looks at our certificate after the handshake has ended for us, and before any request."""
        if self.answered or not tls.refuses_certificate(tls.failure(exc)):
            return None
        return CertificateRefusedError("CLIENT_CERTIFICATE_REFUSED")

    # Requests

    def exchanges(self) -> list[Exchange]:
        """The requests in flight."""
        return list(self._streams.values())

    def can_start(self) -> bool:
        """Whether a request can be sent now: there is a stream, room in the window, and a socket that takes it."""
        return (
            len(self._streams) < self._limits.streams
            and self._limits.window > 0
            and not self._outbox.paused
            and not self.retired
        )

    def is_full(self) -> bool:
        """Whether another connection would help: one that has yet to prove itself would only get company."""
        return not self._limits.unproven and not self.can_start()

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
        exchange.open(self, stream_id, self._limits.stream_window)
        self._streams[stream_id] = exchange
        length = len(block)
        if (
            length <= _ONE_FRAME
            and size <= _ONE_FRAME
            and size <= self._limits.window
            and size <= self._limits.stream_window
        ):
            self._limits.window -= size
            exchange.window -= size
            exchange.unsent = None
            heads = (
                _HEAD(0, length, frames.HEADERS, frames.END_HEADERS, stream_id),
                _HEAD(0, size, frames.DATA, frames.END_STREAM, stream_id),
            )
            self._outbox.begin(stream_id, b"%b%b%b%b" % (heads[0], block, heads[1], body))
        else:
            self._outbox.begin(stream_id, frames.header_frames(stream_id, block, self._limits.frame_size))
            self._send_body(exchange)
        if stream_id >= frames.LAST_STREAM_ID:
            self.retire()

    def give_up(self, exchange: Exchange) -> None:
        """The caller has cancelled the request."""
        self._reset(exchange, ErrorCode.CANCEL)
        self._after_end()

    def expire(self, now: float) -> None:
        """End the requests whose deadline has come."""
        late = [exchange for exchange in self._streams.values() if exchange.deadline <= now]
        for exchange in late:
            whole = exchange.unsent is None
            self._reset(exchange, ErrorCode.CANCEL)
            self._end(
                exchange, UnknownOutcomeError("NO_ANSWER_IN_TIME") if whole else NotSentError("NO_STREAM_IN_TIME")
            )
        if late:
            self._after_end()

    def retire(self) -> None:
        """Take no more requests; close once the present ones have ended."""
        if not self.retired:
            self._leave()
            if not self._streams:
                self.close()

    def close(self, code: ErrorCode = ErrorCode.NO_ERROR) -> None:
        """Say goodbye. Requests in flight end at once, with what is known about them."""
        if self._upkeep.closed_at is None:
            self._outbox.send(frames.goaway(code))
            self._outbox.close()
            self._end_all(None)

    def abort(self) -> None:
        """Drop the connection without a word."""
        self._transport.abort()

    def look_after(self, now: float, timing: Timing, idle: float) -> None:
        """Called every second or so: ask a silent peer whether it is there, drop one that is not, close when idle."""
        busy = bool(self._streams) or self._next_id != self._seen_id
        self._seen_id = self._next_id
        step = self._upkeep.step(now, timing, idle, busy=busy)
        if step is Step.PING:
            self._outbox.send(frames.frame(frames.PING, 0, 0, bytes(frames.PING_BYTES)))
        elif step is Step.CLOSE:
            self.close()
        elif step is Step.ABORT:
            self.abort()

    # Bodies

    def _send_body(self, exchange: Exchange) -> None:
        """Send as much of a body as both windows allow, the rest when they open."""
        unsent = exchange.unsent or b""
        size = max(0, min(len(unsent), self._limits.window, exchange.window))
        last = size == len(unsent)
        if size or last:
            self._outbox.send(frames.data_frames(exchange.stream_id, unsent[:size], self._limits.frame_size, last=last))
            self._limits.window -= size
            exchange.window -= size
        if last:
            exchange.unsent = None
            self._unended.pop(exchange.stream_id, None)
        else:
            exchange.unsent = unsent[size:]
            self._unended[exchange.stream_id] = exchange

    def _continue_bodies(self) -> None:
        for exchange in list(self._unended.values()):
            if self._limits.window <= 0 or self._outbox.paused:
                break
            self._send_body(exchange)

    # The end of requests

    def _reset(self, exchange: Exchange, code: ErrorCode) -> None:
        self._drop(exchange)
        self._outbox.send(frames.rst_stream(exchange.stream_id, code))

    def _drop(self, exchange: Exchange) -> None:
        del self._streams[exchange.stream_id]
        if exchange.unsent is not None:
            self._unended.pop(exchange.stream_id, None)

    def _complete(self, exchange: Exchange, *, cut: bool = False) -> None:
        """The response is whole, or as much of it as we take."""
        self._drop(exchange)
        if cut or exchange.unsent is not None:
            self._outbox.send(frames.rst_stream(exchange.stream_id, ErrorCode.CANCEL))
        self._room_made = True
        self._unknowns = 0
        if not self.proven:
            self.answered = True
            self.proven = exchange.status != _FORBIDDEN
            if self.proven:
                self._limits.prove()
        exchange.complete()

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
        if self._upkeep.closed_at is None:
            self._upkeep.closed_at = self._loop.time()
        self._leave()
        exchanges = list(self._streams.values())
        self._streams.clear()
        self._unended.clear()
        for exchange in reversed(exchanges):  # the pool puts those that were not sent at the head of its queue
            left = exchange.unsent is None and exchange.stream_id <= self._outbox.last_written
            kind = UnknownOutcomeError if left else NotSentError
            self._end(exchange, kind("CONNECTION_LOST") if refusal is None else type(refusal)(refusal.code))

    def _leave(self) -> None:
        if not self.retired:
            self.retired = True
            self._owner.was_retired(self)

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
        credit = self._intake.take(length)
        if credit:
            self._outbox.acknowledge(frames.window_update(0, credit))
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
            self._complete(exchange, cut=True)

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
            if key == Setting.HEADER_TABLE_SIZE:
                self._blocks.resize(value)
            elif key == Setting.INITIAL_WINDOW_SIZE:
                change_windows(self._streams.values(), value - self._limits.stream_window)
            self._limits.set(key, value)
        self._outbox.acknowledge(frames.settings_ack())
        self._continue_bodies()
        self._room_made = True
        if not self.ready.done():
            self.ready.set_result(None)

    def on_window_update(self, stream_id: int, increment: int) -> None:
        if stream_id:
            self._widen_stream(stream_id, increment)
        else:
            self._limits.widen(increment)
            self._continue_bodies()
            self._room_made = True

    def _widen_stream(self, stream_id: int, increment: int) -> None:
        exchange = self._streams.get(stream_id)
        if exchange is None:
            self._check_opened(stream_id)
            return
        exchange.widen(increment)
        if exchange.unsent is not None and not self._outbox.paused:
            self._send_body(exchange)

    def on_ping(self, payload: bytes) -> None:
        self._outbox.acknowledge(frames.frame(frames.PING, frames.ACK, 0, payload))

    def on_goaway(self, last_stream_id: int) -> None:
        """6.8: the streams above the last one were not processed; the others may still be answered."""
        if not self.ready.done():
            self._early_end = "GOAWAY"
        above = [exchange for exchange in self._streams.values() if exchange.stream_id > last_stream_id]
        self._leave()
        for exchange in reversed(above):
            self._drop(exchange)
            self._end(exchange, NotSentError("GOAWAY"))
        self._room_made = True

    def _check_opened(self, stream_id: int) -> None:
        """5.1: frames for streams that have ended are late; for one never opened they are an error."""
        if stream_id >= self._next_id:
            raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR)
