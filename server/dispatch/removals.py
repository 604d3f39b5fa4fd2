"""Guards against removing everybody's devices because of one poisoned payload or one wrong credential.

A provider that names the time since which a token is dead knows that device. Every other "dead" may as well mean that
we ask wrongly, and then it is the answer for every device. Two rules tell the cases apart:

* Of one operation: when at least ``LEAST`` devices, and more than the share of those that a credential got an answer
  for, died of the same error within ``WINDOW_SECONDS``, no more of that operation's devices are removed for it.
* Across operations, for "unknown token" and "other sender": a credential has credit for a few removals and earns more
  with every device that it reaches. Many small sends with a wrong credential are stopped by this one.

Kept in this process, within bounds: each worker learns by itself.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias, TypeVar
from uuid import UUID

import structlog

from server.domain.delivery import DeadDevice
from server.domain.notices import RemovalsStopped
from server.domain.outcomes import Accepted, Outcome, Rejected
from server.domain.reasons import Reason

log = structlog.get_logger(__name__)

T = TypeVar("T")

SHARE = 0.5
LEAST = 20  # deaths of one error that count as many, and answers before the first device of an operation is removed
WINDOW_SECONDS = 600.0
FIRST_CREDIT = 10.0  # removals of a credential that has reached nobody yet
MOST_CREDIT = 100.0  # what a long success is worth when the credential is replaced by a wrong one
MOST_OPERATIONS = 1_000
MOST_CREDENTIALS = 10_000

_Error: TypeAlias = tuple[UUID, Reason]
"""A credential and what its answers say of devices. The reason, not the code: there are few."""


@dataclass(frozen=True, slots=True)
class Death:
    """A device to remove, and who said so. ``certain``: the provider named the time, so it knows the device."""

    device: DeadDevice
    credential: UUID
    reason: Reason
    code: str
    certain: bool

    @property
    def error(self) -> _Error:
        return self.credential, self.reason


class Decision(NamedTuple):
    """``kept`` wait for more answers; ``stops`` are to be told. What is in neither list stays registered."""

    removed: list[DeadDevice]
    kept: list[Death]
    stops: list[RemovalsStopped]


@dataclass(slots=True)
class _Operation:
    """What one operation's devices were answered since ``begun``. For ``stopped`` errors none is removed any more."""

    begun: float
    answered: Counter[UUID] = field(default_factory=Counter)
    died: Counter[_Error] = field(default_factory=Counter)
    stopped: set[_Error] = field(default_factory=set)
    untold: list[RemovalsStopped] = field(default_factory=list)


@dataclass(slots=True)
class _Credit:
    left: float = FIRST_CREDIT
    told: set[Reason] = field(default_factory=set)


class RemovalGuard:
    """Counts what operations and credentials are answered. ``share`` is above 0; with 1 nothing is ever stopped."""

    def __init__(self, share: float = SHARE, now: Callable[[], float] = time.monotonic) -> None:
        self._share = share
        self._earns = MOST_CREDIT if share >= 1 else share / (1 - share)
        self._now = now
        self._operations: OrderedDict[UUID, _Operation] = OrderedDict()
        self._credits: OrderedDict[UUID, _Credit] = OrderedDict()

    def answered(self, operation: UUID, credential: UUID, outcome: Outcome) -> None:
        """Count a device that a provider has decided on."""
        counts = self._operation(operation)
        counts.answered[credential] += 1
        if isinstance(outcome, Accepted):
            self._earn(credential)
        elif isinstance(outcome, Rejected) and outcome.device_dead and outcome.dead_since is None:
            counts.died[credential, outcome.reason] += 1

    def decide(self, operation: UUID, deaths: Iterable[Death], *, last: bool) -> Decision:
        """Say which devices may be removed now. ``last``: nobody will ask again for those that would wait."""
        removed, kept = [], []
        counts = self._operation(operation)
        for death in deaths:
            if death.certain:
                removed.append(death.device)
            elif counts.answered[death.credential] < LEAST and not last:
                kept.append(death)
            elif self._may_go(operation, death):
                removed.append(death.device)
        stops, counts.untold = counts.untold, []
        return Decision(removed, kept, stops)

    def tell_again(self, stops: Iterable[RemovalsStopped]) -> None:
        """Take back what could not be recorded."""
        for stop in stops:
            self._operation(stop.operation_id).untold.append(stop)

    def _may_go(self, operation: UUID, death: Death) -> bool:
        counts = self._operation(operation)
        died = counts.died[death.error]
        if death.error in counts.stopped:
            return False
        if died >= LEAST and died > self._share * counts.answered[death.credential]:
            counts.stopped.add(death.error)
            counts.untold.append(_stop(operation, death, died))
            return False
        if death.reason is Reason.UNREGISTERED or self._share >= 1 or self._spend(death.credential):
            return True
        if death.reason not in self._credit(death.credential).told:
            self._credit(death.credential).told.add(death.reason)
            counts.untold.append(_stop(operation, death, died))
        return False

    def _earn(self, credential: UUID) -> None:
        credit = self._credit(credential)
        credit.left = min(credit.left + self._earns, MOST_CREDIT)
        if credit.left == MOST_CREDIT:
            credit.told.clear()

    def _spend(self, credential: UUID) -> bool:
        credit = self._credit(credential)
        if credit.left < 1:
            return False
        credit.left -= 1
        return True

    def _credit(self, credential: UUID) -> _Credit:
        return _latest(self._credits, credential, _Credit, MOST_CREDENTIALS)

    def _operation(self, operation: UUID) -> _Operation:
        now = self._now()
        counts = _latest(self._operations, operation, lambda: _Operation(now), MOST_OPERATIONS)
        if now - counts.begun > WINDOW_SECONDS:
            counts.begun, counts.answered, counts.died = now, Counter(), Counter()
        return counts


def _stop(operation: UUID, death: Death, devices: int) -> RemovalsStopped:
    log.warning(
        "devices are not removed: too many die of the same answer",
        operation_id=str(operation),
        credential_id=str(death.credential),
        code=death.code,
        devices=devices,
    )
    return RemovalsStopped(operation, death.credential, death.code, devices)


def _latest(entries: OrderedDict[UUID, T], key: UUID, make: Callable[[], T], most: int) -> T:
    """Return the entry, made where it is missing; the one that was not used for longest makes room."""
    if key not in entries:
        entries[key] = make()
        if len(entries) > most:
            entries.popitem(last=False)
    entries.move_to_end(key)
    return entries[key]
