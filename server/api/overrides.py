"""A send's overrides: JSON that a caller has merged into the providers' messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from pharos.push.v1 import push_notifications_pb2 as pb

from server.api.problems import Problems
from server.domain.errors import Invalid, Violation
from server.domain.operations import Overrides

_TARGETS: Final = ("token", "topic", "condition", "fid")
_decode_object = msgspec.json.Decoder(dict[str, Any]).decode


def overrides_of(overrides: pb.Overrides) -> Overrides:
    """Return the objects. Raises ``Invalid`` for what is none, and for what would send to somebody else."""
    problems = Problems()
    fcm = problems.collect(lambda: _object(overrides.fcm_json, "overrides.fcm_json")) or {}
    apn = problems.collect(lambda: _object(overrides.apn_json, "overrides.apn_json")) or {}
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
    for key in _TARGETS:
        if key in fcm:
            yield Violation("overrides.fcm_json", f"{key} can't be overridden: it says who gets the push")
    data = fcm.get("data", {})
    if not isinstance(data, dict) or not all(value is None or isinstance(value, str) for value in data.values()):
        yield Violation("overrides.fcm_json", "data must be an object of texts")


def _apn_problems(apn: Mapping[str, Any]) -> Iterator[Violation]:
    if not isinstance(apn.get("aps", {}), dict):
        yield Violation("overrides.apn_json", "aps must be an object")
