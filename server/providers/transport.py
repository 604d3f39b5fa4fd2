"""The seam to the network: one POST to one origin, and the certainty about what became of it when it failed."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

Header = tuple[str, str]

RENEWED = "RENEWED"  # the code of requests that were made before a renewal, and not sent


@dataclass(frozen=True, slots=True, eq=False)
class SharedHeaders:
    """Headers that many requests have, compared by identity: keep the object, and a transport keeps its encoded form.

    Names are lower case.
    """

    fields: tuple[Header, ...]


@dataclass(slots=True)  # not frozen, and neither is Response: one of each per push, at three times the cost
class Request:
    """A POST of ``body`` to ``path``. ``own`` are the headers that no other request has; names are lower case."""

    path: str
    shared: SharedHeaders
    own: Sequence[Header]
    body: bytes


@dataclass(slots=True)
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

    def post(self, request: Request, deadline: float) -> Awaitable[Response]:
        """Send, and give the answer; waiting for a stream counts towards ``deadline`` (event loop time, in seconds).

        The awaitable raises NotSentError or UnknownOutcomeError, and nothing else. To cancel it gives the request up.
        """

    def renew(self) -> None:
        """Use fresh connections from now on; requests on the present ones may end there.

        Those that wait, or turn out not to have been sent, raise NotSentError with ``RENEWED``: what they carry is
        what the present connections had.
        """

    async def aclose(self) -> None:
        """Let the requests in flight end, then close. Later posts raise NotSentError."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where requests go, and what its operator documents about connections to it.

    ``url`` is ``https://host[:port]``. ``streams``: the most requests at once on one connection, whatever the peer's
    settings allow. ``connections``: the most at once. ``proof``: a new connection carries one request until the first
    was answered with something else than a refusal of our credential (403). ``idle``: seconds without requests after
    which a connection is closed.
    """

    url: str
    streams: int
    connections: int
    proof: bool = False
    idle: float = 300.0


Connect = Callable[[Origin, ssl.SSLContext], Transport]
"""Makes the transport for an origin. Other HTTP/2 transports may share the TLS context."""
