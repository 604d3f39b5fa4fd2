"""Stream tokens: signed, short-lived, good for opening status streams and nothing else."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import struct
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol
from uuid import UUID

import grpc
from google.protobuf.message import Message
from pharos.push.v1 import stream_tokens_pb2 as pb
from pharos.push.v1 import stream_tokens_pb2_grpc
from pharos.push.v1.delivery_status_pb2 import WatchDeliveryStatusRequest

from server.api.calls import current_account
from server.api.convert import id_in_field, timestamp
from server.api.stream_scopes import scope_of, scopes_that_open
from server.domain.apps import App
from server.domain.errors import Forbidden, Invalid, Unauthenticated, Violation
from server.domain.ids import Kind
from server.domain.operations import Operation
from server.domain.streams import StreamGrant
from server.domain.users import User

DEFAULT_TTL: Final = timedelta(minutes=10)

_PREFIX: Final = "pharos_stream_"
_VERSION: Final = 1
_LAYOUT: Final = struct.Struct(">B16s16sQ")  # version, account, scope, until in microseconds of Unix time
_LONGEST: Final = 256
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

Context = grpc.aio.ServicerContext[Any, Any]


class Clock(Protocol):
    """Tells the database's time, which alone decides what is over."""

    async def account_time(self, account: UUID) -> datetime | None: ...


class Operations(Protocol):
    """Where operations are kept."""

    async def get(self, account: UUID, operation_id: UUID) -> Operation | None: ...


class Users(Protocol):
    """Where users are kept."""

    async def get(self, account: UUID, user_id: UUID) -> User | None: ...


class Apps(Protocol):
    """Where apps are kept."""

    async def get(self, account: UUID, name: str) -> App | None: ...


class StreamTokens:
    """Signs with the first key, and knows what any of them signed. The keys are for nothing else."""

    def __init__(self, keys: Sequence[bytes], clock: Clock) -> None:
        self._keys = keys
        self._clock = clock

    async def issue(self, account: UUID, scope: bytes, ttl: timedelta) -> tuple[str, datetime]:
        """Return a token and the end of its time."""
        now = await self._clock.account_time(account)
        if now is None:
            raise _refused()
        until = now + ttl
        body = _LAYOUT.pack(_VERSION, account.bytes, scope, (until - _EPOCH) // _MICROSECOND)
        signed = body + _signature(self._keys[0], body)
        return _PREFIX + base64.urlsafe_b64encode(signed).decode().rstrip("="), until

    async def open(self, token: str) -> tuple[StreamGrant, timedelta]:
        """Return what the token grants, and the time left. Raises ``Unauthenticated``."""
        grant = self._read(token)
        now = await self._clock.account_time(grant.account)
        if now is None:
            raise _refused()
        if now >= grant.until:
            raise _expired()
        return grant, grant.until - now

    def _read(self, token: str) -> StreamGrant:
        encoded = token.removeprefix(_PREFIX)
        if encoded == token or len(token) > _LONGEST:
            raise _refused()
        try:
            signed = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
        except ValueError:
            raise _refused() from None
        body, signature = signed[: _LAYOUT.size], signed[_LAYOUT.size :]
        if not any(hmac.compare_digest(_signature(key, body), signature) for key in self._keys):
            raise _refused()
        version, account, scope, until = _LAYOUT.unpack(body)
        if version != _VERSION:
            raise _refused()
        return StreamGrant(UUID(bytes=account), scope, _EPOCH + until * _MICROSECOND)


class StreamTokenServicer(stream_tokens_pb2_grpc.StreamTokenServiceServicer):
    def __init__(self, tokens: StreamTokens, operations: Operations, users: Users, apps: Apps) -> None:
        self._tokens = tokens
        self._operations = operations
        self._users = users
        self._apps = apps

    async def CreateStreamToken(
        self, request: pb.CreateStreamTokenRequest, context: Context
    ) -> pb.CreateStreamTokenResponse:
        account = current_account()
        scope = scope_of(request)
        if scope is None or not await self._exists(account, request):
            raise Invalid(Violation(_named(request), "names nothing that exists"))
        ttl = timedelta(seconds=request.ttl) if request.HasField("ttl") else DEFAULT_TTL
        token, until = await self._tokens.issue(account, scope, ttl)
        return pb.CreateStreamTokenResponse(token=token, expires_at=timestamp(until))

    async def _exists(self, account: UUID, request: pb.CreateStreamTokenRequest) -> bool:
        """Whether the account has what is to be watched; push notifications are not looked up."""
        match request.WhichOneof("scope"):
            case "operation_id":
                operation = id_in_field(Kind.OPERATION, request.operation_id, "operation_id")
                return await self._operations.get(account, operation) is not None
            case "user_id":
                user = id_in_field(Kind.USER, request.user_id, "user_id")
                return await self._users.get(account, user) is not None
            case "app_name":
                return await self._apps.get(account, request.app_name) is not None
            case _:
                return True


def _named(request: pb.CreateStreamTokenRequest) -> str:
    """The field that names what is to be watched."""
    return request.WhichOneof("scope") or "push_notification_ids"


@contextlib.asynccontextmanager
async def watching_by(grant: StreamGrant, left: timedelta, request: Message) -> AsyncIterator[None]:
    """Carry out a stream's request by a token, for as long as that is good.

    Raises ``Forbidden`` for what it does not open, and ``Unauthenticated`` when its time is over.
    """
    if not _opens(grant, request):
        raise Forbidden("this stream token opens another stream")
    try:
        async with asyncio.timeout(left.total_seconds()) as time:
            yield
    except TimeoutError:
        if not time.expired():
            raise
        raise _expired() from None


def _opens(grant: StreamGrant, request: Message) -> bool:
    return isinstance(request, WatchDeliveryStatusRequest) and grant.scope in scopes_that_open(request)


def _signature(key: bytes, body: bytes) -> bytes:
    return hmac.digest(key, body, "sha256")


def _refused() -> Unauthenticated:
    """One text for all that was never a good token."""
    return Unauthenticated("the stream token is not valid")


def _expired() -> Unauthenticated:
    return Unauthenticated("the stream token's time is over")
