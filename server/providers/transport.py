"""The seam to the network: one POST to one origin, and the certainty about what became of it when it failed."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Response:
    """A provider's answer. Header names are lower case; ``body`` may be cut off after 64 KiB."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class TransportError(Exception):
    """No answer. ``code`` is a stable name, fit for logs and results: never a peer's or a library's text."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class NotSentError(TransportError):
    """The peer certainly did not process the request."""


class CertificateRefusedError(NotSentError):
    """The peer ended the TLS connection because of our client certificate."""


class UnknownOutcomeError(TransportError):
    """The request left and no answer came: the peer may have processed it."""


class Transport(Protocol):
    """Connections to one origin, as many as it takes, replaced as they break."""

    async def post(self, path: str, headers: Mapping[str, str], body: bytes, deadline: float) -> Response:
        """POST ``body``; waiting for a stream counts towards ``deadline`` (event loop time, in seconds).

        Header names are lower case. Raises NotSentError or UnknownOutcomeError, and nothing else.
        """

    def renew(self) -> None:
        """Use fresh connections from now on; requests on the present ones may end there."""

    async def aclose(self) -> None:
        """Let the requests in flight end, then close. Later posts raise NotSentError."""


Connect = Callable[[str, ssl.SSLContext], Transport]
"""Makes the transport for an origin (``https://host[:port]``). Other HTTP/2 transports may share the TLS context."""
