"""One reader's stream: a snapshot, then what changes, with checkpoints, until what is watched is final."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Sequence
from dataclasses import replace
from typing import Generic, TypeVar
from uuid import UUID

from server.domain.errors import NotFound, TokenExpired, Unavailable
from server.domain.feed import (
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
)
from server.domain.operations import Operation, Status
from server.watch import tokens
from server.watch.tailer import BEHIND, AccountTail, FeedStore, Page, Tailer

CHECKPOINT_SECONDS = 14.0  # the contract says at least every 15
SNAPSHOT_PAGE = 500  # recipients a message
MERGED = 500  # recipients up to which events are merged into one message
SNAPSHOTS = 4  # read at once by a process: each takes some 2 KiB a recipient, and a quarter of it once it is encoded

M = TypeVar("M")
"""What a message of the stream is to whoever sends it."""


class StatusStreams(Generic[M]):
    """Opens streams, with a checkpoint wherever ``checkpoint_seconds`` pass without another message.

    ``encode`` makes messages of what there is to tell: once for all readers that watch the same.
    """

    def __init__(
        self,
        store: FeedStore,
        tailer: Tailer,
        encode: Callable[[Item], M],
        checkpoint_seconds: float = CHECKPOINT_SECONDS,
    ) -> None:
        self._store = store
        self._tailer = tailer
        self._encode = encode
        self._checkpoint_seconds = checkpoint_seconds
        self._snapshots = asyncio.Semaphore(SNAPSHOTS)

    async def open(self, watched: Filter, resume_token: str = "", *, snapshot: bool = True) -> AsyncGenerator[M, None]:
        """Yield the stream's messages. Raises ``NotFound`` and ``Invalid`` before the first.

        Without a ``snapshot`` it begins with a checkpoint and what changes from then on.
        """
        with self._tailer.tail(watched.account) as tail:
            stream = _Stream(self._store, tail, watched, self._encode)
            if resume_token:
                async for message in stream.resume(resume_token):
                    yield message
                if not stream.ended:
                    yield stream.checkpoint()  # at once: the reader knows that it was resumed
            else:
                async with self._snapshots if snapshot and watched.ends else contextlib.nullcontext():
                    known = await stream.begin(snapshot=snapshot)
                while known:
                    yield known.popleft()
            async for message in stream.follow(self._checkpoint_seconds):
                yield message


class _Stream(Generic[M]):
    def __init__(self, store: FeedStore, tail: AccountTail, watched: Filter, encode: Callable[[Item], M]) -> None:
        self._store = store
        self._tail = tail
        self._watched = watched
        self._encode = encode
        self._operations = watched.operations
        self._position: Position | None = None
        self._pending: set[Place] = set()  # watched recipients that are not final, as far as is known
        self._known = 0  # up to where in the feed that is known
        self.ended = False

    async def resume(self, token: str) -> AsyncIterator[M]:
        """Start behind the token. Raises ``Invalid``: for one of another stream, or too old for what is kept."""
        account = self._watched.account
        now = await self._store.position(account)
        position = tokens.decode(token, self._watched, now)
        self._position = position
        await self._is_kept(now)
        await self._tail.reach(now.seq)
        if self._watched.ends:
            async for message in self._catch_up():
                yield message

    async def _is_kept(self, now: Position) -> None:
        """Raises ``TokenExpired`` unless everything from here to ``now`` is."""
        assert self._position is not None  # set by resume
        oldest = await self._store.oldest(self._watched.account)
        if self._position.seq < now.seq and (oldest is None or self._position.seq + 1 < oldest):
            raise TokenExpired("what follows it is no longer kept")

    async def _catch_up(self) -> AsyncIterator[M]:
        """Give what was missed: of one operation by its own index, rather than everything the account did since."""
        # Taken first: what it calls final has its event among those read below, or had it before the token.
        known = await self._look(self._watched.places)
        assert self._position is not None  # set by resume
        while len(self._operations) == 1:
            after = self._position.seq
            events = await self._store.read(self._watched.account, after, self._operations[0], recipients=BEHIND)
            await self._is_kept(known.position)  # behind the read: what is there now was there then
            if not events:
                break
            for message in self._tell(Page(after, events)):
                yield message
            if self.ended:
                return
        if len(self._operations) == 1 and known.position.seq > self._position.seq:
            self._position = known.position
        if self._is_over(known):
            yield self._end(known.operations)

    async def begin(self, *, snapshot: bool) -> deque[M]:
        """Return what is known now, in parts; without a ``snapshot`` only a bookmark."""
        if not self._watched.ends:
            self._position = await self._store.position(self._watched.account)
            await self._tail.reach(self._position.seq)
            nothing = SnapshotPart(None, (), more=False, token=self._token())
            return deque([self._encode(nothing) if snapshot else self.checkpoint()])
        everyone = None if snapshot and not self._watched.places else self._watched.places
        known = await self._look(everyone)
        if any(_never_was(place, known) for place in self._watched.places):
            raise NotFound("there is no such push notification")
        self._position = known.position
        await self._tail.reach(self._position.seq)
        messages = await self._parts(known) if snapshot else deque([self.checkpoint()])
        if self._is_over(known):
            messages.append(self._end(known.operations))
        return messages

    async def _look(self, places: Collection[Place] | None) -> Snapshot:
        """Take a snapshot with these recipients, and note who is not final in it. Raises ``NotFound``."""
        known = await self._store.snapshot(self._watched.account, self._operations, places)
        if known is None:
            raise NotFound("there is no such operation or push notification")
        self._known = known.position.seq
        self._pending = set(self._watched.places) - {(change.operation_id, change.index) for change in known.final}
        return known

    async def _parts(self, known: Snapshot) -> deque[M]:
        told = [change for change in known.final if self._watched.wants(change)]
        parts: deque[M] = deque()
        for first in range(0, max(len(told), 1), SNAPSHOT_PAGE):
            more = first + SNAPSHOT_PAGE < len(told)
            part = told[first : first + SNAPSHOT_PAGE]
            token = "" if more else self._token()
            parts.append(self._encode(SnapshotPart(_only(known.operations), part, more=more, token=token)))
            await asyncio.sleep(0)  # a large snapshot keeps nobody else waiting
        return parts

    async def follow(self, checkpoint_seconds: float) -> AsyncIterator[M]:
        """Give changes as they come, and a checkpoint after so long without one, until the end.

        Raises ``Unavailable``, behind a last checkpoint: from there it goes on elsewhere.
        """
        while not self.ended:
            try:
                messages = await self._next(checkpoint_seconds)
            except Unavailable:
                yield self.checkpoint()
                raise
            waiting = deque(messages)  # and none is kept for longer than it waits
            del messages
            while waiting:
                yield waiting.popleft()

    async def _next(self, seconds: float) -> Sequence[M]:
        """Return the next messages. What others do in the account makes none, and does not put the checkpoint off."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    assert self._position is not None  # set by resume or begin
                    if messages := self._tell(await self._tail.after(self._position.seq)):
                        return messages
        except TimeoutError:
            return [self.checkpoint()]

    def checkpoint(self) -> M:
        """Return a bookmark of where the stream is."""
        return self._encode(Checkpoint(self._token()))

    def _tell(self, page: Page) -> Sequence[M]:
        """Turn entries into messages and move on behind them, with others that watch the same and are as far."""
        assert self._position is not None  # set by resume or begin
        if self._watched in page.told:
            told, self.ended = page.told[self._watched]
        else:
            told = [self._encode(item) for item in self._messages(page.entries)]
            if not self._watched.places:  # whose end depends on what each of them has been told
                page.told[self._watched] = (told, self.ended)
        self._position = Position(self._position.epoch, page.entries[-1].seq)
        return told

    def _messages(self, entries: Sequence[FeedEntry]) -> list[Item]:
        """Make messages of whole commits."""
        items: list[Item] = []
        gathered: list[FeedEntry] = []
        size = 0
        for entry in entries:
            changed = len(entry.recipients) if isinstance(entry, FeedEvent) else 0
            if gathered and size + changed > MERGED:
                items.extend(self._message(gathered))
                gathered, size = [], 0
            gathered.append(entry)
            size += changed
        items.extend(self._message(gathered))
        return items

    def _message(self, entries: Sequence[FeedEntry]) -> list[Item]:
        if self.ended:
            return []
        assert self._position is not None  # set by resume or begin
        self._position = Position(self._position.epoch, entries[-1].seq)
        recipients: list[RecipientChange] = []
        operations: dict[UUID, Operation] = {}
        for event in entries:
            if isinstance(event, FeedNotice):
                continue
            watched = [change for change in event.recipients if self._watched.watches(event, change)]
            if watched or self._watched.watches_operation(event):
                operations[event.operation.operation_id] = event.operation
                recipients.extend(change for change in watched if self._watched.wants(change))
                self._pending.difference_update((change.operation_id, change.index) for change in watched)
        notices = [told for entry in entries if (told := self._news(entry)) is not None]
        items: list[Item] = []
        if operations or notices:
            items.append(Changes(recipients, list(operations.values()), self._token(), notices))
        if self._are_final(list(operations.values())):
            self.ended = True
            items.append(End(_only(list(operations.values())) if len(self._operations) == 1 else None, self._token()))
        return items

    def _news(self, entry: FeedEntry) -> FeedNotice | None:
        if isinstance(entry, FeedEvent) or (told := self._watched.news(entry.notice)) is None:
            return None
        return replace(entry, notice=told)

    def _are_final(self, changed: Sequence[Operation]) -> bool:
        """Whether everything that is watched is final, and was told."""
        if self._watched.places:
            return not self._pending and self._position is not None and self._position.seq >= self._known
        return self._watched.operation is not None and any(operation.status.final for operation in changed)

    def _is_over(self, known: Snapshot) -> bool:
        return not self.ended and self._are_final(known.operations)

    def _end(self, operations: Sequence[Operation]) -> M:
        self.ended = True
        return self._encode(End(_only(operations), self._token()))

    def _token(self) -> str:
        assert self._position is not None  # set by resume or begin
        return tokens.encode(self._position, self._watched)


def _only(operations: Sequence[Operation]) -> Operation | None:
    return operations[0] if len(operations) == 1 else None


def _never_was(place: Place, known: Snapshot) -> bool:
    """Whether there is no such push notification: no such recipient, or one found unaddressable."""
    operation, index = place
    recipients = next(each.counts.recipients for each in known.operations if each.operation_id == operation)
    return index >= recipients or any(
        (change.operation_id, change.index) == place and change.status is Status.UNADDRESSABLE for change in known.final
    )
