"""The lists of push notifications and of operations as a gRPC caller sees them: filters, tokens and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from pharos.push.v1 import operations_pb2, operations_pb2_grpc, push_notifications_pb2_grpc, types_pb2
from pharos.push.v1 import push_notifications_pb2 as pb

from server.domain import ids
from server.domain.ids import Kind
from server.domain.pushes import Provider
from server.store.accounts import Accounts
from server.store.database import Database
from server.store.jobs import Jobs
from tests.conftest import basic
from tests.integration.store.sending import Sending, failed, flush_of, sent, tokens, users

if TYPE_CHECKING:
    from tests.conftest import Refuse

_INVALID = grpc.StatusCode.INVALID_ARGUMENT
_SUFFIX = "01m818dajnef5v6crkh2aztg00"


@dataclass(frozen=True)
class Lists:
    """What the account of ``sending`` can list."""

    sending: Sending
    channel: grpc.aio.Channel
    authorization: str

    async def notifications(self, **filters: Any) -> pb.ListPushNotificationsResponse:
        stub = push_notifications_pb2_grpc.PushNotificationServiceStub(self.channel)
        return await stub.ListPushNotifications(pb.ListPushNotificationsRequest(**filters), metadata=self._metadata)

    async def operations(self, **filters: Any) -> operations_pb2.ListOperationsResponse:
        stub = operations_pb2_grpc.OperationServiceStub(self.channel)
        return await stub.ListOperations(operations_pb2.ListOperationsRequest(**filters), metadata=self._metadata)

    async def found(self, **filters: Any) -> list[tuple[str, int]]:
        """Each notification's operation and index, in the list's order."""
        answer = await self.notifications(**filters)
        assert not answer.pagination.HasField("next")
        uuids = [ids.decode(Kind.NOTIFICATION, each.id) for each in answer.notifications]
        split = [ids.split_notification(uuid) for uuid in uuids if uuid]
        assert [ids.encode(Kind.OPERATION, operation) for operation, _ in split] == [
            each.operation_id for each in answer.notifications
        ]
        return [(each.operation_id, index) for each, (_, index) in zip(answer.notifications, split, strict=True)]

    @property
    def _metadata(self) -> tuple[tuple[str, str]]:
        return (("authorization", self.authorization),)


@pytest.fixture
async def lists(database: Database, server_address: str) -> AsyncIterator[Lists]:
    sending = await Sending.start(database)
    issued = await Accounts(database).create("another")
    await sending.fetch(
        "update accounts set auth_token_hash = (select auth_token_hash from accounts where account_id = $2)"
        " where account_id = $1",
        sending.account,
        issued.id,
    )
    async with grpc.aio.insecure_channel(server_address) as channel:
        yield Lists(sending, channel, basic(ids.encode(Kind.ACCOUNT, sending.account), issued.secret))


async def test_every_filter_of_notifications_can_be_asked_for(lists: Lists) -> None:
    sending = lists.sending
    user = await sending.user("u")
    accepted = [
        await sending.accept([*users(user), *tokens(1, Provider.APN)], tags={"kind": "news", "lang": "en"}),
        await sending.accept(2, tags={"kind": "news"}),
    ]
    job = next(job for job in await sending.claim() if job.operation_id == accepted[0])
    await Jobs(sending.database).flush(job, flush_of([sent(0, "u", user), failed(1)]))
    first, second = (ids.encode(Kind.OPERATION, operation) for operation in accepted)
    name = ids.encode(Kind.USER, user)
    everything = [(second, 0), (second, 1), (first, 0), (first, 1)]
    assert await lists.found() == everything
    assert await lists.found(operation_id=first) == [(first, 0), (first, 1)]
    assert await lists.found(status=types_pb2.DELIVERY_STATUS_QUEUED) == [(second, 0), (second, 1)]
    assert await lists.found(status=types_pb2.DELIVERY_STATUS_SENT) == [(first, 0)]
    assert await lists.found(user=name) == [(first, 0)]
    assert await lists.found(user=name.replace("pushnotification", "")) == [(first, 0)]
    assert await lists.found(provider=types_pb2.PROVIDER_APN) == [(first, 1)]
    assert await lists.found(tags="kind:news;") == everything
    assert await lists.found(tags="lang:en;kind:news") == [(first, 0), (first, 1)]
    assert await lists.found(tags="kind:offer") == []
    assert await lists.found(tags="kind:news", status=types_pb2.DELIVERY_STATUS_FAILED, operation_id=first) == [
        (first, 1)
    ]


async def test_periods_go_by_the_times_that_are_shown(lists: Lists) -> None:
    for _ in range(2):
        await lists.sending.accept(1)
    newer, older = (await lists.operations()).operations
    assert (newer.created_at.ToDatetime(), newer.id) > (older.created_at.ToDatetime(), older.id)
    for field, shown in (("start_date", [newer]), ("end_date", [older])):
        at = {field: newer.created_at}
        assert list((await lists.operations(**at)).operations) == shown
        assert await lists.found(**at) == [(each.id, 0) for each in shown]
    after = Timestamp(seconds=newer.created_at.seconds, nanos=newer.created_at.nanos + 1)
    assert await lists.found(start_date=after) == []
    assert len(await lists.found(end_date=after)) == 2


async def test_operations_are_listed_by_status_with_their_counts(lists: Lists) -> None:
    accepted = [await lists.sending.accept(2) for _ in range(2)]
    job = next(job for job in await lists.sending.claim() if job.operation_id == accepted[0])
    await Jobs(lists.sending.database).flush(job, flush_of([sent(0), failed(1)]))
    done, waiting = (ids.encode(Kind.OPERATION, operation) for operation in accepted)
    assert [each.id for each in (await lists.operations()).operations] == [waiting, done]
    (completed,) = (await lists.operations(status=operations_pb2.OPERATION_STATUS_COMPLETED)).operations
    assert (completed.id, completed.stats.sent, completed.stats.failed) == (done, 1, 1)
    (processing,) = (await lists.operations(status=operations_pb2.OPERATION_STATUS_PROCESSING)).operations
    assert (processing.id, processing.stats.queued) == (waiting, 2)
    assert not (await lists.operations(status=operations_pb2.OPERATION_STATUS_SCHEDULED)).operations


async def test_pages_lead_from_one_to_the_next_and_back(lists: Lists) -> None:
    for _ in range(5):
        await lists.sending.accept(1)
    whole = [each.id for each in (await lists.operations()).operations]
    first = await lists.operations(page_size=2)
    second = await lists.operations(page_size=2, page_token=first.pagination.next)
    third = await lists.operations(page_size=2, page_token=second.pagination.next)
    assert [each.id for page in (first, second, third) for each in page.operations] == whole
    assert not third.pagination.HasField("next")
    again = await lists.operations(page_size=2, page_token=getattr(second.pagination, "self"))  # noqa: B009 - a name
    assert again == second


_MALFORMED = ("kind", "kind:", ":news", "kind:news;;", ";", "kind:news,lang:en", "kind:a b", "k:n:m", "kind:é", "k:v\n")
_TOO_MUCH = ("k" * 129 + ":v", "k:" + "v" * 257, "k:v;k:w", ";".join(f"k{n}:v" for n in range(11)))


@pytest.mark.parametrize("tags", [*_MALFORMED, *_TOO_MUCH])
async def test_malformed_tags_are_refused(lists: Lists, refusal: Refuse, tags: str) -> None:
    refused = await refusal(lists.notifications(tags=tags))
    assert (refused.code, list(refused.fields)) == (_INVALID, ["tags"])


async def test_tags_of_the_greatest_length_are_accepted(lists: Lists) -> None:
    assert await lists.found(tags=";".join(f"{n}{'k' * 127}:{'v' * 256}" for n in range(10)) + ";") == []


_NOON = Timestamp(seconds=1_800_000_000)


@pytest.mark.parametrize(
    ("times", "field"),
    [
        ({"start_date": _NOON, "end_date": _NOON}, "end_date"),
        ({"start_date": _NOON, "end_date": Timestamp(seconds=1)}, "end_date"),
        ({"start_date": Timestamp(seconds=1 << 60)}, "start_date"),
        ({"end_date": Timestamp(seconds=-(1 << 60))}, "end_date"),
        ({"start_date": Timestamp(nanos=-1)}, "start_date"),
    ],
)
async def test_periods_that_hold_no_time_are_refused(
    lists: Lists, refusal: Refuse, times: dict[str, Timestamp], field: str
) -> None:
    for call in (lists.notifications, lists.operations):
        refused = await refusal(call(**times))
        assert (refused.code, list(refused.fields)) == (_INVALID, [field])


async def test_all_that_is_wrong_with_filters_is_told_at_once(lists: Lists, refusal: Refuse) -> None:
    refused = await refusal(lists.notifications(tags="x", start_date=Timestamp(nanos=-1)))
    assert list(refused.fields) == ["tags", "start_date"]


async def test_what_is_unknown_or_anothers_is_no_error_and_lists_nothing(lists: Lists) -> None:
    stranger = await Sending.start(lists.sending.database)
    user = await stranger.user("u")
    operation = ids.encode(Kind.OPERATION, await stranger.accept(users(user)))
    for filters in (
        {"operation_id": operation},
        {"operation_id": f"comms_operation_{_SUFFIX}"},
        {"user": ids.encode(Kind.USER, user)},
        {"user": f"comms_user_{_SUFFIX}"},
        {"operation_id": f"comms_operation_{_SUFFIX}00000000"},
        {"user": f"comms_user_{_SUFFIX}00000000"},
    ):
        assert await lists.found(**filters) == []


async def test_a_token_serves_no_list_with_other_filters(lists: Lists, refusal: Refuse) -> None:
    await lists.sending.accept(2, tags={"kind": "news"})
    await lists.sending.accept(2, tags={"kind": "news"})
    now = Timestamp()
    now.FromDatetime(datetime.now(UTC) + timedelta(days=1))
    filters: dict[str, Any] = {"tags": "kind:news", "end_date": now}
    token = (await lists.notifications(page_size=1, **filters)).pagination.next
    assert (await lists.notifications(page_size=3, page_token=token, **filters)).notifications
    for changed in ({"tags": "kind:news;"}, {"user": f"comms_user_{_SUFFIX}"}, {"provider": types_pb2.PROVIDER_FCM}):
        refused = await refusal(lists.notifications(page_token=token, **(filters | changed)))
        assert (refused.code, list(refused.fields)) == (_INVALID, ["page_token"])
    page = await lists.operations(page_size=1, end_date=now)
    for call in (lists.operations(page_token=page.pagination.next), lists.operations(page_token=token)):
        refused = await refusal(call)
        assert (refused.code, list(refused.fields)) == (_INVALID, ["page_token"])


async def test_both_lists_can_be_read_at_once(lists: Lists) -> None:
    await lists.sending.accept(600)
    answers = await asyncio.gather(*(lists.notifications(page_size=1_000) for _ in range(8)))
    assert {len(answer.notifications) for answer in answers} == {600}
