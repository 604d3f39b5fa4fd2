"""Every domain error has its code and reason, and every status fits into 8 KiB of trailers."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from google.rpc import code_pb2
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from pharos.push.v1 import errors_pb2

from server.api.errors import status_of
from server.domain.errors import (
    Conflict,
    DomainError,
    Invalid,
    NotFound,
    NotImplementedYet,
    SlowReader,
    Unauthenticated,
    Unavailable,
    Violation,
)


def _detail(status: Status, kind: type[Any]) -> Any | None:
    found = kind()
    return found if any(packed.Unpack(found) for packed in status.details) else None


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (Invalid(Violation("token", "is required")), code_pb2.INVALID_ARGUMENT, "INVALID_ARGUMENT"),
        (Unauthenticated("who?"), code_pb2.UNAUTHENTICATED, "UNAUTHENTICATED"),
        (NotFound("nothing"), code_pb2.NOT_FOUND, "NOT_FOUND"),
        (Conflict("no"), code_pb2.ABORTED, "CONFLICT"),
        (NotImplementedYet("later"), code_pb2.UNIMPLEMENTED, "UNIMPLEMENTED"),
        (SlowReader("slow"), code_pb2.RESOURCE_EXHAUSTED, "SLOW_READER"),
        (Unavailable("down"), code_pb2.UNAVAILABLE, "UNAVAILABLE"),
        (RuntimeError("oops"), code_pb2.INTERNAL, "INTERNAL"),
    ],
)
def test_each_error_has_its_code_and_reason(error: Exception, code: int, reason: str) -> None:
    status = status_of(error, "req-1")
    info = _detail(status, ErrorInfo)
    assert (status.code, info.reason, info.domain) == (code, reason, "push.pharos")
    assert f"ERROR_REASON_{reason}" in errors_pb2.ErrorReason.DESCRIPTOR.values_by_name


def test_no_domain_error_is_forgotten() -> None:
    for kind in DomainError.__subclasses__():
        error = kind(Violation("a", "b")) if kind is Invalid else kind("text")
        assert status_of(error, "req-1").code != code_pb2.INTERNAL, kind


def test_a_conflict_that_waiting_helps_says_how_long() -> None:
    assert _detail(status_of(Conflict("no"), ""), RetryInfo) is None
    assert _detail(status_of(Conflict("no", retry_after=1.5), ""), RetryInfo).retry_delay.ToMilliseconds() == 1500


@pytest.mark.parametrize(
    "violation",
    [
        Violation("f" * 100_000, "m" * 100_000),
        Violation("\u2603" * 1000, "\u2603" * 1000),
        Violation("to[1].token", "is too long"),
    ],
)
def test_a_status_fits_into_the_trailers(violation: Violation) -> None:
    status = status_of(Invalid(*[violation] * 60), "req-1")
    assert len(quote(status.message)) + status.ByteSize() < 7800
    assert 1 <= len(_detail(status, BadRequest).field_violations) <= 50
