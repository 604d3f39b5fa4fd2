"""Documents that don't change while the gateway runs, as HTTP has them: typed, cached, and closed to the outside."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

HTML: Final = "text/html; charset=utf-8"

# Whatever a page tries, the browser loads nothing from elsewhere. Swagger UI styles its elements in place and has its
# icons in data URLs.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_REVALIDATE: Final = "no-cache"
_KEEP: Final = "public, max-age=3600"


class Page:
    """One document, made at its first request. Browsers ask whether it has changed; what they `keep`, once an hour."""

    def __init__(self, make: Callable[[], bytes], media_type: str, *, keep: bool = False) -> None:
        self._make = make
        self._body = b""
        self._headers = {
            "Content-Type": media_type,
            "Cache-Control": _KEEP if keep else _REVALIDATE,
            "X-Content-Type-Options": "nosniff",
        }
        if media_type == HTML:
            self._headers |= {"Content-Security-Policy": _POLICY, "Referrer-Policy": "no-referrer"}

    def route(self, path: str) -> Route:
        """Where it is found, by GET and HEAD."""
        return Route(path, self._answer)

    async def _answer(self, request: Request) -> Response:
        if not self._body:
            self._body = self._make()
            self._headers["ETag"] = f'"{hashlib.sha256(self._body).hexdigest()[:32]}"'
        if self._headers["ETag"] in _tags(request.headers.getlist("if-none-match")):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=self._headers)
        return Response(self._body, headers=self._headers)


def _tags(headers: Iterable[str]) -> set[str]:
    return {tag.strip().removeprefix("W/") for header in headers for tag in header.split(",")}
