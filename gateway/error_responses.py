"""What the OpenAPI document says of errors: one document for all, and the statuses of each operation."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

import msgspec

from gateway.errors import ApiError, every_error

_ALWAYS: Final = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.NOT_IMPLEMENTED,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)
# What changes something can conflict, and has its body read.
_CHANGING: Final = (
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.CONFLICT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
)
_REQUEST_ID: Final = {"X-Request-Id": {"$ref": "#/components/headers/X-Request-Id"}}
_RETRY_AFTER: Final = {
    "description": "Seconds to wait before the next try.",
    "schema": {"type": "string", "pattern": "^[0-9]+$"},
}
_HEADERS: Final[dict[HTTPStatus, dict[str, Any]]] = {
    HTTPStatus.UNAUTHORIZED: {
        "WWW-Authenticate": {"required": True, "schema": {"type": "string"}, "description": "The scheme: HTTP Basic."}
    },
    HTTPStatus.CONFLICT: {"Retry-After": _RETRY_AFTER},
    HTTPStatus.TOO_MANY_REQUESTS: {"Retry-After": _RETRY_AFTER},
    HTTPStatus.SERVICE_UNAVAILABLE: {"Retry-After": _RETRY_AFTER | {"required": True}},
}

ERROR_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "description": "What is wrong with a request: 1-50 problems.",
    "required": ["errors", "status"],
    "properties": {
        "errors": {
            "type": "array",
            "description": "Each thing that is wrong.",
            "minItems": 1,
            "maxItems": 50,
            "items": {
                "type": "object",
                "required": ["code", "message", "infoUrl", "context"],
                "properties": {
                    "code": {"type": "integer", "description": "What programs switch on."},
                    "message": {"type": "string", "description": "The problem in words, which may change."},
                    "infoUrl": {"type": "string", "format": "uri", "description": "Where the code is explained."},
                    "context": {
                        "type": ["string", "null"],
                        "description": "JSON path of the field that is wrong, if it is one.",
                    },
                },
            },
        },
        "status": {"type": "integer", "description": "The HTTP status again."},
    },
}


def error_references(*, changing: bool) -> dict[str, Any]:
    """The errors of one operation, by HTTP status."""
    statuses = sorted(_ALWAYS + (_CHANGING if changing else ()))
    return {str(int(status)): {"$ref": f"#/components/responses/{_name(status)}"} for status in statuses}


def error_responses() -> dict[str, Any]:
    """The responses that they refer to, by name."""
    known = {error.status: error for error in every_error()}
    return {_name(status): _response(known[status]) for status in sorted(_ALWAYS + _CHANGING)}


def _name(status: HTTPStatus) -> str:
    return "".join(word.capitalize() for word in status.name.split("_"))


def _response(error: ApiError) -> dict[str, Any]:
    example = msgspec.json.decode(error.body("https://push.example"))
    return {
        "description": f"{error.problems[0].message} Code {error.code}.",
        "headers": _REQUEST_ID | _HEADERS.get(error.status, {}),
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}, "example": example}},
    }
