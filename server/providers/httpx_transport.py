"""The transport on httpx: simple, and dear in CPU."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator, Mapping
from typing import Any

import h2.events
import httpx
from h2.errors import ErrorCodes
from h2.exceptions import H2Error

from server.providers import tls
from server.providers.transport import (
    RENEWED,
    CertificateRefusedError,
    NotSentError,
    Origin,
    Request,
    Response,
    TransportError,
    UnknownOutcomeError,
)

# httpx logs URLs, which hold device tokens; httpcore and hpack log headers, which hold access tokens.
_log = logging.getLogger(__name__)
for _name in ("httpx", "httpcore", "hpack"):
    logging.getLogger(_name).setLevel(logging.WARNING)

MOST_IN_FLIGHT = 100  # httpcore opens no more streams, and no second connection for more
FAILURES_TO_RETIRE = 3
LARGEST_ANSWER = 64 * 1024

_IDLE_SECONDS = 60.0
_CLOSE_SECONDS = 5.0
_CONNECT_SECONDS = 10.0


class _Body(httpx.AsyncByteStream):
    """A request's body that knows how far the request got.

    httpcore takes the next chunk once the last one is written, and after that ends the stream. So a request that
    failed while it was not `whole` has no END_STREAM, and no peer can have processed it.
    """

    def __init__(self, content: bytes) -> None:
        self.whole = False
        self.stream_id = 0
        self._content = content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.whole = False  # again, when httpcore repeats a request that a GOAWAY left unprocessed
        yield self._content
        self.whole = True

    def __len__(self) -> int:
        return len(self._content)

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Called at every step; see https://www.encode.io/httpcore/extensions/#trace."""
        if event == "http2.send_request_body.started":
            self.stream_id = info["stream_id"]


class _Session:
    """One httpx client, from its first request until it is retired and its last request ended."""

    def __init__(self, url: str, context: ssl.SSLContext) -> None:
        self.active = 0
        self.failures = 0
        self._client = httpx.AsyncClient(
            base_url=url,
            verify=context,
            http1=False,
            http2=True,
            trust_env=False,
            limits=httpx.Limits(max_connections=MOST_IN_FLIGHT, keepalive_expiry=_IDLE_SECONDS),
        )

    async def exchange(self, request: Request, body: _Body, seconds: float) -> Response:
        built = self._client.build_request(
            "POST",
            request.path,
            headers=[*request.shared.fields, *request.own, ("content-length", str(len(body)))],
            content=body,
            # Only the connect timeout is httpx's: its read timeout would break all requests of the connection. It
            # ends before the deadline does: httpcore leaves the socket open when it is cancelled while connecting.
            timeout=httpx.Timeout(None, connect=min(_CONNECT_SECONDS, 0.9 * seconds)),
            extensions={"trace": body.trace},
        )
        response = await self._client.send(built, stream=True)
        try:
            answer = await _read(response)
        finally:
            await response.aclose()
        return Response(response.status_code, response.headers, answer)

    async def close(self) -> None:
        with contextlib.suppress(TimeoutError, httpx.HTTPError, OSError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._client.aclose()


class HttpxTransport:
    """`Transport` on httpx. At most ``origin.streams`` requests at once, so that httpx's own pool never times out.

    httpx loses what is in flight at a GOAWAY and can hang for good when the peer lowers its stream limit, so every
    request has one deadline, and a client that keeps failing is replaced.
    """

    def __init__(self, origin: Origin, context: ssl.SSLContext) -> None:
        self._url = origin.url
        self._tls = context
        self._slots = asyncio.Semaphore(min(origin.streams, MOST_IN_FLIGHT))
        self._session = _Session(origin.url, context)
        self._retired: list[_Session] = []
        self._active = 0
        self._renewals = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False

    async def post(self, request: Request, deadline: float) -> Response:
        renewals = self._renewals
        await self._slot(deadline)
        session = self._enter(renewals)
        body = _Body(request.body)
        seconds = deadline - asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(deadline):
                response = await session.exchange(request, body, seconds)
        except Exception as error:  # h2, anyio, ssl and httpcore itself let their own kinds through
            failure = _failure(error, body)
            self._note_failure(session, error)
            raise failure from error
        else:
            session.failures = 0
            return response
        finally:
            self._leave(session)
            await self._close_retired()

    def renew(self) -> None:
        self._renewals += 1
        self._retire(self._session)

    async def aclose(self) -> None:
        self._closed = True
        await self._idle.wait()
        self._retired.append(self._session)
        await self._close_retired()

    async def _slot(self, deadline: float) -> None:
        try:
            async with asyncio.timeout_at(deadline):
                await self._slots.acquire()
        except TimeoutError:
            raise NotSentError("NO_STREAM_IN_TIME") from None

    def _enter(self, renewals: int) -> _Session:
        if self._closed or renewals != self._renewals:
            self._slots.release()
            raise NotSentError("TRANSPORT_CLOSED" if self._closed else RENEWED)
        self._active += 1
        self._idle.clear()
        self._session.active += 1
        return self._session

    def _leave(self, session: _Session) -> None:
        session.active -= 1
        self._slots.release()
        self._active -= 1
        if not self._active:
            self._idle.set()

    def _note_failure(self, session: _Session, error: Exception) -> None:
        session.failures += 1
        if not isinstance(error, (httpx.HTTPError, OSError, H2Error)):
            _log.warning("unexpected %s from httpx", type(error).__name__)  # its text may hold URLs with tokens
        if session.failures >= FAILURES_TO_RETIRE or isinstance(error, httpx.LocalProtocolError):
            self._retire(session)

    def _retire(self, session: _Session) -> None:
        if session is self._session and not self._closed:
            self._retired.append(session)
            self._session = _Session(self._url, self._tls)

    async def _close_retired(self) -> None:
        ended = [session for session in self._retired if not session.active]
        self._retired = [session for session in self._retired if session.active]
        for session in ended:
            await session.close()


async def _read(response: httpx.Response) -> bytes:
    answer = b""
    try:
        async for chunk in response.aiter_bytes():
            answer += chunk
            if len(answer) >= LARGEST_ANSWER:
                break
    except Exception:  # httpcore lets the failures of its own counting through
        # The status stands: a push that the provider took must not be sent again for the rest of the answer.
        if not response.is_success:
            raise
    return answer[:LARGEST_ANSWER]


def _failure(error: Exception, body: _Body) -> TransportError:
    """Not sent, when the peer can't have had the whole request or says that it did not process it; else unknown.

    RFC 9113, 6.8 and 8.7: streams above a GOAWAY's last id, and refused streams, were not processed.
    """
    tls_error = tls.failure(error)
    if tls.refuses_certificate(tls_error):
        return CertificateRefusedError("CLIENT_CERTIFICATE_REFUSED")
    if not body.whole:
        return NotSentError(_before_sending(error, tls_error))
    event = _http2_event(error)
    if isinstance(event, h2.events.StreamReset) and event.error_code == ErrorCodes.REFUSED_STREAM:
        return NotSentError("REFUSED_STREAM")
    if isinstance(event, h2.events.ConnectionTerminated) and (event.last_stream_id or 0) < body.stream_id:
        return NotSentError("GOAWAY")
    return UnknownOutcomeError(_after_sending(error, event))


def _before_sending(error: Exception, tls_error: ssl.SSLError | None) -> str:
    if tls_error is not None:
        return "TLS_FAILED"
    if isinstance(error, (TimeoutError, httpx.TimeoutException)):
        return "NO_CONNECTION_IN_TIME"
    return "CONNECT_FAILED" if isinstance(error, httpx.ConnectError) else "CONNECTION_LOST"


def _after_sending(error: Exception, event: object) -> str:
    if isinstance(error, (TimeoutError, httpx.TimeoutException)):
        return "NO_ANSWER_IN_TIME"
    return "STREAM_RESET" if isinstance(event, h2.events.StreamReset) else "CONNECTION_LOST"


def _http2_event(error: Exception) -> object:
    """The h2 event inside an httpx error: httpx keeps its text only, httpcore the event itself."""
    cause = error.__cause__
    return cause.args[0] if cause is not None and cause.args else None
