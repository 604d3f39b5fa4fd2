"""Header blocks (HPACK, RFC 7541): requests mostly by index into the peer's table, responses decoded when looked at."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import hpack

from server.providers.http2.frames import ConnectionBroken, ErrorCode, StreamBroken
from server.providers.transport import Header, SharedHeaders

logging.getLogger("hpack").setLevel(logging.WARNING)  # it logs headers, which hold tokens

DEFAULT_TABLE_SIZE = 4096

_POST_HTTPS = b"\x83\x87"  # :method and :scheme, entries 3 and 7 of the static table
_STATIC_ENTRIES = 61
_ENTRY_OVERHEAD = 32  # 4.1
_MOST_KNOWN = 64

_AUTHORITY_NAME, _PATH_NAME = "\x01", "\x04"  # entries 1 and 4, in literals without indexing
_INDEXING = 0x40  # makes a literal one with indexing, 6.2.1
_EMPTY_TABLE = b"\x20"  # a dynamic table size update to 0, 6.3
_STATUS_DIGITS = 3
_SEVEN_BITS = 0x7F
_STATUS_BY_INDEX = {0x88: 200, 0x89: 204, 0x8A: 206, 0x8B: 304, 0x8C: 400, 0x8D: 404, 0x8E: 500}
_STATUS_NAMES = frozenset({0x08, 0x18, 0x48})  # a literal named by entry 8: without, never, and with indexing


class UnsendableHeader(ValueError):
    """A name or value that must not be in a request (RFC 9113, 8.2.1)."""


def integer(value: int, prefix_bits: int, first: int) -> bytes:
    """An integer in the low ``prefix_bits`` of a byte whose other bits are ``first``, and the bytes after it (5.1)."""
    most = (1 << prefix_bits) - 1
    if value < most:
        return bytes((first | value,))
    found = bytearray((first | most,))
    value -= most
    while value > _SEVEN_BITS:
        found.append(value & _SEVEN_BITS | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


_LENGTHS = [integer(length, 7, 0).decode("latin-1") for length in range(512)]


def _length(length: int) -> str:
    """The length of a string literal; as text, so that a whole block's strings are encoded at once."""
    return _LENGTHS[length] if length < len(_LENGTHS) else integer(length, 7, 0).decode("latin-1")


@functools.lru_cache(maxsize=256)
def _name(name: str) -> str:
    """The name of a literal without indexing (6.2.2)."""
    if not name.isascii() or name != name.lower() or not name.replace("-", "").isalnum():
        raise UnsendableHeader
    return "\0" + _length(len(name)) + name


def _check_values(values: list[str]) -> None:
    """Only printable ASCII passes: parts of the values come from users, and none may end a line."""
    text = "".join(values)
    if not text.isascii() or not text.isprintable():
        raise UnsendableHeader
    if " " in text and any(value != value.strip() for value in values):
        raise UnsendableHeader


def _literals(fields: Sequence[Header]) -> bytes:
    """Literals without indexing."""
    _check_values([value for _, value in fields])
    return "".join([f"{_name(name)}{_length(len(value))}{value}" for name, value in fields]).encode("latin-1")


def _path(path: str) -> bytes:
    if not path.isascii() or not path.isprintable() or " " in path or not path.startswith("/"):
        raise UnsendableHeader
    return f"{_PATH_NAME}{_length(len(path))}{path}".encode("latin-1")


class RequestBlocks:
    """Encodes the requests of one connection, all POSTs to ``authority``.

    What requests share is put into the peer's dynamic table once, and is a byte per header from then on. An entry
    is never evicted: when the table is full it is started anew.
    """

    def __init__(self, authority: str) -> None:
        self._authority = authority
        self._limit = DEFAULT_TABLE_SIZE
        self._forget()
        self._last_path = ""  # FCM has only one
        self._encoded_path = b""
        self._resizes = b""  # what the next block has to begin with

    def resize(self, limit: int) -> None:
        """The peer's SETTINGS_HEADER_TABLE_SIZE. 4.2: a smaller table is announced in the next block."""
        limit = min(limit, DEFAULT_TABLE_SIZE)
        if limit != self._limit:
            self._limit = limit
            self._restart()

    def encode(self, path: str, shared: SharedHeaders, own: Sequence[Header], body_length: int) -> bytes:
        """The block. Raises UnsendableHeader, and then the peer's table is as it was."""
        if path != self._last_path:
            self._encoded_path = _path(path)
            self._last_path = path
        last = _literals(own) if own else b""
        before, after = self._known.get(shared) or self._introduce(shared)
        digits = b"%d" % body_length
        return b"%b%b%b\x0f\x0d%c%b%b" % (before, self._encoded_path, after, len(digits), digits, last)

    def _introduce(self, shared: SharedHeaders) -> tuple[bytes, bytes]:
        """What stands before and after the path, for a first use; the short form for the next ones is noted."""
        fields = [(":authority", self._authority), *shared.fields]
        _check_values([value for _, value in fields])
        names = [_AUTHORITY_NAME, *(_name(name) for name, _ in shared.fields)]
        literals = [
            f"{name}{_length(len(value))}{value}".encode("latin-1")
            for name, (_, value) in zip(names, fields, strict=True)
        ]
        self._make_room(fields)
        resizes, self._resizes = self._resizes, b""
        first = [self._enter(*pair) for pair in zip(fields, literals, strict=True)]
        short = [self._by_index(field) or literal for field, literal in zip(fields, literals, strict=True)]
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[shared] = _POST_HTTPS + short[0], b"".join(short[1:])
        return resizes + _POST_HTTPS + first[0], b"".join(first[1:])

    def _make_room(self, fields: list[Header]) -> None:
        added = sum(_size(field) for field in fields if field not in self._entries)
        if self._size + added > self._limit >= sum(map(_size, fields)):
            self._restart()

    def _enter(self, field: Header, literal: bytes) -> bytes:
        """By index, or else with its entry into the table (6.2.1), or else, where it does not fit, as it is (6.2.2)."""
        indexed = self._by_index(field)
        if indexed or self._size + _size(field) > self._limit:
            return indexed or literal
        self._entries[field] = len(self._entries)
        self._size += _size(field)
        self._known.clear()  # every other entry has moved by one
        return bytes((literal[0] | _INDEXING,)) + literal[1:]

    def _by_index(self, field: Header) -> bytes:
        """The newest entry has the lowest index (2.3.3); empty when there is none."""
        position = self._entries.get(field)
        return b"" if position is None else integer(_STATIC_ENTRIES + len(self._entries) - position, 7, 0x80)

    def _restart(self) -> None:
        """Empty the peer's table, also where the limit changed to less and back before a block told (4.2)."""
        self._forget()
        self._resizes = _EMPTY_TABLE + (integer(self._limit, 5, _EMPTY_TABLE[0]) if self._limit else b"")

    def _forget(self) -> None:
        self._entries: dict[Header, int] = {}
        self._size = 0
        self._known: dict[SharedHeaders, tuple[bytes, bytes]] = {}


def _size(field: Header) -> int:
    return len(field[0]) + len(field[1]) + _ENTRY_OVERHEAD


class ResponseBlocks(Protocol):
    """Decodes the header blocks of one connection's responses, all of them and in their order."""

    table_size: int

    def decode(self, block: bytes) -> tuple[int, Mapping[str, str]]:
        """The status and the headers. Raises ConnectionBroken or StreamBroken."""

    def skip(self, block: bytes) -> None:
        """Take note of a block that nobody waits for. Raises ConnectionBroken."""


class StatelessBlocks:
    """With a table of size 0 a block can be decoded at any time, or never: only the status is read at once."""

    table_size = 0

    def decode(self, block: bytes) -> tuple[int, Mapping[str, str]]:
        """Headers that can't be decoded are none: without a table they spoil nothing else."""
        status = _STATUS_BY_INDEX.get(block[0]) if block else None
        return _status(block) if status is None else status, LazyHeaders(block)

    def skip(self, block: bytes) -> None:
        pass


class LazyHeaders(Mapping[str, str]):
    """The headers of a response, decoded when first asked for."""

    __slots__ = ("_block", "_fields")

    def __init__(self, block: bytes) -> None:
        self._block = block
        self._fields: dict[str, str] | None = None

    def __getitem__(self, name: str) -> str:
        return self._decoded()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._decoded())

    def __len__(self) -> int:
        return len(self._decoded())

    def _decoded(self) -> dict[str, str]:
        if self._fields is None:
            try:
                self._fields = _regular(_decode(_tableless(), self._block))
            except ConnectionBroken:
                self._fields = {}
        return self._fields


class StatefulBlocks:
    """For peers that use their table although it should be empty: every block is decoded, at its cost."""

    def __init__(self, table_size: int) -> None:
        self.table_size = table_size
        self._decoder = hpack.Decoder()
        self._decoder.max_allowed_table_size = max(table_size, DEFAULT_TABLE_SIZE)

    def decode(self, block: bytes) -> tuple[int, Mapping[str, str]]:
        fields = _decode(self._decoder, block)
        return _status_of(fields), _regular(fields)

    def skip(self, block: bytes) -> None:
        _decode(self._decoder, block)


def _tableless() -> hpack.Decoder:
    decoder = hpack.Decoder()
    decoder.header_table_size = decoder.max_allowed_table_size = 0
    return decoder


def _decode(decoder: hpack.Decoder, block: bytes) -> list[Header]:
    try:
        return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in decoder.decode(block, raw=True)]
    except hpack.OversizedHeaderListError:
        raise ConnectionBroken(ErrorCode.ENHANCE_YOUR_CALM) from None
    except hpack.HPACKError:
        raise ConnectionBroken(ErrorCode.COMPRESSION_ERROR) from None


def _regular(fields: list[Header]) -> dict[str, str]:
    return {name: value for name, value in fields if not name.startswith(":")}


def _status_of(fields: list[Header]) -> int:
    """RFC 9113, 8.3.2: the one pseudo-header, before all others."""
    name, value = fields[0] if fields else ("", "")
    if name != ":status" or len(value) != _STATUS_DIGITS or not value.isascii() or not value.isdecimal():
        raise StreamBroken(ErrorCode.PROTOCOL_ERROR)
    return int(value)


def _status(block: bytes) -> int:
    """The status where it is not the block's first byte: behind table updates, or spelled out."""
    start = 0
    while block.startswith(_EMPTY_TABLE, start):
        start += 1
    if start < len(block) - 1 and block[start] in _STATUS_NAMES:
        return _literal_status(block[start : start + 2 + (block[start + 1] & 0x7F)])
    if block[start : start + 1] < b"\x80":  # its name is spelled out as well
        return _status_of(_decode(_tableless(), block[start:]))
    return _literal_status(block[start : start + 1])


@functools.lru_cache(maxsize=1024)
def _literal_status(field: bytes) -> int:
    return _status_of(_decode(_tableless(), field))
