"""Reads the written dates that JavaScript's ``Date`` reads too: ISO 8601, mail headers, and common English forms."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

_MAX_LENGTH = 64
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = (
    r"(?P<year>\d{4})[-/](?P<month>\d{1,2})(?:[-/](?P<day>\d{1,2}))?",  # 2026-3-5, 2026/03/05, 2026-03
    r"(?P<month>\d{1,2})/(?P<day>\d{1,2})/(?P<year>\d{4})",  # 3/5/2026, American as in JavaScript
    r"(?P<day>\d{1,2})[ -](?P<name>[a-z]{3,9})[ -](?P<year>\d{4})",  # 5 Mar 2026
    r"(?P<name>[a-z]{3,9}) (?P<day>\d{1,2}),? (?P<year>\d{4})",  # March 5, 2026
)
_WEEKDAY = r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]{0,6},? )?"
_TIME = r"(?:(?:,? |t)(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.\d{1,9})?)?(?: ?(?P<half>[ap]m))?)?"
_ZONE = r"(?: ?(?:z|utc|gmt)?(?P<offset>[+-]\d\d:?\d\d)?)"
_FORMS = tuple(re.compile(_WEEKDAY + day + _TIME + _ZONE, re.IGNORECASE | re.ASCII) for day in _DAYS)
_NOON = 12


def parse(written: str) -> datetime | None:
    """The moment that a text names, in UTC where it names no zone; None if it is no date."""
    written = written.strip()
    if len(written) > _MAX_LENGTH:
        return None
    try:
        moment = datetime.fromisoformat(written)
    except ValueError:
        return _parse_form(written)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _parse_form(written: str) -> datetime | None:
    for form in _FORMS:
        if found := form.fullmatch(written):
            return _built(found.groupdict())
    return None


def _built(parts: dict[str, str | None]) -> datetime | None:
    try:
        return datetime(
            int(parts["year"] or 0),
            _month(parts),
            int(parts["day"] or 1),
            _hour(parts),
            int(parts["minute"] or 0),
            int(parts["second"] or 0),
            tzinfo=_zone(parts["offset"]),
        )
    except ValueError:
        return None


def _month(parts: dict[str, str | None]) -> int:
    name = parts.get("name")
    return _MONTHS.index(name[:3].lower()) + 1 if name else int(parts.get("month") or 1)


def _hour(parts: dict[str, str | None]) -> int:
    hour = int(parts["hour"] or 0)
    if not parts["half"]:
        return hour
    return hour % _NOON + (_NOON if parts["half"].lower() == "pm" else 0)


def _zone(offset: str | None) -> timezone:
    if not offset:
        return UTC
    minutes = int(offset[1:3]) * 60 + int(offset[-2:])
    return timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes))
