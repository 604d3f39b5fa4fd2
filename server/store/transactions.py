"""Transactions that are repeated where another one got in their way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg

from server.domain.errors import Unavailable
from server.store.database import Connection, Database

T = TypeVar("T")

_TRIES = 5


class Overtaken(Exception):
    """Another transaction changed what this one had read: it is undone and begins again."""


async def run(database: Database, work: Callable[[Connection], Awaitable[T]]) -> T:
    """Do ``work`` in one transaction, up to 5 times where concurrent ones make it fail. Raises ``Unavailable``."""
    for _ in range(_TRIES):
        try:
            async with database.transaction() as connection:
                return await work(connection)
        except (Overtaken, asyncpg.TransactionRollbackError):  # the latter: deadlock or serialization failure
            continue
    raise Unavailable("too many concurrent changes of the same resource")
