"""Compares an answer with what a case says: values, and words in angle brackets that stand for a form."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_TAIL = r"[0-7][a-hjkmnpqrstv-z0-9]{25}"
_FORMS: Mapping[str, re.Pattern[str]] = {
    name: re.compile(pattern, re.ASCII)
    for name, pattern in {
        "user id": f"comms_pushnotificationuser_{_TAIL}",
        "registration id": r"comms_device_registration_[a-hjkmnpqrstv-z0-9]{26,34}",
        "credential id": r"comms_credential_[a-hjkmnpqrstv-z0-9]{26,34}",
        "notification id": f"comms_pushnotification_{_TAIL}",
        "operation id": f"comms_operation_{_TAIL}",
        "time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
        "day": r"\d{4}-\d\d-\d\d",
        "page token": r"[A-Za-z0-9_-]+",
        "text": r"(?s:.+)",
        "url": r"https?://\S+",
    }.items()
}
_FORM = re.compile(r"<([a-z ]+)>")


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
    if form is None:
        if found != expected:
            yield f"{path}: expected {expected!r}, found {found!r}"
    elif form[1] == "number":
        if isinstance(found, bool) or not isinstance(found, int | float):
            yield f"{path}: expected a number, found {found!r}"
    elif form[1] != "anything" and not (isinstance(found, str) and _FORMS[form[1]].fullmatch(found)):
        yield f"{path}: expected {expected}, found {found!r}"


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
