"""Webhooks as they are delivered to: by one process at a time, which holds the webhook's lease."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from uuid import UUID

import asyncpg

from server.domain.webhooks import (
    DISABLE_AFTER,
    DISABLE_FAILURES,
    NOT_KEPT,
    Attempt,
    EventType,
    NewDelivery,
    Pending,
    Turn,
)
from server.store import transactions
from server.store.database import Connection, Database
from server.store.statements import Statements

_SQL = Statements("webhook_turns")


class WebhookTurns:
    """What a deliverer reads and writes. Without the turn's lease nothing is written. Raises ``Unavailable``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, limit: int, lease: timedelta, accounts: Iterable[UUID] | None) -> list[Turn]:
        """Take up to ``limit`` webhooks whose time has come or, of these accounts, whose feed has grown; None: of any.

        To look at all feeds costs some milliseconds for 10,000 webhooks; the rest, what is found.
        """
        arguments = (list(accounts or ()), accounts is None)

        async def work(connection: Connection) -> list[Turn]:
            return [_turn(row) for row in await connection.fetch(_SQL.claim, limit, lease, *arguments)]

        return await transactions.run_statement(self._database, work)

    async def room(self, turn: Turn, most: int) -> int:
        """Return how many deliveries fewer than ``most`` are pending."""
        async with self._database.connection() as connection:
            room: int = await connection.fetchval(_SQL.room, turn.account, turn.webhook_id, most)
        return room

    async def take_up(self, turn: Turn, epoch: UUID, seq: int, new: Sequence[NewDelivery]) -> bool:
        """Note that the feed is read up to ``seq``, and what is to deliver of it. Returns whether the lease is held."""
        columns = (
            [each.seq for each in new],
            [each.event_type.value for each in new],
            [each.missed_after for each in new],
        )

        async def work(connection: Connection) -> bool:
            return bool(await connection.fetchval(_SQL.take_up, *_key(turn), epoch, seq, *columns))

        return await transactions.run_statement(self._database, work)

    async def due(self, turn: Turn, limit: int) -> list[Pending]:
        """Return deliveries whose time has come; none when the webhook is not active or the lease is lost."""
        async with self._database.connection() as connection:
            return [_pending(row) for row in await connection.fetch(_SQL.due, *_key(turn), limit)]

    async def record(self, turn: Turn, attempts: Sequence[Attempt]) -> bool:
        """Write down what attempts came to, and how the webhook fares. Returns whether the lease is held."""

        async def work(connection: Connection) -> bool:
            if not await _note(connection, turn, attempts):
                return False
            await connection.execute(
                _SQL.record,
                turn.account,
                turn.webhook_id,
                [attempt.delivery_id for attempt in attempts],
                [attempt.status for attempt in attempts],
                [attempt.answer.status for attempt in attempts],
                [attempt.answer.error for attempt in attempts],
                [attempt.wait for attempt in attempts],
                NOT_KEPT.error,
                EventType.EVENTS_MISSED.value,
            )
            return True

        return await transactions.run(self._database, work)

    async def give_back(self, turn: Turn, rest: timedelta | None, most: int) -> None:
        """End the turn. The webhook is due again with its next delivery, after a ``rest``, or when its feed grows.

        It does not follow the feed while it rests, nor while ``most`` deliveries are pending.
        """

        async def work(connection: Connection) -> None:
            # Two statements: who added a delivery before this lock is seen by the second one.
            await connection.execute(_SQL.lock, *_key(turn))
            await connection.execute(_SQL.give_back, *_key(turn), rest, most)

        await transactions.run(self._database, work)


async def _note(connection: Connection, turn: Turn, attempts: Sequence[Attempt]) -> bool:
    """Return whether the lease is held. What was not tried says nothing of the webhook."""
    tried = [attempt.answer for attempt in attempts if attempt.answer is not NOT_KEPT]
    if not tried:
        return await connection.fetchrow(_SQL.lock, *_key(turn)) is not None
    if any(answer.delivered for answer in tried):
        return bool(await connection.fetchval(_SQL.note_success, *_key(turn)))
    gone = any(answer.gone for answer in tried)
    arguments = (len(tried), gone, DISABLE_FAILURES, DISABLE_AFTER)
    return bool(await connection.fetchval(_SQL.note_failures, *_key(turn), *arguments))


def _key(turn: Turn) -> tuple[UUID, UUID, UUID]:
    return turn.account, turn.webhook_id, turn.lease


def _turn(row: asyncpg.Record) -> Turn:
    return Turn(
        row["account_id"],
        row["webhook_id"],
        row["lease"],
        row["url"],
        frozenset(row["event_types"]),
        row["epoch"],
        row["last_seq"],
        row["failures"],
        [sealed for sealed in (row["sealed"], row["old_sealed"]) if sealed],
    )


def _pending(row: asyncpg.Record) -> Pending:
    return Pending(
        row["delivery_id"],
        row["epoch"],
        row["seq"],
        EventType(row["type"]),
        row["missed_after"],
        row["attempts"],
        row["created_at"],
    )
