"""The status feed: what each commit changed, in the order of the commits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from server.domain.notices import Notice
from server.domain.operations import Operation, Status
from server.domain.reasons import Reason


@dataclass(frozen=True, slots=True)
class RecipientChange:
    """One recipient that came to a status."""

    index: int
    status: Status
    reason: Reason
    at: datetime


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """One commit: the recipients of one operation that it changed, and the operation after it.

    ``statuses`` and ``reasons`` hold one byte for each of ``indexes``.
    """

    seq: int
    at: datetime
    operation: Operation
    indexes: Sequence[int]
    statuses: bytes
    reasons: bytes

    def changes(self) -> Iterator[RecipientChange]:
        """Yield the recipients, by ascending index."""
        for index, status, reason in zip(self.indexes, self.statuses, self.reasons, strict=True):
            yield RecipientChange(index, Status(status), Reason(reason), self.at)


@dataclass(frozen=True, slots=True)
class FeedNotice:
    """News of the account that are about no recipient, with their place in the same order."""

    seq: int
    at: datetime
    notice: Notice


FeedEntry = FeedEvent | FeedNotice


@dataclass(frozen=True, slots=True)
class Position:
    """A place in an account's feed: behind entry ``seq``. Another ``epoch`` is another feed."""

    epoch: UUID
    seq: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is known at a position. ``operation`` is None for the whole account."""

    position: Position
    operation: Operation | None
    final: Sequence[RecipientChange] = ()


@dataclass(frozen=True, slots=True)
class Filter:
    """What a stream watches: an operation, one recipient of it, or the whole account; and which statuses."""

    account: UUID
    operation: UUID | None = None
    index: int | None = None
    statuses: frozenset[Status] = frozenset()

    def wants(self, status: Status) -> bool:
        return not self.statuses or status in self.statuses


@dataclass(frozen=True, slots=True)
class SnapshotPart:
    """What was known at the beginning; ``more`` parts follow, and only the last has a token."""

    operation: Operation | None
    recipients: Sequence[RecipientChange]
    more: bool
    token: str


@dataclass(frozen=True, slots=True)
class Changes:
    """What one or more whole commits changed. An operation stands once, as it was after the last of them.

    ``notices`` are for readers of the whole account.
    """

    recipients: Sequence[tuple[UUID, RecipientChange]]
    operations: Sequence[Operation]
    token: str
    notices: Sequence[FeedNotice] = ()


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Nothing to tell: only a fresh token."""

    token: str


@dataclass(frozen=True, slots=True)
class End:
    """What was watched is final."""

    operation: Operation
    token: str


Item = SnapshotPart | Changes | Checkpoint | End
