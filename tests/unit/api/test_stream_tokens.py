"""A stream token is good for what it was made for, until its time is over, and nobody else can make or change one."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from google.protobuf.message import Message
from pharos.push.v1.delivery_status_pb2 import WatchDeliveryStatusRequest
from pharos.push.v1.operations_pb2 import GetOperationRequest

from server.api.stream_tokens import StreamTokens, watching_by
from server.domain import ids
from server.domain.errors import Forbidden, Unauthenticated
from server.domain.ids import Kind
from server.domain.streams import StreamGrant

ACCOUNT, OPERATION, OTHER = UUID(int=1), UUID(int=2 << 14), UUID(int=3 << 14)
OLD, NEW = b"o" * 32, b"n" * 32
NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class _Clock:
    def __init__(self) -> None:
        self.now: datetime | None = NOON

    async def account_time(self, account: UUID) -> datetime | None:
        return self.now if account == ACCOUNT else None


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


def _watch(operation: UUID | None, **more: str) -> WatchDeliveryStatusRequest:
    request = WatchDeliveryStatusRequest(**more)
    if operation is not None:
        request.operation_id = ids.encode(Kind.OPERATION, operation)
    return request


@pytest.mark.parametrize("operation", [OPERATION, None])
async def test_a_token_says_what_it_was_made_for(clock: _Clock, operation: UUID | None) -> None:
    tokens = StreamTokens([NEW], clock)
    token, until = await tokens.issue(ACCOUNT, operation, MINUTE)
    clock.now = NOON + timedelta(seconds=50)

    assert until == NOON + MINUTE
    assert await tokens.open(token) == (StreamGrant(ACCOUNT, operation, until), timedelta(seconds=10))


async def test_a_token_is_good_until_its_time_is_over_by_the_databases_clock(clock: _Clock) -> None:
    tokens = StreamTokens([NEW], clock)
    token, until = await tokens.issue(ACCOUNT, None, MINUTE)

    clock.now = until - timedelta(microseconds=1)
    await tokens.open(token)
    clock.now = until
    with pytest.raises(Unauthenticated, match="time is over"):
        await tokens.open(token)


async def test_every_changed_byte_makes_it_worthless(clock: _Clock) -> None:
    tokens = StreamTokens([NEW], clock)
    token, _ = await tokens.issue(ACCOUNT, OPERATION, MINUTE)
    prefix, encoded = token[: len("pharos_stream_")], token[len("pharos_stream_") :]
    signed = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))

    for position in range(len(signed)):
        changed = bytearray(signed)
        changed[position] ^= 1
        with pytest.raises(Unauthenticated, match="not valid"):
            await tokens.open(prefix + base64.urlsafe_b64encode(changed).decode())


@pytest.mark.parametrize("token", ["", "pharos_stream_", "pharos_stream_AAAA", "pharos_stream_ä", "x" * 300])
async def test_what_is_no_token_is_refused(clock: _Clock, token: str) -> None:
    with pytest.raises(Unauthenticated, match="not valid"):
        await StreamTokens([NEW], clock).open(token)


async def test_a_cut_token_or_one_without_its_prefix_is_refused(clock: _Clock) -> None:
    tokens = StreamTokens([NEW], clock)
    token, _ = await tokens.issue(ACCOUNT, OPERATION, MINUTE)

    for cut in (token[:-1], token[:40], token.removeprefix("pharos_stream_"), token + "A"):
        with pytest.raises(Unauthenticated, match="not valid"):
            await tokens.open(cut)


async def test_an_old_key_still_opens_and_another_does_not(clock: _Clock) -> None:
    token, _ = await StreamTokens([OLD], clock).issue(ACCOUNT, None, MINUTE)

    assert (await StreamTokens([NEW, OLD], clock).open(token))[0].account == ACCOUNT
    with pytest.raises(Unauthenticated, match="not valid"):
        await StreamTokens([NEW], clock).open(token)


async def test_a_token_of_an_account_that_is_gone_is_refused(clock: _Clock) -> None:
    tokens = StreamTokens([NEW], clock)
    token, _ = await tokens.issue(ACCOUNT, None, MINUTE)
    clock.now = None

    with pytest.raises(Unauthenticated, match="not valid"):
        await tokens.open(token)


@pytest.mark.parametrize(
    ("granted", "request_", "opens"),
    [
        (None, _watch(None), True),
        (None, _watch(OTHER), True),
        (OPERATION, _watch(OPERATION), True),
        (OPERATION, _watch(OTHER), False),
        (OPERATION, _watch(None), False),
        (OPERATION, _watch(None, push_notification_id=ids.encode(Kind.NOTIFICATION, OPERATION)), False),
        (None, GetOperationRequest(operation_id=ids.encode(Kind.OPERATION, OPERATION)), False),
        (OPERATION, GetOperationRequest(operation_id=ids.encode(Kind.OPERATION, OPERATION)), False),
    ],
)
async def test_a_token_opens_the_streams_of_its_scope_alone(
    granted: UUID | None, request_: Message, *, opens: bool
) -> None:
    opened = False
    try:
        async with watching_by(StreamGrant(ACCOUNT, granted, NOON), MINUTE, request_):
            opened = True
    except Forbidden:
        assert not opened
    assert opened is opens
