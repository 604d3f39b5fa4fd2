"""Lists by every filter hold what the plainest reading of the tables says, page by page, whatever a page may cost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from server.domain.notifications import NotificationFilter, Place
from server.domain.operations import OperationFilter, OperationStatus, Status
from server.domain.periods import Period
from server.domain.pushes import Provider
from server.store import places, windows
from server.store.jobs import Jobs
from server.store.notifications import Notifications
from tests.integration.store.listing import World, all_operation_pages, all_pages, listed, within
from tests.integration.store.sending import Sending, failed, flush_of, sent, tokens, users

_SIZES = (1, 3, 1, 40, 1, 1_100, 2, 1, 7, 1, 1, 30, 1, 2, 4, 1, 1, 12, *[1, 2, 9] * 8)


@pytest.fixture
async def world(sending: Sending) -> World:
    return World(sending, seed=20261125)


@pytest.fixture
def tight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages that may cost next to nothing."""
    monkeypatch.setattr(places, "MOST_RECIPIENTS", 15)
    monkeypatch.setattr(windows, "MOST_OPERATIONS", 3)


@pytest.mark.parametrize("size", [5, 1_000])
async def test_each_filter_and_combinations_list_what_meets_them(world: World, size: int) -> None:
    await world.make(*_SIZES)
    rows = await world.rows()
    assert {row.status for row in rows} == set(Status)
    for wanted in world.filters(rows, count=60):
        expected = [(row.operation, row.index) for row in rows if row.meets(wanted)]
        found = await all_pages(world.sending, size, wanted)
        assert [(each.operation_id, each.index) for page in found for each in page] == expected, wanted
        assert max(map(len, found)) <= size, wanted


@pytest.mark.usefixtures("tight")
async def test_i19_pages_cut_short_by_their_bound_leave_nothing_out(world: World) -> None:
    await world.make(*_SIZES)
    rows = await world.rows()
    for wanted in world.filters(rows, count=40):
        expected = [(row.operation, row.index) for row in rows if row.meets(wanted)]
        assert await listed(world.sending, 10, wanted) == expected, wanted


async def test_a_page_says_of_each_what_the_tables_say(world: World) -> None:
    await world.make(*_SIZES)
    rows = {(row.operation, row.index): row for row in await world.rows()}
    for page in await all_pages(world.sending, 100, NotificationFilter()):
        for each in page:
            row = rows[each.operation_id, each.index]
            assert (each.status, each.recipient.user_id, each.tags) == (row.status, row.user, row.tags)
            assert each.created_at == row.accepted


@pytest.mark.parametrize("size", [3, 1_000])
async def test_operations_are_listed_newest_first_by_status_and_period(world: World, size: int) -> None:
    await world.make(*_SIZES)
    await _check_operations(world.sending, size)


@pytest.mark.usefixtures("tight")
async def test_i19_operation_pages_cut_short_by_their_bound_leave_nothing_out(world: World) -> None:
    await world.make(*_SIZES)
    await _check_operations(world.sending, 2)


async def _check_operations(sending: Sending, size: int) -> None:
    rows = await sending.fetch("select operation_id, status, created_at from operations order by operation_id desc")
    assert {row["status"] for row in rows} == set(OperationStatus)
    times = sorted(row["created_at"] for row in rows)
    for status in (None, *OperationStatus):
        for period in (Period(), Period(times[3]), Period(None, times[-3]), Period(times[1], times[-1])):
            pages = await all_operation_pages(sending, size, OperationFilter(status, period))
            expected = [
                (row["operation_id"], row["status"])
                for row in rows
                if status in {None, row["status"]} and within(row["created_at"], period)
            ]
            assert [(each.operation_id, each.status) for page in pages for each in page] == expected
            assert max(map(len, pages)) <= size


async def test_a_period_holds_its_start_and_not_its_end_to_the_microsecond(sending: Sending) -> None:
    operations = {await sending.accept(1): n for n in range(30)}
    rows = await sending.fetch("select operation_id, created_at from operations")
    tick = timedelta(microseconds=1)
    for row in rows:
        operation, at = row["operation_id"], row["created_at"]
        assert (operation, 0) in await listed(sending, 100, NotificationFilter(accepted=Period(at, at + tick)))
        for period in (Period(at + tick), Period(None, at)):
            assert (operation, 0) not in await listed(sending, 100, NotificationFilter(accepted=period))
    assert len(operations) == 30


async def test_a_period_goes_by_the_time_that_is_shown_not_by_the_id(sending: Sending) -> None:
    """Both are readings of the clock, and a process may be stopped between the two."""
    operation = await sending.accept(1)
    at = await sending.value(
        "update operations set created_at = created_at + interval '7 seconds' where operation_id = $1"
        " returning created_at",
        operation,
    )
    second = timedelta(seconds=1)
    for period, holds in ((Period(at), True), (Period(at - second, at + second), True), (Period(None, at), False)):
        assert await listed(sending, 10, NotificationFilter(accepted=period)) == [(operation, 0)] * holds
        (found,) = await all_operation_pages(sending, 10, OperationFilter(accepted=period))
        assert [each.operation_id for each in found] == [operation] * holds


_FIRST, _LAST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


@pytest.mark.parametrize(
    ("period", "holds"),
    [(Period(_FIRST), True), (Period(None, _LAST), True), (Period(None, _FIRST), False), (Period(_LAST), False)],
)
async def test_a_period_may_lie_anywhere_in_time(sending: Sending, period: Period, holds: bool) -> None:  # noqa: FBT001
    operation = await sending.accept(1)
    assert await listed(sending, 10, NotificationFilter(accepted=period)) == [(operation, 0)] * holds


async def test_a_user_finds_every_notification_of_theirs_while_they_become_final(sending: Sending) -> None:
    user = await sending.user("u")
    operations = [await sending.accept([*tokens(499 + n), *users(user, user), *tokens(3)]) for n in range(4)]
    expected = [(operation, 499 + n + k) for n, operation in reversed(list(enumerate(operations))) for k in range(2)]
    jobs = await sending.claim()
    place, seen = Place(), list[tuple[UUID, int]]()
    following: Place | None = place
    while following is not None:
        found, following = await Notifications(sending.database).page(
            sending.account, following, 1, NotificationFilter(user=user)
        )
        seen.extend((each.operation_id, each.index) for each in found)
        if jobs:
            job = jobs.pop()
            ends = [sent(index, user=recipient.user_id) for index, recipient in job.recipients.items()]
            await Jobs(sending.database).flush(job, flush_of(ends))
    assert seen == expected


async def test_provider_matches_what_was_tried_and_a_token_of_it_tried_or_not(sending: Sending) -> None:
    user = await sending.user("u")
    operation = await sending.accept([*users(user), *tokens(2, Provider.APN), *tokens(1)])
    job = await sending.claim_one()
    ends = [sent(0, "u", user), failed(3)]
    await Jobs(sending.database).flush(job, flush_of(ends, [1, 2]))
    assert await listed(sending, 10, NotificationFilter(provider=Provider.APN)) == [(operation, 1), (operation, 2)]
    assert await listed(sending, 10, NotificationFilter(provider=Provider.FCM)) == [(operation, 0), (operation, 3)]


async def test_another_accounts_rows_meet_no_filter(sending: Sending) -> None:
    user = await sending.user("u")
    operation = await sending.accept([*users(user), *tokens(1)], tags={"k": "v"})
    stranger = await Sending.start(sending.database)
    for wanted in (
        NotificationFilter(),
        NotificationFilter(operation=operation),
        NotificationFilter(user=user),
        NotificationFilter(tags={"k": "v"}),
        NotificationFilter(provider=Provider.FCM),
        NotificationFilter(status=Status.QUEUED),
    ):
        assert await listed(stranger, 10, wanted) == []
    await Jobs(sending.database).flush(await sending.claim_one(), flush_of([sent(0, "u", user), failed(1)]))
    for wanted in (NotificationFilter(user=user), NotificationFilter(status=Status.FAILED)):
        assert await listed(sending, 10, wanted) != []
        assert await listed(stranger, 10, wanted) == []
    assert await all_operation_pages(stranger, 10, OperationFilter()) == [[]]
