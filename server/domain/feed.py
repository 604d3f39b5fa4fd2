"""The status feed: what each commit changed, in the order of the commits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from server.domain.delivery import DeviceState
from server.domain.notices import DevicesRemoved, HealthChanged, Notice, UnknownNotice
from server.domain.operations import Operation, Recipient, Status
from server.domain.pushes import Provider
from server.domain.reasons import Reason

_UNKNOWN = Recipient()


@dataclass(slots=True)  # not frozen, which makes it twice as slow to make: a stream has more of them than of all else
class RecipientChange:
    """One recipient that came to a status, in commit ``seq`` (0: in a snapshot).

    ``recipient``, without its variables, and ``devices`` are empty where the result is no longer kept.
    """

    operation_id: UUID
    index: int
    status: Status
    reason: Reason
    at: datetime
    seq: int = 0
    recipient: Recipient = _UNKNOWN
    devices: Sequence[DeviceState] = ()

    def is_to(self, provider: Provider) -> bool:
        """Whether a device of this provider was tried, or the recipient is such a device's token."""
        return self.recipient.provider is provider or any(device.provider is provider for device in self.devices)


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """One commit: the recipients of one operation that it changed, by ascending index, and the operation after it."""

    seq: int
    at: datetime
    operation: Operation
    app_name: str
    recipients: Sequence[RecipientChange]


@dataclass(frozen=True, slots=True)
class FeedNotice:
    """News of the account that are about no recipient, with their place in the same order."""

    seq: int
    at: datetime
    notice: Notice


FeedEntry = FeedEvent | FeedNotice

PAGE_ENTRIES = 256
PAGE_RECIPIENTS = 4_000


def is_full(page: Sequence[FeedEntry]) -> bool:
    """Whether more may follow a page: it has as many entries, or recipients, as one may have."""
    return len(page) >= PAGE_ENTRIES or recipients_of(page) >= PAGE_RECIPIENTS


def recipients_of(entries: Iterable[FeedEntry]) -> int:
    """Return how many recipients changed."""
    return sum(len(entry.recipients) for entry in entries if isinstance(entry, FeedEvent))


@dataclass(frozen=True, slots=True)
class Position:
    """A place in an account's feed: behind entry ``seq``. Another ``epoch`` is another feed."""

    epoch: UUID
    seq: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is known at a position of some operations, or of some of their recipients: those already final."""

    position: Position
    operations: Sequence[Operation]
    final: Sequence[RecipientChange] = ()


Place = tuple[UUID, int]
"""One recipient: its operation and its index there."""


@dataclass(frozen=True, slots=True)
class Filter:
    """What a stream watches: an operation, some recipients, a user, an app, or the whole account when none is set.

    And which of its changes it tells: all of them where a set is empty.
    """

    account: UUID
    operation: UUID | None = None
    places: frozenset[Place] = frozenset()
    user: UUID | None = None
    app_name: str | None = None
    statuses: frozenset[Status] = frozenset()
    providers: frozenset[Provider] = frozenset()
    reasons: frozenset[Reason] = frozenset()

    @property
    def of_account(self) -> bool:
        return self.operation is None and not self.places and self.user is None and self.app_name is None

    @property
    def ends(self) -> bool:
        """Whether everything that is watched is final some time."""
        return self.operation is not None or bool(self.places)

    @property
    def operations(self) -> Sequence[UUID]:
        """The operations that what is watched belongs to, where it ends."""
        return [self.operation] if self.operation is not None else sorted({operation for operation, _ in self.places})

    def watches_operation(self, event: FeedEvent) -> bool:
        """Whether the event's operation itself is watched, whoever its recipients are."""
        if self.operation is not None:
            return event.operation.operation_id == self.operation
        if self.app_name is not None:
            return event.app_name == self.app_name
        return self.of_account

    def watches(self, event: FeedEvent, change: RecipientChange) -> bool:
        """Whether this recipient of the event is watched."""
        if self.places:
            return (change.operation_id, change.index) in self.places
        if self.user is not None:
            return change.recipient.user_id == self.user
        return self.watches_operation(event)

    def news(self, notice: Notice) -> Notice | None:
        """Return what is told of a notice: an app's are of its credentials and devices, a user's of their own devices.

        What others lost is not a user's to know: a stream of theirs may be read by themselves.
        """
        if isinstance(notice, DevicesRemoved) and self.user is not None:
            return notice.of_user(self.user)
        if isinstance(notice, HealthChanged | DevicesRemoved) and self.app_name is not None:
            return notice if notice.app_name == self.app_name else None
        return notice if self.of_account and not isinstance(notice, UnknownNotice) else None

    def wants(self, change: RecipientChange) -> bool:
        """Whether a watched recipient's change is told."""
        return (
            (not self.statuses or change.status in self.statuses)
            and (not self.reasons or change.reason in self.reasons)
            and (not self.providers or any(change.is_to(provider) for provider in self.providers))
        )


@dataclass(frozen=True, slots=True)
class SnapshotPart:
    """What was known at the beginning; ``more`` parts follow, and only the last has a token.

    ``operation`` is the only one that is watched.
    """

    operation: Operation | None
    recipients: Sequence[RecipientChange]
    more: bool
    token: str


@dataclass(frozen=True, slots=True)
class Changes:
    """What one or more whole commits changed. An operation stands once, as it was after the last of them."""

    recipients: Sequence[RecipientChange]
    operations: Sequence[Operation]
    token: str
    notices: Sequence[FeedNotice] = ()


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Nothing to tell: only a fresh token."""

    token: str


@dataclass(frozen=True, slots=True)
class End:
    """What was watched is final. ``operation`` is the only one that was watched."""

    operation: Operation | None
    token: str


Item = SnapshotPart | Changes | Checkpoint | End
