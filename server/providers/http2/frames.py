"""Frames on the wire (RFC 9113, sections 4, 6 and 7): their constants, and how to write and read the small ones."""

from __future__ import annotations

import struct
from enum import IntEnum

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

HEADER = struct.Struct(">BHBBL")  # length in 8 and 16 bits, type, flags, stream id with a reserved bit
HEADER_BYTES = 9
_NUMBER = struct.Struct(">L")
_GOAWAY = struct.Struct(">LL")
_SETTING = struct.Struct(">HL")

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)

END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITISED = 0x20

LAST_STREAM_ID = LARGEST_WINDOW = 2**31 - 1
DEFAULT_WINDOW = 65_535
DEFAULT_FRAME_SIZE = 16_384
LARGEST_FRAME_SIZE = 2**24 - 1

PING_BYTES = 8
_PRIORITY_BYTES = 5
_NUMBER_BYTES = 4


class Setting(IntEnum):
    """RFC 9113, 6.5.2."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


class ErrorCode(IntEnum):
    """RFC 9113, 7."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


class ConnectionBroken(Exception):
    """The peer broke the protocol in a way that ends the connection with ``code``."""

    def __init__(self, code: ErrorCode) -> None:
        super().__init__(code.name)
        self.code = code


class StreamBroken(Exception):
    """The peer broke the protocol in a way that ends one stream with ``code``."""

    def __init__(self, code: ErrorCode) -> None:
        super().__init__(code.name)
        self.code = code


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    return head(kind, flags, stream_id, len(payload)) + payload


def head(kind: int, flags: int, stream_id: int, length: int) -> bytes:
    """The nine bytes before a payload of ``length`` bytes."""
    return HEADER.pack(length >> 16, length & 0xFFFF, kind, flags, stream_id)


def settings(values: dict[Setting, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*pair) for pair in values.items()))


def settings_ack() -> bytes:
    return frame(SETTINGS, ACK, 0)


def window_update(stream_id: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream_id, _NUMBER.pack(increment))


def rst_stream(stream_id: int, code: ErrorCode) -> bytes:
    return frame(RST_STREAM, 0, stream_id, _NUMBER.pack(code))


def goaway(code: ErrorCode) -> bytes:
    """The last stream id is 0: a peer that may not push has opened none."""
    return frame(GOAWAY, 0, 0, _GOAWAY.pack(0, code))


def header_frames(stream_id: int, block: bytes, size: int) -> bytes:
    """HEADERS, and as many CONTINUATIONs as a ``block`` needs that is larger than the frame ``size``."""
    starts = range(0, len(block), size)
    return b"".join(
        frame(
            CONTINUATION if start else HEADERS,
            END_HEADERS if start == starts[-1] else 0,
            stream_id,
            block[start : start + size],
        )
        for start in starts
    )


def data_frames(stream_id: int, content: bytes, size: int, *, last: bool) -> bytes:
    """``content`` in frames of up to ``size`` bytes; the ``last`` one ends the stream."""
    starts = range(0, max(len(content), 1), size)
    return b"".join(
        frame(DATA, END_STREAM if last and start == starts[-1] else 0, stream_id, content[start : start + size])
        for start in starts
    )


def unpadded(flags: int, payload: bytes) -> bytes:
    """The content of a DATA or HEADERS payload, without padding (6.1) and priority (6.2)."""
    start, end = 0, len(payload)
    if flags & PADDED:
        if not payload:
            raise ConnectionBroken(ErrorCode.FRAME_SIZE_ERROR)
        start, end = 1, end - payload[0]
    if flags & PRIORITISED:
        start += _PRIORITY_BYTES
    if start > end:
        raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR)
    return payload[start:end]


def number(payload: bytes) -> int:
    """The one number of an RST_STREAM or WINDOW_UPDATE."""
    if len(payload) != _NUMBER_BYTES:
        raise ConnectionBroken(ErrorCode.FRAME_SIZE_ERROR)
    found: int = _NUMBER.unpack(payload)[0]
    return found


def read_goaway(payload: bytes) -> int:
    """The last stream id that the peer took."""
    if len(payload) < _GOAWAY.size:
        raise ConnectionBroken(ErrorCode.FRAME_SIZE_ERROR)
    last: int = _GOAWAY.unpack_from(payload)[0]
    return last & LAST_STREAM_ID


def check_priority(payload: bytes) -> None:
    if len(payload) != _PRIORITY_BYTES:
        raise StreamBroken(ErrorCode.FRAME_SIZE_ERROR)


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """The settings in their order, each with a value that RFC 9113 allows a server."""
    if len(payload) % _SETTING.size:
        raise ConnectionBroken(ErrorCode.FRAME_SIZE_ERROR)
    found = list(_SETTING.iter_unpack(payload))
    for key, value in found:
        if key == Setting.ENABLE_PUSH and value:
            raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR)
        if key == Setting.INITIAL_WINDOW_SIZE and value > LARGEST_WINDOW:
            raise ConnectionBroken(ErrorCode.FLOW_CONTROL_ERROR)
        if key == Setting.MAX_FRAME_SIZE and not DEFAULT_FRAME_SIZE <= value <= LARGEST_FRAME_SIZE:
            raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR)
    return found
