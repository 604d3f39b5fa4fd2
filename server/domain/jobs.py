"""A job: the work left on one batch of a send, under a lease."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from server.domain.credentials import CredentialType, SealedCredential
from server.domain.delivery import DeadDevice, End, LearnedEnvironment, RecipientState
from server.domain.devices import Environment
from server.domain.notices import RemovalsStopped
from server.domain.operations import Message, OperationStatus, Recipient
from server.domain.pushes import Provider

MOST_PICKS = 5  # claims without a flush after which a job is split


class LeaseLost(Exception):
    """Another worker has the job: nothing was changed."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on a job, until another worker claims it."""

    account_id: UUID
    job_id: UUID
    lease: UUID


@dataclass(frozen=True, slots=True)
class Job:
    """A claimed job.

    ``recipients`` holds those still to do, by index. ``begun`` are those of them that were tried before, with their
    devices. ``claimed_at`` is the database's time of the claim.
    """

    lease: Lease
    operation_id: UUID
    app_id: UUID
    fcm_credential: UUID | None
    apn_credential: UUID | None
    message: Message
    ttl: int | None
    due_at: datetime
    deadline: datetime
    claimed_at: datetime
    picks: int
    small: bool  # of a small send
    recipients: Mapping[int, Recipient]
    begun: Mapping[int, RecipientState] = field(default_factory=dict)
    canceled: bool = False  # its operation was canceled before the claim: no provider may be called
    lost: bool = False  # an earlier lease of it expired: whom that worker called is not known


@dataclass(frozen=True, slots=True)
class UserDevice:
    """One device of a user recipient at expansion. ``environment`` is Apple's, where it is known."""

    provider: Provider
    token: str
    environment: Environment | None = None


@dataclass(frozen=True, slots=True)
class Expansion:
    """What a user recipient is expanded to: ``known`` and not ``deleted`` users with their devices, oldest first."""

    known: bool
    deleted: bool
    devices: Sequence[UserDevice] = ()


class Holder(NamedTuple):
    """A refused credential that recipients wait for, with the version of its content that was refused."""

    credential_id: UUID
    version: int


@dataclass(frozen=True, slots=True)
class Flush:
    """What a worker records about a job in one transaction.

    ``rest`` are the recipients still to do, ``begun`` those of them that were tried. With ``keep`` the worker goes on
    and the lease is extended by ``wait``; otherwise the rest becomes due again after ``wait``, or when the refused
    credential ``held_by`` changes, which it may have done already. ``dead`` and ``learned`` are not for devices that
    were registered again meanwhile.
    """

    ends: Sequence[End]
    rest: Sequence[int]
    begun: Sequence[RecipientState]
    dead: Sequence[DeadDevice]
    keep: bool
    wait: timedelta
    fcm_credential: UUID | None = None
    apn_credential: UUID | None = None
    held_by: Holder | None = None
    learned: Sequence[LearnedEnvironment] = ()
    notices: Sequence[RemovalsStopped] = ()


@dataclass(frozen=True, slots=True)
class Flushed:
    """What a flush found: the operation's status where recipients ended, and whether it was canceled meanwhile."""

    operation: OperationStatus | None
    canceled: bool


def by_provider(credentials: Sequence[SealedCredential]) -> dict[Provider, SealedCredential]:
    """Return what each provider's devices are reached with where nothing is known of them; ``Routes`` knows more.

    APN devices go through APN_SANDBOX only where the app has no APN, or the send named it.
    """
    by_type = {credential.credential_type: credential for credential in credentials}
    found: dict[Provider, SealedCredential] = {}
    if fcm := by_type.get(CredentialType.FCM):
        found[Provider.FCM] = fcm
    if apn := by_type.get(CredentialType.APN) or by_type.get(CredentialType.APN_SANDBOX):
        found[Provider.APN] = apn
    return found
