"""One claimed job from plan to last flush."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import structlog

from server.dispatch.clock import Clock
from server.dispatch.findings import Findings
from server.dispatch.lanes import Lane, Lanes, Rest
from server.dispatch.ports import Announcer, JobStore, Sender, Senders
from server.dispatch.recording import Recording
from server.dispatch.removals import RemovalGuard
from server.dispatch.rendering import Renderings
from server.domain.credentials import SealedCredential
from server.domain.delivery import DeviceState, End, RecipientState, can_wait, expire, settle
from server.domain.errors import Unavailable
from server.domain.jobs import MOST_PICKS, Holder, Job
from server.domain.operations import Status
from server.domain.outcomes import NotSent, Outcome, Unknown
from server.domain.plan import Reach, plan
from server.domain.pushes import Provider, Push, push_id
from server.domain.reasons import Reason
from server.domain.routes import Routes
from server.domain.templates import RenderError

log = structlog.get_logger(__name__)

UNPREPARED_SECONDS = 0.5  # before a job that could not be looked at goes back to the queue
MISTAKE = "INTERNAL_ERROR"  # the code of pushes that failed for an error of ours
WIDTH = 125  # pushes of one job under way at once: what is done between two turns of an urgent one


@dataclass(frozen=True, slots=True)
class Parts:
    """What every job run of a worker shares. ``lease`` is how long a claim holds without a sign of life."""

    store: JobStore
    senders: Senders
    renderings: Renderings
    lanes: Lanes
    announcer: Announcer
    lease: timedelta
    guard: RemovalGuard = field(default_factory=RemovalGuard)


@dataclass(frozen=True, slots=True)
class _Way:
    """How the devices of a credential are reached."""

    credential: SealedCredential
    sender: Sender
    lane: Lane


class JobRun:
    """Carries a job out. ``stop`` makes it finish what is under way, record it and give the rest back."""

    def __init__(self, job: Job, parts: Parts) -> None:
        self.job = job
        self._parts = parts
        self._clock = Clock(job.claimed_at)
        self._expires_at = None if job.ttl is None else job.due_at + timedelta(seconds=job.ttl)
        self._stopping = False
        self._mistaken = False
        self._ways: dict[UUID, _Way] = {}
        self._findings = Findings(job, parts.guard)
        self._record = Recording(job, parts.store, parts.announcer, parts.lease, self._findings)

    def stop(self) -> None:
        self._stopping = True

    async def run(self) -> None:
        """Carry the job out. Raises ``LeaseLost``, also inside an ExceptionGroup, when another worker has taken it."""
        if self.job.canceled:
            await self._end_canceled()
        elif self.job.picks > MOST_PICKS:
            await self._defuse()
        elif await self._prepare():
            async with asyncio.TaskGroup() as group:
                group.create_task(self._record.keep_up())
                await self._deliver()
                self._record.stop()
            await self._finish()

    async def _end_canceled(self) -> None:
        job, record = self.job, self._record
        if job.begun:  # whose notifications name the credentials that were used
            self._choose(await record.patiently(lambda: self._parts.store.credentials(job)))
        record.call_off(job.begun.get(n) or RecipientState(n, r.user_id) for n, r in job.recipients.items())
        await record.finish(self._clock)

    async def _defuse(self) -> None:
        """A job whose workers keep dying is halved until one recipient is left, which fails."""
        log.warning("poison job", job_id=str(self.job.lease.job_id), recipients=len(self.job.recipients))
        if len(self.job.recipients) > 1:
            await self._parts.store.split(self.job)
            return
        ((index, recipient),) = self.job.recipients.items()
        self._record.end(_poisoned(self.job.begun.get(index) or RecipientState(index, recipient.user_id)))
        await self._record.finish(self._clock)

    async def _prepare(self) -> bool:
        """Find out whom to reach and how. False: the database is away, and the job went back uncounted."""
        job, store = self.job, self._parts.store
        try:
            credentials = await store.credentials(job)
            expansions = await store.expand(job.lease.account_id, job.app_id, job.recipients)
        except Unavailable:
            await asyncio.sleep(UNPREPARED_SECONDS)
            await self._record.patiently(lambda: store.give_back(job))
            return False
        self._choose(credentials)
        made = plan(job.recipients, job.begun, expansions, Reach(self._record.routes.providers, self._deleted()))
        self._record.end(*made.ends)
        now = self._clock.now()
        for state in made.states:
            expire(state.devices, now, job.deadline)
            self._record.wait_for(state)
        return True

    def _choose(self, credentials: Sequence[SealedCredential]) -> None:
        self._record.routes = Routes(credentials, self.job.apn_credential)

    def _way(self, device: DeviceState) -> _Way:
        credential = self._record.routes.credential(device)
        way = self._ways.get(credential.credential_id)
        if way is None:
            sender = self._parts.senders.get(credential)
            lane = self._parts.lanes.of(credential, sender.project)
            way = self._ways[credential.credential_id] = _Way(credential, sender, lane)
        return way

    def _deleted(self) -> set[Provider]:
        named = {Provider.FCM: self.job.fcm_credential, Provider.APN: self.job.apn_credential}
        usable = self._record.routes.providers
        return {provider for provider, credential in named.items() if credential and provider not in usable}

    async def _deliver(self) -> None:
        waiting = self._record.waiting
        pushes = _undecided(waiting)
        async with asyncio.TaskGroup() as group:
            for _ in range(min(WIDTH, len(waiting))):
                group.create_task(self._work(pushes))

    async def _work(self, pushes: Iterator[tuple[RecipientState, DeviceState]]) -> None:
        for state, device in pushes:
            await self._record.room()
            if not self._goes_on():
                return
            if not await self._push(state, device):
                await asyncio.sleep(0)  # pushes without a call must not keep the others of the worker waiting
            self._record.end_if_decided(state)

    async def _push(self, state: RecipientState, device: DeviceState) -> bool:
        """Try a device, if it may be tried now. Return whether its provider was asked.

        An error that nobody expected is this push's own: the others go on, and it is tried again by what is known.
        """
        if not self._may_try(device):
            return False
        fate: Outcome = NotSent(MISTAKE)
        try:
            way = self._way(device)
            push = await self._ready(way, state, device)
            if push is None:
                return False
            fate = Unknown(MISTAKE)
            outcome = await self._call(way, push, device)
            if outcome is None:
                return False
            fate = outcome
            return await self._answered(way, state, device, outcome)
        except Exception as error:  # noqa: BLE001 # it is logged, and the other pushes of the batch are under way
            self._mistake(device, fate, error)
            return False

    async def _ready(self, way: _Way, state: RecipientState, device: DeviceState) -> Push | None:
        """Make the push, which may have to wait for a turn: nothing may be begun that is not to be sent any more."""
        if self._rests(way, device):
            return None
        try:
            push = await self._render(
                state, device, lambda: self._goes_on() and self._may_try(device) and not self._rests(way, device)
            )
        except RenderError as error:
            device.fail(Reason.RENDER_ERROR, str(error)[:200])
            return None
        return push if self._goes_on() and self._may_try(device) else None

    def _rests(self, way: _Way, device: DeviceState) -> bool:
        """Hold the device where its credential rests."""
        rest = way.lane.rest(urgent=self.job.small)
        if rest:
            self._hold(device, way, rest)
        return rest is not None

    def _goes_on(self) -> bool:
        return not self._stopping and not self._record.canceled

    async def _call(self, way: _Way, push: Push, device: DeviceState) -> Outcome | None:
        """Send it when the lane has room for it, unless its time is over by then."""
        waits = not way.lane.enter_at_once()
        if waits and (rest := await way.lane.enter(urgent=self.job.small)):
            self._hold(device, way, rest)
            return None
        begun_at = time.monotonic()
        outcome: Outcome | None = None
        try:
            if not waits or self._may_try(device):
                outcome = await way.sender.send(push)
        finally:
            way.lane.leave(outcome, begun_at)
        return outcome

    async def _answered(self, way: _Way, state: RecipientState, device: DeviceState, outcome: Outcome) -> bool:
        self._record.answered()
        if not self._record.routes.turn(device, outcome):
            self._settle(state, device, way, outcome)
        elif not self._record.canceled:
            await self._push(state, device)
        return getattr(outcome, "called", True)

    def _may_try(self, device: DeviceState) -> bool:
        now = self._clock.now()
        expire([device], now, self.job.deadline)
        return not device.decided and (device.not_before is None or device.not_before <= now)

    def _mistake(self, device: DeviceState, fate: Outcome, error: Exception) -> None:
        """Settle a push by what is known of it. One that is mistaken again and again is given up."""
        if not self._mistaken:  # once for a job, all of whose pushes may have it
            self._mistaken = True
            log.error("push failed", job_id=str(self.job.lease.job_id), exc_info=error)
        if device.decided:
            return
        again = device.code == MISTAKE and device.tries >= MOST_PICKS
        settle(device, fate, self._clock.now(), self.job.deadline)
        if again and not device.decided:
            device.fail(Reason.OUTCOME_UNKNOWN if device.attempts else Reason.POISON, MISTAKE)

    def _settle(self, state: RecipientState, device: DeviceState, way: _Way, outcome: Outcome) -> None:
        settle(device, outcome, self._clock.now(), self.job.deadline)
        if not device.decided and (rest := way.lane.rest(urgent=self.job.small)):
            self._hold(device, way, rest)
        self._findings.add(self._record.routes, state, device, outcome)

    def _hold(self, device: DeviceState, way: _Way, rest: Rest) -> None:
        """Keep a device for when its credential has rested; one whose time is over by then fails now."""
        until = self._clock.now() + rest.left
        if not can_wait(device, until, self.job.deadline, rest.reason):
            return
        self._record.rest(way.credential.credential_id, until)
        if rest.reason is Reason.CREDENTIAL_REJECTED:
            self._record.held_by = Holder(way.credential.credential_id, way.credential.version)

    async def _render(self, state: RecipientState, device: DeviceState, wanted: Callable[[], bool]) -> Push | None:
        job = self.job
        content = await self._parts.renderings.render(job, state.index, wanted)
        if content is None:
            return None
        return Push(
            push_id=push_id(job.operation_id, state.index, device.provider, device.token),
            token=device.token,
            content=content,
            presentation=job.message.presentation,
            expires_at=self._expires_at,
            at=self._clock.now(),
            overrides=job.message.overrides.of(device.provider),
        )

    async def _finish(self) -> None:
        if self._stopping and self._record.untouched:
            await self._parts.store.give_back(self.job)
        else:
            await self._record.finish(self._clock)


def _undecided(states: Sequence[RecipientState]) -> Iterator[tuple[RecipientState, DeviceState]]:
    for state in states:
        for device in state.devices:
            if not device.decided:
                yield state, device


def _poisoned(state: RecipientState) -> End:
    for device in state.devices:
        if not device.decided:
            device.fail(Reason.POISON)
    if any(device.status is Status.SENT for device in state.devices):
        return state.end()
    return End(state.index, state.user_id, Status.FAILED, Reason.POISON, state.devices)
