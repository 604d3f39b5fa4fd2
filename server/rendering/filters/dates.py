"""Dates: ``date`` with LiquidJS's format letters, and the fixed forms. Without a zone of its own a date is in UTC."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from liquid.exceptions import FilterArgumentError

from server.rendering.filters.date_texts import parse
from server.rendering.values import is_missing, text

_MAX_FORMAT = 256
_MAX_WIDTH = 100
_DEFAULT_FORMAT = "%A, %B %-e, %Y at %-l:%M %P %z"
_CODE = re.compile(r"%([-_0^#:]+)?(\d{1,4})?[EO]?(.)", re.DOTALL)
_WIDTHS = dict.fromkeys("CdeHIklmMSUWy", 2) | {"j": 3, "L": 3, "Y": 4}
_PADDED_WITH_SPACES = frozenset("aAbBceklpP")


def _ordinal(at: datetime) -> str:
    if at.day in {11, 12, 13}:
        return "th"
    return {1: "st", 2: "nd", 3: "rd"}.get(at.day % 10, "th")


def _week(at: datetime, first_weekday: int) -> str:
    """The week of the year; days before its first ``first_weekday`` (0 is Sunday) are in week 0."""
    into_week = (at.isoweekday() - first_weekday) % 7
    return str((at.timetuple().tm_yday - 1 - into_week + 7) // 7)


def _clock(at: datetime) -> str:
    return f"{at.hour % 12 or 12}:{at:%M:%S %p}"


def _day(at: datetime) -> str:
    return f"{at.month}/{at.day}/{at.year}"


_LETTERS: dict[str, Callable[[datetime], str]] = {
    "a": lambda at: at.strftime("%a"),
    "A": lambda at: at.strftime("%A"),
    "b": lambda at: at.strftime("%b"),
    "h": lambda at: at.strftime("%b"),
    "B": lambda at: at.strftime("%B"),
    "c": lambda at: f"{_day(at)}, {_clock(at)}",
    "C": lambda at: str(at.year // 100),
    "d": lambda at: str(at.day),
    "e": lambda at: str(at.day),
    "H": lambda at: str(at.hour),
    "I": lambda at: str(at.hour % 12 or 12),
    "j": lambda at: str(at.timetuple().tm_yday),
    "k": lambda at: str(at.hour),
    "l": lambda at: str(at.hour % 12 or 12),
    "L": lambda at: str(at.microsecond // 1000),
    "m": lambda at: str(at.month),
    "M": lambda at: str(at.minute),
    "p": lambda at: "AM" if at.hour < 12 else "PM",  # noqa: PLR2004  # noon
    "P": lambda at: "am" if at.hour < 12 else "pm",  # noqa: PLR2004  # noon
    "q": _ordinal,
    "s": lambda at: str(int(at.timestamp() // 1)),
    "S": lambda at: str(at.second),
    "u": lambda at: str(at.isoweekday()),
    "U": lambda at: _week(at, 0),
    "w": lambda at: str(at.isoweekday() % 7),
    "W": lambda at: _week(at, 1),
    "x": _day,
    "X": _clock,
    "y": lambda at: str(at.year % 100),
    "Y": lambda at: str(at.year),
    "Z": lambda at: str(at.tzinfo),
    "t": lambda _: "\t",
    "n": lambda _: "\n",
    "%": lambda _: "%",
}


def _formatted(at: datetime, form: str) -> str:
    if len(form) > _MAX_FORMAT:
        raise FilterArgumentError("date: the format is too long", token=None)
    return _CODE.sub(lambda code: _letter(at, code), form)


def _letter(at: datetime, code: re.Match[str]) -> str:
    flags, width, letter = code[1] or "", min(int(code[2] or 0), _MAX_WIDTH), code[3]
    if letter == "N":
        return f"{at.microsecond // 1000:03}"[: width or 9].ljust(width or 9, "0")
    if letter == "z":
        return _offset(at, ":" if ":" in flags else "")
    if letter not in _LETTERS:
        return code[0]
    return _padded(_cased(_LETTERS[letter](at), flags), letter, flags, width)


def _offset(at: datetime, separator: str) -> str:
    minutes = int((at.utcoffset() or timedelta()).total_seconds() // 60)
    hours, rest = divmod(abs(minutes), 60)
    return f"{'-' if minutes < 0 else '+'}{hours:02}{separator}{rest:02}"


def _cased(shown: str, flags: str) -> str:
    if "^" in flags:
        return shown.upper()
    return shown.swapcase() if "#" in flags and shown.isupper() else shown.upper() if "#" in flags else shown


def _padded(shown: str, letter: str, flags: str, width: int) -> str:
    if "-" in flags:
        return shown
    by_space = "_" in flags or ("0" not in flags and letter in _PADDED_WITH_SPACES)
    return shown.rjust(width or _WIDTHS.get(letter, 0), " " if by_space else "0")


def _zone(named: object) -> tzinfo:
    """A zone by its IANA name, or by the minutes that it is behind UTC, as JavaScript counts them."""
    if is_missing(named):
        return UTC
    try:
        if isinstance(named, int | float):
            return timezone(timedelta(minutes=-named))
        return ZoneInfo(text(named))
    except (ZoneInfoNotFoundError, ValueError, OverflowError, OSError):
        raise FilterArgumentError("date: unknown time zone", token=None) from None


def _date(value: object, zone: object = None) -> datetime | None:
    """The moment that a value names, None if it names none: ``now``, seconds since 1970, or a written date."""
    moment = _moment(value)
    try:
        return moment and moment.astimezone(_zone(zone))
    except OverflowError:
        return None


def _moment(value: object) -> datetime | None:
    if value in ("now", "today"):
        return datetime.now(UTC)
    if isinstance(value, str) and not (value.isdecimal() and value.isascii()):
        return parse(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        return datetime.fromtimestamp(float(value), UTC)
    except (ValueError, OverflowError, OSError):
        return None


def date(value: object, form: object = None, zone: object = None) -> object:
    """What is no date is shown as it is."""
    at = _date(value, zone)
    return _formatted(at, _DEFAULT_FORMAT if is_missing(form) else text(form)) if at else value


def date_to_xmlschema(value: object) -> object:
    return date(value, "%Y-%m-%dT%H:%M:%S%:z")


def date_to_rfc822(value: object) -> object:
    return date(value, "%a, %d %b %Y %H:%M:%S %z")


def date_to_string(value: object, kind: object = None, style: object = None) -> object:
    return _written(value, "%b", kind, style)


def date_to_long_string(value: object, kind: object = None, style: object = None) -> object:
    return _written(value, "%B", kind, style)


def _written(value: object, month: str, kind: object, style: object) -> object:
    if kind != "ordinal":
        return date(value, f"%d {month} %Y")
    return date(value, f"{month} %-d%q, %Y" if style == "US" else f"%-d%q {month} %Y")


FILTERS: dict[str, Callable[..., Any]] = {
    "date": date,
    "date_to_long_string": date_to_long_string,
    "date_to_rfc822": date_to_rfc822,
    "date_to_string": date_to_string,
    "date_to_xmlschema": date_to_xmlschema,
}
