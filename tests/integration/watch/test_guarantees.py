"""The guarantees of `WatchDeliveryStatus`, one test for each, while eight writers commit at once.

What readers were told is judged by the validators of all seven, whichever the test presses hardest.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from server.domain.errors import Invalid
from server.domain.operations import Status
from server.store.database import Database
from server.store.feed import Feed
from server.store.jobs import Jobs
from server.store.retention import Retention
from server.watch import stream, tailer
from tests.integration.store.sending import Sending, eventually
from tests.integration.watch.load import WRITERS, Load
from tests.integration.watch.processes import Process, running
from tests.status_stream.history import Change, Kind, Message, Sitting, told
from tests.status_stream.reading import Reader, held_up, leaves_often, some_token
from tests.status_stream.validators import CHECKPOINT_WITHIN, bookmarkable, broken
from tests.status_stream.writers import ends_of


@pytest.fixture
async def load(sending: Sending, process: Process, another_process: Process) -> Load:
    return await Load.on(sending, process, another_process)


async def test_i13_ordered_changes_come_in_the_order_of_their_commits_in_every_process(
    load: Load, process: Process, another_process: Process
) -> None:
    for _ in range(WRITERS):
        await load.writers.accept(150)  # so that there is work for all of them at once
    readers = [load.reader(process), load.reader(process), load.reader(another_process)]
    history = await load.run(*(reader.follow(load.over) for reader in readers))
    assert broken(history) == {}
    one, *others = [heard(reader) for reader in readers]
    assert one == [change for commit in history.commits for change in commit.changes]
    assert others == [one, one]
    assert load.writers.most_open > 4, "writers that never wait for each other show nothing"


async def test_i13_unique_no_change_comes_twice_however_often_readers_leave_and_resume(
    load: Load, process: Process, another_process: Process
) -> None:
    send, sends = await load.writers.accept(300), (90, 40, 1, 60, 7)
    readers = [load.reader(each, operation) for operation in (None, send) for each in (process, another_process)]
    resume = some_token(load.chance)
    history = await load.run(
        *(reader.follow(load.over, leaves_often) for reader in readers),
        *(load.reader(process, operation).follow(load.over, leaves_often, resume) for operation in (None, send)),
        sends=sends,
    )
    assert broken(history) == {}
    assert all(len(reader.subscription.sittings) > 4 for reader in readers[:2])
    assert all(sorted(heard(reader)) == sorted(history.commit_of) for reader in readers[:2])


async def test_i13_atomic_a_commit_comes_whole_and_what_was_rolled_back_never(load: Load, process: Process) -> None:
    send = await load.writers.accept(1_000)
    load.writers.sizes, load.writers.undone_share = (500, 200, 7), 0.3
    account, one = load.reader(process), load.reader(process, send)
    await load.run(account.follow(load.over), one.follow(load.over), sends=(500, 500, 500, 40, 40))
    again = await gone_on(load, process, account, 1)
    history = await load.history()
    assert broken(history) == {}
    assert load.writers.undone > 3
    commits = [len(history.by_commit(message.changes)) for message in again.subscription.log()]
    assert max(commits) > 1, "commits that come together are the harder case"
    assert len(commits) > 5, "and messages that are full by one commit"


async def test_i13_reliable_who_falls_behind_or_comes_in_the_middle_misses_nothing(
    load: Load, process: Process, another_process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tailer, "RING", 200)  # recipients kept for readers: else it takes many to fall behind
    send, done = await load.writers.accept(600), asyncio.Event()
    prompt, slow = (
        load.reader(process),
        load.reader(process),
    )  # of one process: what is kept goes on with the prompt one
    late = [load.late_reader(another_process, scope) for scope in (None, send)]
    slow.connect = held_up(slow.connect, done)
    load.writers.sizes, load.writers.open_for = (5, 10), (0.0,)

    async def come_late(reader: Reader, seq: int) -> None:
        await eventually(lambda: reached(load, seq))
        await reader.follow(load.over)

    async def let_go_on() -> None:
        await eventually(lambda: many_final(load, 3 * tailer.RING))  # what is kept is over-written twice
        done.set()

    history = await load.run(
        prompt.follow(load.over),
        slow.follow(load.over),
        let_go_on(),
        *(come_late(reader, 20 + 20 * n) for n, reader in enumerate(late)),
        sends=(150, 40, 1, 90, 60),
    )
    assert broken(history) == {}
    assert heard(slow) == [change for commit in history.commits for change in commit.changes]
    assert late[0].subscription.behind >= 20
    snapshot = [message for message in late[1].subscription.log() if message.kind is Kind.SNAPSHOT]
    assert 0 < len(told(snapshot)) < 600, "it came in the middle"


async def test_i13_resumable_every_message_has_a_token_that_leads_right_behind_it(
    load: Load, process: Process, another_process: Process
) -> None:
    send = await load.writers.accept(500)
    account, one = load.reader(process), load.reader(process, send)
    load.writers.sizes = (5, 10)
    await load.run(account.follow(load.over), one.follow(load.over), sends=(200, 100))
    for reader in (account, one):
        for place in range(1, len(reader.subscription.log())):
            await gone_on(load, another_process, reader, place)
    history = await load.history()
    assert broken(history) == {}
    assert len(history.subscriptions) > 10
    assert {tuple(told(s.log())) for s in history.subscriptions if s.operation is None} == {tuple(heard(account))}


async def test_i13_bookmarkable_who_hears_of_nothing_gets_tokens_that_do_not_grow_old(
    load: Load, database: Database, another_process: Process
) -> None:
    idle_send, others_done = await load.writers.accept(3), asyncio.Event()
    job = await load.sending.claim_one()  # and nothing becomes of it while the others work
    async with running(database.dsn, Feed(database), checkpoint_seconds=0.1) as process:
        idle, busy = load.reader(process, idle_send), load.reader(another_process)
        since: list[Message] = []

        def second_since(message: Message) -> bool:
            if others_done.is_set():
                since.append(message)
            return len(since) == 2

        async def work() -> None:
            await busy.follow(load.over)
            others_done.set()

        history = await load.run(work(), idle.sit("", second_since))
    quiet = idle.subscription
    first, *checkpoints = quiet.log()
    assert {message.kind for message in checkpoints} == {Kind.CHECKPOINT}
    assert stream.CHECKPOINT_SECONDS < CHECKPOINT_WITHIN
    await forget_events(load, database)
    with pytest.raises(Invalid):
        await idle.sit(first.token, load.over)
    quiet.sittings.pop()
    await Jobs(database).flush(job, ends_of(job, sorted(job.recipients)))
    async with asyncio.timeout(30):
        assert await idle.sit(quiet.token, load.over)
    assert [change.index for change in heard(idle)] == [0, 1, 2]
    assert list(bookmarkable(history)) == []


async def test_i13_filtered_statuses_leave_out_recipients_and_neither_checkpoints_nor_the_end(
    load: Load, process: Process
) -> None:
    send = await load.writers.accept(400)
    wanted = (Status.SENT, Status.FAILED, Status.CANCELED)
    account = [load.reader(process, None, status) for status in wanted]
    one = [load.reader(process, send, status) for status in wanted]
    both = load.reader(process, None, Status.SENT, Status.FAILED)
    history = await load.run(
        *(reader.follow(load.over) for reader in (*account, both)),
        *(reader.follow(load.over, leaves_often) for reader in one),
    )
    assert broken(history) == {}
    assert [len(heard(reader)) for reader in one] == [320, 80, 0]
    assert sorted(heard(account[0]) + heard(account[1])) == sorted(heard(both)) == sorted(history.rows)
    assert heard(account[2]) == []
    assert all(message.token for message in one[2].subscription.log())


def heard(reader: Reader) -> list[Change]:
    return told(reader.subscription.log())


async def gone_on(load: Load, process: Process, reader: Reader, place: int) -> Reader:
    """Another one, who heard as much as this one's first messages, and goes on from there to the end."""
    log = reader.subscription.log()[:place]
    again = load.late_reader(process, reader.subscription.operation)
    again.subscription.behind = reader.subscription.behind
    again.subscription.sittings.append(Sitting("", log[0].at, log, log[-1].at))
    async with asyncio.timeout(30):
        await again.follow(load.over)
    return again


async def reached(load: Load, seq: int) -> bool:
    return await load.last_seq() >= seq


async def many_final(load: Load, recipients: int) -> bool:
    final: int = await load.sending.value("select count(*) from notifications")
    return final >= recipients


async def forget_events(load: Load, database: Database) -> None:
    """Lets retention take all that has happened so far."""
    await load.sending.fetch("update events set at = at - interval '8 days'")
    await Retention(database, timedelta(days=7)).enforce()
    assert not await load.last_seq()
