"""Follows the feeds that someone watches: each event is read once per process, whoever many readers it has.

Readers pull from a short ring of recent pages. One that falls behind the ring reads for itself, a message's worth at a
time, so memory is bounded whatever the readers do.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from uuid import UUID

import structlog

from server.domain.errors import TokenExpired, Unavailable
from server.domain.feed import PAGE_RECIPIENTS, FeedEntry, Place, Position, Snapshot, is_full, recipients_of

log = structlog.get_logger(__name__)

POLL_SECONDS: Final = 1.0  # the net below hints that get lost
RING: Final = 4_000  # recipients, or entries where they have fewer, kept per watched account; at least one page
BEHIND: Final = 500  # recipients that a reader behind the ring reads at once, or one commit more


class FeedStore(Protocol):
    """The feed, as ``server.store.feed`` reads it."""

    async def position(self, account: UUID) -> Position: ...
    async def oldest(self, account: UUID) -> int | None: ...
    async def read(
        self, account: UUID, after: int, operation: UUID | None = None, *, recipients: int = PAGE_RECIPIENTS
    ) -> list[FeedEntry]: ...
    async def snapshot(
        self, account: UUID, operations: Sequence[UUID], places: Collection[Place] | None
    ) -> Snapshot | None: ...


class FeedSignal(Protocol):
    """Wakes when feeds may have grown."""

    async def wait(self, seconds: float) -> None: ...


class GrownFeeds(Protocol):
    """Says which feeds grew; None for perhaps any."""

    def take_grown(self) -> set[UUID] | None: ...


@dataclass(eq=False, slots=True)
class Page:
    """Entries behind ``after`` that were read together.

    ``told`` is what readers of one filter made of all of them, for the others that watch the same.
    """

    after: int
    entries: Sequence[FeedEntry]
    told: dict[object, tuple[Sequence[Any], bool]] = field(default_factory=dict)

    @property
    def weight(self) -> int:
        return max(recipients_of(self.entries), len(self.entries))

    def behind(self, seq: int) -> Page:
        """Return what of it is behind ``seq``: all of it where that is where it begins."""
        return self if seq == self.after else Page(seq, [entry for entry in self.entries if entry.seq > seq])


class AccountTail:
    """The end of one account's feed, shared by its readers."""

    def __init__(self, store: FeedStore, account: UUID) -> None:
        self._store = store
        self._account = account
        self._ring: deque[Page] = deque()
        self._weight = 0  # of what is in the ring
        self._end: int | None = None  # nothing is in the ring before the first reader says where it is
        self._grown = asyncio.Event()
        self._reading = asyncio.Lock()
        self._closed: Exception | None = None
        self.readers = 0

    async def reach(self, end: int) -> None:
        """Begin at the feed's end, if nobody has: whoever is behind it reads for themselves."""
        if self._end is None:
            self._start_at(end)
            await self.advance()

    async def after(self, seq: int) -> Page:
        """Return entries behind ``seq``, waiting until there is one.

        Raises ``Unavailable``, and ``TokenExpired`` where retention was faster.
        """
        if self._end is None or seq > self._end:
            self._start_at(seq)
            await self.advance()
        while seq == self._end and not self._closed:
            await self._grown.wait()
        if self._closed:
            raise self._closed
        if self._ring and self._ring[0].after <= seq:
            page = next(page for page in self._ring if page.entries[-1].seq > seq).behind(seq)
        else:
            page = Page(seq, await self._store.read(self._account, seq, recipients=BEHIND))
        if not page.entries or (page.entries[0].seq != seq + 1 and not await self._is_kept(seq + 1)):
            raise TokenExpired("what follows is no longer kept")
        return page

    async def _is_kept(self, seq: int) -> bool:
        oldest = await self._store.oldest(self._account)
        return oldest is not None and oldest <= seq

    async def advance(self) -> None:
        """Read what is new, if there are readers."""
        async with self._reading:
            while self._end is not None and await self._read_page(self._end):
                pass

    async def _read_page(self, end: int) -> bool:
        """Return whether there may be more."""
        entries = await self._store.read(self._account, end)
        if entries and self._end == end:  # else a reader further on moved the ring meanwhile
            self._extend(Page(end, entries))
            self._move_to(entries[-1].seq)
        return is_full(entries)

    def _extend(self, page: Page) -> None:
        """Take a page in; the oldest make room."""
        self._ring.append(page)
        self._weight += page.weight
        while self._weight > RING and len(self._ring) > 1:
            self._weight -= self._ring.popleft().weight

    def close(self, reason: Exception) -> None:
        """Send the readers away."""
        self._closed = reason
        self._grown.set()

    def _start_at(self, seq: int) -> None:
        self._ring.clear()
        self._weight = 0
        self._move_to(seq)

    def _move_to(self, seq: int) -> None:
        self._end = seq
        self._grown.set()
        self._grown = asyncio.Event()


class Tailer:
    """One per process; ``run`` it as a task."""

    def __init__(self, store: FeedStore, signal: FeedSignal, grown: GrownFeeds) -> None:
        self._store = store
        self._signal = signal
        self._grown = grown
        self._tails: dict[UUID, AccountTail] = {}
        self._closed = False

    def close(self) -> None:
        """End every stream with ``Unavailable``: its reader resumes at another server, and this one can stop."""
        self._closed = True
        for tail in self._tails.values():
            tail.close(_stopping())

    @contextlib.contextmanager
    def tail(self, account: UUID) -> Iterator[AccountTail]:
        """Lend the account's tail; it is dropped with its last reader."""
        tail = self._tails.get(account)
        if tail is None:
            tail = self._tails[account] = AccountTail(self._store, account)
            if self._closed:
                tail.close(_stopping())
        tail.readers += 1
        try:
            yield tail
        finally:
            tail.readers -= 1
            if not tail.readers and self._tails.get(account) is tail:
                del self._tails[account]

    async def run(self) -> None:
        """Keep the tails up to date until cancelled."""
        clock = asyncio.get_running_loop().time
        poll_due = clock() + POLL_SECONDS
        while True:
            await self._signal.wait(max(poll_due - clock(), 0.0))
            grown = self._grown.take_grown()
            if clock() >= poll_due:  # however busy other accounts keep the signal
                grown, poll_due = None, clock() + POLL_SECONDS
            for account, tail in list(self._tails.items()):
                if grown is None or account in grown:
                    await self._advance(account, tail)

    async def _advance(self, account: UUID, tail: AccountTail) -> None:
        try:
            await tail.advance()
        except Unavailable:
            log.warning("feeds wait for the database")
        except Exception as error:  # of one feed: its readers are told, and those of others go on
            log.exception("a feed can't be read", account_id=str(account))
            self._tails.pop(account, None)
            tail.close(error)


def _stopping() -> Unavailable:
    return Unavailable("the server is stopping; resume from the last token")
