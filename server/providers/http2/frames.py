"""Frames and their numbers (RFC 9113, sections 4, 6 and 7)."""

from __future__ import annotations

import struct
from enum import IntEnum

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADER_SIZE = 9
LARGEST_FRAME = 16_384  # that we take: the default
DEFAULT_WINDOW = 65_535
LARGEST_WINDOW = (1 << 31) - 1
LAST_STREAM = (1 << 31) - 1

END_STREAM = 0x1
ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITY_FIELDS = 0x20

_HEADER = struct.Struct(">BHBBL")
_WORD = struct.Struct(">L")
_SETTING = struct.Struct(">HL")
unpack_header = _HEADER.unpack_from  # length's high byte and low bytes, type, flags, stream id


class FrameType(IntEnum):
    """RFC 9113, 6."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


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
    ENHANCE_YOUR_CALM = 11


class Setting(IntEnum):
    """RFC 9113, 6.5.2."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5


class ConnectionFault(Exception):
    """The peer broke the protocol: the connection ends with this error."""

    def __init__(self, code: ErrorCode) -> None:
        super().__init__(code.name)
        self.code = code


def frame(kind: FrameType, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return a frame. ``payload`` is at most the peer's largest."""
    length = len(payload)
    return _HEADER.pack(length >> 16, length & 0xFFFF, kind, flags, stream) + payload


def settings(values: dict[Setting, int]) -> bytes:
    """Return a SETTINGS frame."""
    payload = b"".join(_SETTING.pack(name, value) for name, value in values.items())
    return frame(FrameType.SETTINGS, 0, 0, payload)


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """Return the names and values of a SETTINGS payload. Raises ``ConnectionFault``."""
    if len(payload) % _SETTING.size:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR)
    return list(_SETTING.iter_unpack(payload))


def window_update(stream: int, increment: int) -> bytes:
    """Return a WINDOW_UPDATE frame."""
    return frame(FrameType.WINDOW_UPDATE, 0, stream, _WORD.pack(increment))


def reset(stream: int, code: ErrorCode) -> bytes:
    """Return a RST_STREAM frame."""
    return frame(FrameType.RST_STREAM, 0, stream, _WORD.pack(code))


def goaway(last_stream: int, code: ErrorCode) -> bytes:
    """Return a GOAWAY frame."""
    return frame(FrameType.GOAWAY, 0, 0, _WORD.pack(last_stream) + _WORD.pack(code))


def read_word(payload: bytes, offset: int = 0) -> int:
    """Return the 32 bits at ``offset``. Raises ``ConnectionFault``."""
    if len(payload) < offset + _WORD.size:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR)
    value: int = _WORD.unpack_from(payload, offset)[0]
    return value


def unpadded(flags: int, payload: bytes) -> bytes:
    """Return a DATA or HEADERS payload without padding and priority. Raises ``ConnectionFault``."""
    start, end = 0, len(payload)
    if flags & PADDED:
        start = 1
        end -= payload[0] if payload else 1
    if flags & PRIORITY_FIELDS:
        start += 5
    if start > end:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR)
    return payload[start:end]
