"""A send's overrides: JSON that a caller has merged into the providers' messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from pharos.push.v1 import push_notifications_pb2 as pb

from server.api.data_keys import PUSH_ID, RESERVED, is_reserved
from server.api.problems import Problems
from server.domain.errors import Invalid, Violation
from server.domain.operations import Overrides

_FCM: Final = "overrides.fcm_json"
_APN: Final = "overrides.apn_json"
_TARGETS: Final = ("token", "topic", "condition", "fid")
_OPTIONS: Final = frozenset({"fcmOptions", "fcm_options"})  # FCM takes either spelling, and not both
_FIELDS: Final = ("data", "notification", "android", "webpush", "apns", *sorted(_OPTIONS))
_LONGEST_SHOWN: Final = 100
_decode_object = msgspec.json.Decoder(dict[str, Any]).decode


def overrides_of(overrides: pb.Overrides) -> Overrides:
    """Return the objects.

    Raises ``Invalid`` for what is none, for what would send to somebody else, and for what no provider would take: it
    would fail every recipient.
    """
    problems = Problems()
    fcm = problems.collect(lambda: _object(overrides.fcm_json, _FCM)) or {}
    apn = problems.collect(lambda: _object(overrides.apn_json, _APN)) or {}
    problems.violations.extend([*_fcm_problems(fcm), *_apn_problems(apn)])
    problems.raise_any()
    return Overrides(fcm, apn)


def _object(raw: bytes, field: str) -> dict[str, Any]:
    try:
        return _decode_object(raw) if raw else {}
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Invalid(Violation(field, "must be a JSON object")) from None
    except RecursionError:
        raise Invalid(Violation(field, "is nested too deep")) from None


def _fcm_problems(fcm: Mapping[str, Any]) -> Iterator[Violation]:
    for key, value in fcm.items():
        problem = _field_problem(key, value)
        if problem:
            yield Violation(_FCM, f"{key[:_LONGEST_SHOWN]} {problem}")
    if len(_OPTIONS & fcm.keys()) > 1:
        yield Violation(_FCM, f"{' and '.join(sorted(_OPTIONS))} are the same field")
    for path in ("", "android", "webpush"):
        part = fcm.get(path) if path else fcm
        if isinstance(part, Mapping):
            yield from _data_problems(part.get("data"), f"{path}.data".lstrip("."))


def _field_problem(key: str, value: object) -> str | None:
    if key in _TARGETS:
        return "can't be overridden: it says who gets the push"
    if key not in _FIELDS:
        return f"is no field of the message that can be overridden, as {', '.join(_FIELDS)} are"
    if key != "data" and value is not None and not isinstance(value, Mapping):
        return "must be an object"
    return None


def _data_problems(data: object, path: str) -> Iterator[Violation]:
    texts = data if isinstance(data, Mapping) else {}
    if (data is not None and texts is not data) or any(not isinstance(each, str | None) for each in texts.values()):
        yield Violation(_FCM, f"{path} must be an object of texts")
    for key in filter(is_reserved, texts):
        yield Violation(_FCM, f"{path}: {key[:_LONGEST_SHOWN]} {RESERVED}")


def _apn_problems(apn: Mapping[str, Any]) -> Iterator[Violation]:
    if not isinstance(apn.get("aps", {}), dict):
        yield Violation(_APN, "aps must be an object")
    if PUSH_ID in apn:
        yield Violation(_APN, f"{PUSH_ID} can't be overridden: it says which push it is")
