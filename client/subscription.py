"""The status stream, kept going: after a lost connection it goes on right behind the last message."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import grpc
from pharos.push.v1.delivery_status_pb2 import WatchDeliveryStatusRequest, WatchDeliveryStatusResponse
from pharos.push.v1.delivery_status_pb2_grpc import DeliveryStatusServiceStub

from client.backoff import Backoff
from client.calls import Metadata, copied
from client.errors import PushError, UnavailableError

SILENCE = 60.0
PATIENCE = 300.0

# CANCELLED comes from a server or proxy that closes the stream; a cancel of our own is an asyncio.CancelledError.
_RESUMABLE = frozenset(
    {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.CANCELLED},
)
# What gRPC makes of a stream that a proxy broke off, or gave its own deadline. The service's own faults have a reason.
_BROKEN_OFF = frozenset({grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DEADLINE_EXCEEDED})

StatusCall = grpc.aio.UnaryStreamCall[WatchDeliveryStatusRequest, WatchDeliveryStatusResponse]


def _nobody(_: PushError) -> None:
    pass


def follow(
    channel: grpc.aio.Channel,
    request: WatchDeliveryStatusRequest,
    metadata: Metadata,
    *,
    silence: float = SILENCE,
    patience: float = PATIENCE,
    on_lost: Callable[[PushError], None] = _nobody,
) -> AsyncGenerator[WatchDeliveryStatusResponse, None]:
    """Every message of a stream once, in order, up to and with its end; an account's stream has none.

    Goes on by itself when the connection is lost, the service restarts or ends a reader that is too slow, after a
    pause that grows from 0.1 to 5 s; `on_lost` is told each time. To go on in another process, put the
    `resume_token` of the last message in the request.

    `metadata`: `basic_auth(account_id, auth_token)`, or `bearer_auth(stream_token)`. `silence`: seconds without a
    message after which a connection counts as lost; the service says something every 15. `patience`: seconds
    without a message, over all tries, after which it fails.

    Raises PushError when it can't go on: ResumeTokenError where the token is too old or not this stream's,
    NotFoundError, UnauthenticatedError, UnavailableError after `patience`.
    """
    call = DeliveryStatusServiceStub(channel).WatchDeliveryStatus
    subscription = _Subscription(lambda request: call(request, metadata=metadata), silence, patience, on_lost)
    return subscription.messages(request)


class _Subscription:
    """Reads the stream, and opens it anew when it breaks."""

    def __init__(
        self,
        open_stream: Callable[[WatchDeliveryStatusRequest], StatusCall],
        silence: float,
        patience: float,
        on_lost: Callable[[PushError], None],
    ) -> None:
        self._open_stream = open_stream
        self._silence = silence
        self._patience = patience
        self._on_lost = on_lost
        self._heard = 0.0
        self._backoff = Backoff()

    async def messages(self, request: WatchDeliveryStatusRequest) -> AsyncGenerator[WatchDeliveryStatusResponse, None]:
        request = copied(request)
        self._heard = time.monotonic()
        while True:
            try:
                async with aclosing(self._read(request)) as stream:
                    async for message in stream:
                        request.resume_token = message.resume_token or request.resume_token
                        yield message
                        self._heard = time.monotonic()  # the caller may have taken its time
                        if message.WhichOneof("message") == "end":
                            return
                failure: PushError = _lost("the stream ended early")
            except grpc.aio.AioRpcError as error:
                failure = PushError.from_call(error)
            except _SilenceError:
                failure = _lost(f"nothing heard for {self._silence:g} s")
            if not _passes(failure) or time.monotonic() - self._heard > self._patience:
                raise failure
            self._on_lost(failure)
            await asyncio.sleep(self._backoff.take(failure.retry_after))

    async def _read(self, request: WatchDeliveryStatusRequest) -> AsyncGenerator[WatchDeliveryStatusResponse, None]:
        """The messages of one call.

        A snapshot in several messages is held back until it is whole: only its last has a token, so a stream that
        breaks in it begins anew.
        """
        call = self._open_stream(request)
        parts: list[WatchDeliveryStatusResponse] = []
        try:
            while (message := await self._next(call)) is not None:
                parts.append(message)
                if not message.snapshot.more:
                    for part in parts:
                        yield part
                    parts.clear()
        finally:
            call.cancel()

    async def _next(self, call: StatusCall) -> WatchDeliveryStatusResponse | None:
        try:
            async with asyncio.timeout(self._silence):
                message = await call.read()
        except TimeoutError:
            raise _SilenceError from None
        if not isinstance(message, WatchDeliveryStatusResponse):
            return None
        self._backoff.reset()
        self._heard = time.monotonic()
        return message


class _SilenceError(Exception):
    """Told apart from a TimeoutError of the caller's own."""


def _passes(failure: PushError) -> bool:
    return failure.code in _RESUMABLE or (failure.code in _BROKEN_OFF and not failure.reason)


def _lost(message: str) -> PushError:
    return UnavailableError(grpc.StatusCode.UNAVAILABLE, message)
