"""Gives webhooks their turns. Any number of processes may: a webhook's lease is one's at a time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Final, Protocol
from uuid import UUID

import structlog

from server.domain.errors import Unavailable
from server.domain.webhooks import Turn
from server.webhooks.turn import Parts, TurnRun

log = structlog.get_logger(__name__)

LEASE: Final = timedelta(seconds=60)
POLL_SECONDS = 1.0  # how exactly retries keep their time
NET_SECONDS = 15.0  # below hints that get lost: the look at all feeds
GATHER_SECONDS = 0.05  # however fast hints come, claims don't come faster
TURNS: Final = 100  # at once; each webhook has one, so that a slow one holds up nobody else


class Claims(Protocol):
    """Where turns come from."""

    async def claim(self, limit: int, lease: timedelta, accounts: Iterable[UUID] | None) -> list[Turn]: ...


class GrownFeeds(Protocol):
    """Rings when feeds may have grown, and says which; None for perhaps any."""

    def take_grown(self) -> set[UUID] | None: ...


class FeedSignal(Protocol):
    """Calls listeners at each ring."""

    def subscribe(self, listener: Callable[[], object]) -> None: ...


class Deliverer:
    """One per process; ``run`` it as a task until ``stop``."""

    def __init__(self, claims: Claims, parts: Parts, grown: GrownFeeds, signal: FeedSignal) -> None:
        self._claims = claims
        self._parts = parts
        self._grown = grown
        self._turns: set[asyncio.Task[None]] = set()
        self._something = asyncio.Event()
        self._stopping = asyncio.Event()
        self._poll_due = self._net_due = 0.0
        self._new: set[UUID] = set()  # accounts that hints named since the last poll
        self._known: set[UUID] = set()  # and since the one before
        signal.subscribe(self._something.set)

    def stop(self) -> None:
        """Begin no more; ``run`` returns when what is under way is recorded, within 15 seconds."""
        self._stopping.set()
        self._something.set()

    async def run(self) -> None:
        """Deliver until ``stop`` or cancellation. What is under way at a cancellation is delivered again later."""
        async with asyncio.TaskGroup() as group:
            while not self._stopping.is_set():
                self._something.clear()
                await self._begin(group)
                await self._wait()

    async def _begin(self, group: asyncio.TaskGroup) -> None:
        free = TURNS - len(self._turns)
        if not free:
            return
        now = asyncio.get_running_loop().time()
        polls, whose = now >= self._poll_due, self._whose(now)
        if not polls and whose is not None and not whose:
            return
        try:
            turns = await self._claims.claim(free, LEASE, whose)
        except Unavailable:
            self._net_due = 0.0
            log.warning("webhooks wait for the database")
            return
        if len(turns) == free:
            self._ask_again(whose)
        for turn in turns:
            task = group.create_task(self._carry_out(turn))
            self._turns.add(task)
            task.add_done_callback(self._ended)

    def _whose(self, now: float) -> set[UUID] | None:
        """The accounts that hints named or, from time to time, all.

        Who is named is asked for again at the next two polls: a hint may come while who holds the webhook, or makes it,
        does not see yet what it is about.
        """
        grown = self._grown.take_grown()
        if grown is None or now >= self._net_due:
            self._poll_due, self._net_due = now + POLL_SECONDS, now + NET_SECONDS
            return None
        self._new |= grown
        if now < self._poll_due:
            return grown
        self._poll_due = now + POLL_SECONDS
        asked = self._new | self._known
        self._new, self._known = set(), self._new
        return asked

    def _ask_again(self, whose: set[UUID] | None) -> None:
        """There were as many as there was room for, and perhaps more."""
        if whose is None:
            self._net_due = 0.0
        else:
            self._new |= whose

    def _ended(self, task: asyncio.Task[None]) -> None:
        if len(self._turns) == TURNS:
            self._poll_due = 0.0  # there were more than there was room for, perhaps
            self._something.set()
        self._turns.discard(task)

    async def _wait(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_SECONDS):
                await self._something.wait()
        if not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GATHER_SECONDS):
                    await self._stopping.wait()

    async def _carry_out(self, turn: Turn) -> None:
        """What is wrong with one webhook ends its turn and nothing else: its lease runs out, and it is tried again."""
        try:
            await TurnRun(self._parts, turn, self._stopping).run()
        except Unavailable:
            log.warning("a webhook waits for the database", webhook=str(turn.webhook_id))
        except Exception as error:  # noqa: BLE001 # a secret that does not open, say; its text may hold what is secret
            log.error("a webhook's turn failed", webhook=str(turn.webhook_id), error=type(error).__name__)  # noqa: TRY400
