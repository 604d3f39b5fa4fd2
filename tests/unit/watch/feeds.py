"""A status feed in memory, and readers of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID, uuid4

from server.domain.feed import (
    PAGE_ENTRIES,
    PAGE_RECIPIENTS,
    Changes,
    Checkpoint,
    End,
    FeedEntry,
    FeedEvent,
    FeedNotice,
    Filter,
    Item,
    Place,
    Position,
    RecipientChange,
    Snapshot,
    SnapshotPart,
    recipients_of,
)
from server.domain.notices import Notice
from server.domain.operations import Counts, Operation, OperationStatus, Status
from server.domain.reasons import Reason
from server.store.hints import Signal
from server.watch.stream import StatusStreams
from server.watch.tailer import Tailer

_NOW = datetime(2026, 1, 2, tzinfo=UTC)


@dataclass
class MemoryFeed:
    """The feed of one account: what a database's would answer, and how often it was asked."""

    account: UUID = field(default_factory=uuid4)
    epoch: UUID = field(default_factory=uuid4)
    events: list[FeedEntry] = field(default_factory=list)
    operations: dict[UUID, Operation] = field(default_factory=dict)
    forgotten: int = 0  # events that retention took
    read_events: int = 0
    asked: list[int] = field(default_factory=list)  # recipients, by each read
    broken: list[Exception] = field(default_factory=list)

    def operation(self, recipients: int) -> UUID:
        made = uuid4()
        self._tell(made, Counts(recipients, 0, 0, 0, 0), ())
        return made

    def change(self, operation: UUID, *indexes: int, status: Status = Status.SENT) -> None:
        """Let these recipients come to a status in one commit."""
        before = self.operations[operation].counts
        sent = before.sent + (len(indexes) if status is Status.SENT else 0)
        failed = before.failed + (len(indexes) if status is Status.FAILED else 0)
        unaddressable = before.unaddressable + (len(indexes) if status is Status.UNADDRESSABLE else 0)
        self._tell(operation, Counts(before.recipients, unaddressable, sent, failed, 0), indexes, status)

    def _tell(self, operation: UUID, counts: Counts, indexes: Sequence[int], status: Status = Status.SENT) -> None:
        state = OperationStatus.PROCESSING if counts.waiting else OperationStatus.COMPLETED
        made = Operation(operation, state, counts, _NOW, _NOW)
        self.operations[operation] = made
        seq = self.forgotten + len(self.events) + 1
        changes = [RecipientChange(operation, index, status, Reason.NONE, _NOW, seq) for index in indexes]
        self.events.append(FeedEvent(seq, _NOW, made, "shop", changes))

    def notice(self, notice: Notice) -> None:
        """Let something happen to the account."""
        self.events.append(FeedNotice(self.forgotten + len(self.events) + 1, _NOW, notice))

    def forget(self, count: int) -> None:
        del self.events[:count]
        self.forgotten += count

    async def position(self, account: UUID) -> Position:
        assert account == self.account
        return Position(self.epoch, self.forgotten + len(self.events))

    async def oldest(self, account: UUID) -> int | None:
        assert account == self.account
        return self.events[0].seq if self.events else None

    async def read(
        self, account: UUID, after: int, operation: UUID | None = None, *, recipients: int = PAGE_RECIPIENTS
    ) -> list[FeedEntry]:
        assert account == self.account
        self.asked.append(recipients)
        await asyncio.sleep(0)
        if self.broken:
            raise self.broken.pop()
        found = [e for e in self.events if e.seq > after and (operation is None or _is_of(operation, e))]
        found = found[:PAGE_ENTRIES]
        found = found[: next((n for n in range(1, len(found)) if recipients_of(found[:n]) >= recipients), len(found))]
        self.read_events += len(found)
        return found

    async def snapshot(
        self, account: UUID, operations: Sequence[UUID], places: Collection[Place] | None
    ) -> Snapshot | None:
        if account != self.account or not all(operation in self.operations for operation in operations):
            return None
        final = [
            change
            for event in self.events
            if isinstance(event, FeedEvent) and event.operation.operation_id in operations
            for change in event.recipients
            if places is None or (change.operation_id, change.index) in places
        ]
        return Snapshot(await self.position(account), [self.operations[each] for each in operations], final)


def _is_of(operation: UUID, entry: FeedEntry) -> bool:
    return isinstance(entry, FeedEvent) and entry.operation.operation_id == operation


class Hints:
    """Hints about feeds, or none where they get lost."""

    def __init__(self) -> None:
        self.feeds = Signal()
        self._grown: set[UUID] | None = set()

    def ring(self, account: UUID | None) -> None:
        self._grown = None if account is None or self._grown is None else self._grown | {account}
        self.feeds.ring()

    def take_grown(self) -> set[UUID] | None:
        grown, self._grown = self._grown, set()
        return grown


@dataclass
class Watching:
    """A running tailer on a memory feed."""

    feed: MemoryFeed
    hints: Hints
    tailer: Tailer
    streams: StatusStreams[Item]

    def grow(self) -> None:
        self.hints.ring(self.feed.account)

    def filter(self, operation: UUID | None = None, index: int | None = None, *statuses: Status) -> Filter:
        if operation is None or index is None:
            return Filter(self.feed.account, operation, statuses=frozenset(statuses))
        return Filter(self.feed.account, places=frozenset({(operation, index)}), statuses=frozenset(statuses))

    @asynccontextmanager
    async def reader(self, watched: Filter, token: str = "") -> AsyncIterator[Reader]:
        async with aclosing(self.streams.open(watched, token)) as items:
            yield Reader(items)

    async def all(self, watched: Filter, token: str = "") -> list[Item]:
        """The whole of a stream that ends."""
        async with asyncio.timeout(10):
            return [item async for item in self.streams.open(watched, token)]


@asynccontextmanager
async def watching(feed: MemoryFeed | None = None, checkpoint_seconds: float = 60.0) -> AsyncIterator[Watching]:
    feed, hints = feed or MemoryFeed(), Hints()
    tailer = Tailer(feed, hints.feeds, hints)
    running = asyncio.ensure_future(tailer.run())
    try:
        yield Watching(feed, hints, tailer, StatusStreams(feed, tailer, lambda item: item, checkpoint_seconds))
    finally:
        running.cancel()
        await asyncio.wait([running])


@dataclass
class Reader:
    """One reader of a stream."""

    items: AsyncIterator[Item]

    async def next(self) -> Item:
        async with asyncio.timeout(10):
            return await anext(self.items)

    async def changes(self, count: int) -> list[tuple[UUID, int]]:
        """Operation and index of the next changes, at least so many."""
        found: list[tuple[UUID, int]] = []
        while len(found) < count:
            item = await self.next()
            if isinstance(item, Changes):
                found.extend((change.operation_id, change.index) for change in item.recipients)
        return found


async def settled() -> None:
    """Let every task come to where it waits."""
    for _ in range(50):
        await asyncio.sleep(0)


def told(items: Sequence[Item]) -> list[tuple[int, Status]]:
    """Index and status of every recipient in a stream of one operation, snapshot and changes."""
    found: list[RecipientChange] = []
    for item in items:
        match item:
            case SnapshotPart() | Changes():
                found.extend(item.recipients)
            case Checkpoint() | End():
                pass
    return [(change.index, change.status) for change in found]
