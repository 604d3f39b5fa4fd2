"""Subscribers to the status stream over gRPC, each with a connection of its own, that leave at random and go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum
from random import Random
from typing import Any, Final
from uuid import UUID

import grpc
from pharos.push.v1 import delivery_status_pb2 as pb
from pharos.push.v1.delivery_status_pb2_grpc import DeliveryStatusServiceStub
from pharos.push.v1.types_pb2 import DeliveryReason, DeliveryStatus, Provider

from client.backoff import Backoff
from server.domain import ids
from server.domain.ids import Kind as Id
from tests.robustness.stream_messages import message_of
from tests.status_stream.history import Kind, Message, Subscription
from tests.status_stream.reading import Connect, Lost, Reader, Refused, last_token, some_token
from tests.status_stream.writers import Writers

# A server that went, one that stops or has no database, and a proxy or server that closes the call.
_GO_ON: Final = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.CANCELLED}
_OPTIONS: Final = (
    ("grpc.use_local_subchannel_pool", 1),  # else equal channels share one connection
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
    ("grpc.max_receive_message_length", 32 * 1024 * 1024),
)
_LATELY: Final = 20  # sends among which one is chosen
_PLACES: Final = 6  # push notifications at most that are watched together


class Scope(Enum):
    ACCOUNT = "account"
    APP = "app"
    USER = "user"
    SENDS = "one send after another"
    NOTIFICATIONS = "some push notifications after others"


@dataclass(frozen=True)
class Role:
    """What a subscriber wants to see."""

    scope: Scope
    statuses: AbstractSet[str] = frozenset()
    providers: AbstractSet[str] = frozenset()
    reasons: AbstractSet[str] = frozenset()
    snapshot: bool = True

    def __str__(self) -> str:
        wanted = sorted(self.statuses | self.providers | self.reasons)
        return ", ".join([self.scope.value, *wanted, *([] if self.snapshot else ["no snapshot"])])


@dataclass
class Subscribers:
    """All of one account. An app's are over with its ``markers`` send, the others with the ``last``."""

    address: str
    metadata: Any
    writers: Writers
    users: Sequence[UUID]
    chance: Random
    markers: dict[str, UUID] = field(default_factory=dict)
    last: UUID | None = None
    watching: list[Role] = field(default_factory=list)
    readers: list[Reader] = field(default_factory=list)
    roles: dict[str, Role] = field(default_factory=dict)  # by the subscription's name

    async def watch(self, role: Role) -> None:
        """Until there is nothing more to come."""
        self.watching.append(role)
        async with grpc.aio.insecure_channel(self.address, options=_OPTIONS) as channel:
            stub = DeliveryStatusServiceStub(channel)
            match role.scope:
                case Scope.SENDS | Scope.NOTIFICATIONS:
                    while self.last is None:
                        await self._follow(stub, role)
                case _:
                    await self._follow(stub, role)

    async def _follow(self, stub: DeliveryStatusServiceStub, role: Role) -> None:
        """One stream to its end, by one who leaves now and then."""
        app_name = self.chance.choice(list(self.writers.of_app)) if role.scope is Scope.APP else ""
        subscription = self._subscription(role, app_name)
        reader = Reader(
            subscription, _connected(stub, _request(subscription, app_name), self.metadata), self.writers.last_seq
        )
        self.readers.append(reader)
        self.roles[subscription.name] = role
        resume = self.chance.choice((last_token, some_token(self.chance)))
        leaves_at = self.chance.choice((0.02, 0.1, 0.3))

        def over(message: Message) -> bool:
            marker = self.markers.get(app_name) if app_name else self.last
            return message.kind is Kind.END or marker in message.ended

        await reader.follow(over, lambda _: self.chance.random() < leaves_at, resume)

    def _subscription(self, role: Role, app_name: str) -> Subscription:
        made = Subscription(
            f"subscriber {len(self.readers)} of {role}",
            statuses=role.statuses,
            providers=role.providers,
            reasons=role.reasons,
            snapshot=role.snapshot,
        )
        match role.scope:
            case Scope.SENDS:
                made.operation = self._some_send()
            case Scope.NOTIFICATIONS:
                made.places = {self._some_place() for _ in range(self.chance.randint(1, _PLACES))}
            case Scope.USER:
                made.user = self.chance.choice(self.users)
            case Scope.APP:
                made.sends = self.writers.of_app[app_name]
        return made

    def _some_send(self) -> UUID:
        return self.chance.choice(list(self.writers.accepted)[-_LATELY:])

    def _some_place(self) -> tuple[UUID, int]:
        send = self._some_send()
        return send, self.chance.randrange(self.writers.accepted[send])


def _request(subscription: Subscription, app_name: str) -> pb.WatchDeliveryStatusRequest:
    request = pb.WatchDeliveryStatusRequest(
        statuses=[DeliveryStatus.Value(f"DELIVERY_STATUS_{each}") for each in subscription.statuses],
        providers=[Provider.Value(f"PROVIDER_{each}") for each in subscription.providers],
        reasons=[DeliveryReason.Value(f"DELIVERY_REASON_{each}") for each in subscription.reasons],
        push_notification_ids=[ids.notification_encoder(send)(index) for send, index in subscription.places],
    )
    if not subscription.snapshot:
        request.snapshot = False
    if subscription.operation is not None:
        request.operation_id = ids.encode(Id.OPERATION, subscription.operation)
    elif subscription.user is not None:
        request.user_id = ids.encode(Id.USER, subscription.user)
    elif app_name:
        request.app_name = app_name
    return request


def _connected(stub: DeliveryStatusServiceStub, request: pb.WatchDeliveryStatusRequest, metadata: Any) -> Connect:
    backoff = Backoff(0.05, 0.5)

    @asynccontextmanager
    async def connect(token: str) -> AsyncIterator[AsyncIterator[Message]]:
        asked = pb.WatchDeliveryStatusRequest()
        asked.CopyFrom(request)
        asked.resume_token = token
        call = stub.WatchDeliveryStatus(asked, metadata=metadata)
        try:
            yield _messages(call, backoff)
        except grpc.aio.AioRpcError as error:
            if error.code() not in _GO_ON:
                raise Refused(f"{error.code().name}: {error.details()}") from error
            await asyncio.sleep(backoff.take())
            raise Lost from error
        finally:
            call.cancel()

    return connect


async def _messages(call: AsyncIterator[pb.WatchDeliveryStatusResponse], backoff: Backoff) -> AsyncIterator[Message]:
    clock = asyncio.get_running_loop().time
    async for response in call:
        backoff.reset()
        yield message_of(response, clock())
