"""Errors as callers get them: a google.rpc.Status with details, made here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import code_pb2
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo, RetryInfo
from google.rpc.status_pb2 import Status
from pharos.push.v1 import errors_pb2

from server.domain.errors import (
    Conflict,
    DomainError,
    Invalid,
    NotFound,
    NotImplementedYet,
    SlowReader,
    TokenExpired,
    TokenForeign,
    TokenMalformed,
    Unauthenticated,
    Unavailable,
    Violation,
)

DOMAIN: Final = "push.pharos"
MAX_VIOLATIONS: Final = 50

# Clients refuse trailers over 8 KiB, and then report RESOURCE_EXHAUSTED instead of the error itself.
_VIOLATION_BYTES: Final = 6000
_MESSAGE_LENGTH: Final = 400
_FIELD_LENGTH: Final = 200

_PREFIX: Final = "ERROR_REASON_"
_Reason = errors_pb2.ErrorReason
_CODES: Final[dict[type[DomainError], tuple[int, errors_pb2.ErrorReason.ValueType]]] = {
    Invalid: (code_pb2.INVALID_ARGUMENT, _Reason.ERROR_REASON_INVALID_ARGUMENT),
    TokenMalformed: (code_pb2.INVALID_ARGUMENT, _Reason.ERROR_REASON_RESUME_TOKEN_MALFORMED),
    TokenForeign: (code_pb2.INVALID_ARGUMENT, _Reason.ERROR_REASON_RESUME_TOKEN_FOREIGN),
    TokenExpired: (code_pb2.INVALID_ARGUMENT, _Reason.ERROR_REASON_RESUME_TOKEN_EXPIRED),
    Unauthenticated: (code_pb2.UNAUTHENTICATED, _Reason.ERROR_REASON_UNAUTHENTICATED),
    NotFound: (code_pb2.NOT_FOUND, _Reason.ERROR_REASON_NOT_FOUND),
    Conflict: (code_pb2.ABORTED, _Reason.ERROR_REASON_CONFLICT),
    NotImplementedYet: (code_pb2.UNIMPLEMENTED, _Reason.ERROR_REASON_UNIMPLEMENTED),
    SlowReader: (code_pb2.RESOURCE_EXHAUSTED, _Reason.ERROR_REASON_SLOW_READER),
    Unavailable: (code_pb2.UNAVAILABLE, _Reason.ERROR_REASON_UNAVAILABLE),
}


def status_of(error: Exception, request_id: str) -> Status:
    """Return what the caller is told: of errors that are not the domain's, the request id and nothing else."""
    if isinstance(error, DomainError):
        code, reason = _CODES[type(error)]
        return _status(code, reason, str(error), list(_details(error)))
    return _status(
        code_pb2.INTERNAL,
        _Reason.ERROR_REASON_INTERNAL,
        f"internal error; ask about request {request_id}",
        [RequestInfo(request_id=request_id)],
    )


def _status(code: int, reason: errors_pb2.ErrorReason.ValueType, text: str, details: Sequence[Message]) -> Status:
    status = Status(code=code, message=_short(text, _MESSAGE_LENGTH))
    info = ErrorInfo(reason=_Reason.Name(reason).removeprefix(_PREFIX), domain=DOMAIN)
    for detail in (info, *details):
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def _details(error: DomainError) -> Iterator[Message]:
    if isinstance(error, Invalid):
        yield _bad_request(error.violations)
    if isinstance(error, Conflict | Unavailable) and error.retry_after is not None:
        delay = Duration()
        delay.FromMilliseconds(round(error.retry_after * 1000))
        yield RetryInfo(retry_delay=delay)


def _bad_request(violations: Sequence[Violation]) -> BadRequest:
    """The first violations, as many as can be sent."""
    answer = BadRequest()
    left = _VIOLATION_BYTES
    for violation in violations[:MAX_VIOLATIONS]:
        field = BadRequest.FieldViolation(
            field=_short(violation.field, _FIELD_LENGTH), description=_short(violation.message, _MESSAGE_LENGTH)
        )
        left -= field.ByteSize()
        if left < 0:
            break
        answer.field_violations.append(field)
    return answer


def _short(text: str, length: int) -> str:
    """At most ``length`` ASCII characters: gRPC sends any other one as up to 12."""
    escaped = text.encode("ascii", "backslashreplace").decode()
    return escaped if len(escaped) <= length else escaped[: length - 3] + "..."
