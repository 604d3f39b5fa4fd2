"""A stream's reader that takes nothing is told to resume, and costs the server no memory meanwhile."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import grpc
import pytest
from pharos.push.v1 import delivery_status_pb2, delivery_status_pb2_grpc

from server.api.authentication import Authenticator
from server.api.delivery_status import DeliveryStatusServicer, serialised
from server.api.interceptors import CallInterceptor
from server.api.server import ApiServer
from server.domain import ids
from server.domain.feed import Changes, Filter, RecipientChange
from server.domain.ids import Kind
from server.domain.operations import Status
from server.domain.reasons import Reason
from server.store.accounts import Accounts
from server.store.database import Database

OPERATION = UUID(int=0x0190_0000_0000_7000_8000_0000_0000_0000)


class Endless:
    """A feed that never stops, of whole events; counts those that were asked for."""

    def __init__(self) -> None:
        self.given = 0
        self.closed = asyncio.Event()

    async def open(
        self,
        watched: Filter,  # noqa: ARG002  # its shape, and below
        resume_token: str,  # noqa: ARG002
        *,
        snapshot: bool,  # noqa: ARG002
    ) -> AsyncGenerator[bytes, None]:
        now = datetime.now(UTC)
        changes = [RecipientChange(OPERATION, index, Status.SENT, Reason.NONE, now) for index in range(500)]
        try:
            while True:
                self.given += 1
                yield serialised(Changes(changes, (), f"token-{self.given}"))
        finally:
            self.closed.set()


async def test_a_reader_that_takes_nothing_is_ended_and_told_to_resume(database: Database) -> None:
    streams = Endless()
    server = ApiServer(
        "127.0.0.1:0",
        [DeliveryStatusServicer(streams)],
        CallInterceptor(Authenticator(Accounts(database)), write_seconds=0.5),
    )
    address = f"127.0.0.1:{await server.start()}"
    account = await Accounts(database).create("slow")
    basic = grpc.aio.Metadata(("authorization", _basic(ids.encode(Kind.ACCOUNT, account.id), account.secret)))
    async with grpc.aio.insecure_channel(address) as channel:
        stub = delivery_status_pb2_grpc.DeliveryStatusServiceStub(channel)
        call = stub.WatchDeliveryStatus(delivery_status_pb2.WatchDeliveryStatusRequest(), metadata=basic)
        first = await call.read()
        async with asyncio.timeout(20):
            await streams.closed.wait()  # nothing is read meanwhile
        given = streams.given
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await _read_all(call)
    await server.stop(grace=0)
    assert isinstance(first, delivery_status_pb2.WatchDeliveryStatusResponse)
    assert first.resume_token == "token-1"
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert given < 500, "messages pile up somewhere"


async def _read_all(call: grpc.aio.UnaryStreamCall[Any, Any]) -> None:
    async with asyncio.timeout(20):
        while await call.read() is not grpc.aio.EOF:
            pass


def _basic(user: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode()
