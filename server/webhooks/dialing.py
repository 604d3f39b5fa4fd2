"""Connects to addresses that the rules permit, and to no others: what was checked is what is connected to.

A name is looked up once for each connection, each of its addresses is checked, and the connection is made to the
checked address itself. So a name that leads elsewhere a moment later (DNS rebinding) gains nothing. TLS and the Host
header keep the name: they are above this.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

import httpcore

from server.webhooks.addresses import AddressRules

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""From a name and a port to numeric addresses. Raises ``OSError``."""

CONNECT_SECONDS: Final = 5.0  # for the look-up and all attempts together
_MOST_ADDRESSES: Final = 3

# Of their own, as many as webhooks have turns: a name server that does not answer holds up its own names alone.
_LOOKUPS: Final = ThreadPoolExecutor(max_workers=100, thread_name_prefix="webhook-dns")
_under_way: Final[dict[tuple[str, int], Future[Sequence[str]]]] = {}


class AddressRefused(httpcore.ConnectError):
    """None of the name's addresses may be connected to."""


class NameNotFound(httpcore.ConnectError):
    """The name has no address."""


async def look_up(host: str, port: int) -> Sequence[str]:
    """Return the addresses that the system's resolver knows. Raises ``OSError``.

    A look-up can't be ended: who asks for a name while one is under way gets its answer. So a name has one thread.
    """
    found = _under_way.get((host, port))
    if found is None:
        found = _under_way[host, port] = _LOOKUPS.submit(_addresses, host, port)
        found.add_done_callback(lambda _: _under_way.pop((host, port)))
    return await asyncio.shield(asyncio.wrap_future(found))


def _addresses(host: str, port: int) -> Sequence[str]:
    return [str(address[0]) for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Makes httpcore's connections. ``encrypted``: they are for https."""

    def __init__(self, rules: AddressRules, *, encrypted: bool, resolve: Resolve = look_up) -> None:
        self._rules = rules
        self._encrypted = encrypted
        self._resolve = resolve
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109 # httpcore's signature; ours holds for the look-up, too
        local_address: str | None = None,  # noqa: ARG002 # likewise
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first permitted address that answers. Raises httpcore's errors and ``AddressRefused``."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await self._connect(await self._permitted(host, port), port, socket_options)
        except TimeoutError:
            raise httpcore.ConnectTimeout from None

    async def _permitted(self, host: str, port: int) -> Sequence[str]:
        try:
            found = dict.fromkeys(await self._resolve(host, port))
        except (OSError, UnicodeError):
            raise NameNotFound from None
        permitted = [address for address in found if self._rules.permits(address, encrypted=self._encrypted)]
        if not permitted:
            raise AddressRefused
        return permitted[:_MOST_ADDRESSES]

    async def _connect(
        self, addresses: Sequence[str], port: int, options: Iterable[httpcore.SOCKET_OPTION] | None
    ) -> httpcore.AsyncNetworkStream:
        """One address after the other, each for its share of the time."""
        for address in addresses:
            try:
                return await self._network.connect_tcp(
                    address, port, timeout=CONNECT_SECONDS / len(addresses), socket_options=options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        raise httpcore.ConnectError
