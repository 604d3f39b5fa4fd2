"""Forward-only migrations: the .sql files of ``migrations/`` in the order of their numbers, each in one transaction.

Processes that start together are safe: one holds an advisory lock, the others wait for it.
"""

from __future__ import annotations

from importlib import resources

import asyncpg

from server.store.database import Connection, Database

OLDEST_SERVER = 150000
_LOCK = 0x7068_6172_6F73  # "pharos"


class SchemaMismatch(Exception):
    """The database is not one that this version can work with."""


async def migrate(database: Database) -> list[str]:
    """Bring the schema up to date and return the names of the migrations applied.

    Raises ``SchemaMismatch`` when the server is older than PostgreSQL 15 or the schema newer than this version.
    """
    async with database.connection() as connection:
        _check_server(connection)
        await connection.execute("select pg_advisory_lock($1)", _LOCK, timeout=600)
        try:
            return await _apply(connection)
        finally:
            await connection.execute("select pg_advisory_unlock($1)", _LOCK)


async def check(database: Database) -> None:
    """Raise ``SchemaMismatch`` unless every migration of this version has been applied.

    Newer ones are welcome: a migration keeps the version before it working.
    """
    async with database.connection() as connection:
        _check_server(connection)
        missing = set(_files()) - await _applied(connection)
    if missing:
        raise SchemaMismatch(f"the database lacks {', '.join(sorted(missing))}: run `pharos migrate`")


async def _apply(connection: Connection) -> list[str]:
    await connection.execute(
        "create table if not exists schema_migrations (name text primary key, applied_at timestamptz default now())"
    )
    done = await _applied(connection)
    new = [name for name in _files() if name not in done]
    for name in new:
        async with connection.transaction():
            await connection.execute(_text(name), timeout=3600)
            await connection.execute("insert into schema_migrations (name) values ($1)", name)
    return new


async def _applied(connection: Connection) -> set[str]:
    try:
        return {row["name"] for row in await connection.fetch("select name from schema_migrations")}
    except asyncpg.UndefinedTableError:
        return set()


def _check_server(connection: Connection) -> None:
    version = connection.get_server_version()
    if version.major * 10000 < OLDEST_SERVER:
        raise SchemaMismatch(f"PostgreSQL {version.major} is too old: 15 or newer is needed")


def _files() -> list[str]:
    folder = resources.files("server.store") / "migrations"
    return sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))


def _text(name: str) -> str:
    return (resources.files("server.store") / "migrations" / name).read_text(encoding="utf-8")
