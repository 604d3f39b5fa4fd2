"""The streams of one HTTP/2 connection: from a header block to an answered request, within the announced limits."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

from sandbox import frames
from sandbox.fields import Head, HeaderCodec, HeadParser, Malformed
from sandbox.frames import DEFAULT_WINDOW, END_STREAM, ConnectionFault, ErrorCode, Setting, StreamFault
from sandbox.outbox import Outbox, Outgoing
from sandbox.wire import Fault, GoAway, Limits, Reply, Request, Scripted, Session

_MAX_BUFFERED = 1 << 20  # bytes of unfinished request bodies per connection
_REMEMBERED_RESETS = 1000


class Connection(Protocol):
    """What streams may do to their connection."""

    def give_up(self, goaway: GoAway, last_id: int) -> None:
        """Sends GOAWAY; closes at once or when the streams at or below ``last_id`` are answered."""

    def cut(self) -> None:
        """Resets the TCP connection."""

    def settle(self) -> None:
        """Writes what was collected outside of a read."""


class Stream:
    """One request on its way in, and its answer on its way out."""

    __slots__ = ("chunks", "ended", "head", "outgoing", "size", "stream_id", "timer", "window")

    def __init__(self, stream_id: int, head: Head, window: int, outgoing: Outgoing) -> None:
        self.stream_id = stream_id
        self.head = head
        self.window = window
        self.outgoing = outgoing
        self.chunks: list[bytes] = []
        self.size = 0
        self.ended = False
        self.timer: asyncio.TimerHandle | None = None


class Streams:
    """The table of open streams. ``connect`` must be called before the first frame."""

    def __init__(self, limits: Limits, outbox: Outbox, connection: Connection) -> None:
        self._limits = limits
        self._outbox = outbox
        self._connection = connection
        self._codec = HeaderCodec(limits.max_header_list)
        self._heads = HeadParser()
        self._session: Session | None = None
        self._open: dict[int, Stream] = {}
        self._last_id = 0
        self._processed_id = 0
        self._goaway_id: int | None = None
        self._reset_ids: deque[int] = deque(maxlen=_REMEMBERED_RESETS)
        self._window = DEFAULT_WINDOW
        self._credit = 0
        self._buffered = 0
        self._acknowledged_limit = self._limit = 0
        self._announced: deque[int] = deque()

    def connect(self, session: Session) -> None:
        """Begins with the SETTINGS frame that every connection begins with."""
        self._session = session
        self._acknowledged_limit = self._limit = session.initial_streams
        self._announced.append(session.initial_streams)
        values = {Setting.MAX_CONCURRENT_STREAMS: session.initial_streams}
        values |= {Setting.INITIAL_WINDOW_SIZE: self._limits.window}
        values |= {Setting.MAX_HEADER_LIST_SIZE: self._limits.max_header_list}
        self._outbox.put(frames.settings(values))

    @property
    def idle(self) -> bool:
        return not self._open

    # Limits

    def allow_streams(self, limit: int) -> None:
        """Announces a new limit: more at once, fewer from the acknowledgement on (RFC 9113 section 6.5.3)."""
        self._announced.append(limit)
        self._limit = max(self._acknowledged_limit, *self._announced)
        self._outbox.put(frames.settings({Setting.MAX_CONCURRENT_STREAMS: limit}))

    def acknowledge_settings(self) -> None:
        """The peer's SETTINGS ACK."""
        if self._announced:
            self._acknowledged_limit = self._announced.popleft()
            self._limit = max(self._acknowledged_limit, *self._announced, 0)

    def apply_settings(self, values: dict[int, int]) -> None:
        """The peer's SETTINGS, as far as they concern what we send."""
        if Setting.HEADER_TABLE_SIZE in values:
            self._codec.set_peer_table_size(values[Setting.HEADER_TABLE_SIZE])
        if Setting.INITIAL_WINDOW_SIZE in values:
            outgoing = [stream.outgoing for stream in self._open.values()]
            self._finish(self._outbox.set_initial_window(values[Setting.INITIAL_WINDOW_SIZE], outgoing))

    # What the peer sends

    def headers(self, stream_id: int, flags: int, block: bytes) -> None:
        """A complete header block: a new request, or trailers."""
        fields = self._codec.decode(block)
        stream = self._open.get(stream_id)
        if stream is not None:
            self._trailers(stream, flags)
        elif stream_id <= self._last_id:
            if stream_id not in self._reset_ids:
                raise ConnectionFault(ErrorCode.STREAM_CLOSED, "HEADERS on a closed stream")
        else:
            self._last_id = stream_id
            if self._goaway_id is None and self._has_room(stream_id):
                self._begin(stream_id, flags, fields)

    def data(self, stream_id: int, flags: int, payload: bytes) -> None:
        """A DATA frame; padding counts against the windows too."""
        self._charge(len(payload))
        stream = self._open.get(stream_id)
        if stream is None:
            self._data_on_closed(stream_id)
            return
        stream.window -= len(payload)
        if stream.ended:
            raise StreamFault(stream_id, ErrorCode.STREAM_CLOSED)
        if stream.window < 0:
            raise StreamFault(stream_id, ErrorCode.FLOW_CONTROL_ERROR)
        self._buffer(stream, frames.unpad(flags, payload))
        if flags & END_STREAM:
            self._complete(stream)
        elif stream.window < self._limits.window // 2:
            self._outbox.put(frames.window_update(stream_id, self._limits.window - stream.window))
            stream.window = self._limits.window

    def reset_by_peer(self, stream_id: int) -> None:
        """RST_STREAM."""
        self._require_known(stream_id)
        self._drop(stream_id)

    def widen(self, stream_id: int, increment: int) -> None:
        """WINDOW_UPDATE, of the connection (0) or a stream."""
        if stream_id == 0:
            self._finish(self._outbox.widen(increment))
            return
        self._require_known(stream_id)
        stream = self._open.get(stream_id)
        if stream is not None:
            self._finish(self._outbox.widen_stream(stream_id, stream.outgoing, increment))

    # What we send of our own accord

    def reset(self, stream_id: int, code: ErrorCode) -> None:
        """Ends a stream with an error; what the peer still sends on it is ignored."""
        self._drop(stream_id)
        self._reset_ids.append(stream_id)
        self._outbox.put(frames.rst_stream(stream_id, code))

    def return_credit(self) -> None:
        """Gives the connection's window back, a quarter at least at a time."""
        if self._credit >= DEFAULT_WINDOW // 4:
            self._outbox.put(frames.window_update(0, self._credit))
            self._window += self._credit
            self._credit = 0

    def stop(self) -> int:
        """Takes no new streams and drops those not yet processed; returns the last stream id for GOAWAY."""
        if self._goaway_id is None:
            self._goaway_id = self._processed_id
        for stream_id in [stream_id for stream_id in self._open if stream_id > self._goaway_id]:
            self._drop(stream_id)
        return self._goaway_id

    def abandon(self) -> None:
        """The connection is gone."""
        for stream_id in list(self._open):
            self._drop(stream_id)

    # From here on: one request

    def _has_room(self, stream_id: int) -> bool:
        if len(self._open) < self._limit:
            return True
        if self._limits.over_limit is None:
            self.reset(stream_id, ErrorCode.REFUSED_STREAM)
        else:
            self._connection.give_up(self._limits.over_limit, self.stop())
        return False

    def _begin(self, stream_id: int, flags: int, fields: list[tuple[bytes, bytes, bool]]) -> None:
        try:
            head = self._heads.parse(fields)
        except Malformed:
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR) from None
        stream = Stream(stream_id, head, self._limits.window, self._outbox.new_stream())
        self._open[stream_id] = stream
        if flags & END_STREAM:
            self._complete(stream)

    def _trailers(self, stream: Stream, flags: int) -> None:
        if stream.ended:
            raise StreamFault(stream.stream_id, ErrorCode.STREAM_CLOSED)
        if not flags & END_STREAM:
            raise StreamFault(stream.stream_id, ErrorCode.PROTOCOL_ERROR)
        self._complete(stream)

    def _charge(self, size: int) -> None:
        self._window -= size
        self._credit += size
        if self._window < 0:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "connection window")

    def _data_on_closed(self, stream_id: int) -> None:
        self._require_known(stream_id)
        above_goaway = self._goaway_id is not None and stream_id > self._goaway_id
        if not above_goaway and stream_id not in self._reset_ids:
            self._outbox.put(frames.rst_stream(stream_id, ErrorCode.STREAM_CLOSED))

    def _buffer(self, stream: Stream, chunk: bytes) -> None:
        """Keeps a chunk, or as much of it as the body limit and one byte; that byte shows that it was too large."""
        room = self._limits.max_body + 1 - stream.size
        stream.size += len(chunk)
        if chunk and room > 0:
            stream.chunks.append(chunk[:room])
            self._buffered += len(stream.chunks[-1])
            if self._buffered > _MAX_BUFFERED:
                raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many unfinished requests")

    def _complete(self, stream: Stream) -> None:
        stream.ended = True
        body = b"".join(stream.chunks)
        self._buffered -= len(body)
        stream.chunks = []
        method, path, headers, repeated = stream.head
        declared = headers.get(b"content-length")
        if declared is not None and declared != b"%d" % stream.size:
            raise StreamFault(stream.stream_id, ErrorCode.PROTOCOL_ERROR)
        if self._session is None:
            raise RuntimeError("streams are used before connect()")
        answer = self._session.answer(Request(method, path, headers, repeated, body))
        if type(answer) is Reply:
            self._mark_processed(stream)
            self._respond(stream, answer)
        elif isinstance(answer, Scripted):
            self._play(stream, answer)

    def _mark_processed(self, stream: Stream) -> None:
        self._processed_id = max(self._processed_id, stream.stream_id)

    def _respond(self, stream: Stream, reply: Reply) -> None:
        block = self._codec.encode(reply.status, reply.headers)
        if self._outbox.respond(stream.stream_id, stream.outgoing, block, reply.body):
            del self._open[stream.stream_id]

    def _play(self, stream: Stream, scripted: Scripted) -> None:
        if scripted.processed:
            self._mark_processed(stream)
        if scripted.max_streams is not None:
            self.allow_streams(scripted.max_streams)
        if scripted.delay > 0:
            loop = asyncio.get_running_loop()
            stream.timer = loop.call_later(scripted.delay, self._play_late, stream, scripted)
        else:
            self._carry_out(stream, scripted)

    def _play_late(self, stream: Stream, scripted: Scripted) -> None:
        stream.timer = None
        self._carry_out(stream, scripted)
        self._connection.settle()

    def _carry_out(self, stream: Stream, scripted: Scripted) -> None:
        match scripted.fault:
            case Fault.STALL:
                return
            case Fault.CUT:
                self._connection.cut()
            case Fault.RESET:
                self.reset(stream.stream_id, ErrorCode.INTERNAL_ERROR)
            case Fault.REFUSE:
                self.reset(stream.stream_id, ErrorCode.REFUSED_STREAM)
            case Fault.GOAWAY:
                self._go_away(stream, scripted)
            case None if scripted.reply is not None:
                self._respond(stream, scripted.reply)

    def _go_away(self, stream: Stream, scripted: Scripted) -> None:
        """Ends the connection at this request: answered first when it was processed and the others drain."""
        last_id = self.stop()
        self._connection.give_up(scripted.goaway, last_id)
        if not scripted.processed and stream.stream_id <= last_id:
            self.reset(stream.stream_id, ErrorCode.REFUSED_STREAM)  # a later stream was processed before this one
        elif scripted.goaway.drain and scripted.reply is not None:
            self._respond(stream, scripted.reply)

    def _drop(self, stream_id: int) -> None:
        stream = self._open.pop(stream_id, None)
        if stream is None:
            return
        if stream.timer is not None:
            stream.timer.cancel()
        self._buffered -= sum(map(len, stream.chunks))
        self._outbox.forget(stream_id)

    def _finish(self, stream_ids: list[int]) -> None:
        for stream_id in stream_ids:
            del self._open[stream_id]

    def _require_known(self, stream_id: int) -> None:
        if stream_id > self._last_id or stream_id % 2 == 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "frame on an idle stream")
