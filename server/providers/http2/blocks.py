"""Header blocks (HPACK, RFC 7541): requests by reference to the peer's table, responses decoded no further than asked.

What all requests of a kind share is put into the peer's table once for each connection; after that a header is one
byte. What is a request's own is a literal that no table keeps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import hpack

from server.providers.http2.frames import ConnectionFault, ErrorCode
from server.providers.transport import Header, SharedHeaders

DEFAULT_TABLE = 4096
LARGEST_BLOCK = 64 * 1024
_KEPT = 64  # blocks kept encoded, or decoded

_STATIC_ENTRIES = 61
_ENTRY_OVERHEAD = 32  # RFC 7541, 4.1
_POST, _HTTPS = b"\x83", b"\x87"  # :method and :scheme in the static table
_PATH = b"\x04"  # literals without indexing whose names are in the static table
_CONTENT_LENGTH = b"\x0f\x0d"
_STATIC_STATUS = {0x88: 200, 0x89: 204, 0x8A: 206, 0x8B: 304, 0x8C: 400, 0x8D: 404, 0x8E: 500}


class InvalidHeader(ValueError):
    """A header that can't be sent."""


def integer(value: int, prefix_bits: int, first: int) -> bytes:
    """Return an integer whose first byte also holds the bits of ``first`` (RFC 7541, 5.1)."""
    most = (1 << prefix_bits) - 1
    if value < most:
        return bytes((first | value,))
    out = bytearray((first | most,))
    value -= most
    while value >= 128:  # noqa: PLR2004 # seven bits a byte
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def string(value: bytes) -> bytes:
    """Return a string literal, not Huffman-coded (RFC 7541, 5.2)."""
    length = len(value)
    return (bytes((length,)) if length < 127 else integer(length, 7, 0)) + value  # noqa: PLR2004 # fits the prefix


def _encoded(text: str) -> bytes:
    """Return printable ASCII: nothing else is in a header of ours, and nothing that could end it (RFC 9113, 8.2.1)."""
    if not (text.isascii() and text.isprintable()):
        raise InvalidHeader("a header with characters that can't be sent")
    return text.encode("ascii")


class RequestBlocks:
    """The blocks of one connection, to be sent in the order in which they are made."""

    def __init__(self, authority: str) -> None:
        self._authority = (b":authority", _encoded(authority))
        self._limit = DEFAULT_TABLE
        self._entries: dict[tuple[bytes, bytes], int] = {}  # how many were inserted before it
        self._inserted = 0
        self._size = 0
        self._renewal = b""  # tells the peer that the table begins anew
        self._known: dict[SharedHeaders, tuple[bytes, bytes]] = {}

    def limit_table(self, size: int) -> None:
        """Take the peer's SETTINGS_HEADER_TABLE_SIZE. The next block says so (RFC 7541, 4.2)."""
        size = min(size, DEFAULT_TABLE)
        if size != self._limit:
            self._limit = size
            self._renew()

    def block(self, path: str, shared: SharedHeaders, own: Sequence[Header], length: int) -> bytes:
        """Return the block of a POST of ``length`` bytes. Raises ``InvalidHeader``, and is as before then."""
        literals = [_literal(name, value) for name, value in own]
        path_bytes = string(_encoded(path))
        pseudo, regular = self._known.get(shared) or self._put(shared)
        renewal, self._renewal = self._renewal, b""
        return b"".join(
            (renewal, pseudo, _PATH, path_bytes, regular, *literals, _CONTENT_LENGTH, string(b"%d" % length))
        )

    def _put(self, shared: SharedHeaders) -> tuple[bytes, bytes]:
        """Return the parts of the block that all these requests share, inserting what is not in the table yet."""
        fields = [(_encoded(name), _encoded(value)) for name, value in shared.fields]
        missing = {field for field in (self._authority, *fields) if field not in self._entries}
        if self._size + sum(map(_entry_size, missing)) > self._limit:
            self._renew()
        before = self._inserted
        first = _POST + _HTTPS + self._field(self._authority), b"".join(map(self._field, fields))
        if self._inserted != before:
            self._known.clear()  # references count back from the newest entry
        if len(self._known) >= _KEPT:
            self._known.clear()
        self._known[shared] = _POST + _HTTPS + self._field(self._authority), b"".join(map(self._field, fields))
        return first

    def _field(self, field: tuple[bytes, bytes]) -> bytes:
        """Return a reference to the field, or the field itself, which is in the table then if it fits."""
        at = self._entries.get(field)
        if at is not None:
            return integer(_STATIC_ENTRIES + self._inserted - at, 7, 0x80)
        name, value = field
        if self._size + _entry_size(field) > self._limit:
            return b"\x00" + string(name) + string(value)
        self._entries[field] = self._inserted
        self._inserted += 1
        self._size += _entry_size(field)
        return b"\x40" + string(name) + string(value)

    def _renew(self) -> None:
        """Empty the table: a size of nothing, and then the size it may have."""
        self._renewal = b"\x20" + integer(self._limit, 5, 0x20)
        self._entries.clear()
        self._known.clear()
        self._inserted = self._size = 0


def _literal(name: str, value: str) -> bytes:
    return b"\x00" + string(_encoded(name)) + string(_encoded(value))


def _entry_size(field: tuple[bytes, bytes]) -> int:
    return len(field[0]) + len(field[1]) + _ENTRY_OVERHEAD


class ResponseBlocks:
    """Reads the blocks of one connection.

    With a ``table`` of 0 (SETTINGS_HEADER_TABLE_SIZE) each block stands for itself: equal ones are decoded once, and
    headers when somebody looks at them. Otherwise every block has to be decoded, in order.
    """

    def __init__(self, table: int = 0) -> None:
        self._stateless = table == 0
        self._decoder = _decoder(table)
        self._statuses: dict[bytes, int] = {}

    def read(self, block: bytes) -> tuple[int | None, Mapping[str, str]]:
        """Return the status, None where there is none (trailers), and the headers. Raises ``ConnectionFault``."""
        if not self._stateless:
            headers = _decode(self._decoder, block)
            return _status(headers), headers
        first = block[1] if block[:1] == b"\x20" and len(block) > 1 else block[0] if block else 0
        status = _STATIC_STATUS.get(first) or self._statuses.get(block)
        if status is not None:
            return status, _LateHeaders(block)
        headers = _decode(self._decoder, block)
        found = _status(headers)
        if found is not None and len(self._statuses) < _KEPT:
            self._statuses[block] = found
        return found, headers


class _LateHeaders(Mapping[str, str]):
    """Headers that are decoded when somebody looks at them. What can't be decoded is as good as absent."""

    __slots__ = ("_block", "_headers")

    def __init__(self, block: bytes) -> None:
        self._block = block
        self._headers: Mapping[str, str] | None = None

    def _read(self) -> Mapping[str, str]:
        if self._headers is None:
            try:
                self._headers = _decode(_decoder(0), self._block)
            except ConnectionFault:
                self._headers = {}
        return self._headers

    def __getitem__(self, name: str) -> str:
        return self._read()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())


def _decoder(table: int) -> hpack.Decoder:
    decoder = hpack.Decoder(max_header_list_size=LARGEST_BLOCK)
    decoder.max_allowed_table_size = decoder.header_table_size = table
    return decoder


def _decode(decoder: hpack.Decoder, block: bytes) -> dict[str, str]:
    try:
        fields = decoder.decode(block, raw=True)
    except Exception as error:  # hpack lets IndexError and others through besides its own
        raise ConnectionFault(ErrorCode.COMPRESSION_ERROR) from error
    return {bytes(name).decode("latin-1"): bytes(value).decode("latin-1") for name, value in fields}


def _status(headers: Mapping[str, str]) -> int | None:
    status = headers.get(":status", "")
    return int(status) if len(status) == 3 and status.isascii() and status.isdigit() else None  # noqa: PLR2004 # RFC 9110, 15
