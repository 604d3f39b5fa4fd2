"""What every answer has: a request id, URLs that lead back here, and never a stack trace."""

from __future__ import annotations

import logging
import re
import secrets
from typing import Final

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.errors import internal_error

_SANE_ID = re.compile(rb"[ -~]{1,128}")
_SANE_HOST = re.compile(r"[A-Za-z0-9._-]+(?::\d{1,5})?|\[[0-9A-Fa-f:.]+\](?::\d{1,5})?", re.ASCII)
_REQUEST_ID: Final = b"x-request-id"
_log = logging.getLogger(__name__)


class Edge:
    """Middleware: gives every request its id, and turns what nobody caught into a plain 500."""

    def __init__(self, app: ASGIApp, public_url: str) -> None:
        self._app = app
        self._public_url = public_url

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message.get("headers", ()), (_REQUEST_ID, request_id.encode())]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except ClientDisconnect:
            _log.debug("client left", extra={"request_id": request_id})
        except Exception:  # the last resort: whatever it is, the caller gets a request id to ask about
            _log.exception("request failed", extra={"request_id": request_id})
            if started:
                raise  # too late to say so; the server ends the connection
            error = internal_error(request_id).response(base_url(scope, self._public_url))
            await error(scope, receive, send_with_id)


def _request_id(scope: Scope) -> str:
    given = dict(scope["headers"]).get(_REQUEST_ID, b"")
    return given.decode() if _SANE_ID.fullmatch(given) else secrets.token_hex(16)


def base_url(scope: Scope, public_url: str) -> str:
    """The public URL, or else the request's own scheme and host, without a slash at the end."""
    if public_url:
        return public_url
    host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
    if not _SANE_HOST.fullmatch(host):
        address, port = scope.get("server") or ("localhost", None)
        host = f"{address}:{port}" if port else address
    return f"{scope['scheme']}://{host}"
