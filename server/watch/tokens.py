"""Resume tokens: opaque to callers, checked when they come back."""

from __future__ import annotations

import base64
import hashlib
import struct
from uuid import UUID

from server.domain.errors import TokenExpired, TokenForeign, TokenMalformed
from server.domain.feed import Filter, Position

_VERSION = 1
_LAYOUT = struct.Struct(">B16sQ8s")  # version, epoch, seq, filter
_CHECK_BYTES = 4


def encode(position: Position, watched: Filter) -> str:
    """Return the token for the place behind ``position`` in this stream."""
    body = _LAYOUT.pack(_VERSION, position.epoch.bytes, position.seq, _digest(watched))
    return base64.urlsafe_b64encode(body + _check(body)).decode().rstrip("=")


def decode(token: str, watched: Filter, now: Position) -> Position:
    """Return the place behind a token. Raises ``Invalid``, in its kinds, for one that is not of this stream or feed."""
    position, digest = _parse(token)
    if digest != _digest(watched):
        raise TokenForeign("it belongs to a stream with another scope or another filter")
    if position.epoch != now.epoch or position.seq > now.seq:
        raise TokenExpired("the feed it belongs to is gone")
    return position


def _parse(token: str) -> tuple[Position, bytes]:
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except ValueError as error:
        raise TokenMalformed("it is not a token") from error
    body, check = raw[:-_CHECK_BYTES], raw[-_CHECK_BYTES:]
    if len(body) != _LAYOUT.size or check != _check(body) or body[0] != _VERSION:
        raise TokenMalformed("it is not a token")
    _, epoch, seq, digest = _LAYOUT.unpack(body)
    return Position(UUID(bytes=epoch), seq), digest


def _check(body: bytes) -> bytes:
    return hashlib.sha256(b"pharos resume token" + body).digest()[:_CHECK_BYTES]


def _digest(watched: Filter) -> bytes:
    """Return 8 bytes that tell this filter from others."""
    parts = (
        watched.account,
        watched.operation,
        sorted(watched.places),
        watched.user,
        watched.app_name,
        sorted(status.value for status in watched.statuses),
        sorted(provider.value for provider in watched.providers),
        sorted(reason.value for reason in watched.reasons),
    )
    return hashlib.sha256(repr(parts).encode()).digest()[:8]
