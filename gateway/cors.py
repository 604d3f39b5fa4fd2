"""Which pages may read answers from a browser: those of the configured origins (https://fetch.spec.whatwg.org/#http-cors-protocol)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

ANY_ORIGIN: Final = "*"
_ORIGIN = re.compile(r"https?://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?", re.ASCII)
_DEFAULT_PORT = re.compile(r"http://.*:80$|https://.*:443$", re.ASCII)
_ALLOWED_HEADERS: Final = "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, X-Request-Id"
_EXPOSED_HEADERS: Final = "Idempotent-Replayed, Location, Retry-After, X-Request-Id"
_REMEMBERED_SECONDS: Final = "600"


def parse_origins(text: str) -> tuple[str, ...]:
    """Origins as browsers send them, with commas between, or `*`. Raises ValueError that names what is none.

    A browser leaves a default port out: with one an origin would never be met.
    """
    origins = tuple(word for part in text.split(",") if (word := part.strip()))
    for origin in origins:
        if origin != ANY_ORIGIN and (not _ORIGIN.fullmatch(origin) or _DEFAULT_PORT.match(origin)):
            message = f"{origin!r} is no origin, such as https://example.com or http://localhost:3000"
            raise ValueError(message)
    return origins


class Cors:
    """Answers for browsers. Cookies and passwords that they remember don't count: a page brings a header or a token."""

    def __init__(self, origins: Iterable[str]) -> None:
        self._origins = frozenset(origins)

    def __bool__(self) -> bool:
        """Whether any page may read anything."""
        return bool(self._origins)

    def preflight(self, request: Request, methods: Iterable[str]) -> Response | None:
        """The answer to a browser that asks before its request; None where this is no such question."""
        asked = request.headers.get("access-control-request-method")
        if request.method != "OPTIONS" or asked is None or self._allowed(request) is None:
            return None
        headers = {
            "Access-Control-Allow-Methods": ", ".join(sorted(methods)),
            "Access-Control-Allow-Headers": _ALLOWED_HEADERS,
            "Access-Control-Max-Age": _REMEMBERED_SECONDS,
        }
        return Response(status_code=HTTPStatus.NO_CONTENT, headers=headers)

    def share(self, request: Request, answer: ASGIApp) -> ASGIApp:
        """The answer with headers that let the request's page read it, if it may."""
        added = [(b"vary", b"Origin")]
        if (origin := self._allowed(request)) is not None:
            added.append((b"access-control-allow-origin", origin.encode()))
            added.append((b"access-control-expose-headers", _EXPOSED_HEADERS.encode()))

        async def shared(scope: Scope, receive: Receive, send: Send) -> None:
            async def send_with_headers(message: Message) -> None:
                if message["type"] == "http.response.start":
                    message["headers"] = [*message.get("headers", ()), *added]
                await send(message)

            await answer(scope, receive, send_with_headers)

        return shared

    def _allowed(self, request: Request) -> str | None:
        """What is allowed to the request's origin: itself, every origin, or nothing."""
        origin = request.headers.get("origin")
        if origin is None:
            return None
        if ANY_ORIGIN in self._origins:
            return ANY_ORIGIN
        return origin if origin in self._origins else None
