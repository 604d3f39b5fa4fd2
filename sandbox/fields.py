"""Header blocks: HPACK (RFC 7541) by jh2's Rust coder, and what RFC 9113 section 8 demands of a request's fields."""

from __future__ import annotations

import re
from typing import NamedTuple

from jh2._hazmat import (
    Decoder,
    Encoder,
    HPACKError,
    OversizedHeaderListError,
)

from sandbox.frames import ConnectionFault, ErrorCode

TABLE_SIZE = 4096  # ours and the most that we use of the peer's

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_VALUE = re.compile(rb"[^\0\r\n]*")
_PSEUDO = frozenset([b":method", b":scheme", b":path", b":authority"])
_CONNECTION_SPECIFIC = frozenset([b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"])
_NONE_REPEATED: frozenset[bytes] = frozenset()
_KNOWN_LIMIT = 256
_KNOWN_SIZE = 1024  # longer values are not worth remembering, and would add up
_INDEXED, _INDEXED_LONG = 0x80, 0xFF  # the first byte of an indexed field, and where its index goes on
_SIZE_UPDATE = 0b001  # the first three bits of a dynamic table size update
_MORE = 0x80  # an integer goes on in the next byte

Field = tuple[bytes, bytes, bool]


class Malformed(ValueError):
    """The fields don't make a request: a stream error PROTOCOL_ERROR, RFC 9113 section 8.1.1."""


class Head(NamedTuple):
    """A request's fields. ``headers`` are the regular ones; of a repeated field the last."""

    method: bytes
    path: bytes
    headers: dict[bytes, bytes]
    repeated: frozenset[bytes]


class HeaderCodec:
    """The two HPACK contexts of one connection."""

    def __init__(self, max_header_list: int) -> None:
        self._decoder = Decoder(max_header_list)
        self._decoder.max_allowed_table_size = TABLE_SIZE
        self._encoder = Encoder()

    def set_peer_table_size(self, size: int) -> None:
        """Follows the peer's SETTINGS_HEADER_TABLE_SIZE."""
        self._encoder.header_table_size = min(size, TABLE_SIZE)

    def encode(self, status: int, headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
        """The block of a response."""
        fields: list[Field] = [(b":status", b"%d" % status, False)]
        fields += [(name, value, False) for name, value in headers]
        block: bytes = self._encoder.encode(fields)
        return block

    def decode(self, block: bytes) -> list[Field]:
        """The fields of a block. Raises ConnectionFault: after a bad block the contexts no longer agree."""
        if not is_well_formed(block):
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, "header block")
        try:
            fields: list[Field] = self._decoder.decode(block, True)
        except OversizedHeaderListError:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "header list too large") from None
        except HPACKError:
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, "header block") from None
        return fields


def is_well_formed(block: bytes) -> bool:
    """Whether every representation ends inside the block and size updates come first (RFC 7541 sections 4.2 and 6).

    The Rust decoder panics on a truncated string and takes a size update anywhere, so this goes before it.
    """
    at, end, seen_field = 0, len(block), False
    while at < end:
        first = block[at]
        if _INDEXED < first < _INDEXED_LONG:  # an indexed field in one byte: nearly all of them
            at += 1
        elif first >> 5 == _SIZE_UPDATE:
            if seen_field:
                return False
            at, _ = _integer(block, at, 0x1F)
            continue
        else:
            at = _after_field(block, at, first)
        seen_field = True
    return at == end


def _after_field(block: bytes, at: int, first: int) -> int:
    """Where the next representation begins; beyond the block if this one is cut off."""
    if first & _INDEXED:
        return _integer(block, at, 0x7F)[0]
    at, index = _integer(block, at, 0x3F if first & 0x40 else 0x0F)
    if index == 0:
        at = _after_string(block, at)
    return _after_string(block, at)


def _after_string(block: bytes, at: int) -> int:
    at, length = _integer(block, at, 0x7F)
    return at + length


def _integer(block: bytes, at: int, mask: int) -> tuple[int, int]:
    """The position after a prefixed integer, and the integer (RFC 7541 section 5.1)."""
    end = len(block)
    if at >= end:
        return end + 1, 0
    value = block[at] & mask
    at += 1
    if value < mask:
        return at, value
    for shift in range(0, 28, 7):
        if at >= end:
            break
        byte = block[at]
        at += 1
        value += (byte & 0x7F) << shift
        if not byte & _MORE:
            return at, value
    return end + 1, 0


class HeadParser:
    """Checks and sorts a request's fields; fields seen before are not checked again."""

    def __init__(self) -> None:
        self._known: dict[Field, tuple[bytes, bytes]] = {}

    def parse(self, fields: list[Field]) -> Head:
        """The request's head. Raises Malformed."""
        known = self._known
        pairs = [known.get(field) or self._learn(field) for field in fields]
        headers = dict(pairs)
        repeated = _NONE_REPEATED if len(headers) == len(pairs) else _repeated(pairs)
        method, path = headers.pop(b":method", None), headers.pop(b":path", None)
        scheme, authority = headers.pop(b":scheme", None), headers.pop(b":authority", None)
        if method is None or path is None or scheme is None:
            raise Malformed("a pseudo-header field is missing")
        if _leading_pseudo(pairs) != (3 if authority is None else 4) or repeated & _PSEUDO:
            raise Malformed("pseudo-header fields are repeated or not first")
        return Head(method, path, headers, repeated)

    def _learn(self, field: Field) -> tuple[bytes, bytes]:
        """Checks a field and remembers it; interning also keeps the ledger's memory small."""
        pair = (field[0], field[1])
        check_field(*pair)
        if len(self._known) < _KNOWN_LIMIT and len(field[1]) <= _KNOWN_SIZE:
            self._known[field] = pair
        return pair


def check_field(name: bytes, value: bytes) -> None:
    """One field by itself, RFC 9113 sections 8.2 and 8.3. Raises Malformed."""
    if name not in _PSEUDO and not _NAME.fullmatch(name):
        raise Malformed("field name")
    if name in _CONNECTION_SPECIFIC or (name == b"te" and value != b"trailers"):
        raise Malformed("connection-specific field")
    if not _VALUE.fullmatch(value) or value != value.strip(b" \t"):
        raise Malformed("field value")


def _leading_pseudo(pairs: list[tuple[bytes, bytes]]) -> int:
    for count, (name, _) in enumerate(pairs):
        if name not in _PSEUDO:
            return count
    return len(pairs)


def _repeated(pairs: list[tuple[bytes, bytes]]) -> frozenset[bytes]:
    names = [name for name, _ in pairs]
    return frozenset(name for name in names if names.count(name) > 1)
