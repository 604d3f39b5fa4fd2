"""The life of one recipient under a worker: its devices, what each provider call came to, and when it is final.

Pure: outcomes and times go in, the recipient's state and what to do about it come out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from server.domain.devices import Environment
from server.domain.operations import Status
from server.domain.outcomes import Accepted, CredentialRefused, NotSent, Outcome, Rejected, Scope, Throttled, Unknown
from server.domain.pushes import Provider
from server.domain.reasons import Reason
from server.domain.retry import backoff

_FINAL: Final = frozenset(status for status in Status if status.final)


@dataclass(slots=True)
class DeviceState:
    """One device of a recipient. ``status`` is QUEUED until decided; ``attempts`` counts provider calls.

    ``environment`` is Apple's that it is known to belong to, ``refused_in`` the one that did not know its token: from
    then on it is tried in the other.
    """

    provider: Provider
    token: str
    status: Status = Status.QUEUED
    reason: Reason = Reason.NONE
    attempts: int = 0
    tries: int = 0  # attempts and failures to reach the provider: what backoff grows with
    message_id: str | None = None
    code: str | None = None
    not_before: datetime | None = None
    environment: Environment | None = None
    refused_in: Environment | None = None

    @property
    def decided(self) -> bool:
        return self.status in _FINAL

    def fail(self, reason: Reason, code: str | None = None) -> None:
        self.status, self.reason = Status.FAILED, reason
        self.code = code or self.code

    @property
    def begun(self) -> bool:
        return bool(self.tries or self.refused_in or self.decided)

    def refuse_in(self, environment: Environment, code: str) -> None:
        """Note that the environment does not know the token: the other one decides, without a backoff in between."""
        self.attempts += 1
        self.refused_in, self.reason, self.code = environment, Reason.INVALID_TOKEN, code


@dataclass(slots=True)
class RecipientState:
    """One recipient with the devices it was expanded to."""

    index: int
    user_id: UUID | None
    devices: list[DeviceState] = field(default_factory=list)

    @property
    def begun(self) -> bool:
        """Whether a device was tried: from then on the set of devices is fixed."""
        return any(device.begun for device in self.devices)

    @property
    def decided(self) -> bool:
        return all(device.decided for device in self.devices)

    def end(self) -> End:
        """Return how the recipient ended; call it only when decided. SENT if any device was, else the first failure."""
        if any(device.status is Status.SENT for device in self.devices):
            return End(self.index, self.user_id, Status.SENT, Reason.NONE, self.devices)
        return End(self.index, self.user_id, Status.FAILED, self.devices[0].reason, self.devices)


@dataclass(frozen=True, slots=True)
class End:
    """A final recipient, as it is recorded."""

    index: int
    user_id: UUID | None
    status: Status
    reason: Reason
    devices: Sequence[DeviceState] = ()


@dataclass(frozen=True, slots=True)
class DeadDevice:
    """A device to remove, unless it was registered again after ``dead_since``."""

    provider: Provider
    token: str
    dead_since: datetime


@dataclass(frozen=True, slots=True)
class LearnedEnvironment:
    """An APN device that turned out to belong to ``environment``."""

    token: str
    environment: Environment


def settle(device: DeviceState, outcome: Outcome, now: datetime, deadline: datetime) -> None:
    """Apply what a provider call came to: decide the device, or set when it is tried again.

    A refused credential of the second environment ends it too: what the first one said stands.
    """
    device.tries += 1
    device.attempts += _was_called(outcome)
    match outcome:
        case Accepted(message_id):
            device.status, device.reason, device.message_id = Status.SENT, Reason.NONE, message_id
        case Rejected():
            device.fail(outcome.reason, outcome.code)
        case CredentialRefused() if device.refused_in:
            device.fail(Reason.INVALID_TOKEN)
        case Throttled() | NotSent() | CredentialRefused() | Unknown():
            retry_after = outcome.retry_after if isinstance(outcome, Throttled) else None
            device.code = outcome.code
            device.reason = _reason_if_late(outcome)
            if not _is_held(outcome):
                _postpone(device, now + backoff(device.tries, retry_after), deadline)


def _postpone(device: DeviceState, until: datetime, deadline: datetime) -> None:
    """Hold a device back; one that would wait past its deadline fails now, for what its last call came to."""
    device.not_before = until
    if until > deadline:
        device.fail(device.reason)


def can_wait(device: DeviceState, until: datetime, deadline: datetime, reason: Reason) -> bool:
    """Whether a device can wait for its credential to have rested, for this reason; one that can't fails now.

    One that is in its second environment does not wait for a refused credential: its first one said enough.
    """
    if device.refused_in and reason is Reason.CREDENTIAL_REJECTED:
        device.fail(Reason.INVALID_TOKEN)
    elif until > deadline:
        device.fail(device.reason or reason)
    return not device.decided


def _is_held(outcome: Outcome) -> bool:
    """Whether the device waits for its credential, however long that is, and not for a time."""
    return isinstance(outcome, CredentialRefused) and outcome.scope is Scope.CREDENTIAL


def expire(devices: Iterable[DeviceState], now: datetime, deadline: datetime) -> None:
    """Fail every undecided device whose time is over."""
    if now <= deadline:
        return
    for device in devices:
        if not device.decided:
            device.fail(device.reason or Reason.EXPIRED)


def call_off(state: RecipientState, *, lost: bool) -> End:
    """Return how a recipient ends whose operation was canceled: no provider is called for it any more.

    CANCELED only where certainly none was. ``lost``: a worker that had the recipient died, and may have called one.
    """
    uncalled = not any(device.attempts or device.decided for device in state.devices)
    if uncalled and not lost:
        return End(state.index, state.user_id, Status.CANCELED, Reason.NONE)
    for device in state.devices:
        if not device.decided:
            unknown = lost or device.reason is Reason.OUTCOME_UNKNOWN
            device.fail(Reason.OUTCOME_UNKNOWN if unknown else Reason.CANCELED)
    if not state.devices:
        return End(state.index, state.user_id, Status.FAILED, Reason.OUTCOME_UNKNOWN)
    return state.end()


def dead_device(device: DeviceState, outcome: Outcome, claimed_at: datetime) -> DeadDevice | None:
    """Return the device to remove after this outcome, if any.

    The provider's own time counts where it gives one, else the claim's: a registration later than that is a new life.
    """
    if not isinstance(outcome, Rejected) or not outcome.device_dead:
        return None
    since = min(outcome.dead_since, claimed_at) if outcome.dead_since else claimed_at
    return DeadDevice(device.provider, device.token, since)


def _was_called(outcome: Outcome) -> bool:
    match outcome:
        case NotSent():
            return False
        case Rejected() | Throttled() | CredentialRefused():
            return outcome.called
        case _:
            return True


def _reason_if_late(outcome: Throttled | NotSent | CredentialRefused | Unknown) -> Reason:
    match outcome:
        case CredentialRefused():
            return Reason.CREDENTIAL_REJECTED
        case Unknown():
            return Reason.OUTCOME_UNKNOWN
        case _:
            return Reason.EXPIRED
