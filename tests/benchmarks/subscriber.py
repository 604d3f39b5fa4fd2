"""A subscriber to delivery status, each on a connection of its own, as a client elsewhere would have."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from pharos.push.v1.delivery_status_pb2 import WatchDeliveryStatusRequest, WatchDeliveryStatusResponse
from pharos.push.v1.delivery_status_pb2_grpc import DeliveryStatusServiceStub

from tests.benchmarks.judging import MismatchError

_OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", 32 << 20))


class Subscriber:
    """``messages`` are all that it has got, if it was told to keep them; ``told``: when each token's status came."""

    def __init__(self, call: Any, *, keeps: bool) -> None:
        self._call = call
        self._keeps = keeps
        self.messages: list[WatchDeliveryStatusResponse] = []
        self.told: dict[str, float] = {}
        self.recipients = 0

    async def next(self) -> str:
        """Take a message; which it was. Raises MismatchError where the stream broke off."""
        try:
            message = await self._call.read()
        except grpc.aio.AioRpcError as error:
            raise MismatchError(f"a status stream failed: {error.code().name} {error.details()}") from error
        if message is grpc.aio.EOF:
            raise MismatchError("a status stream ended early")
        if self._keeps:
            self.messages.append(message)
            now = time.time()
            self.told |= {each.to.token: now for each in message.changes.recipients}
        self.recipients += len(message.changes.recipients)
        return str(message.WhichOneof("message"))

    async def until(self, recipients: int, within: float) -> None:
        """Take messages until so many recipients' statuses have come. Raises TimeoutError."""
        async with asyncio.timeout(within):
            while self.recipients < recipients:
                await self.next()

    async def to_the_end(self, within: float) -> None:
        """Take messages up to the end of what is watched. Raises TimeoutError."""
        async with asyncio.timeout(within):
            while await self.next() != "end":
                pass


@asynccontextmanager
async def subscribed(
    address: str, metadata: tuple[tuple[str, str], ...], request: WatchDeliveryStatusRequest, *, keeps: bool = False
) -> AsyncIterator[Subscriber]:
    """A subscriber that has got its first message."""
    async with grpc.aio.insecure_channel(address, options=_OPTIONS) as channel:
        call = DeliveryStatusServiceStub(channel).WatchDeliveryStatus(request, metadata=metadata)
        subscriber = Subscriber(call, keeps=keeps)
        await subscriber.next()
        yield subscriber
