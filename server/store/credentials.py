"""Credentials: sealed content, one default for each type in an app, and the apps that come and go with them."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import asyncpg

from server.domain.apps import (
    DEFAULT_APP,
    MAX_APPS,
    MAX_CREDENTIALS,
    Credential,
    CredentialChange,
    CredentialFilter,
    NewCredential,
)
from server.domain.errors import Invalid, NotFound, Violation
from server.domain.health import health_of
from server.domain.requests import Done, RequestKey
from server.store import idempotency, transactions
from server.store.accounts import lock_account
from server.store.apps import delete_app
from server.store.database import Connection, Database
from server.store.health import ailment_from, recover
from server.store.jobs import release
from server.store.numbers import CREDENTIAL_TYPE_OF, CREDENTIAL_TYPES
from server.store.statements import Statements

_SQL = Statements("credentials")
_APPS = Statements("apps")


class Credentials:
    """The credentials of all accounts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def new_id(self) -> UUID:
        """Return an id for a credential that is yet to be sealed: the seal is bound to it."""
        async with self._database.connection() as connection:
            made: UUID = await connection.fetchval(_SQL.new_id)
        return made

    async def create(self, account: UUID, new: NewCredential, key: RequestKey | None = None) -> Done[UUID]:
        """Store the credential, with its app where that is missing, and return the credential's id.

        The account's first app becomes its default, an app's first credential of a type the default of the type.
        Raises ``Invalid`` for an 11th app or an 11th credential of an app, ``Conflict`` as ``idempotency.respond``.
        """
        return await idempotency.run(self._database, account, key, lambda connection: _create(connection, account, new))

    async def repeated(self, account: UUID, key: RequestKey) -> Done[UUID] | None:
        """Return the credential of an earlier equal request, None when there was none. Raises ``Conflict``."""
        return await idempotency.repeated(self._database, account, key)

    async def get(self, account: UUID, credential_id: UUID) -> Credential | None:
        """Return the credential, or None."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_SQL.get, account, credential_id)
        return _credential(row) if row else None

    async def newest(self, account: UUID, wanted: CredentialFilter, first: UUID, limit: int) -> Sequence[Credential]:
        """Return up to ``limit`` credentials from the id ``first`` on, newest first."""
        number = CREDENTIAL_TYPES[wanted.credential_type] if wanted.credential_type else None
        filters = (wanted.app_name, number, wanted.is_default, wanted.made.start, wanted.made.end)
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL.newest, account, first, limit, *filters)
        return [_credential(row) for row in rows]

    async def update(self, account: UUID, credential_id: UUID, change: CredentialChange) -> None:
        """Make it its app's default for its type, replace its content, or both.

        Raises ``NotFound``, and ``Invalid`` for False on the default one.
        """

        async def work(connection: Connection) -> None:
            await _update(connection, account, credential_id, change)

        await transactions.run(self._database, work)

    async def delete(self, account: UUID, credential_id: UUID) -> None:
        """Delete it, and with an app's last one the app and its registrations; users stay. Raises ``NotFound``.

        The oldest one of the type takes the role of a default that was deleted.
        """

        async def work(connection: Connection) -> None:
            await _delete(connection, account, credential_id)

        await transactions.run(self._database, work)


async def _create(connection: Connection, account: UUID, new: NewCredential) -> UUID:
    await lock_account(connection, account)
    number = CREDENTIAL_TYPES[new.credential_type]
    found = await connection.fetchrow(_APPS.find_for_credential, account, new.app_name, number)
    if found["credentials"] >= MAX_CREDENTIALS:
        raise Invalid(Violation("app_name", f"the app has {MAX_CREDENTIALS} credentials, the most there can be"))
    app = found["app_id"] or await _make_app(connection, account, new.app_name or DEFAULT_APP, found["apps"])
    is_default = new.is_default or found["of_type"] == 0
    if is_default:
        await connection.execute(_SQL.yield_default, account, app, number)
        await connection.execute(_APPS.touch, account, app)
    await connection.execute(
        _SQL.insert, account, new.credential_id, app, number, is_default, new.sealed, new.not_after
    )
    if is_default:
        await _release_app(connection, account, app)
    return new.credential_id


async def _update(connection: Connection, account: UUID, credential_id: UUID, change: CredentialChange) -> None:
    await lock_account(connection, account)
    found = await connection.fetchrow(_SQL.find, account, credential_id)
    if found is None:
        raise NotFound("there is no such credential")
    if change.is_default is False and found["is_default"]:
        raise Invalid(Violation("is_default", "this is the default credential: make another one the default instead"))
    takes_over = change.is_default and not found["is_default"]
    if takes_over:
        await connection.execute(_SQL.yield_default, account, found["app_id"], found["credential_type"])
        await connection.execute(_SQL.take_default, account, credential_id)
        await connection.execute(_APPS.touch, account, found["app_id"])
    if change.content:
        await connection.execute(
            _SQL.replace_content, account, credential_id, change.content.sealed, change.content.not_after
        )
        await release(connection, account, [credential_id])
    if takes_over:
        await _release_app(connection, account, found["app_id"])
    if change.content:
        await recover(connection, account, credential_id)


async def _delete(connection: Connection, account: UUID, credential_id: UUID) -> None:
    await lock_account(connection, account)
    gone = await connection.fetchrow(_SQL.delete, account, credential_id)
    if gone is None:
        raise NotFound("there is no such credential")
    if gone["others"] == 0:
        await delete_app(connection, account, gone["app_id"])
    elif gone["is_default"]:
        await connection.execute(_SQL.promote_oldest, account, gone["app_id"], gone["credential_type"])
        await connection.execute(_APPS.touch, account, gone["app_id"])
        await _release_app(connection, account, gone["app_id"])
    await release(connection, account, [credential_id])


async def _release_app(connection: Connection, account: UUID, app: UUID) -> None:
    """Let the work that waits for one of the app's credentials look again: another one may be the default now."""
    rows = await connection.fetch(_SQL.of_app, account, app)
    await release(connection, account, [row["credential_id"] for row in rows])


async def _make_app(connection: Connection, account: UUID, name: str, others: int) -> UUID:
    if others >= MAX_APPS:
        raise Invalid(Violation("app_name", f"the account has {MAX_APPS} apps, the most there can be"))
    made: UUID = await connection.fetchval(_APPS.insert, account, name, others == 0)
    return made


def _credential(row: asyncpg.Record) -> Credential:
    return Credential(
        row["credential_id"],
        CREDENTIAL_TYPE_OF[row["credential_type"]],
        row["is_default"],
        row["app_name"],
        row["created_at"],
        row["updated_at"],
        health_of(ailment_from(row), row["not_after"], row["now"]),
    )
