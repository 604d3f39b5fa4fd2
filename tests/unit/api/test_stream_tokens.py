"""A stream token is good for what it was made for, until its time is over, and nobody else can make or change one."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from google.protobuf.message import Message
from pharos.push.v1.delivery_status_pb2 import WatchDeliveryStatusRequest
from pharos.push.v1.operations_pb2 import GetOperationRequest
from pharos.push.v1.stream_tokens_pb2 import CreateStreamTokenRequest

from server.api.stream_scopes import WHOLE_ACCOUNT, scope_of
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


async def test_a_token_says_what_it_was_made_for(clock: _Clock) -> None:
    tokens = StreamTokens([NEW], clock)
    token, until = await tokens.issue(ACCOUNT, b"s" * 16, MINUTE)
    clock.now = NOON + timedelta(seconds=50)

    assert until == NOON + MINUTE
    assert await tokens.open(token) == (StreamGrant(ACCOUNT, b"s" * 16, until), timedelta(seconds=10))


async def test_a_token_is_good_until_its_time_is_over_by_the_databases_clock(clock: _Clock) -> None:
    tokens = StreamTokens([NEW], clock)
    token, until = await tokens.issue(ACCOUNT, WHOLE_ACCOUNT, MINUTE)

    clock.now = until - timedelta(microseconds=1)
    await tokens.open(token)
    clock.now = until
    with pytest.raises(Unauthenticated, match="time is over"):
        await tokens.open(token)


async def test_every_changed_byte_makes_it_worthless(clock: _Clock) -> None:
    tokens = StreamTokens([NEW], clock)
    token, _ = await tokens.issue(ACCOUNT, b"s" * 16, MINUTE)
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
    token, _ = await tokens.issue(ACCOUNT, b"s" * 16, MINUTE)

    for cut in (token[:-1], token[:40], token.removeprefix("pharos_stream_"), token + "A"):
        with pytest.raises(Unauthenticated, match="not valid"):
            await tokens.open(cut)


async def test_an_old_key_still_opens_and_another_does_not(clock: _Clock) -> None:
    token, _ = await StreamTokens([OLD], clock).issue(ACCOUNT, WHOLE_ACCOUNT, MINUTE)

    assert (await StreamTokens([NEW, OLD], clock).open(token))[0].account == ACCOUNT
    with pytest.raises(Unauthenticated, match="not valid"):
        await StreamTokens([NEW], clock).open(token)


async def test_a_token_of_an_account_that_is_gone_is_refused(clock: _Clock) -> None:
    tokens = StreamTokens([NEW], clock)
    token, _ = await tokens.issue(ACCOUNT, WHOLE_ACCOUNT, MINUTE)
    clock.now = None

    with pytest.raises(Unauthenticated, match="not valid"):
        await tokens.open(token)


def _notification(operation: UUID, index: int) -> str:
    return ids.encode(Kind.NOTIFICATION, ids.notification_uuid(operation, index))


ONE = {"operation_id": ids.encode(Kind.OPERATION, OPERATION)}
TWO = {"operation_id": ids.encode(Kind.OPERATION, OTHER)}
ADA, BOB = ({"user_id": ids.encode(Kind.USER, UUID(int=number))} for number in (8, 9))
ALIAS = {"user_id": ADA["user_id"].replace("pushnotificationuser", "user")}
FIRST, SECOND, ELSEWHERE = _notification(OPERATION, 0), _notification(OPERATION, 1), _notification(OTHER, 1)


@pytest.mark.parametrize(
    ("granted", "watched", "opens"),
    [
        ({}, {}, True),
        ({}, ONE, True),
        ({}, ADA, True),
        ({}, {"app_name": "shop"}, True),
        ({}, {"push_notification_ids": [FIRST, ELSEWHERE]}, True),
        (ONE, ONE, True),
        (ONE, TWO, False),
        (ONE, {}, False),
        (ONE, ADA, False),
        (ONE, {"app_name": ONE["operation_id"]}, False),
        (ONE, {"push_notification_id": FIRST}, True),
        (ONE, {"push_notification_id": ELSEWHERE}, False),
        (ONE, {"push_notification_ids": [FIRST, SECOND]}, True),
        (ONE, {"push_notification_ids": [FIRST, ELSEWHERE]}, False),
        (ONE, TWO | {"push_notification_ids": [FIRST]}, False),
        (ONE, {"push_notification_ids": [FIRST, "nonsense"]}, False),
        ({"push_notification_id": FIRST}, {"push_notification_ids": [FIRST]}, True),
        ({"push_notification_id": FIRST}, {"push_notification_ids": [FIRST, SECOND]}, False),
        ({"push_notification_id": FIRST}, ONE, False),
        ({"push_notification_ids": [FIRST, SECOND]}, {"push_notification_ids": [SECOND, FIRST, FIRST]}, True),
        ({"push_notification_ids": [FIRST, SECOND]}, {"push_notification_id": FIRST}, False),
        (ADA, ADA, True),
        (ADA, ALIAS, True),
        (ADA, BOB, False),
        (ADA, {}, False),
        (ADA, ONE, False),
        (ADA, {"operation_id": ids.encode(Kind.OPERATION, UUID(int=8))}, False),
        ({"app_name": "shop"}, {"app_name": "shop"}, True),
        ({"app_name": "shop"}, {"app_name": "shops"}, False),
        ({"app_name": "shop"}, {}, False),
    ],
)
async def test_a_token_opens_the_streams_of_its_scope_alone(
    granted: dict[str, Any], watched: dict[str, Any], *, opens: bool
) -> None:
    scope = scope_of(CreateStreamTokenRequest(**granted))
    assert scope is not None
    request = WatchDeliveryStatusRequest(**watched, statuses=[1], providers=[1], snapshot=False)
    assert await _opened(scope, request) is opens


@pytest.mark.parametrize("scope", [WHOLE_ACCOUNT, scope_of(CreateStreamTokenRequest(**ONE))])
async def test_a_token_opens_nothing_but_streams(scope: bytes) -> None:
    assert not await _opened(scope, GetOperationRequest(**ONE))


@pytest.mark.parametrize(
    "nothing",
    [
        {"operation_id": "comms_operation_" + "u" * 26},
        {"user_id": "nobody"},
        {"push_notification_ids": [FIRST, "nonsense"]},
    ],
)
def test_what_can_name_nothing_is_no_scope(nothing: dict[str, Any]) -> None:
    assert scope_of(CreateStreamTokenRequest(**nothing)) is None


async def _opened(scope: bytes, request: Message) -> bool:
    try:
        async with watching_by(StreamGrant(ACCOUNT, scope, NOON), MINUTE, request):
            return True
    except Forbidden:
        return False
