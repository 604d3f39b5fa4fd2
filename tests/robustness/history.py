"""What a run left behind, put side by side: what callers were told, the database, every provider call, every harm done.

Each send of a run has recipients and devices of its own, so that a device's token tells whose push a call was.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import NamedTuple
from uuid import UUID

SENT, FAILED, CANCELED, UNADDRESSABLE = "SENT", "FAILED", "CANCELED", "UNADDRESSABLE"
FINAL = frozenset({SENT, FAILED, CANCELED, UNADDRESSABLE})
ENDED = frozenset({"COMPLETED", "CANCELED"})
REACH = timedelta(seconds=5)  # a flush is due every quarter of a second; the rest is for a busy machine
_PERMANENT = frozenset({400, 404, 410, 413})


class Who(NamedTuple):
    """A recipient."""

    operation: UUID
    index: int


@dataclass(frozen=True)
class Told:
    """The answer to one call of a caller. ``operation`` None: refused, or no answer came.

    ``addresses`` are the tokens and user ids it was sent to, in order. Repetitions of a request have its ``key``.
    """

    key: str
    addresses: Sequence[str]
    operation: UUID | None
    refused: bool = False


@dataclass(frozen=True)
class Counts:
    """Recipients that are final, by status."""

    sent: int = 0
    failed: int = 0
    canceled: int = 0
    unaddressable: int = 0

    @classmethod
    def of(cls, statuses: Mapping[str, int]) -> Counts:
        return cls(*(statuses.get(name, 0) for name in (SENT, FAILED, CANCELED, UNADDRESSABLE)))

    @property
    def sum(self) -> int:
        return self.sent + self.failed + self.canceled + self.unaddressable


@dataclass(frozen=True)
class Operation:
    """A send in the database. ``addresses`` are those of its batches, by index."""

    id: UUID
    account: UUID
    status: str
    recipients: int
    counts: Counts
    created_at: datetime
    due_at: datetime
    deadline: datetime
    ended_at: datetime | None
    addresses: Mapping[int, str]


@dataclass(frozen=True)
class Row:
    """A recipient's notification in the database. ``attempts`` are the provider calls that it knows of, by device."""

    who: Who
    status: str
    reason: str
    attempts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Event:
    """One of an account's feed. ``changes``: recipients that became something; the rest is the operation afterwards."""

    account: UUID
    seq: int
    at: datetime
    operation: UUID
    status: str
    counts: Counts
    changes: Sequence[tuple[int, str]] = ()


@dataclass(frozen=True)
class Call:
    """One request to a provider. ``status`` None: it got no answer. ``taken``: the provider has the push."""

    at: datetime
    provider: str
    token: str
    push_id: str
    status: int | None
    taken: bool
    retry_after: float | None = None

    @property
    def permanent(self) -> bool:
        return self.status in _PERMANENT

    @property
    def decisive(self) -> bool:
        """Whether the answer leaves nothing to try."""
        return self.permanent or (self.taken and self.status is not None)


@dataclass(frozen=True)
class Loss:
    """Something that may have forgotten calls: a killed worker, one that was stopped past its lease, a dead provider.

    ``in_hand`` are the recipients under a lease then, ``recorded`` the devices of them that the database knows to be
    decided. Until ``over`` calls of whoever was hit may still arrive. Only calls that were made ``REACH`` before can be
    forgotten, and ``at_most`` bounds those that are repeated.
    """

    at: datetime
    over: datetime
    in_hand: AbstractSet[Who]
    recorded: AbstractSet[str]
    at_most: int

    def forgets(self, who: Who, call: Call, later: Call) -> bool:
        """Whether ``call`` may be unknown to who makes the ``later`` one."""
        in_time = self.at - REACH <= call.at <= self.over and later.at >= self.at
        return in_time and who in self.in_hand and call.token not in self.recorded


@dataclass(frozen=True)
class End:
    """From ``at`` on no claim may call: for an operation that was canceled, or for devices that were unregistered.

    ``in_hand`` are the recipients under a lease right after, whose claims were made before.
    """

    at: datetime
    in_hand: AbstractSet[Who]
    operation: UUID | None = None
    tokens: AbstractSet[str] = frozenset()


@dataclass(frozen=True)
class Bystander:
    """A healthy send, and those in trouble that were accepted before it and may not hold it up."""

    healthy: UUID
    troubled: Sequence[UUID]


@dataclass(frozen=True)
class History:
    """A whole run. ``devices`` are those of user recipients by user id; ``registered`` those left in the database.

    ``notices`` are the numbers in the feeds that belong to no event. ``registrations`` says when each device was
    registered, oldest first. ``late`` is how much later than it was decided on a call may reach the provider.
    """

    told: Sequence[Told] = ()
    operations: Mapping[UUID, Operation] = field(default_factory=dict)
    rows: Sequence[Row] = ()
    events: Sequence[Event] = ()
    notices: Sequence[tuple[UUID, int]] = ()
    jobs: Sequence[UUID] = ()
    orphans: Sequence[str] = ()
    daily: Mapping[UUID, Counts] = field(default_factory=dict)
    calls: Sequence[Call] = ()
    losses: Sequence[Loss] = ()
    ends: Sequence[End] = ()
    bystanders: Sequence[Bystander] = ()
    devices: Mapping[str, AbstractSet[str]] = field(default_factory=dict)
    registered: AbstractSet[str] = frozenset()
    registrations: Mapping[str, Sequence[datetime]] = field(default_factory=dict)
    late: timedelta = timedelta(seconds=15)

    @cached_property
    def who(self) -> dict[str, Who]:
        """The recipient that each device belongs to."""
        found: dict[str, Who] = {}
        for operation in self.operations.values():
            for index, address in operation.addresses.items():
                for token in self.devices.get(address, {address}):
                    found[token] = Who(operation.id, index)
        return found

    @cached_property
    def calls_to(self) -> dict[str, list[Call]]:
        """The calls for each device, oldest first."""
        found: dict[str, list[Call]] = defaultdict(list)
        for call in sorted(self.calls, key=lambda call: call.at):
            found[call.token].append(call)
        return dict(found)

    @cached_property
    def feeds(self) -> dict[UUID, list[Event]]:
        """Each operation's events in order."""
        found: dict[UUID, list[Event]] = defaultdict(list)
        for event in sorted(self.events, key=lambda event: event.seq):
            found[event.operation].append(event)
        return dict(found)

    @cached_property
    def changes(self) -> dict[Who, list[str]]:
        """What each recipient was said to have become, in order."""
        found: dict[Who, list[str]] = defaultdict(list)
        for events in self.feeds.values():
            for event in events:
                for index, status in event.changes:
                    found[Who(event.operation, index)].append(status)
        return dict(found)

    @cached_property
    def statuses(self) -> dict[UUID, Counter[str]]:
        """How many rows each operation has of each status."""
        found: dict[UUID, Counter[str]] = defaultdict(Counter)
        for row in self.rows:
            found[row.who.operation][row.status] += 1
        return dict(found)

    @cached_property
    def outcomes(self) -> dict[str, str]:
        """What became of each token and user that was sent to."""
        return {self.operations[row.who.operation].addresses[row.who.index]: row.status for row in self.rows}

    def lost_between(self, call: Call, later: Call) -> Loss | None:
        """What may have made somebody forget ``call`` before ``later``, a call for the same device."""
        who = self.who.get(call.token)
        return next((loss for loss in self.losses if who is not None and loss.forgets(who, call, later)), None)
