"""What the answers to a job's pushes say of its devices, collected between two flushes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

from server.dispatch.removals import Death, RemovalGuard
from server.domain.delivery import DeadDevice, DeviceState, LearnedEnvironment, RecipientState, dead_device
from server.domain.jobs import Job
from server.domain.notices import RemovalsStopped
from server.domain.outcomes import Accepted, Outcome, Rejected
from server.domain.routes import Routes


class Found(NamedTuple):
    """What a flush records of devices."""

    dead: list[DeadDevice]
    learned: list[LearnedEnvironment]
    stops: list[RemovalsStopped]


class Findings:
    """The findings of one job; the guard, which all jobs share, says at a flush which devices may go."""

    def __init__(self, job: Job, guard: RemovalGuard) -> None:
        self._job = job
        self._guard = guard
        self._deaths: list[Death] = []
        self._learned: list[LearnedEnvironment] = []

    @property
    def open(self) -> bool:
        """Whether there is something that no flush has recorded yet."""
        return bool(self._deaths or self._learned)

    def add(self, routes: Routes, state: RecipientState, device: DeviceState, outcome: Outcome) -> None:
        """Learn from a final answer of a provider."""
        if not isinstance(outcome, Accepted) and not (isinstance(outcome, Rejected) and outcome.called):
            return
        credential = routes.first(device).credential_id
        self._guard.answered(self._job.operation_id, credential, outcome)
        if learned := routes.learned(state, device, outcome):
            self._learned.append(learned)
        dead = dead_device(device, outcome, self._job.claimed_at)
        if dead and isinstance(outcome, Rejected) and routes.kills(device, outcome):
            certain = outcome.dead_since is not None
            self._deaths.append(Death(dead, credential, outcome.reason, outcome.code, certain))

    def take(self, *, last: bool) -> Found:
        """Return what is to be recorded now. ``last``: no other flush of the job follows."""
        decision = self._guard.decide(self._job.operation_id, self._deaths, last=last)
        learned, self._learned, self._deaths = self._learned, [], decision.kept
        return Found(decision.removed, learned, decision.stops)

    @contextlib.contextmanager
    def recording(self, found: Found) -> Iterator[None]:
        """Where the flush does not come about, what it had to tell is still to be told."""
        try:
            yield
        except BaseException:
            self._guard.tell_again(found.stops)
            raise
