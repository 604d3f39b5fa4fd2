"""Where the notifications of a list's page are: by operation and index, in the list's order.

What one page costs is bounded whatever the account holds: operations and recipients looked at are counted, and a page
that found too little by then is short. The number of queries grows with their logarithm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import asyncpg

from server.domain.notifications import NotificationFilter, Place
from server.domain.operations import Status
from server.store import windows
from server.store.database import Connection
from server.store.numbers import PROVIDERS
from server.store.statements import Statements
from server.store.windows import View, Window

_SQL = Statements("places")

MOST_RECIPIENTS: Final = 20_000  # looked at for one page, beside the largest send: a tenth of a second
_GROWTH: Final = 4  # so many times more in each stretch: a rare filter needs few of them


@dataclass(frozen=True, slots=True)
class Found:
    """Places of matching recipients, and where to look further; None at the end."""

    places: Sequence[Place]
    following: Place | None


@dataclass(frozen=True, slots=True)
class Search:
    """Looks for an account's recipients that meet a filter."""

    connection: Connection
    account: UUID
    wanted: NotificationFilter

    async def find(self, begin: Place, most: int) -> Found:
        """Return up to ``most`` places from ``begin`` on; fewer with ``following`` set where the bound was met."""
        if self.wanted.status is Status.UNADDRESSABLE:  # is no notification
            return Found([], None)
        if self.wanted.user is not None:
            return await self._of_user(self.wanted.user, begin, most)
        return await self._in_sends(begin, most)

    async def _in_sends(self, begin: Place, most: int) -> Found:
        found: list[Place] = []
        place: Place | None = begin
        size, operations, recipients = most, windows.MOST_OPERATIONS, MOST_RECIPIENTS
        while place is not None and len(found) < most and operations > 0 and recipients > 0:
            size = min(size, recipients)
            view = await windows.look(self.connection, self._window(place), operations, size)
            spans = _spans(view, place, size, self.wanted.status)
            found.extend(await self._in_spans(spans, most - len(found)))
            place = spans.following
            operations -= view.looked_at
            recipients -= size
            size *= _GROWTH
        return Found(found, place)

    def _window(self, place: Place) -> Window:
        lowest, highest = self._bounds()
        return Window(
            self.account,
            min(place.operation_id, highest),
            lowest,
            self.wanted.accepted,
            self.wanted.tags,
            recipients=self.wanted.status,
        )

    def _bounds(self) -> tuple[UUID, UUID]:
        lowest, highest = windows.ids_accepted_in(self.wanted.accepted)
        operation = self.wanted.operation
        return (lowest, highest) if operation is None else (max(lowest, operation), min(highest, operation))

    async def _in_spans(self, spans: _Spans, most: int) -> list[Place]:
        status, provider = self.wanted.status, self._provider()
        columns = (self.account, spans.operations, spans.firsts, spans.ends)
        if not spans.operations:
            return []
        if status is Status.FAILED:
            rows = await self.connection.fetch(_SQL.failed_in_sends, *columns, provider, most)
        else:
            rows = await self.connection.fetch(_SQL.in_sends, *columns, status, provider, most)
        return [_place(row) for row in rows]

    async def _of_user(self, user: UUID, begin: Place, most: int) -> Found:
        final = await self._final_of_user(user, begin, most)
        waiting = await self._waiting_of_user(user, begin, most)
        ends = [found.following for found in (final, waiting) if found.following is not None]
        following = min(ends, key=_order, default=None)
        both = sorted([*final.places, *waiting.places], key=_order)
        # Beyond the nearer end the other source may have more.
        return Found([place for place in both if following is None or _order(place) < _order(following)], following)

    async def _final_of_user(self, user: UUID, begin: Place, most: int) -> Found:
        status = self.wanted.status
        if status is not None and not status.final:
            return Found([], None)
        rows = await self.connection.fetch(
            _SQL.final_of_user, *self._of_user_columns(user, begin, most), status, self._provider(), *self._of_send()
        )
        return _found(rows, most)

    async def _waiting_of_user(self, user: UUID, begin: Place, most: int) -> Found:
        """Of a user no device has been tried before the end, as far as is stored: none where a provider is wanted."""
        status = self.wanted.status
        if self.wanted.provider is not None or (status is not None and status.final):
            return Found([], None)
        rows = await self.connection.fetch(
            _SQL.waiting_of_user, *self._of_user_columns(user, begin, most), status, *self._of_send()
        )
        return _found(rows, most)

    def _of_user_columns(self, user: UUID, begin: Place, most: int) -> tuple[object, ...]:
        lowest, highest = self._bounds()
        first = begin if begin.operation_id <= highest else Place(highest)
        return (self.account, user, first.operation_id, first.index, lowest, MOST_RECIPIENTS, most)

    def _of_send(self) -> tuple[object, ...]:
        accepted = self.wanted.accepted
        return (accepted.start, accepted.end, windows.tags_condition(self.wanted.tags))

    def _provider(self) -> int | None:
        return None if self.wanted.provider is None else PROVIDERS[self.wanted.provider]


@dataclass(slots=True)
class _Spans:
    """Recipients from ``firsts`` to ``ends`` (exclusive) of ``operations``, and where to look further."""

    operations: list[UUID]
    firsts: list[int]
    ends: list[int]
    following: Place | None

    def add(self, operation: UUID, first: int, end: int) -> None:
        self.operations.append(operation)
        self.firsts.append(first)
        self.ends.append(end)


def _spans(view: View, begin: Place, size: int, status: Status | None) -> _Spans:
    """Return the operations' first ``size`` recipients. For FAILED, those without an error don't count."""
    spans = _Spans([], [], [], None if view.following is None else Place(view.following))
    left = size
    for send in view.operations:
        operation = send["operation_id"]
        first = begin.index if operation == begin.operation_id else 0
        if left <= 0:
            spans.following = Place(operation, first)
            break
        errors_only = status is Status.FAILED
        end = send["recipients"] if errors_only else min(first + left, send["recipients"])
        left -= send["failed"] + send["unaddressable"] if errors_only else end - first
        if first < end:
            spans.add(operation, first, end)
        if end < send["recipients"]:
            spans.following = Place(operation, end)
            break
    return spans


def _found(rows: Sequence[asyncpg.Record], most: int) -> Found:
    """Return what matches; there is more where the rows are all that was asked for, or end with the last looked at."""
    more = len(rows) == most or (bool(rows) and rows[-1]["last"])
    following = Place(rows[-1]["operation_id"], rows[-1]["index"] + 1) if more else None
    return Found([_place(row) for row in rows if row["matches"]], following)


def _place(row: asyncpg.Record) -> Place:
    return Place(row["operation_id"], row["index"])


def _order(place: Place) -> tuple[int, int]:
    return (-place.operation_id.int, place.index)
