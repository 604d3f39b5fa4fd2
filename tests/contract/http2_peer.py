"""The server's end of one HTTP/2 connection: sends what a script says, and notes each thing a client does wrong.

Frames are read and written with hyperframe and hpack, so that nothing of ours judges ours. `violations` holds what a
strict server would end the connection for (RFC 9113); the connection goes on, since the test says how it ends.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

import hpack
import hyperframe.frame as hf
from h2.settings import SettingCodes

from tests.contract.http2_exchange import Exchange, Fields

if TYPE_CHECKING:
    from tests.contract.http2_server import ScriptedServer

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DEFAULT_WINDOW = 65_535
LARGEST_WINDOW = 2**31 - 1
FRAME_SIZE = 16_384
_FRAME_HEADER_SIZE = 9
_PSEUDO = {":method", ":scheme", ":authority", ":path"}
_OF_THE_CONNECTION = {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "host"}
_GOAWAY_SEEN = b"goaway??"


class Peer(asyncio.Protocol):
    """``limits``: what the client has acknowledged. ``most_open``: the most streams that were ever open at once."""

    def __init__(self, server: ScriptedServer) -> None:
        self.server = server
        self.exchanges: dict[int, Exchange] = {}
        self.limits: dict[int, int] = {}
        self.room = DEFAULT_WINDOW
        self.credit = DEFAULT_WINDOW
        self.most_open = 0
        self.pings: list[bytes] = []
        self.goaway: hf.GoAwayFrame | None = None
        self.lost = asyncio.get_running_loop().create_future()
        self.greeted = asyncio.Event()
        self.slowly: Callable[[bytes], None] | None = None  # takes everything that is sent, to write it piece by piece
        self.transport: asyncio.Transport
        self._unacknowledged: deque[dict[int, int]] = deque()
        self._begun = False
        self._owed: list[hf.Frame] = []
        self._client_window = DEFAULT_WINDOW
        self._client_frame_size = FRAME_SIZE
        self._unread = b""
        self._preface_seen = False
        self._block: hf.HeadersFrame | None = None
        self._goaway_seen = False
        self._last_id = 0
        self._live: list[Exchange] = []
        self._encoder = hpack.Encoder()
        self._decoder = hpack.Decoder()

    # What scripts use

    def send(self, *parts: hf.Frame | bytes) -> None:
        data = b"".join(part if isinstance(part, bytes) else part.serialize() for part in parts)
        if self.slowly is not None:
            self.slowly(data)
        else:
            self.write(data)

    def write(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(data)

    def settings(self, values: Mapping[int, int]) -> None:
        """They bind the client once it has acknowledged them."""
        known = {int(code): value for code, value in values.items()}
        self._unacknowledged.append(known)
        self.send(hf.SettingsFrame(0, settings=known))
        self._begun = True
        self._owed, owed = [], self._owed
        self.send(*owed)

    def headers(self, stream_id: int, fields: Fields, *, end: bool = False) -> hf.HeadersFrame:
        """A frame with the fields encoded by the connection's encoder: to be sent before the next one is made."""
        frame = hf.HeadersFrame(stream_id, data=self._encoder.encode(list(fields)), flags=["END_HEADERS"])
        if end:
            frame.flags.add("END_STREAM")
        return frame

    def widen(self, size: int) -> None:
        """Let the client send so much more on the connection."""
        self.room += size
        self.send(hf.WindowUpdateFrame(0, window_increment=size))

    def send_ping(self, data: bytes) -> None:
        """Eight bytes, which are in `pings` once the client has read all that was sent before."""
        self.send(hf.PingFrame(0, opaque_data=data))

    def go_away(self, last_id: int, code: int = 0, debug: bytes = b"") -> None:
        """And ask when the client has read it: from then on it must open no more streams."""
        self.send(hf.GoAwayFrame(0, last_stream_id=last_id, error_code=code, additional_data=debug))
        self.send(hf.PingFrame(0, opaque_data=_GOAWAY_SEEN))

    def cut(self) -> None:
        """A TCP reset, whatever is still unsent."""
        if self.lost.done():
            return
        linger = struct.pack("ii", 1, 0)
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.transport.abort()

    def close(self) -> None:
        """TLS close_notify and FIN."""
        self.transport.close()

    def pump(self) -> None:
        """Sends of the answers what the client's windows allow."""
        for exchange in self.open:
            while exchange.unsent and self._send_part(exchange):
                pass

    @property
    def open(self) -> list[Exchange]:
        """The streams that are, in the order in which they came."""
        self._live = [exchange for exchange in self._live if exchange.open]
        return self._live

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.server.connected(self)

    def connection_lost(self, exc: Exception | None) -> None:
        for exchange in self.exchanges.values():
            exchange.unsent.clear()
        if not self.lost.done():
            self.lost.set_result(exc)
        self.server.changed()

    def data_received(self, data: bytes) -> None:
        try:
            self._read(data)
        except Exception as error:  # noqa: BLE001 - a mistake in a script, which the end of the server tells
            self.server.mistakes.append(error)
            self.transport.abort()
        self.server.changed()

    # Reading

    def _read(self, data: bytes) -> None:
        self._unread += data
        if not self._preface_seen:
            if len(self._unread) < len(PREFACE):
                return
            self._check(self._unread.startswith(PREFACE), "no preface")
            self._unread = self._unread[len(PREFACE) :]
            self._preface_seen = True
        while (frame := self._next_frame()) is not None:
            self._received(frame)

    def _next_frame(self) -> hf.Frame | None:
        if len(self._unread) < _FRAME_HEADER_SIZE:
            return None
        frame, size = hf.Frame.parse_frame_header(memoryview(self._unread)[:_FRAME_HEADER_SIZE])
        end = _FRAME_HEADER_SIZE + size
        if len(self._unread) < end:
            return None
        self._check(size <= FRAME_SIZE, f"a frame of {size} bytes")
        frame.parse_body(memoryview(self._unread)[_FRAME_HEADER_SIZE:end])
        self._unread = self._unread[end:]
        return frame

    def _received(self, frame: hf.Frame) -> None:
        self._check(self.greeted.is_set() or isinstance(frame, hf.SettingsFrame), "SETTINGS did not come first")
        self._check(self._block is None or isinstance(frame, hf.ContinuationFrame), "a header block was interrupted")
        handlers: dict[type[hf.Frame], Callable[[Any], None]] = {
            hf.SettingsFrame: self._on_settings,
            hf.HeadersFrame: self._on_headers,
            hf.ContinuationFrame: self._on_continuation,
            hf.DataFrame: self._on_data,
            hf.RstStreamFrame: self._on_reset,
            hf.WindowUpdateFrame: self._on_window_update,
            hf.PingFrame: self._on_ping,
            hf.GoAwayFrame: self._on_goaway,
        }
        handler = handlers.get(type(frame))
        self._check(handler is not None, f"an unexpected {type(frame).__name__}")
        if handler is not None:
            handler(frame)

    def _on_settings(self, frame: hf.SettingsFrame) -> None:
        if "ACK" in frame.flags:
            self._acknowledged()
            return
        self.greeted.set()
        if (window := frame.settings.get(SettingCodes.INITIAL_WINDOW_SIZE)) is not None:
            for exchange in self.exchanges.values():
                exchange.credit += window - self._client_window
            self._client_window = window
        if (size := frame.settings.get(SettingCodes.HEADER_TABLE_SIZE)) is not None:
            self._encoder.header_table_size = size
        self._client_frame_size = frame.settings.get(SettingCodes.MAX_FRAME_SIZE, self._client_frame_size)
        acknowledgement = hf.SettingsFrame(0, flags=["ACK"])
        if self._begun:
            self.send(acknowledgement)
        else:  # nothing may come before the first SETTINGS
            self._owed.append(acknowledgement)
        self.pump()

    def _acknowledged(self) -> None:
        if not self._unacknowledged:
            self._violated("an acknowledgement of no SETTINGS")
            return
        new = self._unacknowledged.popleft()
        if (window := new.get(SettingCodes.INITIAL_WINDOW_SIZE)) is not None:
            before = self.limits.get(SettingCodes.INITIAL_WINDOW_SIZE, DEFAULT_WINDOW)
            for exchange in self.exchanges.values():
                exchange.room += window - before
        if (size := new.get(SettingCodes.HEADER_TABLE_SIZE)) is not None:
            self._decoder.max_allowed_table_size = size
        self.limits |= new
        self.server.settled(self)

    def _on_headers(self, frame: hf.HeadersFrame) -> None:
        if "END_HEADERS" not in frame.flags:
            self._block = frame
            return
        try:
            fields = [(str(name), str(value)) for name, value in self._decoder.decode(frame.data)]
        except (hpack.HPACKError, UnicodeDecodeError) as error:
            self._violated(f"a header block that {error!r}")
            return
        self._begin(frame.stream_id, fields)
        if "END_STREAM" in frame.flags:
            self._complete(self.exchanges[frame.stream_id])

    def _on_continuation(self, frame: hf.ContinuationFrame) -> None:
        if self._block is None:
            self._violated("CONTINUATION of nothing")
            return
        self._block.data += frame.data
        if "END_HEADERS" in frame.flags:
            whole, self._block = self._block, None
            whole.flags.add("END_HEADERS")
            self._on_headers(whole)

    def _begin(self, stream_id: int, fields: list[tuple[str, str]]) -> None:
        self._check(stream_id % 2 == 1 and stream_id > self._last_id, f"stream {stream_id} after {self._last_id}")
        self._check(not self._goaway_seen, f"stream {stream_id} after GOAWAY")
        self._check_fields(fields)
        self._last_id = stream_id
        room = self.limits.get(SettingCodes.INITIAL_WINDOW_SIZE, DEFAULT_WINDOW)
        exchange = Exchange(self, stream_id, fields, room, self._client_window)
        self.exchanges[stream_id] = exchange
        self._live.append(exchange)
        at_once = len(self.open)
        self.most_open = max(self.most_open, at_once)
        limit = self.limits.get(SettingCodes.MAX_CONCURRENT_STREAMS, at_once)
        self._check(at_once <= limit, f"{at_once} streams open where {limit} may be")
        self.server.began(exchange)

    def _check_fields(self, fields: list[tuple[str, str]]) -> None:
        """RFC 9113, 8.2 and 8.3."""
        names = [name for name, _ in fields]
        pseudo = [name for name in names if name.startswith(":")]
        self._check(set(pseudo) == _PSEUDO and len(pseudo) == len(_PSEUDO), f"pseudo-headers {pseudo}")
        self._check(names[: len(pseudo)] == pseudo, "a pseudo-header after others")
        self._check(not _OF_THE_CONNECTION.intersection(names), f"headers {names}")
        self._check(all(name == name.lower() for name in names), "a name in upper case")
        self._check(dict(fields).get(":method") == "POST", "no POST")

    def _on_data(self, frame: hf.DataFrame) -> None:
        size = frame.flow_controlled_length
        self.room -= size
        self._check(self.room >= 0, f"{-self.room} bytes beyond the connection's window")
        exchange = self.exchanges.get(frame.stream_id)
        if exchange is None:
            self._violated(f"DATA on idle stream {frame.stream_id}")
        elif exchange.reset_by != "server":
            self._take(exchange, frame, size)
        if self.server.gives_credit and size:
            self.widen(size)

    def _take(self, exchange: Exchange, frame: hf.DataFrame, size: int) -> None:
        self._check(not exchange.whole and exchange.reset_by is None, "DATA on a stream that ended")
        exchange.room -= size
        self._check(
            exchange.room >= 0 or not size, f"{-exchange.room} bytes beyond stream {exchange.stream_id}'s window"
        )
        exchange.body += frame.data
        if "END_STREAM" in frame.flags:
            self._complete(exchange)
        elif self.server.gives_credit:
            exchange.widen(size)
        else:
            self.server.starved(exchange)

    def _complete(self, exchange: Exchange) -> None:
        declared = exchange.headers.get("content-length", str(len(exchange.body)))
        self._check(declared == str(len(exchange.body)), f"{len(exchange.body)} bytes where {declared} were declared")
        exchange.whole = True
        if exchange.reset_by is None:
            self.server.arrived(exchange)

    def _on_reset(self, frame: hf.RstStreamFrame) -> None:
        exchange = self.exchanges.get(frame.stream_id)
        if exchange is None:
            self._violated(f"RST_STREAM on idle stream {frame.stream_id}")
            return
        exchange.reset_by = exchange.reset_by or "client"
        exchange.unsent.clear()

    def _on_window_update(self, frame: hf.WindowUpdateFrame) -> None:
        if frame.stream_id == 0:
            self.credit += frame.window_increment
            self._check(self.credit <= LARGEST_WINDOW, "the connection's window overflows")
        elif frame.stream_id in self.exchanges:
            self.exchanges[frame.stream_id].credit += frame.window_increment
        else:
            self._violated(f"WINDOW_UPDATE on idle stream {frame.stream_id}")
        self.pump()

    def _on_ping(self, frame: hf.PingFrame) -> None:
        if "ACK" not in frame.flags:
            self.server.pinged(self, frame.opaque_data)
        elif frame.opaque_data == _GOAWAY_SEEN:
            self._goaway_seen = True
        else:
            self.pings.append(frame.opaque_data)

    def _on_goaway(self, frame: hf.GoAwayFrame) -> None:
        self.goaway = frame

    def _check(self, holds: bool, complaint: str) -> None:  # noqa: FBT001 - as in an assert
        if not holds:
            self._violated(complaint)

    def _violated(self, complaint: str) -> None:
        self.server.violations.append(complaint)

    # Writing

    def _send_part(self, exchange: Exchange) -> bool:
        """One DATA frame, or nothing when a window is shut."""
        content, end = exchange.unsent[0]
        size = min(len(content), max(0, exchange.credit), max(0, self.credit), self._client_frame_size)
        if size == 0 and content:
            return False
        exchange.unsent.popleft()
        if size < len(content):
            exchange.unsent.appendleft((content[size:], end))
        last = end and size == len(content)
        exchange.credit -= size
        self.credit -= size
        exchange.answered = exchange.answered or last
        frame = hf.DataFrame(exchange.stream_id, data=content[:size], flags=["END_STREAM"] if last else [])
        self.send(frame)
        return True
