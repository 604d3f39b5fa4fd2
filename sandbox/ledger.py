"""What the sandbox accepted, so that a test can count losses and duplicates exactly.

A record is kept as it came; records are packed and compressed by the hundred, and parsed when somebody asks.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import msgspec

_SEGMENT = 256  # records packed at once: about a millisecond of work
_HIDDEN = b"authorization"  # a bearer token is a secret, and the ledger is served over plain HTTP

_Row = tuple[str, str, str, dict[bytes, bytes], bytes, float]


class Provider(StrEnum):
    """The push services, as the API of Pharos names them."""

    FCM = "FCM"
    APN = "APN"


class Record(msgspec.Struct, rename="camel", frozen=True):
    """One accepted push. ``body`` is JSON; ``at`` is RFC 3339 in UTC."""

    provider: str
    token: str
    message_id: str
    headers: dict[str, str]
    body: msgspec.Raw
    at: datetime


class Counts(msgspec.Struct):
    """``duplicates`` counts acceptances of a push id that was accepted before; each is in ``accepted`` too."""

    accepted: int = 0
    rejected: int = 0
    duplicates: int = 0


class Ledger:
    """Every accepted push in order, and how many were rejected."""

    def __init__(self) -> None:
        self._counts: dict[Provider, Counts] = {}
        self._push_ids: set[bytes] = set()
        self._recent: list[_Row] = []
        self._segments: list[bytes] = []
        self.clear()

    def accept(
        self,
        provider: Provider,
        token: str,
        message_id: str,
        *,
        headers: dict[bytes, bytes],
        body: bytes,
        push_id: bytes | None,
    ) -> None:
        """Notes an accepted push; ``push_id`` is the sender's own id, absent if it gave none."""
        counts = self._counts[provider]
        counts.accepted += 1
        if push_id is not None:
            if push_id in self._push_ids:
                counts.duplicates += 1
            self._push_ids.add(push_id)
        self._recent.append((provider, token, message_id, headers, body, time.time()))
        if len(self._recent) >= _SEGMENT:
            self._pack()

    def reject(self, provider: Provider) -> None:
        """Notes that a push was answered with an error."""
        self._counts[provider].rejected += 1

    def accepted(self, provider: Provider) -> int:
        """How many pushes were accepted since the last clear."""
        return self._counts[provider].accepted

    def clear(self) -> None:
        """Forgets everything, the push ids included."""
        self._counts = {provider: Counts() for provider in Provider}
        self._push_ids.clear()
        self._recent.clear()
        self._segments.clear()

    def summary(self) -> dict[str, Counts]:
        """The counts by provider, and their sums under ``total``."""
        counts = self._counts.values()
        total = Counts(
            sum(each.accepted for each in counts),
            sum(each.rejected for each in counts),
            sum(each.duplicates for each in counts),
        )
        return {**{str(provider): each for provider, each in self._counts.items()}, "total": total}

    def records(self, token: str | None = None) -> Iterator[Record]:
        """The accepted pushes, oldest first; ``token`` keeps only those to that device."""
        for row in self._rows():
            if token is None or row[1] == token:
                yield _record(row)

    def entries(self, token: str | None = None) -> list[dict[str, Any]]:
        """The same as plain objects, as ``GET /ledger`` shows them."""
        entries: list[dict[str, Any]] = msgspec.json.decode(self.to_json(token))
        return entries

    def to_json(self, token: str | None = None) -> bytes:
        """A JSON array of the records."""
        encoder = msgspec.json.Encoder()
        return b"[%b]" % b",\n".join(encoder.encode(record) for record in self.records(token))

    def _pack(self) -> None:
        self._segments.append(zlib.compress(msgspec.msgpack.encode(self._recent), 1))
        self._recent.clear()

    def _rows(self) -> Iterator[_Row]:
        for segment in self._segments:
            yield from msgspec.msgpack.decode(zlib.decompress(segment), type=list[_Row])
        yield from self._recent


def _record(row: _Row) -> Record:
    provider, token, message_id, headers, body, at = row
    shown = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers.items() if name != _HIDDEN}
    return Record(provider, token, message_id, shown, msgspec.Raw(body), datetime.fromtimestamp(at, UTC))
