"""The stream's guarantees, named as the contract names them, on a feed in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from server.domain.credentials import CredentialType
from server.domain.errors import Invalid, NotFound, Unavailable
from server.domain.feed import Changes, Checkpoint, End, Filter, Item, Place, Snapshot, SnapshotPart
from server.domain.health import Health, HealthState
from server.domain.notices import DevicesRemoved, HealthChanged, RemovalsStopped, RemovedDevice
from server.domain.operations import OperationStatus, Status
from server.domain.pushes import Provider
from server.watch import stream
from tests.unit.watch.feeds import MemoryFeed, Watching, told, watching


async def test_i13_ordered_changes_arrive_in_the_order_of_their_commits() -> None:
    async with watching() as w, w.reader(w.filter()) as reader:
        await reader.next()
        operation = w.feed.operation(500)
        for n in range(100):
            w.feed.change(operation, *range(n * 5, n * 5 + 5))
            w.grow()
            if n % 10 == 0:
                await asyncio.sleep(0)
        assert await reader.changes(500) == [(operation, n) for n in range(500)]


async def test_i13_unique_no_change_arrives_twice_nor_again_after_a_resume() -> None:
    async with watching() as w:
        operation = w.feed.operation(50)
        w.feed.change(operation, *range(20))
        seen: list[Item] = []
        for index in range(20, 26):
            async with w.reader(w.filter(operation), seen[-1].token if seen else "") as reader:
                if not seen:
                    seen.append(await reader.next())
                w.feed.change(operation, index)
                w.grow()
                seen.append(await reader.next())
        assert told(seen) == [(index, Status.SENT) for index in range(26)]


_STOPPED = RemovalsStopped(uuid4(), uuid4(), "BadDeviceToken", 50)
_REJECTED = HealthChanged(uuid4(), "shop", CredentialType.FCM, Health(HealthState.REJECTED, reason="401"))


async def test_i13_news_of_the_account_arrive_in_order_once_and_to_who_watches_all_of_it() -> None:
    async with watching() as w:
        operation = w.feed.operation(3)
        async with (
            w.reader(w.filter(None, None, Status.FAILED)) as whole,
            w.reader(w.filter(operation)) as one,
        ):
            await whole.next()
            await one.next()
            w.feed.notice(_REJECTED)
            w.grow()
            first = await whole.next()
            w.feed.notice(_STOPPED)
            w.feed.change(operation, 0, status=Status.FAILED)
            w.feed.notice(_REJECTED)
            w.grow()
            second = await whole.next()
            assert isinstance(first, Changes)
            assert isinstance(second, Changes)
            assert [[entry.notice for entry in item.notices] for item in (first, second)] == [
                [_REJECTED],
                [_STOPPED, _REJECTED],
            ]
            assert (first.operations, told([first, second])) == ([], [(0, Status.FAILED)])
            alone = await one.next()
            assert isinstance(alone, Changes)
            assert (alone.notices, len(alone.recipients)) == ([], 1)
        async with w.reader(w.filter(None, None, Status.FAILED), first.token) as resumed:
            again = await resumed.next()
            while isinstance(again, Checkpoint):
                again = await resumed.next()
            assert again == second


async def test_a_users_stream_tells_of_their_own_removed_devices_alone() -> None:
    async with watching() as w:
        ada, bob, carol = uuid4(), uuid4(), uuid4()
        dead = [RemovedDevice(user, Provider.FCM, f"dead-{user}") for user in (ada, bob, ada)]
        removed = DevicesRemoved(uuid4(), "shop", dead)
        async with (
            w.reader(Filter(w.feed.account, user=ada)) as hers,
            w.reader(Filter(w.feed.account, user=carol)) as another,
            w.reader(Filter(w.feed.account, app_name="shop")) as apps,
        ):
            for reader in (hers, another, apps):
                await reader.next()
            w.feed.notice(_STOPPED)
            w.feed.notice(removed)
            w.grow()
            told_her, told_app = await hers.next(), await apps.next()
            w.feed.notice(DevicesRemoved(uuid4(), "shop", [RemovedDevice(carol, Provider.FCM, "later")]))
            w.grow()
            told_another = await another.next()
    assert isinstance(told_her, Changes)
    assert isinstance(told_app, Changes)
    assert isinstance(told_another, Changes)
    assert [entry.notice for entry in told_her.notices] == [replace(removed, devices=[dead[0], dead[2]])]
    assert [entry.notice for entry in told_app.notices] == [removed]
    [only] = told_another.notices
    assert isinstance(only.notice, DevicesRemoved)
    assert [device.token for device in only.notice.devices] == ["later"]


async def test_i13_atomic_a_commit_arrives_in_one_message_and_small_ones_are_merged() -> None:
    async with watching() as w, w.reader(w.filter()) as reader:
        await reader.next()
        operation = w.feed.operation(1_203)
        w.feed.change(operation, *range(500))
        w.feed.change(operation, *range(500, 1_000))
        for n in range(1_000, 1_203):
            w.feed.change(operation, n)
        sizes: list[int] = []
        while sum(sizes) < 1_203:
            item = await reader.next()
            assert isinstance(item, Changes)
            sizes.append(len(item.recipients))
        assert sizes[:2] == [500, 500]
        assert len(sizes) < 10


def _done(feed: MemoryFeed, recipients: int) -> UUID:
    operation = feed.operation(recipients)
    feed.change(operation, *range(recipients))
    return operation


async def test_i13_reliable_a_snapshot_and_what_follows_leave_nothing_out() -> None:
    async with watching() as w:
        operation = w.feed.operation(300)
        w.feed.change(operation, *range(100))
        async with w.reader(w.filter(operation)) as reader:
            items = [await reader.next()]
            for n in range(100, 300):
                w.feed.change(operation, n, status=Status.FAILED)
                w.grow()
            while not isinstance(items[-1], End):
                items.append(await reader.next())
        expected = [(n, Status.SENT if n < 100 else Status.FAILED) for n in range(300)]
        assert told(items) == expected
        assert items[-1].operation.status is OperationStatus.COMPLETED


async def test_i13_resumable_at_every_message() -> None:
    async with watching() as w:
        operation, other = w.feed.operation(1_200), w.feed.operation(4)
        w.feed.change(operation, *range(10))
        async with w.reader(w.filter(operation)) as reader:
            items = [await reader.next()]
            for first in range(10, 1_200, 119):
                w.feed.change(operation, *range(first, min(first + 119, 1_200)))
                w.feed.change(other, 0)
                w.grow()
                items.append(await reader.next())
            items.append(await reader.next())
        assert isinstance(items[-1], End)
        assert len({item.token for item in items[:-1]}) == len(items) - 1
        for n, item in enumerate(items):
            rest = await w.all(w.filter(operation), item.token)
            assert told(rest) == told(items[n + 1 :])
            assert isinstance(rest[-1], End)


async def test_i13_resumed_after_the_end_it_says_the_end_again() -> None:
    async with watching() as w:
        operation = _done(w.feed, 3)
        whole = await w.all(w.filter(operation))
        assert [type(item) for item in whole] == [SnapshotPart, End]
        (again,) = await w.all(w.filter(operation), whole[-1].token)
        assert again == whole[-1]


@pytest.mark.parametrize("scope", ["account", "operation", "notification"])
async def test_i13_bookmarkable_checkpoints_come_also_while_others_keep_the_account_busy(scope: str) -> None:
    async with watching(checkpoint_seconds=0.1) as w:
        operation, other = w.feed.operation(1), w.feed.operation(100_000)
        index = {"account": None, "operation": None, "notification": 0}[scope]
        quiet = w.filter(None if scope == "account" else operation, index)
        async with w.reader(quiet) as reader:
            await reader.next()
            busy = asyncio.ensure_future(_keep_busy(w, other)) if scope != "account" else None
            first, second = await reader.next(), await reader.next()
            assert isinstance(first, Checkpoint)
            assert isinstance(second, Checkpoint)
            if busy is not None:
                assert first.token != second.token  # it moves on, so that a resume has little to skip
                busy.cancel()
                await asyncio.wait([busy])


async def _keep_busy(w: Watching, operation: UUID) -> None:
    n = 0
    while True:
        w.feed.change(operation, n)
        w.grow()
        n += 1
        await asyncio.sleep(0.005)


async def test_i13_a_checkpoint_is_resumed_from_without_loss() -> None:
    async with watching(checkpoint_seconds=0.02) as w:
        operation = w.feed.operation(2)
        async with w.reader(w.filter()) as reader:
            await reader.next()
            checkpoint = await reader.next()
        assert isinstance(checkpoint, Checkpoint)
        w.feed.change(operation, 0)
        async with w.reader(w.filter(), checkpoint.token) as reader:
            assert await reader.changes(1) == [(operation, 0)]


async def test_i13_filtered_other_statuses_are_left_out_and_the_end_is_not() -> None:
    async with watching() as w:
        operation = w.feed.operation(4)
        w.feed.change(operation, 0)
        w.feed.change(operation, 1, status=Status.FAILED)
        async with w.reader(w.filter(operation, None, Status.FAILED)) as reader:
            items = [await reader.next()]
            w.feed.change(operation, 2, status=Status.FAILED)
            w.feed.change(operation, 3)
            w.grow()
            while not isinstance(items[-1], End):
                items.append(await reader.next())
        assert told(items) == [(1, Status.FAILED), (2, Status.FAILED)]
        last = items[-2]
        assert isinstance(last, Changes)
        assert last.operations[-1].counts.sent == 2


async def test_i13_unique_what_is_committed_while_a_resume_catches_up_is_told_once() -> None:
    class _Growing(MemoryFeed):
        async def snapshot(
            self, account: UUID, operations: Sequence[UUID], places: Collection[Place] = ()
        ) -> Snapshot | None:
            before = await super().snapshot(account, operations, places)
            self.change(operations[0], before.operations[0].counts.sent if before else 0)
            return before

    async with watching(_Growing()) as w:
        operation = w.feed.operation(4)
        watched = w.filter(operation)
        async with w.reader(watched) as reader:
            token = (await reader.next()).token
        async with w.reader(watched, token) as reader:
            items = [await reader.next(), await reader.next()]
            w.feed.change(operation, 2)
            w.feed.change(operation, 3)
            w.grow()
            while not isinstance(items[-1], End):
                items.append(await reader.next())
        assert told(items) == [(n, Status.SENT) for n in range(4)]


async def test_a_large_snapshot_comes_in_parts_of_which_the_last_has_the_token() -> None:
    async with watching() as w:
        operation = w.feed.operation(1_300)
        w.feed.change(operation, *range(1_299))
        async with w.reader(w.filter(operation)) as reader:
            parts = [await reader.next() for _ in range(3)]
        assert [
            (len(part.recipients), part.more, bool(part.token)) for part in parts if isinstance(part, SnapshotPart)
        ] == [
            (stream.SNAPSHOT_PAGE, True, False),
            (stream.SNAPSHOT_PAGE, True, False),
            (299, False, True),
        ]


async def test_a_stream_of_one_notification_ends_with_it() -> None:
    async with watching() as w:
        operation = w.feed.operation(3)
        async with w.reader(w.filter(operation, 1)) as reader:
            first = await reader.next()
            w.feed.change(operation, 0)
            w.feed.change(operation, 2, 1)
            w.grow()
            change, end = await reader.next(), await reader.next()
        assert isinstance(end, End)
        assert told([first, change]) == [(1, Status.SENT)]
        rest = await w.all(w.filter(operation, 1), first.token)
        assert told(rest) == [(1, Status.SENT)]


async def test_a_watched_recipient_that_turns_out_unaddressable_ends_the_stream() -> None:
    async with watching() as w:
        operation = w.feed.operation(2)
        async with w.reader(w.filter(operation, 0)) as reader:
            await reader.next()
            w.feed.change(operation, 0, status=Status.UNADDRESSABLE)
            w.grow()
            assert told([await reader.next()]) == [(0, Status.UNADDRESSABLE)]
            assert isinstance(await reader.next(), End)


async def test_what_does_not_exist_can_not_be_watched() -> None:
    async with watching() as w:
        operation = w.feed.operation(3)
        w.feed.change(operation, 1, status=Status.UNADDRESSABLE)
        for missing in (w.filter(uuid4()), w.filter(operation, 3), w.filter(operation, 1)):
            with pytest.raises(NotFound):
                await w.all(missing)


async def test_a_token_is_refused_where_it_is_not_from_this_stream() -> None:
    async with watching() as w, watching() as elsewhere:
        operation = _done(w.feed, 3)
        token = (await w.all(w.filter(operation)))[-1].token
        strangers = [
            w.filter(),
            w.filter(operation, 1),
            w.filter(operation, None, Status.SENT),
            elsewhere.filter(),
        ]
        for watched in strangers:
            with pytest.raises(Invalid):
                await (w if watched.account == w.feed.account else elsewhere).all(watched, token)


@pytest.mark.parametrize("kept", [0, 1])
async def test_i13_reliable_a_token_from_before_what_is_kept_is_refused(kept: int) -> None:
    async with watching() as w:
        operation = w.feed.operation(9)
        async with w.reader(w.filter()) as reader:
            token = (await reader.next()).token
        for n in range(4):
            w.feed.change(operation, n)
        w.feed.forget(len(w.feed.events) - kept)
        with pytest.raises(Invalid):
            await w.all(w.filter(), token)


async def test_a_token_of_the_feeds_end_is_good_however_little_is_kept() -> None:
    async with watching() as w:
        operation = w.feed.operation(9)
        async with w.reader(w.filter()) as reader:
            token = (await reader.next()).token
        w.feed.forget(len(w.feed.events))
        async with w.reader(w.filter(), token) as reader:
            assert isinstance(await reader.next(), Checkpoint)
            waiting = asyncio.ensure_future(reader.next())
            await asyncio.sleep(0)
            w.feed.change(operation, 0)
            w.grow()
            assert told([await waiting]) == [(0, Status.SENT)]


async def test_a_restored_database_makes_its_old_tokens_invalid() -> None:
    async with watching() as w:
        operation = _done(w.feed, 3)
        token = (await w.all(w.filter(operation)))[-1].token
        w.feed.epoch = uuid4()
        with pytest.raises(Invalid):
            await w.all(w.filter(operation), token)


async def test_a_database_that_is_gone_ends_the_stream_and_a_resume_goes_on() -> None:
    async with watching() as w:
        operation = w.feed.operation(3)
        async with w.reader(w.filter()) as reader:
            token = (await reader.next()).token
        w.feed.change(operation, 0)
        w.feed.broken.append(Unavailable("gone"))
        async with w.reader(w.filter(), token) as reader:
            with pytest.raises(Unavailable):
                await reader.next()
        async with w.reader(w.filter(), token) as reader:
            assert await reader.changes(1) == [(operation, 0)]
