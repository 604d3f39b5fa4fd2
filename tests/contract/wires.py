"""The two transports, told apart only where one of them promises more."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ssl
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from server.providers import tls
from server.providers.http2.pool import Http2Transport
from server.providers.httpx_transport import HttpxTransport
from server.providers.transport import Connect, Origin, Transport
from tests.contract.fates import LATER, SLACK, Fate, Tally, audit
from tests.contract.http2_server import ScriptedServer

KINDS: dict[str, Connect] = {"http2": Http2Transport, "httpx": HttpxTransport}


class Wire(AbstractAsyncContextManager["Wire"]):
    """Makes transports of one kind, and closes them; closing must not hang either.

    `exact`: it knows of every request whether it may have been processed, and breaks no rule of HTTP/2. httpx promises
    only that what it calls not sent was not processed.
    """

    def __init__(self, kind: str, ca_file: Path) -> None:
        self.exact = kind == "http2"
        self._connect = KINDS[kind]
        self._ca_file = ca_file
        self._open: list[Transport] = []
        self._troubles: list[str] = []
        self._left = contextlib.ExitStack()

    def connect(
        self,
        url: str,
        context: ssl.SSLContext | None = None,
        *,
        streams: int = 100,
        connections: int = 1,
        proof: bool = False,
    ) -> Transport:
        origin = Origin(url, streams, connections, proof)
        self._open.append(self._connect(origin, context or tls.trusting(self._ca_file)))
        return self._open[-1]

    def judge(self, fates: Sequence[Fate], server: ScriptedServer, expected: Tally | None = None) -> Tally:
        """What every transport has to get right, and what the exact one has to, besides."""
        found = audit(fates, server.processed)
        if self.exact:
            assert server.violations == []
            assert expected in (None, found), [fate.code for fate in fates]
        return found

    async def reach(
        self, server: ScriptedServer, holds: Callable[[], bool], posts: Sequence[asyncio.Future[Fate]]
    ) -> None:
        """Returns once it holds on the server, which with httpx may never be: then once the posts are over."""
        reached = asyncio.ensure_future(server.until(holds))
        if self.exact:
            await reached
            return
        over = asyncio.ensure_future(asyncio.wait(posts))
        await asyncio.wait([reached, over], return_when=asyncio.FIRST_COMPLETED)
        for left in (reached, over):
            left.cancel()
        await asyncio.gather(reached, over, return_exceptions=True)

    async def __aenter__(self) -> Self:
        asyncio.get_running_loop().set_exception_handler(self._note)
        if not self.exact:
            self._left.enter_context(forgotten_sockets())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._left:
            async with asyncio.timeout(LATER + SLACK):
                await asyncio.gather(*(transport.aclose() for transport in self._open))
            self._open.clear()
        if self.exact and error is None:
            assert self._troubles == [], "errors that nobody caught"

    def _note(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._troubles.append(f"{context.get('message')}: {context.get('exception')!r}")


@contextlib.contextmanager
def forgotten_sockets() -> Iterator[None]:
    """httpcore leaves sockets open that it was connecting when it was cancelled. They are collected at the end, neither
    in between, where the warning fails the test, nor in somebody else's test.
    """
    gc.disable()
    try:
        yield
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
        gc.enable()
