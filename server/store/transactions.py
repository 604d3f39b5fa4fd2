"""Transactions that are repeated where another one got in their way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
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
    return await _repeated(database.transaction, work)


async def run_statement(database: Database, work: Callable[[Connection], Awaitable[T]]) -> T:
    """The same for ``work`` that is one statement, which is a transaction by itself and needs no begin and commit."""
    return await _repeated(database.connection, work)


async def _repeated(
    lend: Callable[[], AbstractAsyncContextManager[Connection]], work: Callable[[Connection], Awaitable[T]]
) -> T:
    for _ in range(_TRIES):
        try:
            async with lend() as connection:
                return await work(connection)
        except (Overtaken, asyncpg.TransactionRollbackError):  # the latter: deadlock or serialization failure
            continue
    raise Unavailable("too many concurrent changes of the same resource")
