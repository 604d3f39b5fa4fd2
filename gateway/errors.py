"""Every error a REST caller can see, and the one place where gRPC errors become them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

import grpc
import msgspec
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from starlette.responses import Response

from gateway.schema import header_of, json_path

MAX_PROBLEMS: Final = 50
ERROR_PAGE: Final = "/docs/errors"
_DOMAIN: Final = "push.pharos"
_DETAILS_KEY: Final = "grpc-status-details-bin"
_REQUEST_ID = re.compile(r"[ -~]{1,128}")
_NAME = re.compile(r"[A-Za-z_]\w{0,99}", re.ASCII)

# Codes that clients know by number where it isn't 20000 plus the status.
_CODES: Final = {HTTPStatus.BAD_REQUEST: 20001, HTTPStatus.UNAUTHORIZED: 20003}

_TEXTS: Final = {
    HTTPStatus.BAD_REQUEST: "The request is not valid.",
    HTTPStatus.UNAUTHORIZED: "Credentials are missing or wrong.",
    HTTPStatus.FORBIDDEN: "These credentials may not do this.",
    HTTPStatus.NOT_FOUND: "There is no such resource.",
    HTTPStatus.METHOD_NOT_ALLOWED: "This path does not have this method.",
    HTTPStatus.REQUEST_TIMEOUT: "The request body did not arrive in time.",
    HTTPStatus.CONFLICT: "The resource's state does not allow this.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The request is too large.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The body must be application/json, in UTF-8 and not compressed.",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many requests.",
    HTTPStatus.NOT_IMPLEMENTED: "This server does not have this method.",
    HTTPStatus.SERVICE_UNAVAILABLE: "The service is not available now.",
    HTTPStatus.GATEWAY_TIMEOUT: "The service did not answer in time; whether the request took effect is not known.",
}

_STATUSES: Final = {
    grpc.StatusCode.INVALID_ARGUMENT: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.OUT_OF_RANGE: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    grpc.StatusCode.PERMISSION_DENIED: HTTPStatus.FORBIDDEN,
    grpc.StatusCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS: HTTPStatus.CONFLICT,
    grpc.StatusCode.FAILED_PRECONDITION: HTTPStatus.CONFLICT,
    grpc.StatusCode.ABORTED: HTTPStatus.CONFLICT,
    grpc.StatusCode.RESOURCE_EXHAUSTED: HTTPStatus.TOO_MANY_REQUESTS,
    grpc.StatusCode.UNIMPLEMENTED: HTTPStatus.NOT_IMPLEMENTED,
    grpc.StatusCode.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    grpc.StatusCode.CANCELLED: HTTPStatus.SERVICE_UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: HTTPStatus.GATEWAY_TIMEOUT,
}

# The gRPC library never makes these itself, so their text is always the service's own and meant for callers
# (https://grpc.github.io/grpc/core/md_doc_statuscodes.html).
_SERVICE_ONLY: Final = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.ABORTED,
    }
)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong; `context` is a JSON path or None."""

    message: str
    context: str | None = None


def child_path(path: str, key: str) -> str:
    """The JSON path of an object's member."""
    return f"{path}.{key}" if _NAME.fullmatch(key) else f"{path}[{key[:100]!r}]"


class ApiError(Exception):
    """An answer that is an error: the HTTP status, 1-50 problems, and headers of its own.

    `retry_after`: seconds after which it may have passed, 0 where that is not known.
    """

    def __init__(
        self,
        status: HTTPStatus,
        *problems: Problem,
        headers: dict[str, str] | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(f"{int(status)} {status.name}")
        self.status = status
        self.problems = problems or (Problem(_TEXTS[status]),)
        self.headers = dict(headers or {})
        if status is HTTPStatus.UNAUTHORIZED:
            self.headers["WWW-Authenticate"] = 'Basic realm="pharos"'
        if retry_after is None and status is HTTPStatus.SERVICE_UNAVAILABLE:
            retry_after = 1
        self.retry_after = retry_after or 0
        if retry_after is not None:
            self.headers["Retry-After"] = str(retry_after)

    @property
    def code(self) -> int:
        """The number that clients switch on."""
        return _CODES.get(self.status, 20000 + self.status)

    def body(self, base_url: str) -> bytes:
        """The error document of the REST contract, as JSON."""
        info_url = f"{base_url}{ERROR_PAGE}#{self.code}"
        errors = [
            {"code": self.code, "message": problem.message, "infoUrl": info_url, "context": problem.context}
            for problem in self.problems
        ]
        return msgspec.json.encode({"errors": errors, "status": int(self.status)})

    def response(self, base_url: str) -> Response:
        return Response(self.body(base_url), self.status, self.headers, media_type="application/json")


def internal_error(request_id: str) -> ApiError:
    """500 that says nothing but which request failed."""
    return ApiError(
        HTTPStatus.INTERNAL_SERVER_ERROR, Problem(f"Something went wrong on our side. Request: {request_id}")
    )


def every_error() -> Iterator[ApiError]:
    """One of each kind, as its page explains it."""
    yield from (ApiError(status) for status in _TEXTS)
    yield internal_error("<X-Request-Id>")


def invalid(problems: Iterable[Problem]) -> ApiError:
    """400 with at most 50 of the problems."""
    return ApiError(HTTPStatus.BAD_REQUEST, *list(problems)[:MAX_PROBLEMS])


@dataclass(slots=True)
class _Details:
    """The parts of a `google.rpc.Status` that REST callers get something of."""

    reason: str = ""
    violations: list[error_details_pb2.BadRequest.FieldViolation] = field(default_factory=list)
    retry_after: int | None = None
    request_id: str = ""


def from_rpc(error: grpc.aio.AioRpcError, request: Descriptor, request_id: str) -> ApiError:
    """What a failed call means over REST.

    `request` is the call's request message, whose field names the violations use. Texts of the gRPC library
    and of unexpected failures of the service never pass.
    """
    details = _read_details(error)
    status = _status(error.code(), details.reason)
    if status is HTTPStatus.INTERNAL_SERVER_ERROR:
        return internal_error(details.request_id or request_id)
    problems = list(_violations(details, request)) or list(_text(error, details))
    return ApiError(status, *problems[:MAX_PROBLEMS], retry_after=details.retry_after)


def _status(code: grpc.StatusCode, reason: str) -> HTTPStatus:
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and reason == "TOO_LARGE":
        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    return _STATUSES.get(code, HTTPStatus.INTERNAL_SERVER_ERROR)


def _violations(details: _Details, request: Descriptor) -> Iterator[Problem]:
    for violation in details.violations:
        header = header_of(request, violation.field)
        text = violation.description or _TEXTS[HTTPStatus.BAD_REQUEST]
        yield Problem(f"{header}: {text}" if header else text, json_path(request, violation.field))


def _text(error: grpc.aio.AioRpcError, details: _Details) -> Iterator[Problem]:
    text = error.details()
    if text and (details.reason or error.code() in _SERVICE_ONLY):
        yield Problem(text)


def _read_details(error: grpc.aio.AioRpcError) -> _Details:
    details = _Details()
    with suppress(DecodeError):  # details that can't be read say nothing; the code still does
        for packed in _packed_details(error):
            _take(details, packed)
    return details


def _packed_details(error: grpc.aio.AioRpcError) -> list[Any]:
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            return list(status_pb2.Status.FromString(value).details)
    return []


def _take(details: _Details, packed: Any) -> None:
    match packed.TypeName():
        case "google.rpc.ErrorInfo":
            info = error_details_pb2.ErrorInfo.FromString(packed.value)
            if info.domain == _DOMAIN:
                details.reason = info.reason.removeprefix("ERROR_REASON_")
        case "google.rpc.BadRequest":
            details.violations = list(error_details_pb2.BadRequest.FromString(packed.value).field_violations)
        case "google.rpc.RetryInfo":
            delay = error_details_pb2.RetryInfo.FromString(packed.value).retry_delay
            details.retry_after = max(1, math.ceil(delay.seconds + delay.nanos / 1e9))
        case "google.rpc.RequestInfo":
            request_id = error_details_pb2.RequestInfo.FromString(packed.value).request_id
            details.request_id = request_id if _REQUEST_ID.fullmatch(request_id) else ""
        case _:  # for callers over gRPC
            pass
