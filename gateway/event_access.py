"""What an EventSource can say only in the URL, as it can't set headers: its token and the event to go on behind."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote_plus

from starlette.requests import Request

from gateway.auth import basic_authorization
from gateway.errors import ApiError, Problem, invalid

ACCESS_TOKEN: Final = "access_token"  # noqa: S105 - the parameter's name, RFC 6750 section 2.3
LAST_EVENT_ID: Final = "lastEventId"
_HEADER: Final = b"last-event-id"
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{1,512}", re.ASCII)


def open_request(request: Request) -> tuple[Request, str]:
    """The request without these parameters, and its authorization as gRPC metadata has it.

    The token in the URL goes before the header: a browser that knows an account's password adds that by itself. The
    header `Last-Event-ID` goes before the parameter: it is the one of a reconnect. Raises ApiError 400 and 401.
    """
    rest, given = _split(request.scope["query_string"])
    token = given.get(ACCESS_TOKEN)
    authorization = _bearer(token[0]) if token else _authorization(request.headers.get("authorization"))
    for name, values in given.items():
        if len(values) > 1:
            raise invalid([Problem(f"The query parameter `{name}` is given twice", f"$.{name}")])
    scope = {**request.scope, "query_string": rest}
    if LAST_EVENT_ID in given and _HEADER not in dict(scope["headers"]):
        scope["headers"] = [*scope["headers"], (_HEADER, given[LAST_EVENT_ID][0].encode())]
    return Request(scope, request.receive), authorization


def _split(query: bytes) -> tuple[bytes, Mapping[str, Sequence[str]]]:
    """The query without the parameters, and their values."""
    rest: list[bytes] = []
    given: dict[str, list[str]] = {}
    for part in query.split(b"&"):
        name, _, value = part.partition(b"=")
        known = unquote_plus(name.decode("latin-1"))
        if known in {ACCESS_TOKEN, LAST_EVENT_ID}:
            given.setdefault(known, []).append(unquote_plus(value.decode("latin-1")))
        else:
            rest.append(part)
    return b"&".join(rest), given


def _authorization(header: str | None) -> str:
    scheme, _, token = (header or "").partition(" ")
    return _bearer(token.strip()) if scheme.lower() == "bearer" else basic_authorization(header)


def _bearer(token: str) -> str:
    if not _TOKEN.fullmatch(token):
        raise ApiError(HTTPStatus.UNAUTHORIZED)
    return f"Bearer {token}"
