"""Why the feed's numbers come from a row that is locked: a cursor over a sequence loses and reorders, every time.

The same writers, whose transactions are forced to cross, the same readers and the same validators judge both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

import pytest

from server.store.database import Database
from server.store.jobs import Jobs
from tests.integration.store.sending import Sending, all_sent
from tests.integration.watch.attentive import AttentiveFeed
from tests.integration.watch.crossing import commit_crosswise
from tests.integration.watch.load import Load
from tests.integration.watch.naive_cursor import NaiveFeed, number_by_sequence
from tests.integration.watch.processes import running
from tests.status_stream.history import Change, History, told
from tests.status_stream.reading import leaves_often
from tests.status_stream.validators import broken

_RECIPIENTS = 5


class Crossing:
    """Eight sends of one account that end in transactions that cross, and two who watch.

    `live` reads after every commit. `later` reads all of it when it is over.
    """

    def __init__(self, load: Load, feed: AttentiveFeed) -> None:
        self._load = load
        self._feed = feed
        self._sends: list[UUID] = []
        self._order: Sequence[UUID] = ()

    async def accept(self) -> None:
        """Before flushes are numbered in any other way: accepting is not what is compared."""
        self._sends = [await app.accept(_RECIPIENTS) for app in self._load.apps]
        self._sends.append(await self._load.writers.accept(1))

    async def run(self) -> tuple[History, list[Change], list[Change]]:
        """The history, and what the two were told."""
        load = self._load
        async with running(load.sending.database.dsn, self._feed) as process, asyncio.timeout(60):
            self._process = process
            await process.listening()
            live, later = load.reader(process), load.reader(process)
            await later.sit("", load.over, leaves_often)
            async with asyncio.TaskGroup() as group:
                group.create_task(live.follow(load.over))
                await self._look()  # from here on it waits for what is new
                await self._end_all()
            await later.follow(load.over)
        return await load.history(), told(live.subscription.log()), told(later.subscription.log())

    async def _end_all(self) -> None:
        database, load = self._load.sending.database, self._load
        *jobs, last = sorted(await load.sending.claim(), key=lambda job: self._sends.index(job.operation_id))
        committed = await commit_crosswise(database, jobs, load.writers.witnesses, self._look)
        self._order = [job.operation_id for job in committed]
        load.marker = last.operation_id
        await Jobs(database).flush(last, all_sent(last))

    async def _look(self) -> None:
        """Twice: what the first look finds behind its own, a reader may have to read for itself."""
        for _ in range(2):
            self._process.hints.announce_feed(self._load.sending.account)
            await self._feed.looked_at()

    def changes_of(self, *sends: int) -> list[Change]:
        """Of these sends, by their place in the order in which they were accepted, and of the last one."""
        ends = [("FAILED", "UNREGISTERED"), *[("SENT", "")] * 4]
        return [
            *(
                Change(self._sends[send], index, *end, provider="FCM")
                for send in sends
                for index, end in enumerate(ends)
            ),
            Change(self._sends[-1], 0, "SENT", provider="FCM"),
        ]

    @property
    def committed(self) -> list[int]:
        """The sends in the order in which they were committed."""
        return [self._sends.index(send) for send in self._order]


async def test_with_the_feed_row_locked_writers_wait_and_everybody_is_told_in_the_order_of_the_commits(
    sending: Sending, database: Database
) -> None:
    crossing = Crossing(await Load.on(sending), AttentiveFeed(database))
    await crossing.accept()
    history, live, later = await crossing.run()
    assert broken(history) == {}
    assert live == later == crossing.changes_of(*crossing.committed)


async def test_a_naive_cursor_loses_what_is_committed_behind_it_and_tells_the_rest_in_another_order(
    sending: Sending, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    crossing = Crossing(await Load.on(sending), NaiveFeed(database))
    await crossing.accept()
    await number_by_sequence(sending, monkeypatch)
    history, live, later = await crossing.run()
    assert crossing.committed == [7, 6, 5, 4, 3, 2, 1, 0]
    assert live == crossing.changes_of(7), "seven of eight commits were behind the cursor when they became visible"
    assert later == crossing.changes_of(0, 1, 2, 3, 4, 5, 6, 7), (
        "in the order of the numbers, against that of the commits"
    )
    found = broken(history)
    assert found.keys() == {"ordered", "reliable"}
    assert [line.partition(",")[0] for line in found["reliable"]] == ["reader 0: 35 changes are missing"]
    assert all(line.startswith("reader 1: ") for line in found["ordered"])
