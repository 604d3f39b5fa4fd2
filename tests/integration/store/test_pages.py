"""Reading sends back: lists that stay stable while others send, filters, and nobody else's."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from server.domain.delivery import End
from server.domain.notifications import Notification, NotificationFilter, Place
from server.domain.operations import Message, Recipient, Status
from server.domain.pushes import Presentation, Provider
from server.domain.reasons import Reason
from server.domain.templates import ContentSource
from server.store.jobs import Jobs
from server.store.notifications import Notifications
from server.store.operations import Operations
from tests.integration.store.sending import Sending, all_sent, failed, flush_of, sent, tokens, users


@pytest.fixture
def notifications(sending: Sending) -> Notifications:
    return Notifications(sending.database)


async def _all_pages(
    notifications: Notifications, account: UUID, size: int, operation: UUID | None = None, status: Status | None = None
) -> list[list[Notification]]:
    pages: list[list[Notification]] = []
    place: Place | None = Place()
    while place is not None:
        found, place = await notifications.page(
            account, place, size, NotificationFilter(operation=operation, status=status)
        )
        pages.append(found)
    return pages


def _places(pages: list[list[Notification]]) -> list[tuple[UUID, int]]:
    return [(each.operation_id, each.index) for page in pages for each in page]


@pytest.mark.parametrize("size", [1, 3, 7, 1_000])
async def test_i19_every_notification_is_on_one_page_newest_send_first(
    sending: Sending, notifications: Notifications, size: int
) -> None:
    sizes = {1: (2, 1), 3: (4, 1, 5), 7: (10, 1, 7, 3), 1_000: (2, 1_201, 1)}[size]
    operations = [await sending.accept(count) for count in sizes]
    pages = await _all_pages(notifications, sending.account, size)
    expected = [
        (operation, n) for operation, count in reversed(list(zip(operations, sizes, strict=True))) for n in range(count)
    ]
    assert _places(pages) == expected
    assert all(len(page) == size for page in pages[:-1])
    assert pages[-1]


async def test_i19_pages_are_stable_while_sends_are_accepted_and_carried_out(
    sending: Sending, notifications: Notifications
) -> None:
    first, second = await sending.accept(5), await sending.accept(5)
    seen: list[tuple[UUID, int]] = []
    place: Place | None = Place()
    jobs = {job.operation_id: job for job in await sending.claim()}
    while place is not None:
        found, place = await notifications.page(sending.account, place, 2, NotificationFilter())
        seen.extend((each.operation_id, each.index) for each in found)
        await sending.accept(3)  # newer than all that is left to list
        for operation in (first, second):
            if operation in jobs:
                await Jobs(sending.database).flush(jobs[operation], all_sent(jobs.pop(operation)))
    assert seen == [(operation, n) for operation in (second, first) for n in range(5)]


async def test_each_status_has_its_own_list_and_unaddressable_recipients_are_on_none(
    sending: Sending, notifications: Notifications
) -> None:
    operation, waiting = await sending.accept(1_500), await sending.accept(3)
    job = next(job for job in await sending.claim() if 0 in job.recipients and job.operation_id == operation)
    ends = [sent(0), failed(1), End(2, None, Status.UNADDRESSABLE, Reason.NO_DEVICE), sent(499)]
    rest = [index for index in job.recipients if index not in {0, 1, 2, 499}]
    await Jobs(sending.database).flush(job, flush_of(ends, rest, keep=True, wait=timedelta(seconds=60)))
    account = sending.account

    async def listed(status: Status | None, of: UUID | None = None) -> list[tuple[UUID, int]]:
        return _places(await _all_pages(notifications, account, 1_000, of, status))

    assert await listed(Status.SENT) == [(operation, 0), (operation, 499)]
    assert await listed(Status.FAILED) == [(operation, 1)]
    assert await listed(Status.UNADDRESSABLE) == []
    assert await listed(Status.SCHEDULED) == []
    queued = [(waiting, n) for n in range(3)] + [(operation, n) for n in range(1_500) if n not in {0, 1, 2, 499}]
    assert await listed(Status.QUEUED) == queued
    assert await listed(Status.QUEUED, waiting) == queued[:3]
    assert len(await listed(None)) == 1_502


async def test_a_list_says_of_each_what_a_list_shows(sending: Sending, notifications: Notifications) -> None:
    user = await sending.user("u")
    to = [*users(user), Recipient(token="t", provider=Provider.FCM, variables='{"name":"Ada"}')]
    message = Message(ContentSource(title="x" * 16_000), Presentation(sound="bell"))
    operation = await sending.accept(to, message=message, tags={"kind": "news"}, fcm_credential=sending.fcm)
    ((first, second),) = await _all_pages(notifications, sending.account, 10)
    assert (first.recipient, second.recipient) == tuple(to)
    for each in (first, second):
        assert (each.operation_id, each.tags, each.status) == (operation, {"kind": "news"}, Status.QUEUED)
        assert each.message.presentation == message.presentation
        assert (each.fcm_credential, each.apn_credential) == (sending.fcm, None)


async def test_i14_a_page_of_a_large_send_does_not_hold_its_content_once_for_each_recipient(
    sending: Sending, notifications: Notifications
) -> None:
    message = Message(ContentSource(body="x" * 16_000), Presentation())
    await sending.accept(300, message=message)
    (found,) = await _all_pages(notifications, sending.account, 1_000)
    assert sum(len(each.message.content.body or "") for each in found) < 16_000 * 10
    single = await notifications.get(sending.account, found[0].operation_id, 0)
    assert single is not None
    assert single.message == message


async def test_another_account_sees_nothing(sending: Sending, notifications: Notifications) -> None:
    operation = await sending.accept(2)
    job = await sending.claim_one()
    await Jobs(sending.database).flush(job, flush_of([failed(0), sent(1)]))
    stranger = await Sending.start(sending.database)
    assert await _all_pages(notifications, stranger.account, 10) == [[]]
    assert await _all_pages(notifications, stranger.account, 10, operation) == [[]]
    assert await notifications.get(stranger.account, operation, 0) is None
    assert await notifications.errors(stranger.account, operation, 0, 10) == []
    assert await Operations(sending.database).get(stranger.account, operation) is None


async def test_a_recipient_is_read_back_at_every_stage(sending: Sending, notifications: Notifications) -> None:
    user = await sending.user("a", "b")
    operation = await sending.accept([*users(user), *tokens(1)], tags={"k": "v"})
    before = await notifications.get(sending.account, operation, 0)
    assert before is not None
    assert (before.status, before.devices, before.recipient.user_id) == (Status.QUEUED, (), user)
    job = await sending.claim_one()
    end = sent(0, "a", user)
    end.devices[0].code = "LATE"
    await Jobs(sending.database).flush(job, flush_of([end, failed(1)], fcm_credential=sending.fcm))
    after, token = [await notifications.get(sending.account, operation, n) for n in (0, 1)]
    assert after is not None
    assert token is not None
    assert (after.status, list(after.devices), after.fcm_credential) == (Status.SENT, list(end.devices), sending.fcm)
    assert after.updated_at > before.updated_at == before.created_at
    assert (token.devices[0].token, token.reason) == ("t0", Reason.UNREGISTERED)  # the token that the send named
    assert await notifications.get(sending.account, operation, 2) is None
    assert await notifications.get(sending.account, uuid4(), 0) is None


async def test_a_recipient_found_unaddressable_is_no_notification(
    sending: Sending, notifications: Notifications
) -> None:
    operation = await sending.accept(users(await sending.user(), uuid4()))
    job = await sending.claim_one()
    ends = [End(n, job.recipients[n].user_id, Status.UNADDRESSABLE, Reason.NO_DEVICE) for n in range(2)]
    await Jobs(sending.database).flush(job, flush_of(ends))
    assert await notifications.get(sending.account, operation, 0) is None
    found = await notifications.errors(sending.account, operation, 0, 10)
    assert [(error.index, error.status, error.reason) for error in found] == [
        (0, Status.UNADDRESSABLE, Reason.NO_DEVICE),
        (1, Status.UNADDRESSABLE, Reason.NO_DEVICE),
    ]


async def test_errors_are_listed_in_the_order_of_the_request_across_batches(
    sending: Sending, notifications: Notifications
) -> None:
    operation = await sending.accept(1_100)
    jobs = await sending.claim()
    await asyncio.gather(
        *(
            Jobs(sending.database).flush(
                job, flush_of(failed(index) if index % 100 == 0 else sent(index) for index in job.recipients)
            )
            for job in jobs
        )
    )
    found = await notifications.errors(sending.account, operation, 0, 4)
    found += await notifications.errors(sending.account, operation, found[-1].index + 1, 100)
    assert [(error.index, error.recipient.token) for error in found] == [(n, f"t{n}") for n in range(0, 1_100, 100)]
    assert found[0].devices[0].code == "GONE"
    assert found[0].devices[0].token == "t0"
