"""The errors that callers of the client see, made from the google.rpc.Status of a failed call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field of the request that the service refused: its path, and why."""

    field: str
    description: str


class UsageError(ValueError):
    """The command line does not make sense."""


class PushError(Exception):
    """A call that the service did not carry out.

    `code` is gRPC's; `reason` the name of an `ErrorReason` without its prefix, empty when the service did not
    answer itself; `violations` the refused fields (at most 50); `retry_after` seconds, or None; `request_id` what
    to quote when asking about an internal error.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        *,
        reason: str = "",
        violations: tuple[FieldViolation, ...] = (),
        retry_after: float | None = None,
        request_id: str = "",
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.reason = reason
        self.violations = violations
        self.retry_after = retry_after
        self.request_id = request_id

    def __str__(self) -> str:
        refused = "".join(f"\n  {each.field}: {each.description}" for each in self._unmentioned())
        return f"{self.reason or self.code.name}: {self.message}{refused}"

    def _unmentioned(self) -> list[FieldViolation]:
        """The service's text of a single violation is that violation."""
        return [each for each in self.violations if each.description not in self.message]

    @classmethod
    def from_call(cls, error: grpc.aio.AioRpcError) -> PushError:
        """The error of a failed call, as the class that its code stands for."""
        details = _Details.of(error)
        kind = ResumeTokenError if details.names_token else _KINDS.get(error.code(), PushError)
        return kind(
            error.code(),
            error.details() or "",
            reason=details.info.reason.removeprefix("ERROR_REASON_"),
            violations=tuple(FieldViolation(v.field, v.description) for v in details.request.field_violations),
            retry_after=details.retry_after,
            request_id=details.about.request_id,
        )


class InvalidArgumentError(PushError):
    """A field is malformed or out of range, or the whole message is."""


class ResumeTokenError(InvalidArgumentError):
    """The stream can't go on behind this token: it is too old, another stream's, or no token. Begin anew without."""


class UnauthenticatedError(PushError):
    """No credentials, or wrong ones."""


class ForbiddenError(PushError):
    """The account may not do this."""


class NotFoundError(PushError):
    """There is no such resource in the account."""


class ConflictError(PushError):
    """The resource is in a state that does not allow the call."""


class RateLimitedError(PushError):
    """Too many requests, or too much in one; `retry_after` says when to come back."""


class UnavailableError(PushError):
    """The service can't be reached or can't answer now."""


class DeadlineError(PushError):
    """The service did not answer in time; whether the call had an effect is not known."""


_KINDS: dict[grpc.StatusCode, type[PushError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgumentError,
    grpc.StatusCode.OUT_OF_RANGE: InvalidArgumentError,
    grpc.StatusCode.UNAUTHENTICATED: UnauthenticatedError,
    grpc.StatusCode.PERMISSION_DENIED: ForbiddenError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.ALREADY_EXISTS: ConflictError,
    grpc.StatusCode.FAILED_PRECONDITION: ConflictError,
    grpc.StatusCode.ABORTED: ConflictError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: RateLimitedError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineError,
}


@dataclass(frozen=True, slots=True)
class _Details:
    """The details that the service attaches to an error."""

    info: error_details_pb2.ErrorInfo
    request: error_details_pb2.BadRequest
    retry: error_details_pb2.RetryInfo
    about: error_details_pb2.RequestInfo

    @property
    def retry_after(self) -> float | None:
        if not self.retry.HasField("retry_delay"):
            return None
        return float(self.retry.retry_delay.seconds + self.retry.retry_delay.nanos / 1e9)

    @property
    def names_token(self) -> bool:
        """Whether the service refused a resume token."""
        return any(violation.field == "resume_token" for violation in self.request.field_violations)

    @classmethod
    def of(cls, error: grpc.aio.AioRpcError) -> Self:
        found = cls(
            error_details_pb2.ErrorInfo(),
            error_details_pb2.BadRequest(),
            error_details_pb2.RetryInfo(),
            error_details_pb2.RequestInfo(),
        )
        parts: tuple[Message, ...] = (found.info, found.request, found.retry, found.about)
        for packed in _status(error).details:
            for part in parts:
                if packed.Is(part.DESCRIPTOR):
                    packed.Unpack(part)
        return found


def _status(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    """The attached status; an empty one where a proxy or gRPC itself answered, or the trailers are damaged."""
    try:
        status = rpc_status.from_call(error)
    except (ValueError, DecodeError):
        return status_pb2.Status()
    return status or status_pb2.Status()
