"""What subscribers of status streams were told, put beside what was committed."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from math import inf
from typing import NamedTuple
from uuid import UUID


class Change(NamedTuple):
    """A recipient that came to a final status, which each does once. ``provider``: of the device, a user has one."""

    operation: UUID
    index: int
    status: str
    reason: str = ""
    provider: str = ""
    user: UUID | None = None


@dataclass(frozen=True)
class Counts:
    """An operation's final recipients, by status."""

    sent: int = 0
    failed: int = 0


@dataclass(frozen=True)
class Commit:
    """One entry of an account's feed. ``counts`` are the operation's after it.

    The writer sent its COMMIT not before ``begun`` and had the answer at ``over``, by one monotonic clock; without a
    witness it may have been at any time.
    """

    seq: int
    operation: UUID
    changes: Sequence[Change] = ()
    counts: Counts = Counts()
    begun: float = -inf
    over: float = inf


class Kind(Enum):
    SNAPSHOT = "snapshot"
    CHANGES = "changes"
    CHECKPOINT = "checkpoint"
    END = "end"


@dataclass(frozen=True)
class Message:
    """One message of a stream, read at ``at`` (monotonic). ``more``: a snapshot that goes on in the next one.

    ``counts`` has the operations that it names, as they were after it; ``ended`` are those of them that are over.
    """

    kind: Kind
    at: float
    token: str = ""
    changes: Sequence[Change] = ()
    counts: Mapping[UUID, Counts] = field(default_factory=dict)
    ended: AbstractSet[UUID] = frozenset()
    more: bool = False


@dataclass
class Sitting:
    """One call: what it was begun with, and what came until ``closed``. ``refused``: why it was not to be had."""

    token: str
    opened: float
    messages: list[Message] = field(default_factory=list)
    closed: float | None = None
    refused: str = ""


@dataclass
class Subscription:
    """A subscriber's stream in one or more sittings, until it had everything.

    It is of one ``operation``, of recipients (``places``), of a ``user``, of the ``sends`` of one app, or of the
    account. ``behind``: the feed's last number when the first message was there; what follows it has to be told, and
    what was before it too if the stream ends some time and begins with a ``snapshot``.
    """

    name: str
    operation: UUID | None = None
    statuses: AbstractSet[str] = frozenset()
    behind: int = 0
    sittings: list[Sitting] = field(default_factory=list)
    places: AbstractSet[tuple[UUID, int]] = frozenset()
    user: UUID | None = None
    sends: AbstractSet[UUID] | None = None
    providers: AbstractSet[str] = frozenset()
    reasons: AbstractSet[str] = frozenset()
    snapshot: bool = True

    @property
    def ends(self) -> bool:
        """Whether what it watches is final some time."""
        return self.operation is not None or bool(self.places)

    @property
    def everyone(self) -> bool:
        """Whether it is told of all recipients in its scope."""
        return not (self.statuses or self.providers or self.reasons)

    def wants(self, change: Change) -> bool:
        """Whether it is to be told of this one."""
        return self._watches(change) and (
            (not self.statuses or change.status in self.statuses)
            and (not self.providers or change.provider in self.providers)
            and (not self.reasons or change.reason in self.reasons)
        )

    def _watches(self, change: Change) -> bool:
        return (
            self.operation in {None, change.operation}
            and (not self.places or (change.operation, change.index) in self.places)
            and self.user in {None, change.user}
            and (self.sends is None or change.operation in self.sends)
        )

    def log(self) -> list[Message]:
        """What it heard as one stream: a sitting takes the place of what came behind the token it was begun with."""
        log: list[Message] = []
        for sitting in self.sittings:
            log[place_behind(log, sitting.token) :] = sitting.messages
        return log

    def seams(self) -> Iterator[tuple[list[Message], list[Message], Sitting]]:
        """For each sitting that went on behind a token: what stands before it, what it replaces, and itself."""
        log: list[Message] = []
        for sitting in self.sittings:
            place = place_behind(log, sitting.token)
            if sitting.token:
                yield log[:place], log[place:], sitting
            log[place:] = sitting.messages

    @property
    def token(self) -> str:
        """Of the last message that had one."""
        if not self.sittings:
            return ""
        last = self.sittings[-1]
        return next((message.token for message in reversed(last.messages) if message.token), last.token)


def place_behind(log: Sequence[Message], token: str) -> int:
    """Where the messages behind this token begin; with none, at the beginning. Raises ValueError for an unknown one."""
    if not token:
        return 0
    for place in range(len(log), 0, -1):
        if log[place - 1].token == token:
            return place
    raise ValueError("the subscriber was never given this token")


def told(messages: Iterable[Message]) -> list[Change]:
    """All changes, in the order in which they came."""
    return [change for message in messages for change in message.changes]


@dataclass(frozen=True)
class History:
    """A run of one account. ``commits`` are its feed's, by number; ``rows`` the statuses of all who are final."""

    commits: Sequence[Commit]
    rows: AbstractSet[Change]
    subscriptions: Sequence[Subscription]

    @cached_property
    def commit_of(self) -> dict[Change, Commit]:
        """The commit that each change belongs to."""
        return {change: commit for commit in self.commits for change in commit.changes}

    def by_commit(self, changes: Iterable[Change]) -> dict[int, set[Change]]:
        """Changes by the numbers of their commits; without those that were never committed."""
        found: dict[int, set[Change]] = defaultdict(set)
        for change in changes:
            if change in self.commit_of:
                found[self.commit_of[change].seq].add(change)
        return found

    def last_seq(self, messages: Sequence[Message]) -> int | None:
        """The highest number in the last changes that these messages tell of, or in all of a snapshot before any."""
        highest: int | None = None
        for message in reversed(messages):
            found = max(self.by_commit(message.changes), default=None)
            if found is not None and (highest is None or found > highest):
                highest = found
            if found is not None and message.kind is Kind.CHANGES:
                break
        return highest

    def first_seq(self, messages: Iterable[Message]) -> int | None:
        """The number of the commit that these messages tell of first."""
        found = (
            commit.seq for message in messages for change in message.changes if (commit := self.commit_of.get(change))
        )
        return next(found, None)

    def between(self, after: int, before: int) -> Sequence[Commit]:
        """The commits with numbers between these two."""
        numbers = self._numbers
        return self.commits[bisect_right(numbers, after) : bisect_left(numbers, before)]

    @cached_property
    def _numbers(self) -> list[int]:
        return [commit.seq for commit in self.commits]
