"""Writers of one account, readers of its streams, and in the end the history of both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any, Final
from uuid import UUID

from server.domain.feed import Changes, Checkpoint, End, Filter, Item, RecipientChange, SnapshotPart
from server.domain.operations import Operation, Status
from tests.integration.store.sending import Sending, eventually
from tests.integration.watch.processes import Process
from tests.status_stream.history import Change, Counts, History, Kind, Message, Subscription
from tests.status_stream.reading import Connect, Reader
from tests.status_stream.writers import Writers, apps_of, commits, final_rows, reason_name

WRITERS: Final = 8
APPS: Final = 8
SENDS: Final = (300, 40, 1, 150, 500, 7, 90, 250, 3, 120, 60, 200)
_PATIENCE: Final = 60.0


@dataclass
class Load:
    """Make it with `Load.on`. ``marker`` is a send that is accepted when all others are final, and ends last."""

    apps: Sequence[Sending]
    writers: Writers
    chance: Random
    marker: UUID | None = None
    readers: list[Reader] = field(default_factory=list)
    _late: set[str] = field(default_factory=set)

    @classmethod
    async def on(cls, sending: Sending, *processes: Process) -> Load:
        def announce() -> None:
            for process in processes:
                process.hints.announce_feed(sending.account)

        chance = Random(4)  # noqa: S311 - it chooses sizes and places
        apps = await apps_of(sending, APPS)
        return cls(apps, Writers(apps, announce, chance), chance)

    @property
    def sending(self) -> Sending:
        return self.apps[0]

    def late_reader(self, process: Process, operation: UUID | None = None) -> Reader:
        """One who is not waited for before the work begins."""
        reader = self.reader(process, operation)
        self._late.add(reader.subscription.name)
        return reader

    def reader(self, process: Process, operation: UUID | None = None, *statuses: Status) -> Reader:
        """Of one send, or of the account."""
        watched = Filter(self.sending.account, operation, statuses=frozenset(statuses))
        number = len(self.readers)
        subscription = Subscription(f"reader {number}", operation, {status.name for status in statuses})
        reader = Reader(subscription, connected(process, watched), self.last_seq)
        self.readers.append(reader)
        return reader

    def over(self, message: Message) -> bool:
        """Whether it is the last one: of a send its end, of the account the end of the marker."""
        return message.kind is Kind.END or self.marker in message.ended

    async def run(self, *reading: Coroutine[Any, Any, object], sends: Sequence[int] = SENDS) -> History:
        """Lets all write and read until everybody has had everything, or for long enough to see that they won't."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in reading]
            await eventually(self._begun)
            await self.writers.run(WRITERS, sends)
            await self.end()
            _, late = await asyncio.wait(tasks, timeout=_PATIENCE)
            for task in late:
                task.cancel()
        return await self.history()

    async def _begun(self) -> bool:
        """Whether everybody who is to see it from the beginning is there."""
        return all(reader.subscription.token for reader in self.readers if reader.subscription.name not in self._late)

    async def end(self) -> None:
        """Accepts the marker, and lets it end."""
        self.marker = await self.writers.accept(1)
        await self.writers.run(1)

    async def last_seq(self) -> int:
        seq: int = await self.sending.value("select max(seq) from events")
        return seq or 0

    async def history(self) -> History:
        account = self.sending.account
        async with self.sending.database.connection() as connection:
            return History(
                await commits(connection, account, self.writers.witnesses),
                await final_rows(connection, account),
                [reader.subscription for reader in self.readers],
            )


def connected(process: Process, watched: Filter) -> Connect:
    @asynccontextmanager
    async def connect(token: str) -> AsyncIterator[AsyncIterator[Message]]:
        async with process.items(watched, token) as items:
            yield _messages(items)

    return connect


async def _messages(items: AsyncIterator[Item]) -> AsyncIterator[Message]:
    clock = asyncio.get_running_loop().time
    async for item in items:
        yield _message(item, clock())


def _message(item: Item, at: float) -> Message:
    match item:
        case SnapshotPart():
            told = [_change(each) for each in item.recipients]
            return _naming(Kind.SNAPSHOT, _given(item.operation), at=at, token=item.token, changes=told, more=item.more)
        case Changes():
            told = [_change(each) for each in item.recipients]
            return _naming(Kind.CHANGES, item.operations, at=at, token=item.token, changes=told)
        case Checkpoint():
            return Message(Kind.CHECKPOINT, at, item.token)
        case End():
            return _naming(Kind.END, _given(item.operation), at=at, token=item.token)


def _change(change: RecipientChange) -> Change:
    provider = change.recipient.provider or change.devices[0].provider
    return Change(
        change.operation_id,
        change.index,
        change.status.name,
        reason_name(change.reason),
        provider.value,
        change.recipient.user_id,
    )


def _given(operation: Operation | None) -> Sequence[Operation]:
    return [] if operation is None else [operation]


def _naming(kind: Kind, operations: Sequence[Operation], **fields: Any) -> Message:
    message = partial(Message, kind, **fields)
    return message(
        counts={each.operation_id: Counts(each.counts.sent, each.counts.failed) for each in operations},
        ended={each.operation_id for each in operations if each.status.final},
    )
