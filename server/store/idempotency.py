"""Request keys: equal requests with the same key have one effect within 24 hours.

The key's row is written in the transaction of the effect itself, so that both are there or neither.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final
from uuid import UUID
from weakref import WeakValueDictionary

import asyncpg

from server.domain.errors import Conflict
from server.domain.requests import Done, RequestKey
from server.store import transactions
from server.store.database import Connection, Database
from server.store.statements import Statements

_SQL = Statements("idempotency")
_WAIT_SECONDS = 10.0

# One for each key that a request of this process has now.
_turns: Final[WeakValueDictionary[tuple[UUID, str, str], asyncio.Lock]] = WeakValueDictionary()


async def respond(
    database: Database, account: UUID, key: RequestKey | None, make: Callable[[Connection], Awaitable[bytes]]
) -> Done[bytes]:
    """Make a response in one transaction, or find the one that an earlier equal request with the key got.

    Waits for a concurrent request with the same key. Raises ``Unavailable``, and ``Conflict`` when the key was used for
    another request, or, with ``retry_after``, when the other one takes longer than 10 seconds.
    """

    async def work(connection: Connection) -> Done[bytes]:
        if key is None:
            return Done(await make(connection))
        earlier = await _claim(connection, account, key, deadline)
        if earlier is not None:
            return Done(earlier, replayed=True)
        response = await make(connection)
        await connection.execute(_SQL.finish, account, key.method, key.key, response)
        return Done(response)

    deadline = time.monotonic() + _WAIT_SECONDS
    async with _turn(account, key, deadline):
        return await transactions.run(database, work)


async def _claim(connection: Connection, account: UUID, key: RequestKey, deadline: float) -> bytes | None:
    """Claim the key in the caller's transaction, or return the response that an earlier equal request stored."""
    timeout = max(0.1, deadline - time.monotonic())
    try:
        claimed = await connection.fetchval(_SQL.claim, account, key.method, key.key, key.fingerprint, timeout=timeout)
    except TimeoutError:
        raise Conflict("a request with this key is still being carried out", retry_after=1.0) from None
    if claimed:
        return None
    row = await connection.fetchrow(_SQL.find, account, key.method, key.key)
    if row is None or row["response"] is None:
        raise Conflict("a request with this key is being carried out", retry_after=1.0)
    return _response(row, key.fingerprint)


def _response(row: asyncpg.Record, fingerprint: bytes) -> bytes:
    if row["fingerprint"] != fingerprint:
        raise Conflict("this key was used for another request")
    response: bytes = row["response"]
    return response


async def run(
    database: Database, account: UUID, key: RequestKey | None, make: Callable[[Connection], Awaitable[UUID]]
) -> Done[UUID]:
    """Make a resource as ``respond`` makes a response, and return its id."""

    async def response(connection: Connection) -> bytes:
        return (await make(connection)).bytes

    done = await respond(database, account, key, response)
    return Done(UUID(bytes=done.value), done.replayed)


async def repeated(database: Database, account: UUID, key: RequestKey) -> Done[UUID] | None:
    """Return what an earlier request with the key made, None when there was none or it is still being carried out.

    For what comes before ``run``: a repeated request gets its answer even when it could not be carried out any more.
    Raises ``Conflict`` when the key was used for another request.
    """
    async with database.connection() as connection:
        row = await connection.fetchrow(_SQL.find, account, key.method, key.key)
    return Done(UUID(bytes=_response(row, key.fingerprint)), replayed=True) if row else None


@contextlib.asynccontextmanager
async def _turn(account: UUID, key: RequestKey | None, deadline: float) -> AsyncIterator[None]:
    """Let requests with the same key wait for each other here first, where no wait holds a connection of the pool.

    Else 10 that wait for one would leave none to anybody else. Raises ``Conflict`` after the deadline.
    """
    if key is None:
        yield
        return
    lock = _turns.setdefault((account, key.method, key.key), asyncio.Lock())
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            await lock.acquire()
    except TimeoutError:
        raise Conflict("a request with this key is still being carried out", retry_after=1.0) from None
    try:
        yield
    finally:
        lock.release()


class RequestKeys:
    """All keys."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def expire(self) -> None:
        """Forget those that are older than 24 hours. Raises ``Unavailable``."""
        async with self._database.connection() as connection:
            await connection.execute(_SQL.expire)
