"""Looking through an account's operations, newest first: no further than a list needs, and never without a bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import asyncpg
import msgspec

from server.domain.operations import OperationStatus, Status
from server.domain.periods import Period
from server.store.database import Connection
from server.store.statements import Statements

_SQL = Statements("windows")

MOST_OPERATIONS: Final = 100_000  # looked at for one page: a twentieth of a second where none matches

# An id's time and `created_at` are two readings of one clock, the first rounded to milliseconds. `created_at` decides;
# the ids only say where to look, with room for a process that was stopped between the two.
_SLACK: Final = timedelta(seconds=10)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_LAST: Final = (1 << 128) - 1


@dataclass(frozen=True, slots=True)
class Window:
    """The operations from ``newest`` down to ``oldest`` that match.

    ``recipients``: they may have a recipient with this status.
    """

    account: UUID
    newest: UUID
    oldest: UUID
    accepted: Period
    tags: Mapping[str, str]
    status: OperationStatus | None = None
    recipients: Status | None = None

    @property
    def unfinished(self) -> int | None:
        """The status, where only operations with work left have it; operations and recipients have the same numbers."""
        status = self.recipients if self.status is None else self.status
        return status.value if status in (OperationStatus.SCHEDULED, OperationStatus.PROCESSING) else None


@dataclass(frozen=True, slots=True)
class View:
    """What was found; ``following`` is where to look further, and None at the end."""

    operations: Sequence[asyncpg.Record]
    looked_at: int
    following: UUID | None


def ids_accepted_in(period: Period) -> tuple[UUID, UUID]:
    """Return the lowest and the highest id that an operation accepted in the period can have."""
    lowest = 0 if period.start is None else _first_of(period.start - _EPOCH - _SLACK)
    highest = _LAST if period.end is None else _first_of(period.end - _EPOCH + _SLACK) - 1
    return UUID(int=lowest), UUID(int=max(highest, 0))


async def look(connection: Connection, window: Window, looked: int, most: int) -> View:
    """Look at up to ``looked`` operations for up to ``most`` that match."""
    bounds = (window.account, window.newest, window.oldest, looked, most, window.accepted.start, window.accepted.end)
    if window.unfinished is None:
        rows = await connection.fetch(
            _SQL.newest, *bounds, tags_condition(window.tags), window.recipients, window.status
        )
    else:
        rows = await connection.fetch(_SQL.newest_unfinished, *bounds, tags_condition(window.tags), window.unfinished)
    matching = [row for row in rows if row["matches"]]
    if not rows:
        return View(matching, 0, None)
    last = rows[-1]
    more = len(rows) == most or last["looked_at"] == looked
    return View(matching, last["looked_at"], _below(last["operation_id"], window.oldest) if more else None)


def tags_condition(tags: Mapping[str, str]) -> str | None:
    """Return the tags as the JSON that an operation's contain; None for none."""
    return msgspec.json.encode(tags).decode() if tags else None


def _below(operation: UUID, oldest: UUID) -> UUID | None:
    return UUID(int=operation.int - 1) if operation > oldest else None


def _first_of(since_epoch: timedelta) -> int:
    return min(max(since_epoch // _MILLISECOND, 0) << 80, _LAST)
