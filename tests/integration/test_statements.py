"""Every named statement is one that PostgreSQL can prepare against the current schema."""

from __future__ import annotations

from server.store.database import Database
from server.store.statements import Statements, files

_ALL = [(file, name) for file in files() for name in Statements(file).names()]


async def test_each_statement_can_be_prepared(database: Database) -> None:
    wrong = {}
    async with database.connection() as connection:
        for file, name in _ALL:
            try:
                await connection.prepare(getattr(Statements(file), name))
            except Exception as error:  # noqa: BLE001 - all of them are to be told at once
                wrong[f"{file}.{name}"] = str(error)
    assert wrong == {}
    assert len(_ALL) > 20
