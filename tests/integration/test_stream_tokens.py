"""Stream tokens over gRPC: who gets one, what it opens, and when that ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import grpc
import pytest
from pharos.push.v1 import (
    delivery_status_pb2,
    delivery_status_pb2_grpc,
    stream_tokens_pb2,
    stream_tokens_pb2_grpc,
    users_pb2,
    users_pb2_grpc,
)

from server.api.authentication import Authenticator
from server.api.calls import current_account
from server.api.interceptors import CallInterceptor
from server.api.server import ApiServer
from server.api.stream_tokens import StreamTokens, StreamTokenServicer
from server.domain import ids
from server.domain.apps import App
from server.domain.ids import Kind
from server.domain.operations import Operation
from server.domain.users import User
from server.store.accounts import Accounts
from server.store.database import Database
from tests.conftest import basic

if TYPE_CHECKING:
    from tests.conftest import Refuse

OPERATION, UNKNOWN = UUID(int=2 << 14), UUID(int=3 << 14)
OPERATION_ID = ids.encode(Kind.OPERATION, OPERATION)
USER = UUID(int=5)
USER_ID = ids.encode(Kind.USER, USER)
NOTIFICATION_IDS = [ids.encode(Kind.NOTIFICATION, ids.notification_uuid(OPERATION, index)) for index in range(2)]


class _Operations:
    """Knows one operation; of what it is like nobody asks."""

    async def get(self, account: UUID, operation_id: UUID) -> Operation | None:  # noqa: ARG002 - the store's
        return Operation.__new__(Operation) if operation_id == OPERATION else None


class _Statuses(delivery_status_pb2_grpc.DeliveryStatusServiceServicer):
    """One message, and then silence until the reader leaves."""

    def __init__(self) -> None:
        self.watched: list[UUID] = []
        self.closed = asyncio.Event()

    async def WatchDeliveryStatus(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: ARG002, N802 - the contract's
        self.watched.append(current_account())
        try:
            yield delivery_status_pb2.WatchDeliveryStatusResponse(resume_token="t")
            await asyncio.Event().wait()
        finally:
            self.closed.set()


class _Users:
    """Knows one user."""

    async def get(self, account: UUID, user_id: UUID) -> User | None:  # noqa: ARG002 - the store's
        return User.__new__(User) if user_id == USER else None


class _Apps:
    """Knows one app."""

    async def get(self, account: UUID, name: str) -> App | None:  # noqa: ARG002 - the store's
        return App.__new__(App) if name == "shop" else None


@dataclass(frozen=True)
class Service:
    """A server with one account, whose credentials are `metadata`."""

    account: UUID
    channel: grpc.aio.Channel
    statuses: _Statuses
    metadata: tuple[tuple[str, str], ...]

    async def token(self, **request: Any) -> stream_tokens_pb2.CreateStreamTokenResponse:
        return await self.ask(self.metadata, **request)

    def ask(self, metadata: Any, **request: Any) -> Any:
        stub = stream_tokens_pb2_grpc.StreamTokenServiceStub(self.channel)
        asked = stream_tokens_pb2.CreateStreamTokenRequest(**request)
        return stub.CreateStreamToken(asked, metadata=metadata, timeout=10)

    def watch(self, token: str, **scope: Any) -> Any:
        stub = delivery_status_pb2_grpc.DeliveryStatusServiceStub(self.channel)
        asked = delivery_status_pb2.WatchDeliveryStatusRequest(**scope)
        return stub.WatchDeliveryStatus(asked, metadata=bearer(token), timeout=20)


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


@pytest.fixture
async def service(database: Database) -> AsyncIterator[Service]:
    accounts, statuses = Accounts(database), _Statuses()
    account = await accounts.create("watched")
    tokens = StreamTokens([b"k" * 32], accounts)
    servicers = (
        StreamTokenServicer(tokens, _Operations(), _Users(), _Apps()),
        statuses,
        users_pb2_grpc.UserServiceServicer(),
    )
    server = ApiServer("127.0.0.1:0", servicers, CallInterceptor(Authenticator(accounts), tokens))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{await server.start()}") as channel:
        pair = basic(ids.encode(Kind.ACCOUNT, account.id), account.secret)
        yield Service(account.id, channel, statuses, (("authorization", pair),))
    await server.stop(grace=0)


@pytest.mark.parametrize(
    ("made_for", "watched"),
    [
        ({}, {}),
        ({}, {"operation_id": OPERATION_ID}),
        ({"operation_id": OPERATION_ID}, {"operation_id": OPERATION_ID}),
        ({"operation_id": OPERATION_ID}, {"push_notification_ids": NOTIFICATION_IDS}),
        ({"push_notification_ids": NOTIFICATION_IDS}, {"push_notification_ids": NOTIFICATION_IDS}),
        ({"user_id": USER_ID}, {"user_id": USER_ID}),
        ({"app_name": "shop"}, {"app_name": "shop"}),
    ],
)
async def test_a_token_opens_the_streams_of_its_scope(
    service: Service, made_for: dict[str, Any], watched: dict[str, Any]
) -> None:
    made = await service.token(**made_for)
    call = service.watch(made.token, **watched)
    assert (await call.read()).resume_token == "t"
    call.cancel()
    assert service.statuses.watched == [service.account]


async def test_it_is_good_for_ten_minutes_unless_told_otherwise(service: Service) -> None:
    began = datetime.now(UTC)
    default, short = await service.token(), await service.token(ttl=60)
    lasts = [(made.expires_at.ToDatetime(UTC) - began).total_seconds() for made in (default, short)]
    assert 590 < lasts[0] < 660
    assert 50 < lasts[1] < 120


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        ({"ttl": 0}, "ttl"),
        ({"ttl": 3601}, "ttl"),
        ({"operation_id": ""}, "operation_id"),
        ({"operation_id": ids.encode(Kind.OPERATION, UNKNOWN)}, "operation_id"),
        ({"user_id": ids.encode(Kind.USER, UNKNOWN)}, "user_id"),
        ({"app_name": "another"}, "app_name"),
        ({"push_notification_ids": [*NOTIFICATION_IDS, "nonsense"]}, "push_notification_ids[2]"),
        ({"push_notification_ids": ["comms_pushnotification_" + "0" * 34]}, "push_notification_ids"),
        ({"push_notification_ids": NOTIFICATION_IDS, "app_name": "shop"}, ""),
    ],
)
async def test_what_can_not_be_granted_is_refused(
    service: Service, refusal: Refuse, request_: dict[str, Any], field: str
) -> None:
    refused = await refusal(service.ask(service.metadata, **request_))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert list(refused.fields) == [field]


@pytest.mark.parametrize("made_for", [{"operation_id": OPERATION_ID}, {"user_id": USER_ID}, {"app_name": "shop"}])
async def test_a_token_of_one_scope_opens_no_other_stream(
    service: Service, refusal: Refuse, made_for: dict[str, str]
) -> None:
    made = await service.token(**made_for)
    others = ({}, {"operation_id": ids.encode(Kind.OPERATION, UNKNOWN)}, {"app_name": "another"})
    for scope in others:
        refused = await refusal(service.watch(made.token, **scope).read())
        assert (refused.code, refused.reason) == (grpc.StatusCode.PERMISSION_DENIED, "FORBIDDEN")
    assert service.statuses.watched == []


async def test_a_token_does_nothing_but_watch(service: Service, refusal: Refuse) -> None:
    made = await service.token()
    get_user = users_pb2_grpc.UserServiceStub(service.channel).GetUser(
        users_pb2.GetUserRequest(user_id="comms_user_01m815cb4hev1ssrsmmsa7gj7q"), metadata=bearer(made.token)
    )
    for call in (get_user, service.ask(bearer(made.token))):
        refused = await refusal(call)
        assert (refused.code, refused.reason) == (grpc.StatusCode.PERMISSION_DENIED, "FORBIDDEN")


@pytest.mark.parametrize("token", ["", "nonsense", "pharos_stream_AAAA"])
async def test_a_forged_token_is_refused_like_wrong_credentials(service: Service, refusal: Refuse, token: str) -> None:
    refused = await refusal(service.watch(token).read())
    assert (refused.code, refused.reason) == (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")
    assert service.statuses.watched == []


async def test_a_stream_ends_with_its_tokens_time_and_can_not_be_opened_again(
    service: Service, refusal: Refuse
) -> None:
    made = await service.token(ttl=1)
    call = service.watch(made.token)
    assert (await call.read()).resume_token == "t"
    ended = await refusal(call.read())
    again = await refusal(service.watch(made.token).read())
    for refused in (ended, again):
        assert (refused.code, refused.message) == (
            grpc.StatusCode.UNAUTHENTICATED,
            "the stream token's time is over",
        )
    assert service.statuses.closed.is_set()
    assert service.statuses.watched == [service.account], "the second stream was not opened"
