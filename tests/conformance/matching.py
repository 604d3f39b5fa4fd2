"""Compares an answer with what a case says: values, and words in angle brackets that stand for a form."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

_TAIL = r"[0-7][a-hjkmnpqrstv-z0-9]{25}"
_FORMS: Mapping[str, re.Pattern[str]] = {
    name: re.compile(pattern, re.ASCII)
    for name, pattern in {
        "user id": f"comms_pushnotificationuser_{_TAIL}",
        "registration id": f"comms_device_registration_{_TAIL}",
        "credential id": f"comms_credential_{_TAIL}",
        "notification id": f"comms_pushnotification_{_TAIL}",
        "operation id": f"comms_operation_{_TAIL}",
        "webhook id": f"comms_webhook_{_TAIL}",
        "delivery id": f"comms_webhook_delivery_{_TAIL}",
        "webhook secret": r"whsec_[A-Za-z0-9+/]{43}=",
        "time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
        "day": r"\d{4}-\d\d-\d\d",
        "page token": r"[A-Za-z0-9_-]+",
        "stream token": r"pharos_stream_[A-Za-z0-9_-]+",
        "end id": r"[A-Za-z0-9_-]+\.end",
        "text": r"(?s:.+)",
        "url": r"https?://\S+",
    }.items()
}
_FORM = re.compile(r"<([a-z0-9 ]+)>")
_SECONDS = re.compile(r"(unix time in|about) (\d+)s")
_LATE: Final = 60  # seconds that may have passed since what a form counts from, and no more than half of its own


def differences(expected: Any, found: Any, *, more: bool = False, path: str = "$") -> Iterator[str]:
    """Yield what is not as expected, each with its path. With ``more`` objects may have further members."""
    match expected:
        case str():
            yield from _text(expected, found, path)
        case dict():
            yield from _object(expected, found, more=more, path=path)
        case list():
            yield from _list(expected, found, more=more, path=path)
        case _:
            if found != expected or isinstance(found, bool) != isinstance(expected, bool):
                yield f"{path}: expected {expected!r}, found {found!r}"


def _text(expected: str, found: Any, path: str) -> Iterator[str]:
    form = _FORM.fullmatch(expected)
    if not (found == expected if form is None else _has_form(form[1], found)):
        yield f"{path}: expected {expected!r}, found {found!r}"


def _has_form(form: str, found: Any) -> bool:
    if form == "anything":
        return True
    if form == "number":
        return isinstance(found, int | float) and not isinstance(found, bool)
    return isinstance(found, str) and _is_such_text(form, found)


def _is_such_text(form: str, found: str) -> bool:
    seconds = _SECONDS.fullmatch(form)
    if seconds is not None:
        return _is_near(found, int(seconds[2]), unix=seconds[1] != "about")
    if form == "today":
        now = datetime.now(UTC)
        return found in {str(when.date()) for when in (now, now - timedelta(seconds=_LATE))}
    return _FORMS[form].fullmatch(found) is not None


def _is_near(found: str, seconds: int, *, unix: bool) -> bool:
    """Whether the text is so many seconds from now, as Unix time or as `90s`, less what passed on the way here."""
    digits = found if unix else found.removesuffix("s")
    if not (digits.isascii() and digits.isdecimal()) or (not unix and digits == found):
        return False
    left = int(digits) - (time.time() if unix else 0)
    return seconds - min(_LATE, seconds / 2) <= left <= seconds


def _object(expected: Mapping[str, Any], found: Any, *, more: bool, path: str) -> Iterator[str]:
    if not isinstance(found, dict):
        yield f"{path}: expected an object, found {found!r}"
        return
    unwanted = {name for name, value in expected.items() if value == "<absent>"}
    for name in unwanted & found.keys():
        yield f"{path}.{name}: was not expected, and is {found[name]!r}"
    for name in expected.keys() - found.keys() - unwanted:
        yield f"{path}.{name}: is missing"
    for name in () if more else found.keys() - expected.keys():
        yield f"{path}.{name}: was not expected, and is {found[name]!r}"
    for name in expected.keys() & found.keys() - unwanted:
        yield from differences(expected[name], found[name], more=more, path=f"{path}.{name}")


def _list(expected: list[Any], found: Any, *, more: bool, path: str) -> Iterator[str]:
    if not isinstance(found, list) or len(found) != len(expected):
        yield f"{path}: expected {len(expected)} elements, found {found!r}"
        return
    for index, (wanted, got) in enumerate(zip(expected, found, strict=True)):
        yield from differences(wanted, got, more=more, path=f"{path}[{index}]")
