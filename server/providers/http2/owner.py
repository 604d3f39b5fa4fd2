"""What a connection and its owner, the pool, know of each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from server.providers.http2.exchange import Exchange
from server.providers.transport import NotSentError

if TYPE_CHECKING:  # the connection imports this module
    from server.providers.http2.connection import Connection


class Owner(Protocol):
    """What a connection tells whoever gives it requests."""

    def has_room(self, connection: Connection) -> None:
        """It may take another request."""

    def not_sent(self, exchange: Exchange, error: NotSentError) -> None:
        """The peer certainly did not process a request that its caller still waits for."""

    def was_retired(self, connection: Connection) -> None:
        """It takes no more requests."""

    def was_lost(self, connection: Connection) -> None:
        """It has ended; the fate of its requests has been told."""
