"""Apps: the namespaces of credentials and registrations."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date
from uuid import UUID

import asyncpg

from server.domain.apps import App, AppDay, AppFilter, DefaultCredential
from server.domain.errors import Invalid, NotFound, Violation
from server.store import transactions
from server.store.accounts import lock_account
from server.store.database import Connection, Database
from server.store.numbers import CREDENTIAL_TYPE_OF
from server.store.statements import Statements

_SQL = Statements("apps")


class Apps:
    """The apps of all accounts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, account: UUID, name: str) -> App | None:
        """Return the app, or None."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_SQL.get, account, name)
        return _app(row) if row else None

    async def newest(self, account: UUID, wanted: AppFilter, first: UUID, limit: int) -> Sequence[App]:
        """Return up to ``limit`` apps from the id ``first`` on, newest first."""
        made = wanted.made
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL.newest, account, first, limit, wanted.is_default, made.start, made.end)
        return [_app(row) for row in rows]

    async def set_default(self, account: UUID, name: str, *, is_default: bool) -> None:
        """Make the app the default one. False is how it is already: it can't be given up, only taken.

        Raises ``NotFound``, and ``Invalid`` for False on the default app.
        """

        async def work(connection: Connection) -> None:
            await _set_default(connection, account, name, is_default=is_default)

        await transactions.run(self._database, work)

    async def today(self) -> date:
        """Return the day (UTC) by the database's clock."""
        async with self._database.connection() as connection:
            day: date = await connection.fetchval(_SQL.today)
        return day

    async def days(self, account: UUID, name: str, first: date, last: date) -> Sequence[AppDay]:
        """Return the days from ``first`` to ``last`` on which anything became final. Raises ``NotFound``."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL.days, account, name, first, last)
        if not rows:
            raise NotFound("there is no such app")
        return [AppDay(**row) for row in rows if row["day"]]


async def check_absent(connection: Connection, account: UUID, names: Collection[str | None]) -> None:
    """Raise ``Overtaken`` where one of the apps that were not found is there now; None is the default one.

    Who waited for an app that then was deleted, or ceased to be the default, did not see what came in its place.
    """
    if await connection.fetchval(_SQL.appeared, account, [name for name in names if name], None in names):
        raise transactions.Overtaken


async def delete_app(connection: Connection, account: UUID, app: UUID) -> None:
    """Delete the app with its registrations; another one becomes the default if it was. The account must be locked."""
    await connection.execute(_SQL.lock, account, app)
    await connection.execute(_SQL.lock_devices, account, app)
    await connection.execute(_SQL.touch_users, account, app)
    await connection.execute(_SQL.lock_registrations, account, app)
    was_default = await connection.fetchval(_SQL.delete, account, app)
    if was_default:
        await connection.execute(_SQL.promote_oldest, account)


async def _set_default(connection: Connection, account: UUID, name: str, *, is_default: bool) -> None:
    await lock_account(connection, account)
    found = await connection.fetchrow(_SQL.find, account, name)
    if found is None:
        raise NotFound("there is no such app")
    if found["is_default"] == is_default:
        return
    if found["is_default"]:
        raise Invalid(Violation("is_default", "this is the default app: make another one the default instead"))
    await connection.execute(_SQL.yield_default, account)
    await connection.execute(_SQL.take_default, account, found["app_id"])


def _app(row: asyncpg.Record) -> App:
    defaults = [DefaultCredential(CREDENTIAL_TYPE_OF[number], credential) for number, credential in row["defaults"]]
    return App(row["app_id"], row["name"], row["is_default"], defaults, row["created_at"], row["updated_at"])
