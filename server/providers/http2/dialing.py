"""Makes connections: fresh addresses, TLS with HTTP/2, and the peer's first SETTINGS; or the reason why not."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from urllib.parse import urlsplit

from server.providers import tls
from server.providers.http2.connection import Connection
from server.providers.transport import CertificateRefusedError, NotSentError

_log = logging.getLogger(__name__)
_HTTPS_PORT = 443


class Dialer:
    """Dials one origin. ``make`` gives each connection's protocol; ``seconds`` is for one dial as a whole."""

    def __init__(self, url: str, context: ssl.SSLContext, make: Callable[[], Connection], seconds: float) -> None:
        parts = urlsplit(url)
        self.authority = parts.netloc
        self._host = parts.hostname or ""
        self._port = parts.port or _HTTPS_PORT
        self._tls = context
        self._tls.set_alpn_protocols(["h2"])
        self._make = make
        self._seconds = seconds
        self._turn = 0

    async def dial(self) -> Connection:
        """A connection that is ready for requests. Raises NotSentError.

        Each dial begins with another address than the one before: one that accepts and then refuses must not be
        tried for ever.
        """
        try:
            async with asyncio.timeout(self._seconds):
                return await self._dial_any(await self._addresses())
        except TimeoutError:
            raise NotSentError("NO_CONNECTION_IN_TIME") from None
        except NotSentError:
            raise
        except Exception as error:  # noqa: BLE001 # as UnicodeError for a host's name: there are requests that wait
            _log.warning("unexpected %s while connecting", type(error).__name__)
            raise NotSentError("CONNECT_FAILED") from None

    async def _addresses(self) -> list[str]:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except OSError:
            raise NotSentError("CONNECT_FAILED") from None
        addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
        start = self._turn % len(addresses)
        self._turn += 1
        return addresses[start:] + addresses[:start]

    async def _dial_any(self, addresses: list[str]) -> Connection:
        """The first that works; each has a fair part of the time that is left."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._seconds
        for left in range(len(addresses), 1, -1):
            try:
                async with asyncio.timeout((end - loop.time()) / left):
                    return await self._dial_one(addresses[-left])
            except (TimeoutError, NotSentError):
                continue
        return await self._dial_one(addresses[-1])

    async def _dial_one(self, address: str) -> Connection:
        loop = asyncio.get_running_loop()
        try:
            transport, connection = await loop.create_connection(
                self._make, address, self._port, ssl=self._tls, server_hostname=self._host
            )
        except OSError as error:
            raise _failure(error) from None
        try:
            _check_http2(transport)
            await connection.ready
        except BaseException:
            connection.abort()
            raise
        return connection


def _check_http2(transport: asyncio.Transport) -> None:
    """What the peer chose in the handshake (RFC 7301)."""
    session: ssl.SSLObject = transport.get_extra_info("ssl_object")
    if session.selected_alpn_protocol() != "h2":
        raise NotSentError("NO_HTTP2")


def _failure(error: OSError) -> NotSentError:
    found = tls.failure(error)
    if tls.refuses_certificate(found):
        return CertificateRefusedError("CLIENT_CERTIFICATE_REFUSED")
    return NotSentError("CONNECT_FAILED" if found is None else "TLS_FAILED")
