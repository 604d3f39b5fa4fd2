"""One webhook's turn: read on in its feed, deliver what is due, write down what it came to, give it back.

The feed is the backlog: it is read only so far ahead that a bounded number of deliveries is pending.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol
from uuid import UUID

from server.domain.feed import PAGE_RECIPIENTS, FeedEntry, Position
from server.domain.webhooks import (
    NOT_KEPT,
    Answer,
    Attempt,
    EventType,
    NewDelivery,
    Pending,
    Turn,
    event_id,
    rest,
    settle,
    types_of,
)
from server.webhooks.events import event_of
from server.webhooks.signing import signed_headers

TURN_SECONDS: Final = 20.0  # no attempt begins later; with the last one's 15 seconds it is well below the lease
MOST_PENDING: Final = 500
AT_ONCE: Final = 4  # attempts of one webhook
_PAGE: Final = 1_000  # recipients, or one commit more, that the feed is read on by
_EVENTS: Final = 2  # that an entry is, at most


class Store(Protocol):
    """Where webhooks and their deliveries are, as a holder of a lease needs them."""

    async def room(self, turn: Turn, most: int) -> int: ...
    async def take_up(self, turn: Turn, epoch: UUID, seq: int, new: Sequence[NewDelivery]) -> bool: ...
    async def due(self, turn: Turn, limit: int) -> list[Pending]: ...
    async def record(self, turn: Turn, attempts: Sequence[Attempt]) -> bool: ...
    async def give_back(self, turn: Turn, rest: timedelta | None, most: int) -> None: ...


class Feed(Protocol):
    """The status feed."""

    async def position(self, account: UUID) -> Position: ...
    async def oldest(self, account: UUID) -> int | None: ...
    async def read(
        self, account: UUID, after: int, operation: UUID | None = None, *, recipients: int = PAGE_RECIPIENTS
    ) -> list[FeedEntry]: ...


class Opener(Protocol):
    """Opens sealed secrets."""

    def open(self, sealed: bytes, context: str) -> bytes: ...


class Poster(Protocol):
    """Makes one attempt."""

    async def post(self, url: str, headers: dict[str, str], body: bytes) -> Answer: ...


@dataclass(frozen=True, slots=True)
class Parts:
    """What turns are made with."""

    store: Store
    feed: Feed
    opener: Opener
    poster: Poster


class TurnRun:
    """Carries one turn out. ``stopping`` set: no further attempt begins."""

    def __init__(self, parts: Parts, turn: Turn, stopping: asyncio.Event) -> None:
        self._store, self._feed, self._poster = parts.store, parts.feed, parts.poster
        self._turn = turn
        self._stopping = stopping
        self._secrets = [parts.opener.open(sealed, turn.seal_context).decode() for sealed in turn.secrets]
        self._read_to = Position(turn.epoch, turn.seq)
        self._failures = turn.failures
        self._entries: dict[int, FeedEntry] = {}  # those of the page that was read last
        self._end = asyncio.get_running_loop().time() + TURN_SECONDS

    async def run(self) -> None:
        """Deliver until nothing is due, the webhook needs a rest, or the turn is over. Raises ``Unavailable``."""
        pause: timedelta | None = None
        while pause is None and self._may_begin():
            due = await self._store.due(self._turn, AT_ONCE if self._failures == 0 else 1)
            if not due:
                if not await self._read_on():
                    break
                continue  # a page is read when the one before is delivered: what it has is at hand
            if not self._may_begin():
                break
            answers = await asyncio.gather(*(self._attempt(pending) for pending in due))
            if not await self._record(due, answers):
                return  # somebody else has it, or nobody
            pause = self._pause(answers)
        await self._store.give_back(self._turn, pause, MOST_PENDING - _EVENTS + 1)

    def _may_begin(self) -> bool:
        """By a clock that goes on while the process is stopped: what it holds may be another's by then."""
        return not self._stopping.is_set() and asyncio.get_running_loop().time() < self._end

    async def _read_on(self) -> bool:
        """Take up what the feed has and there is room for. Returns whether there was any."""
        now = await self._feed.position(self._turn.account)
        if now == self._read_to:
            return False
        room = await self._store.room(self._turn, MOST_PENDING)
        if room < _EVENTS:
            return False
        entries = await self._feed.read(self._turn.account, self._read_to.seq, recipients=_PAGE)
        missed = await self._missed(now)  # behind the read: what is there now was there then
        if missed is not None:
            return await self._take_up(now.epoch, missed.seq, [missed])
        new = self._fitting(entries, room)
        end = max(self._entries, default=now.seq)
        return await self._take_up(now.epoch, end, new)

    def _fitting(self, entries: Sequence[FeedEntry], room: int) -> list[NewDelivery]:
        """Return what is to deliver of as many of the entries as there is room for, and keep those."""
        self._entries = {}
        new: list[NewDelivery] = []
        for entry in entries:
            if len(new) + _EVENTS > room:
                break
            self._entries[entry.seq] = entry
            new += [NewDelivery(entry.seq, kind) for kind in types_of(entry) if self._turn.wants(kind)]
        return new

    async def _take_up(self, epoch: UUID, seq: int, new: Sequence[NewDelivery]) -> bool:
        """A lost lease is noticed by what comes next, which finds nothing due."""
        if not await self._store.take_up(self._turn, epoch, seq, new):
            return False
        self._read_to = Position(epoch, seq)
        return True

    async def _missed(self, now: Position) -> NewDelivery | None:
        """Return what tells of entries that went before they were read, or of another feed, as after a restore."""
        if now.epoch != self._read_to.epoch:
            return NewDelivery(now.seq, EventType.EVENTS_MISSED, self._read_to.seq)
        oldest = await self._feed.oldest(self._turn.account)
        first = now.seq + 1 if oldest is None else oldest
        if first <= self._read_to.seq + 1:
            return None
        return NewDelivery(first - 1, EventType.EVENTS_MISSED, self._read_to.seq)

    async def _attempt(self, pending: Pending) -> Answer:
        entry = await self._entry(pending)
        if entry is None and pending.missed_after is None:
            return NOT_KEPT
        body = event_of(self._turn.account, pending, entry)
        headers = signed_headers(self._secrets, _id_of(pending), datetime.now(UTC), body)
        return await self._poster.post(self._turn.url, headers, body)

    async def _entry(self, pending: Pending) -> FeedEntry | None:
        if pending.missed_after is not None or pending.epoch != self._read_to.epoch:
            return None
        if pending.seq in self._entries:
            return self._entries[pending.seq]
        found = await self._feed.read(self._turn.account, pending.seq - 1, recipients=1)
        return found[0] if found and found[0].seq == pending.seq else None

    async def _record(self, due: Sequence[Pending], answers: Sequence[Answer]) -> bool:
        attempts = [settle(pending, answer) for pending, answer in zip(due, answers, strict=True)]
        return await self._store.record(self._turn, attempts)

    def _pause(self, answers: Sequence[Answer]) -> timedelta | None:
        tried = [answer for answer in answers if answer is not NOT_KEPT]
        if not tried:
            return None
        self._failures = 0 if any(answer.delivered for answer in tried) else self._failures + len(tried)
        return rest(self._failures, tried)


def _id_of(pending: Pending) -> str:
    return event_id(pending.epoch, pending.seq, pending.event_type)
