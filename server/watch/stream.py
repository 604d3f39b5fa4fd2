"""One reader's stream: a snapshot, then what changes, with checkpoints, until what is watched is final."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from uuid import UUID

from server.domain.errors import Invalid, NotFound, Violation
from server.domain.feed import (
    Changes,
    Checkpoint,
    End,
    FeedEntry,
    FeedEvent,
    FeedNotice,
    Filter,
    Item,
    Position,
    RecipientChange,
    SnapshotPart,
)
from server.domain.operations import Operation, Status
from server.watch import tokens
from server.watch.tailer import AccountTail, FeedStore, Tailer

CHECKPOINT_SECONDS = 14.0  # the contract says at least every 15
SNAPSHOT_PAGE = 500  # recipients a message
CATCH_UP_PAGE = 64  # events
MERGED = 500  # recipients up to which events are merged into one message


class StatusStreams:
    """Opens streams, with a checkpoint wherever ``checkpoint_seconds`` pass without another message."""

    def __init__(self, store: FeedStore, tailer: Tailer, checkpoint_seconds: float = CHECKPOINT_SECONDS) -> None:
        self._store = store
        self._tailer = tailer
        self._checkpoint_seconds = checkpoint_seconds

    async def open(self, watched: Filter, resume_token: str) -> AsyncGenerator[Item, None]:
        """Yield the stream's items. Raises ``NotFound`` and ``Invalid`` before the first."""
        with self._tailer.tail(watched.account) as tail:
            stream = _Stream(self._store, tail, watched)
            begin = stream.resume(resume_token) if resume_token else stream.snapshot()
            async for item in begin:
                yield item
            if resume_token and not stream.ended:
                yield stream.checkpoint()  # at once: the reader knows that it was resumed
            async for item in stream.follow(self._checkpoint_seconds):
                yield item


class _Stream:
    def __init__(self, store: FeedStore, tail: AccountTail, watched: Filter) -> None:
        self._store = store
        self._tail = tail
        self._watched = watched
        self._position: Position | None = None
        self.ended = False

    async def resume(self, token: str) -> AsyncIterator[Item]:
        """Start behind the token. Raises ``Invalid`` where events behind it are no longer kept."""
        account = self._watched.account
        now = await self._store.position(account)
        position = tokens.decode(token, self._watched, now)
        oldest = await self._store.oldest(account)
        if position.seq < now.seq and (oldest is None or position.seq + 1 < oldest):
            raise Invalid(Violation("resume_token", "what follows it is no longer kept"))
        self._position = position
        if self._watched.operation is not None:
            async for item in self._catch_up(self._watched.operation):
                yield item

    async def _catch_up(self, operation: UUID) -> AsyncIterator[Item]:
        """Give what one operation missed by its own index, rather than everything the account did since."""
        assert self._position is not None  # set by resume
        account = self._watched.account
        # Taken first: what it calls final has its event among those read below, or had it before the token.
        snapshot = await self._store.snapshot(account, operation, self._watched.index)
        while events := await self._store.read(account, self._position.seq, CATCH_UP_PAGE, operation):
            for item in self._tell(events):
                yield item
            if self.ended:
                return
        if snapshot and self._is_over(snapshot.operation, snapshot.final):
            yield self._end(snapshot.operation)
        elif snapshot and snapshot.position.seq > self._position.seq:
            self._position = snapshot.position

    async def snapshot(self) -> AsyncIterator[Item]:
        """Give what is known now, in parts."""
        if self._watched.operation is None:
            self._position = await self._store.position(self._watched.account)
            yield SnapshotPart(None, (), more=False, token=self._token())
            return
        snapshot = await self._store.snapshot(self._watched.account, self._watched.operation, self._watched.index)
        if snapshot is None or _never_was(snapshot.operation, self._watched, snapshot.final):
            raise NotFound("there is no such operation or push notification")
        self._position = snapshot.position
        wanted = [change for change in snapshot.final if self._watched.wants(change.status)]
        for first in range(0, max(len(wanted), 1), SNAPSHOT_PAGE):
            more = first + SNAPSHOT_PAGE < len(wanted)
            part = wanted[first : first + SNAPSHOT_PAGE]
            yield SnapshotPart(snapshot.operation, part, more=more, token="" if more else self._token())
        if self._is_over(snapshot.operation, snapshot.final):
            yield self._end(snapshot.operation)

    async def follow(self, checkpoint_seconds: float) -> AsyncIterator[Item]:
        """Give changes as they come, and a checkpoint after so long without one, until the end."""
        while not self.ended:
            for item in await self._next(checkpoint_seconds):
                yield item

    async def _next(self, seconds: float) -> list[Item]:
        """Return the next messages. What others do in the account makes none, and does not put the checkpoint off."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    assert self._position is not None  # set by resume or snapshot
                    if items := self._tell(await self._tail.after(self._position.seq)):
                        return items
        except TimeoutError:
            return [self.checkpoint()]

    def checkpoint(self) -> Checkpoint:
        """Return a bookmark of where the stream is."""
        return Checkpoint(self._token())

    def _tell(self, entries: Sequence[FeedEntry]) -> list[Item]:
        """Turn entries into messages of whole commits, and move on behind them."""
        items: list[Item] = []
        gathered: list[FeedEntry] = []
        size = 0
        for entry in entries:
            changed = len(entry.indexes) if isinstance(entry, FeedEvent) else 0
            if gathered and size + changed > MERGED:
                items.extend(self._message(gathered))
                gathered, size = [], 0
            gathered.append(entry)
            size += changed
        if gathered and not self.ended:
            items.extend(self._message(gathered))
        return items

    def _message(self, entries: Sequence[FeedEntry]) -> list[Item]:
        if self.ended:
            return []
        assert self._position is not None  # set by resume or snapshot
        self._position = Position(self._position.epoch, entries[-1].seq)
        recipients: list[tuple[UUID, RecipientChange]] = []
        operations: dict[UUID, Operation] = {}
        last: Operation | None = None
        for event in entries:
            if isinstance(event, FeedNotice):
                continue
            operation = event.operation
            if self._watched.operation not in (None, operation.operation_id):
                continue
            changes = [c for c in event.changes() if self._watched.index in (None, c.index)]
            if self._watched.index is not None and not changes:
                continue
            recipients.extend((operation.operation_id, c) for c in changes if self._watched.wants(c.status))
            operations[operation.operation_id] = operation
            if self._watched.operation is not None and (self._watched.index is not None or operation.status.final):
                last = operation
        items: list[Item] = []
        notices = self._notices(entries)
        if operations or notices:
            items.append(Changes(recipients, list(operations.values()), self._token(), notices))
        if last is not None:
            items.append(self._end(last))
        return items

    def _notices(self, entries: Sequence[FeedEntry]) -> list[FeedNotice]:
        """Return those of the account, for who watches all of it."""
        if self._watched.operation is not None:
            return []
        return [entry for entry in entries if isinstance(entry, FeedNotice)]

    def _is_over(self, operation: Operation | None, final: Sequence[RecipientChange]) -> bool:
        if operation is None:
            return False
        return bool(final) if self._watched.index is not None else operation.status.final

    def _end(self, operation: Operation | None) -> End:
        assert operation is not None  # only what has an operation ends
        self.ended = True
        return End(operation, self._token())

    def _token(self) -> str:
        assert self._position is not None  # set by resume or snapshot
        return tokens.encode(self._position, self._watched)


def _never_was(operation: Operation | None, watched: Filter, final: Sequence[RecipientChange]) -> bool:
    """Whether the watched notification does not exist: no such recipient, or one found unaddressable."""
    if watched.index is None or operation is None:
        return False
    unaddressable = any(change.status is Status.UNADDRESSABLE for change in final)
    return watched.index >= operation.counts.recipients or unaddressable
