"""The Retry-After header (RFC 9110, 10.2.3)."""

from __future__ import annotations

from email.utils import parsedate_to_datetime


def seconds(value: str | None, now: float) -> float | None:
    """Seconds to wait from ``now`` (Unix time), from a number or an HTTP date; None when absent or malformed."""
    if not value:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, OverflowError):
        return None
