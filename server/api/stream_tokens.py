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
from server.domain import ids
from server.domain.errors import Forbidden, Invalid, Unauthenticated, Violation
from server.domain.ids import Kind
from server.domain.operations import Operation
from server.domain.streams import StreamGrant

DEFAULT_TTL: Final = timedelta(minutes=10)

_PREFIX: Final = "pharos_stream_"
_VERSION: Final = 1
_WHOLE_ACCOUNT: Final = bytes(16)
_LAYOUT: Final = struct.Struct(">B16s16sQ")  # version, account, operation, until in microseconds of Unix time
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


class StreamTokens:
    """Signs with the first key, and knows what any of them signed. The keys are for nothing else."""

    def __init__(self, keys: Sequence[bytes], clock: Clock) -> None:
        self._keys = keys
        self._clock = clock

    async def issue(self, account: UUID, operation: UUID | None, ttl: timedelta) -> tuple[str, datetime]:
        """Return a token and the end of its time."""
        now = await self._clock.account_time(account)
        if now is None:
            raise _refused()
        until = now + ttl
        operation_bytes = operation.bytes if operation is not None else _WHOLE_ACCOUNT
        body = _LAYOUT.pack(_VERSION, account.bytes, operation_bytes, (until - _EPOCH) // _MICROSECOND)
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
        version, account, operation, until = _LAYOUT.unpack(body)
        if version != _VERSION:
            raise _refused()
        watched = None if operation == _WHOLE_ACCOUNT else UUID(bytes=operation)
        return StreamGrant(UUID(bytes=account), watched, _EPOCH + until * _MICROSECOND)


class StreamTokenServicer(stream_tokens_pb2_grpc.StreamTokenServiceServicer):
    def __init__(self, tokens: StreamTokens, operations: Operations) -> None:
        self._tokens = tokens
        self._operations = operations

    async def CreateStreamToken(
        self, request: pb.CreateStreamTokenRequest, context: Context
    ) -> pb.CreateStreamTokenResponse:
        account, operation = current_account(), None
        if request.HasField("operation_id"):
            operation = id_in_field(Kind.OPERATION, request.operation_id, "operation_id")
            if await self._operations.get(account, operation) is None:
                raise Invalid(Violation("operation_id", "names nothing that exists"))
        ttl = timedelta(seconds=request.ttl) if request.HasField("ttl") else DEFAULT_TTL
        token, until = await self._tokens.issue(account, operation, ttl)
        return pb.CreateStreamTokenResponse(token=token, expires_at=timestamp(until))


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
    if not isinstance(request, WatchDeliveryStatusRequest):
        return False
    return grant.operation is None or (
        request.WhichOneof("scope") == "operation_id"
        and ids.decode(Kind.OPERATION, request.operation_id) == grant.operation
    )


def _signature(key: bytes, body: bytes) -> bytes:
    return hmac.digest(key, body, "sha256")


def _refused() -> Unauthenticated:
    """One text for all that was never a good token."""
    return Unauthenticated("the stream token is not valid")


def _expired() -> Unauthenticated:
    return Unauthenticated("the stream token's time is over")
