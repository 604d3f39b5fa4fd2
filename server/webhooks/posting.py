"""One attempt: a POST whose answer is a status and nothing else. Redirects are not followed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import httpcore
import httpx

from server.domain.webhooks import Answer
from server.webhooks.addresses import AddressRules
from server.webhooks.dialing import AddressRefused, GuardedBackend, NameNotFound, Resolve, look_up

# httpcore logs headers, which hold signatures.
logging.getLogger("httpcore").setLevel(logging.WARNING)

ATTEMPT_SECONDS: Final = 15.0
_TIMEOUTS: Final = {"connect": 5.0, "write": 5.0, "read": 10.0, "pool": 5.0}
_LARGEST_ANSWER: Final = 16 * 1024  # of a longer one the rest, and its connection, are given up
_DRAIN_SECONDS: Final = 1.0
_MOST_CONNECTIONS: Final = 1_000  # more than there are attempts at once: nobody waits for another one's
_IDLE_CONNECTIONS: Final = 100
_IDLE_SECONDS: Final = 30.0

_HEADERS: Final = {"user-agent": "Pharos-Webhooks/1", "content-type": "application/cloudevents+json"}
_ERRORS: Final = (
    (AddressRefused, "ADDRESS_REFUSED"),
    (NameNotFound, "NAME_NOT_FOUND"),
    (httpcore.ConnectTimeout, "NO_CONNECTION_IN_TIME"),
    (httpcore.ConnectError, "CONNECT_FAILED"),
    (httpcore.TimeoutException, "NO_ANSWER_IN_TIME"),
    (TimeoutError, "NO_ANSWER_IN_TIME"),
)


class Poster:
    """Posts to webhooks. ``ca_file`` (PEM) is trusted instead of the public authorities."""

    def __init__(self, rules: AddressRules, ca_file: Path | None = None, resolve: Resolve = look_up) -> None:
        context = _trusting(ca_file)
        self._pools = {
            scheme: _pool(context, GuardedBackend(rules, encrypted=scheme == "https", resolve=resolve))
            for scheme in ("https", "http")
        }

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Return the answer within 15 seconds, or what came instead of one. Raises nothing but cancellation."""
        answers: list[Answer] = []
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                await self._post(url, {**_HEADERS, **headers}, body, answers)
        except Exception as error:  # noqa: BLE001 # ssl, anyio and h11 let their own kinds through; each is a failed attempt
            return answers[0] if answers else Answer(error=_name(error))
        return answers[0]

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes, answers: list[Answer]) -> None:
        """Add the answer as soon as its head is there: whatever its body does, it stands."""
        pool = self._pools[url.partition(":")[0].lower()]
        sent = list(headers.items())
        async with pool.stream("POST", url, headers=sent, content=body, extensions={"timeout": _TIMEOUTS}) as response:
            answers.append(Answer(response.status, retry_after=_retry_after(response.headers)))
            await _drain(response)

    async def aclose(self) -> None:
        """Close the connections."""
        for pool in self._pools.values():
            await pool.aclose()


def _pool(context: ssl.SSLContext, backend: GuardedBackend) -> httpcore.AsyncConnectionPool:
    return httpcore.AsyncConnectionPool(
        ssl_context=context,
        max_connections=_MOST_CONNECTIONS,
        max_keepalive_connections=_IDLE_CONNECTIONS,
        keepalive_expiry=_IDLE_SECONDS,
        network_backend=backend,
    )


def _trusting(ca_file: Path | None) -> ssl.SSLContext:
    if ca_file is None:
        return httpx.create_ssl_context(trust_env=False)
    return ssl.create_default_context(cafile=str(ca_file))


async def _drain(response: httpcore.Response) -> None:
    """Read a short body, so that the connection can be used again. The status stands whatever becomes of this."""
    length = 0
    with contextlib.suppress(Exception):
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for chunk in response.aiter_stream():
                length += len(chunk)
                if length > _LARGEST_ANSWER:
                    break


def _retry_after(headers: list[tuple[bytes, bytes]]) -> float:
    """Seconds (RFC 9110, 10.2.3), 0 for none. A date is not taken: our clock may differ from theirs."""
    for name, value in headers:
        if name.lower() == b"retry-after" and value.isdigit() and len(value) < 10:  # noqa: PLR2004 # digits
            return float(value)
    return 0.0


def _name(error: BaseException) -> str:
    for kind, name in _ERRORS:
        if isinstance(error, kind):
            return "TLS_FAILED" if name == "CONNECT_FAILED" and _is_tls(error) else name
    return "TLS_FAILED" if _is_tls(error) else "BAD_ANSWER"


def _is_tls(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False
