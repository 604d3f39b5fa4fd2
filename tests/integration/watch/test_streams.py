"""The stream's guarantees while workers write to the feed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from uuid import uuid4

import pytest

from server.domain.apps import CredentialChange, NewContent
from server.domain.errors import Invalid, NotFound
from server.domain.feed import Changes, End, Filter, SnapshotPart
from server.domain.health import HealthState
from server.domain.jobs import Job
from server.domain.operations import OperationStatus, Status
from server.domain.reasons import Reason
from server.store.credentials import Credentials
from server.store.health import CredentialHealths
from server.store.jobs import Jobs
from server.watch import tailer
from tests.integration.store.sending import Sending, all_sent, eventually, failed, flush_of, sent
from tests.integration.watch.processes import Process, told, until_changes


async def _work(sending: Sending, process: Process, turns: Iterator[Job], size: int = 40) -> None:
    """A worker that records so many recipients at a time."""
    jobs = Jobs(sending.database)
    for job in turns:
        indexes = list(job.recipients)
        for first in range(0, len(indexes), size):
            part, rest = indexes[first : first + size], indexes[first + size :]
            ends = [failed(index) if index % 5 == 0 else sent(index) for index in part]
            await jobs.flush(job, flush_of(ends, rest, keep=bool(rest), wait=timedelta(seconds=60)))
            process.hints.announce_feed(sending.account)


async def test_i13_reliable_unique_readers_who_come_in_the_middle_get_every_recipient_once(
    sending: Sending, process: Process
) -> None:
    operation, other = await sending.accept(2_000), await sending.accept(2_000)
    turns = iter(await sending.claim())
    watched = Filter(sending.account, operation)
    async with asyncio.TaskGroup() as group:
        readers = [group.create_task(process.whole(watched)), group.create_task(process.in_pieces(watched))]
        workers = [group.create_task(_work(sending, process, turns)) for _ in range(4)]
        for seq in (10, 30, 50, 70):
            await eventually(partial(sending.value, "select last_seq > $1 from feeds", seq))
            readers.append(group.create_task(process.whole(watched)))
            readers.append(group.create_task(process.in_pieces(watched)))
    assert all(worker.done() for worker in workers)
    for reader in readers:
        items = reader.result()
        assert sorted(told(items)) == [(operation, n) for n in range(2_000)]
        assert isinstance(items[-1], End)
        assert items[-1].operation.counts.waiting == 0
        assert items[-1].operation.status is OperationStatus.COMPLETED
    assert await sending.completed(other)
    await sending.audit()


async def test_i13_ordered_all_readers_of_an_account_get_the_commits_in_one_order(
    sending: Sending, process: Process, another_process: Process
) -> None:
    watched = Filter(sending.account)
    async with process.items(watched) as first, another_process.items(watched) as second:
        await anext(first)
        await anext(second)
        for _ in range(3):
            await sending.accept(500)
        turns = iter(await sending.claim())
        async with asyncio.TaskGroup() as group:
            one = group.create_task(until_changes(first, 1_500))
            two = group.create_task(until_changes(second, 1_500))
            for _ in range(3):
                group.create_task(_work(sending, process, turns))
    order = await sending.fetch("select operation_id, unnest(indexes) as index from events order by seq")
    assert one.result() == two.result() == [(row["operation_id"], row["index"]) for row in order]


async def test_i13_what_becomes_of_a_credential_is_told_in_order_once_and_to_who_watches_the_account(
    sending: Sending, process: Process
) -> None:
    healths, watched = CredentialHealths(sending.database), Filter(sending.account)
    operation = await sending.accept(3)
    async with process.items(watched) as whole, asyncio.timeout(60):
        await anext(whole)
        assert await healths.unwell(sending.account, sending.fcm, 1, "UNREGISTERED_KEY", None)
        process.hints.announce_feed(sending.account)
        first = await anext(whole)
        while not isinstance(first, Changes):
            first = await anext(whole)
    rotated = CredentialChange(None, NewContent(b"rotated", None))
    await Credentials(sending.database).update(sending.account, sending.fcm, rotated)
    await Jobs(sending.database).flush(await sending.claim_one(), flush_of([sent(n) for n in range(3)]))
    states, order = [entry.notice.health.state for entry in first.notices], []
    async with process.items(watched, first.token) as resumed, asyncio.timeout(60):
        while not order:
            item = await anext(resumed)
            if isinstance(item, Changes):
                states.extend(entry.notice.health.state for entry in item.notices)
                order.extend(told([item]))
    assert states == [HealthState.REJECTED, HealthState.OK]
    assert order == [(operation, n) for n in range(3)]
    assert not any(
        isinstance(item, Changes) and item.notices for item in await process.whole(Filter(sending.account, operation))
    )
    await sending.audit()


async def test_i13_atomic_the_recipients_of_one_flush_arrive_together(sending: Sending, process: Process) -> None:
    await sending.accept(500)
    job = await sending.claim_one()
    async with process.items(Filter(sending.account)) as items:
        await anext(items)
        await Jobs(sending.database).flush(job, all_sent(job))
        process.hints.announce_feed(sending.account)
        item = await anext(items)
    assert isinstance(item, Changes)
    assert len(item.recipients) == 500


async def test_a_reader_hears_of_a_send_from_its_acceptance_on(sending: Sending, process: Process) -> None:
    async with process.items(Filter(sending.account)) as items:
        first = await anext(items)
        assert isinstance(first, SnapshotPart)
        assert first.operation is None
        operation = await sending.accept(3)
        process.hints.announce_feed(sending.account)
        item = await anext(items)
    assert isinstance(item, Changes)
    assert [(each.operation_id, each.status) for each in item.operations] == [(operation, OperationStatus.PROCESSING)]
    assert item.operations[0].counts.waiting == 3


async def test_a_snapshot_and_a_change_tell_the_same_of_a_recipient(sending: Sending, process: Process) -> None:
    operation = await sending.accept(2)
    job = await sending.claim_one()
    watched = Filter(sending.account, operation)
    async with process.items(watched) as items:
        await anext(items)
        await Jobs(sending.database).flush(job, flush_of([failed(0, Reason.SENDER_MISMATCH), sent(1)]))
        process.hints.announce_feed(sending.account)
        change = await anext(items)
    snapshot = (await process.whole(watched))[0]
    assert isinstance(change, Changes)
    assert isinstance(snapshot, SnapshotPart)
    streamed = [(c.index, c.status, c.reason) for c in change.recipients]
    assert streamed == [(0, Status.FAILED, Reason.SENDER_MISMATCH), (1, Status.SENT, Reason.NONE)]
    assert [replace(c, at=s.at, seq=0) for c, s in zip(change.recipients, snapshot.recipients, strict=True)] == list(
        snapshot.recipients
    )
    assert snapshot.operation is not None
    assert change.operations[-1].counts == snapshot.operation.counts


async def test_another_account_sees_nothing(sending: Sending, process: Process) -> None:
    stranger = await Sending.start(sending.database)
    operation = await sending.accept(1)
    with pytest.raises(NotFound):
        await process.whole(Filter(stranger.account, operation))
    job = await sending.claim_one()
    await Jobs(sending.database).flush(job, all_sent(job))
    token = (await process.whole(Filter(sending.account, operation)))[-1].token
    with pytest.raises(Invalid):
        await process.whole(Filter(stranger.account, operation), token)
    async with process.items(Filter(stranger.account)) as items:
        await anext(items)
        await stranger.accept(1)
        process.hints.announce_feed(stranger.account)
        item = await anext(items)
    assert isinstance(item, Changes)
    assert operation not in {each.operation_id for each in item.operations}


async def test_a_token_of_a_feed_that_was_restored_is_refused(sending: Sending, process: Process) -> None:
    async with process.items(Filter(sending.account)) as items:
        token = (await anext(items)).token
    await sending.fetch("update feeds set epoch = $1", uuid4())
    with pytest.raises(Invalid):
        await process.whole(Filter(sending.account), token)


async def test_i13_hints_lost_cost_a_poll(sending: Sending, process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tailer, "POLL_SECONDS", 0.05)
    operation = await sending.accept(1)
    job = await sending.claim_one()
    async with process.items(Filter(sending.account)) as items:
        await anext(items)
        await Jobs(sending.database).flush(job, all_sent(job))  # and nobody announces it
        assert await until_changes(items, 1) == [(operation, 0)]


@pytest.fixture
def no_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tailer, "POLL_SECONDS", 3600.0)


@pytest.mark.usefixtures("no_polls")
async def test_a_hint_of_another_process_comes_before_any_poll(
    sending: Sending, process: Process, another_process: Process
) -> None:
    await process.listening()
    operation = await sending.accept(1)
    job = await sending.claim_one()
    async with process.items(Filter(sending.account)) as items:
        await anext(items)
        await Jobs(sending.database).flush(job, all_sent(job))
        another_process.hints.announce_feed(sending.account)
        assert await until_changes(items, 1) == [(operation, 0)]


async def test_resumed_after_much_else_happened_a_send_is_told_by_its_own_events(
    sending: Sending, process: Process
) -> None:
    operation = await sending.accept(40)
    watched = Filter(sending.account, operation)
    async with process.items(watched) as items:
        token = (await anext(items)).token
    await sending.accept(2_000)
    turns = await sending.claim()
    others = [job for job in turns if job.operation_id != operation]
    await _work(sending, process, iter(others), 20)
    await _work(sending, process, iter([job for job in turns if job.operation_id == operation]), 4)
    items_left = await process.whole(watched, token)
    assert told(items_left) == [(operation, n) for n in range(40)]
    assert isinstance(items_left[-1], End)
