"""One claimed job from plan to last flush."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar
from uuid import UUID

import structlog

from server.dispatch.clock import Clock
from server.dispatch.gates import Gates
from server.dispatch.ports import Announcer, JobStore, Senders
from server.dispatch.removals import RemovalGuard
from server.dispatch.rendering import Renderings
from server.domain.credentials import SealedCredential
from server.domain.delivery import (
    DeadDevice,
    DeviceState,
    End,
    RecipientState,
    call_off,
    dead_device,
    expire,
    postpone,
    settle,
)
from server.domain.errors import Unavailable
from server.domain.jobs import MOST_PICKS, Flush, Job, by_provider
from server.domain.operations import Status
from server.domain.plan import Reach, plan
from server.domain.pushes import Provider, Push, push_id
from server.domain.reasons import Reason
from server.domain.templates import RenderError

log = structlog.get_logger(__name__)

FLUSH_PUSHES = 250  # ended calls after which a flush is due; a kill -9 repeats at most those of two flushes
FLUSH_SECONDS = 0.25
UNPREPARED_SECONDS = 0.5  # before a job that could not be looked at goes back to the queue
WIDTH = 64  # pushes of one job under way at once

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Parts:
    """What every job run of a worker shares. ``lease`` is how long a claim holds without a sign of life."""

    store: JobStore
    senders: Senders
    renderings: Renderings
    gates: Gates
    announcer: Announcer
    lease: timedelta
    guard: RemovalGuard = field(default_factory=RemovalGuard)


class JobRun:
    """Carries a job out. ``stop`` makes it finish what is under way, record it and give the rest back."""

    def __init__(self, job: Job, parts: Parts) -> None:
        self.job = job
        self._parts = parts
        self._clock = Clock(job.claimed_at)
        self._stopping = False
        self._canceled = job.canceled
        self._delivered = False
        self._credentials: dict[Provider, SealedCredential] = {}
        self._waiting: dict[int, RecipientState] = {}  # not final, or final and not yet flushed
        self._ends: list[End] = []
        self._dead: list[DeadDevice] = []
        self._answered = 0  # provider calls that ended since the last flush
        self._flush_due = asyncio.Event()
        self._recording = asyncio.Lock()  # held while a flush is under way

    def stop(self) -> None:
        self._stopping = True

    async def run(self) -> None:
        """Carry the job out. Raises ``LeaseLost``, also inside an ExceptionGroup, when another worker has taken it."""
        if self._canceled:
            await self._end_canceled()
            return
        if self.job.picks > MOST_PICKS:
            await self._defuse()
            return
        try:
            await self._prepare()
        except Unavailable:  # nothing was begun: the claim does not count against the job
            await asyncio.sleep(UNPREPARED_SECONDS)
            await self._patiently(lambda: self._parts.store.give_back(self.job))
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(self._flush_regularly())
            await self._deliver()
            self._delivered = True
            self._flush_due.set()
        await self._finish()

    async def _end_canceled(self) -> None:
        job = self.job
        if job.begun:  # whose notifications name the credentials that were used
            self._choose(await self._patiently(lambda: self._parts.store.credentials(job)))
        self._call_off(job.begun.get(n) or RecipientState(n, r.user_id) for n, r in job.recipients.items())
        await self._finish()

    async def _defuse(self) -> None:
        """A job whose workers keep dying is halved until one recipient is left, which fails."""
        log.warning("poison job", job_id=str(self.job.lease.job_id), recipients=len(self.job.recipients))
        if len(self.job.recipients) > 1:
            await self._parts.store.split(self.job)
            return
        ((index, recipient),) = self.job.recipients.items()
        self._ends.append(_poisoned(self.job.begun.get(index) or RecipientState(index, recipient.user_id)))
        await self._finish()

    async def _prepare(self) -> None:
        credentials = await self._parts.store.credentials(self.job)
        self._choose(credentials)
        job = self.job
        expansions = await self._parts.store.expand(job.lease.account_id, job.app_id, job.recipients)
        made = plan(job.recipients, job.begun, expansions, Reach(self._credentials, self._deleted()))
        self._ends.extend(made.ends)
        now = self._clock.now()
        for state in made.states:
            expire(state.devices, now, self.job.deadline)
            self._waiting[state.index] = state
            self._end_if_decided(state)

    def _choose(self, credentials: list[SealedCredential]) -> None:
        self._credentials = by_provider(credentials)

    def _deleted(self) -> set[Provider]:
        named = {Provider.FCM: self.job.fcm_credential, Provider.APN: self.job.apn_credential}
        return {provider for provider, credential in named.items() if credential and provider not in self._credentials}

    async def _deliver(self) -> None:
        pushes = self._pushes()
        async with asyncio.TaskGroup() as group:
            for _ in range(min(WIDTH, len(self._waiting))):
                group.create_task(self._work(pushes))

    def _pushes(self) -> Iterator[tuple[RecipientState, DeviceState]]:
        for state in list(self._waiting.values()):
            for device in state.devices:
                if not device.decided:
                    yield state, device

    async def _work(self, pushes: Iterator[tuple[RecipientState, DeviceState]]) -> None:
        for state, device in pushes:
            await asyncio.sleep(0)  # a push that needs no call must not keep the others of the worker waiting
            if self._answered >= FLUSH_PUSHES:
                async with self._recording:  # sending does not run ahead of a database that can't be reached
                    pass
            if self._stopping or self._canceled:
                return
            await self._push(state, device)
            self._end_if_decided(state)

    async def _push(self, state: RecipientState, device: DeviceState) -> None:
        now = self._clock.now()
        expire([device], now, self.job.deadline)
        if device.decided or (device.not_before is not None and device.not_before > now):
            return
        credential = self._credentials[device.provider]
        rest = self._parts.gates.rest(credential.credential_id)
        if rest is not None:
            postpone(device, now + rest.left, self.job.deadline, rest.reason)
            return
        try:
            push = self._render(state, device)
        except RenderError as error:
            device.fail(Reason.RENDER_ERROR, str(error)[:200])
            return
        outcome = await self._parts.senders.get(credential).send(push)
        self._parts.gates.learn(credential.credential_id, outcome)
        settle(device, outcome, self._clock.now(), self.job.deadline)
        dead = dead_device(device, outcome, self.job.claimed_at)
        if self._parts.guard.allows(credential.credential_id, outcome) and dead:
            self._dead.append(dead)
        self._answered += 1
        if self._answered >= FLUSH_PUSHES:
            self._flush_due.set()

    def _render(self, state: RecipientState, device: DeviceState) -> Push:
        job = self.job
        return Push(
            push_id=push_id(job.operation_id, state.index, device.provider, device.token),
            token=device.token,
            content=self._parts.renderings.render(job, state.index),
            presentation=job.message.presentation,
            expires_at=None if job.ttl is None else job.due_at + timedelta(seconds=job.ttl),
            at=self._clock.now(),
            overrides=job.message.overrides.of(device.provider),
        )

    def _end_if_decided(self, state: RecipientState) -> None:
        if state.index in self._waiting and state.decided:
            del self._waiting[state.index]
            self._ends.append(state.end())

    async def _flush_regularly(self) -> None:
        while not self._delivered:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_SECONDS):
                    await self._flush_due.wait()
            if (self._ends or self._answered) and not self._delivered:
                await self._flush(keep=True, wait=self._parts.lease)

    def _call_off(self, states: Iterable[RecipientState]) -> None:
        """End recipients of a canceled operation."""
        self._ends.extend(call_off(state, lost=self.job.lost) for state in states)

    async def _finish(self) -> None:
        if self._canceled:
            self._call_off(self._waiting.values())
            self._waiting.clear()
        if self._stopping and not self._ends and not any(state.begun for state in self._waiting.values()):
            await self._parts.store.give_back(self.job)
        else:
            await self._flush(keep=False, wait=self._wait())

    def _wait(self) -> timedelta:
        """How long until the earliest of the recipients left may be tried."""
        now = self._clock.now()
        times = [state.next_try or now for state in self._waiting.values()]
        return max(min(times, default=now) - now, timedelta())

    async def _flush(self, *, keep: bool, wait: timedelta) -> None:
        """Record what has ended. An unreachable database is waited for: only a lost lease makes the record void."""
        ends, dead = self._ends, self._dead
        self._ends, self._dead, self._answered = [], [], 0
        self._flush_due.clear()
        flush = Flush(
            ends=ends,
            rest=list(self._waiting),
            begun=[state for state in self._waiting.values() if state.begun],
            dead=dead,
            keep=keep,
            wait=wait,
            fcm_credential=self._credential_id(Provider.FCM),
            apn_credential=self._credential_id(Provider.APN),
        )
        async with self._recording:
            flushed = await self._patiently(lambda: self._parts.store.flush(self.job, flush))
        self._canceled |= flushed.canceled
        if ends:
            self._parts.announcer.announce_feed(self.job.lease.account_id)

    async def _patiently(self, write: Callable[[], Awaitable[T]]) -> T:
        """Do a fenced write once the database can be reached."""
        delay = 0.05
        while True:
            try:
                return await write()
            except Unavailable:
                log.warning("a job waits for the database", job_id=str(self.job.lease.job_id))
                await asyncio.sleep(delay)
                delay = min(delay * 2, 2.0)

    def _credential_id(self, provider: Provider) -> UUID | None:
        credential = self._credentials.get(provider)
        return credential.credential_id if credential else None


def _poisoned(state: RecipientState) -> End:
    for device in state.devices:
        if not device.decided:
            device.fail(Reason.POISON)
    if any(device.status is Status.SENT for device in state.devices):
        return state.end()
    return End(state.index, state.user_id, Status.FAILED, Reason.POISON, state.devices)
