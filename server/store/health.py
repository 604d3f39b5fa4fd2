"""What providers say against credentials. Each change of it is news in the account's feed, in the same transaction.

Locks in this order: the credential, the jobs that wait for it, its health, the feed.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from server.domain.health import Ailment, HealthState, grown_worse, health_of
from server.domain.notices import HealthChanged
from server.store import transactions
from server.store.database import Connection, Database
from server.store.jobs import release
from server.store.notices import write_health_changed
from server.store.numbers import CREDENTIAL_TYPE_OF
from server.store.statements import Statements

_SQL = Statements("health")


class CredentialHealths:
    """What is known against the credentials of all accounts.

    A report about a credential that was deleted, or whose content was replaced since, is about nothing any more.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def unwell(
        self, account_id: UUID, credential_id: UUID, version: int, code: str, seconds: float | None
    ) -> bool:
        """Note that the provider throttles the credential for ``seconds``, or refuses it (None).

        Returns whether that was news for the account's feed. Raises ``Unavailable``.
        """

        async def work(connection: Connection) -> bool:
            if not await connection.fetchval(_SQL.lock, account_id, credential_id, version):
                return False
            row = await connection.fetchrow(_SQL.get, account_id, credential_id)
            known, reported = ailment_from(row), _reported(code, seconds, row["now"])
            now_known = grown_worse(known, reported)
            if now_known is None:
                return False
            await _put(connection, account_id, credential_id, version, now_known)
            if now_known is not reported:
                return False
            await _tell(connection, account_id, row, now_known)
            return True

        return await transactions.run(self._database, work)

    async def well(self, account_id: UUID, credential_id: UUID, version: int) -> bool:
        """Note that the provider takes pushes with the credential; work that waits for it is due at once.

        Returns and raises as ``unwell``.
        """
        key = (account_id, credential_id, version)
        async with self._database.connection() as connection:
            if not await connection.fetchval(_SQL.is_known, *key):
                return False

        async def work(connection: Connection) -> bool:
            if not await connection.fetchval(_SQL.lock, *key):
                return False
            await release(connection, account_id, [credential_id])
            return await recover(connection, account_id, credential_id)

        return await transactions.run(self._database, work)


async def recover(connection: Connection, account: UUID, credential_id: UUID) -> bool:
    """Forget what was known against a credential, in the last writes of a transaction that has locked it.

    Returns whether there was anything.
    """
    if not await connection.fetchval(_SQL.remove, account, credential_id):
        return False
    await _tell(connection, account, await connection.fetchrow(_SQL.get, account, credential_id), None)
    return True


def ailment_from(row: asyncpg.Record) -> Ailment | None:
    """Return what a row that was joined with ``credential_health`` has of it."""
    if row["state"] is None:
        return None
    return Ailment(HealthState(row["state"]), row["since"], row["until"], row["reason"])


def _reported(code: str, seconds: float | None, now: datetime) -> Ailment:
    if seconds is None:
        return Ailment(HealthState.REJECTED, now, None, code)
    return Ailment(HealthState.THROTTLED, now, now + timedelta(seconds=seconds), code)


async def _put(connection: Connection, account: UUID, credential_id: UUID, version: int, known: Ailment) -> None:
    await connection.execute(
        _SQL.put, account, credential_id, version, known.state, known.since, known.until, known.reason
    )


async def _tell(connection: Connection, account: UUID, row: asyncpg.Record, known: Ailment | None) -> None:
    health = health_of(known, row["not_after"], row["now"])
    credential_type = CREDENTIAL_TYPE_OF[row["credential_type"]]
    await write_health_changed(
        connection, account, HealthChanged(row["credential_id"], row["app_name"], credential_type, health)
    )
