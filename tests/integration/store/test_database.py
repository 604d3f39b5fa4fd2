"""What goes wrong on a connection is told apart: the database is away, or we used it wrongly."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from server.domain.errors import Unavailable
from server.store.database import Connection, Database, MisusedConnection


@pytest.mark.parametrize("arguments", [(), (1, 2), ("no number",)])
async def test_arguments_that_do_not_fit_are_a_defect_and_not_an_absent_database(
    database: Database, arguments: tuple[object, ...]
) -> None:
    with pytest.raises((MisusedConnection, asyncpg.DataError)):
        async with database.connection() as connection:
            await connection.fetchval("select $1::integer", *arguments)


async def test_a_session_that_is_ended_is_an_absent_database(database: Database) -> None:
    async with database.connection() as other:
        with pytest.raises(Unavailable):
            await _ask_on_an_ended_session(database, other)


async def _ask_on_an_ended_session(database: Database, other: Connection) -> None:
    async with database.connection() as connection:
        await other.execute("select pg_terminate_backend($1)", connection.get_server_pid())
        await connection.fetchval("select 1")


async def test_a_closed_pool_is_an_absent_database(database: Database) -> None:
    await database.close()
    with pytest.raises(Unavailable):
        await database.ping()


async def test_who_is_cancelled_between_parse_and_execute_leaves_no_transaction_open(database: Database) -> None:
    """The driver's `prepare` is what it sends first of any statement that is new to a connection."""
    small = await Database.open(database.dsn, size=1)
    with pytest.raises(asyncio.CancelledError):
        await _be_cancelled_after_parse(small)
    async with small.snapshot() as connection:
        assert await connection.fetchval("select count(*) from accounts") == 0
    await small.close()


async def _be_cancelled_after_parse(database: Database) -> None:
    async with database.connection() as connection:
        await connection.prepare("select count(*) from accounts")
        raise asyncio.CancelledError
