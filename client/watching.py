"""The status stream, kept going: after a lost connection it goes on right behind the last message."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import grpc
from pharos.push.v1.delivery_status_pb2 import WatchDeliveryStatusRequest, WatchDeliveryStatusResponse

from client.backoff import Backoff
from client.calls import copied
from client.errors import PushError, UnavailableError

# CANCELLED comes from a server or proxy that closes the stream; a cancel of our own is an asyncio.CancelledError.
_RESUMABLE = frozenset(
    {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.CANCELLED},
)

StatusCall = grpc.aio.UnaryStreamCall[WatchDeliveryStatusRequest, WatchDeliveryStatusResponse]


class StatusWatch:
    """Reads the stream, and opens it anew when it breaks.

    `silence`: seconds without a message after which a connection counts as lost; the service says something every
    15. `patience`: seconds without a message, over all tries, after which the watch fails.
    """

    def __init__(
        self,
        open_stream: Callable[[WatchDeliveryStatusRequest], StatusCall],
        *,
        silence: float,
        patience: float,
    ) -> None:
        self._open_stream = open_stream
        self._silence = silence
        self._patience = patience

    async def messages(self, request: WatchDeliveryStatusRequest) -> AsyncGenerator[WatchDeliveryStatusResponse, None]:
        """Every message once, up to and with the end. Raises PushError when it can't go on."""
        request = copied(request)
        backoff = Backoff()
        heard = time.monotonic()
        while True:
            try:
                async with aclosing(self._read(request)) as stream:
                    async for message in stream:
                        backoff.reset()
                        heard = time.monotonic()
                        request.resume_token = message.resume_token or request.resume_token
                        yield message
                        if message.WhichOneof("message") == "end":
                            return
                failure: PushError = _lost("the stream ended early")
            except grpc.aio.AioRpcError as error:
                failure = PushError.from_call(error)
            except _SilenceError:
                failure = _lost(f"nothing heard for {self._silence:g} s")
            if failure.code not in _RESUMABLE or time.monotonic() - heard > self._patience:
                raise failure
            await asyncio.sleep(backoff.take(failure.retry_after))

    async def _read(self, request: WatchDeliveryStatusRequest) -> AsyncGenerator[WatchDeliveryStatusResponse, None]:
        call = self._open_stream(request)
        try:
            while (message := await self._next(call)) is not None:
                yield message
        finally:
            call.cancel()

    async def _next(self, call: StatusCall) -> WatchDeliveryStatusResponse | None:
        try:
            async with asyncio.timeout(self._silence):
                message = await call.read()
        except TimeoutError:
            raise _SilenceError from None
        return message if isinstance(message, WatchDeliveryStatusResponse) else None


class _SilenceError(Exception):
    """Told apart from a TimeoutError of the caller's own."""


def _lost(message: str) -> PushError:
    return UnavailableError(grpc.StatusCode.UNAVAILABLE, message)
