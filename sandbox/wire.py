"""The seam between the wire (HTTP/2, HTTP/1.1) and the vendors: what a request is and what may be done with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol


@dataclass(slots=True, eq=False)
class Request:
    """One complete request.

    ``headers`` holds the regular fields, names in lower case, in order; of a repeated field the last value.
    ``repeated`` names the fields that came more than once. ``body`` is cut one byte after the listener's limit.
    """

    method: bytes
    path: bytes
    headers: dict[bytes, bytes]
    repeated: frozenset[bytes]
    body: bytes


class Reply(NamedTuple):
    """An ordinary answer. ``headers`` hold neither the status nor a content-length."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""


class Fault(StrEnum):
    """What a provider does instead of answering."""

    STALL = "stall"  # the stream stays open and silent
    CUT = "cut"  # the TCP connection is reset
    RESET = "reset"  # RST_STREAM INTERNAL_ERROR
    REFUSE = "refuse"  # RST_STREAM REFUSED_STREAM
    GOAWAY = "goaway"  # the connection is given up


@dataclass(frozen=True, slots=True)
class GoAway:
    """``debug`` is the frame's opaque data; ``drain``: streams at or below the last stream id are still answered."""

    code: int = 0
    debug: bytes = b""
    drain: bool = True


@dataclass(frozen=True, slots=True)
class Scripted:
    """An answer that is more than a reply: late, or a fault, or with a new stream limit announced before it.

    ``processed``: the request was acted upon, so a GOAWAY's last stream id includes it.
    """

    reply: Reply | None = None
    delay: float = 0.0
    fault: Fault | None = None
    goaway: GoAway = field(default_factory=GoAway)
    processed: bool = False
    max_streams: int | None = None


Answer = Reply | Scripted


class Link(Protocol):
    """What a session may ask of its connection."""

    def allow_streams(self, limit: int) -> None:
        """Announces a new SETTINGS_MAX_CONCURRENT_STREAMS."""


class Session(Protocol):
    """One connection's view of a vendor."""

    initial_streams: int  # the first SETTINGS_MAX_CONCURRENT_STREAMS

    def answer(self, request: Request) -> Answer:
        """Decides one request, at once. Never raises for anything a client can send."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a listener announces and enforces. Sizes in bytes, times in seconds."""

    max_header_list: int
    max_body: int
    window: int = 65_535
    idle: float = 300.0
    over_limit: GoAway | None = None  # None: a stream above the limit is refused, the connection lives


class Vendor(Protocol):
    """A provider behind a listener."""

    limits: Limits

    def session(self, link: Link, certificate_uid: str | None) -> Session:
        """Called once per connection; ``certificate_uid`` is the UID of a verified client certificate's subject."""

    def on_connect(self) -> Scripted | None:
        """A scripted fault for a new connection, before its SETTINGS; None in the normal case."""
