"""What a job run knows and has not recorded yet, and the flushes that record it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID

import structlog

from server.dispatch.clock import Clock
from server.dispatch.findings import Findings
from server.dispatch.ports import Announcer, JobStore
from server.domain.delivery import End, RecipientState, call_off
from server.domain.errors import Unavailable
from server.domain.jobs import Flush, Holder, Job
from server.domain.pushes import Provider
from server.domain.routes import Routes

log = structlog.get_logger(__name__)

FLUSH_PUSHES = 250  # ended calls after which a flush is due; a kill -9 repeats at most those of two flushes
FLUSH_SECONDS = 0.25

T = TypeVar("T")


class Recording:
    """The recipients of one job: those who wait, those who ended, and what is to be told to the store.

    ``canceled``: the operation was canceled; nobody may be called any more. ``routes`` are the credentials in use.
    ``held_by`` is the one of them that is refused and that recipients wait for.
    """

    def __init__(self, job: Job, store: JobStore, announcer: Announcer, lease: timedelta, findings: Findings) -> None:
        self.canceled = job.canceled
        self.routes = Routes(())
        self.held_by: Holder | None = None
        self._job = job
        self._store = store
        self._announcer = announcer
        self._lease = lease
        self._findings = findings
        self._rests: dict[UUID, datetime] = {}
        self._waiting: dict[int, RecipientState] = {}  # not final, or final and not yet recorded
        self._ends: list[End] = []
        self._answered = 0  # provider calls that ended since the last flush
        self._due = asyncio.Event()
        self._writing = asyncio.Lock()
        self._over = False
        self._ended = False  # a flush found nothing left to do, and the job is gone

    @property
    def waiting(self) -> list[RecipientState]:
        """The recipients that are not final."""
        return list(self._waiting.values())

    @property
    def untouched(self) -> bool:
        """Whether there is nothing to record: no recipient ended, none was begun, and no device is to be judged."""
        return not self._ends and not self._findings.open and not any(state.begun for state in self._waiting.values())

    def wait_for(self, state: RecipientState) -> None:
        """Take a recipient in; one whose devices are all decided ends at once."""
        self._waiting[state.index] = state
        self.end_if_decided(state)

    def end(self, *ends: End) -> None:
        """Take recipients that are final."""
        self._ends.extend(ends)

    def end_if_decided(self, state: RecipientState) -> None:
        """End a recipient when its last device is decided."""
        if state.decided and state.index in self._waiting:
            del self._waiting[state.index]
            self._ends.append(state.end())

    def call_off(self, states: Iterable[RecipientState]) -> None:
        """End recipients of a canceled operation."""
        self._ends.extend(call_off(state, lost=self._job.lost) for state in states)

    def rest(self, credential: UUID, until: datetime) -> None:
        """Take in until when nobody can be reached with this credential."""
        self._rests[credential] = max(until, self._rests.get(credential, until))

    def answered(self) -> None:
        """Count a call that ended."""
        self._answered += 1
        if self._answered >= FLUSH_PUSHES:
            self._due.set()

    async def room(self) -> None:
        """Wait while much is unrecorded: sending does not run ahead of a database that can't be reached."""
        if self._answered >= FLUSH_PUSHES:
            async with self._writing:
                pass

    async def keep_up(self) -> None:
        """Flush regularly until ``stop``."""
        while not self._over:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_SECONDS):
                    await self._due.wait()
            if (self._ends or self._answered) and not self._over:
                await self._flush(keep=True, wait=self._lease)

    def stop(self) -> None:
        """Let ``keep_up`` end."""
        self._over = True
        self._due.set()

    async def finish(self, clock: Clock) -> None:
        """Record everything; the job ends, or waits for the earliest of the recipients left."""
        if self._ended:
            return
        if self.canceled:
            self.call_off(self._waiting.values())
            self._waiting.clear()
        now = clock.now()
        times = (self._next_try(state, now) for state in self._waiting.values())
        await self._flush(keep=False, wait=min(times, default=now) - now)

    def _next_try(self, state: RecipientState, now: datetime) -> datetime:
        return min(
            max(device.not_before or now, self._rests.get(self.routes.credential(device).credential_id, now), now)
            for device in state.devices
            if not device.decided
        )

    async def patiently(self, write: Callable[[], Awaitable[T]]) -> T:
        """Do a fenced write once the database can be reached: only a lost lease makes it void."""
        delay = 0.05
        while True:
            try:
                return await write()
            except Unavailable:
                log.warning("a job waits for the database", job_id=str(self._job.lease.job_id))
                await asyncio.sleep(delay)
                delay = min(delay * 2, 2.0)

    async def _flush(self, *, keep: bool, wait: timedelta) -> None:
        ends, found = self._ends, self._findings.take(last=not keep or not self._waiting)
        self._ends, self._answered = [], 0
        self._due.clear()
        flush = Flush(
            ends=ends,
            rest=list(self._waiting),
            begun=[state for state in self._waiting.values() if state.begun],
            dead=found.dead,
            keep=keep,
            wait=wait,
            fcm_credential=self.routes.usual(Provider.FCM),
            apn_credential=self.routes.usual(Provider.APN),
            held_by=None if keep else self.held_by,
            learned=found.learned,
            notices=found.stops,
        )
        async with self._writing:
            with self._findings.recording(found):
                flushed = await self.patiently(lambda: self._store.flush(self._job, flush))
        self._ended = not flush.rest
        self.canceled |= flushed.canceled
        if ends or found.stops:
            self._announcer.announce_feed(self._job.lease.account_id)
