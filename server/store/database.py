"""The connection pool, and the one place where driver errors become ours."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import TypeAlias

import asyncpg

from server.domain.errors import Unavailable

Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy"

_GONE = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # the server died in the middle of an answer
    asyncpg.exceptions.OperatorInterventionError,  # the server is shutting down, or ended this session
    asyncpg.exceptions.InsufficientResourcesError,
    asyncpg.exceptions.CannotConnectNowError,
    asyncpg.exceptions.ReadOnlySQLTransactionError,  # we hold a connection to a demoted primary
    OSError,
    TimeoutError,
)


class MisusedConnection(RuntimeError):
    """The driver refused a call on a sound connection, as for arguments that don't fit: a defect of ours."""


class _Connection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no types
    """Goes back to the pool without another round trip: nothing here sets what outlives a transaction.

    Unless it was left in the middle: the driver parses a statement without a Sync, which opens a transaction that it
    does not know of, and who is cancelled before the statement is executed leaves it open.
    """

    left = False

    def leave(self) -> None:
        """Note that what was under way may not be over."""
        self.left = True

    def get_reset_query(self) -> str:
        query: str = super().get_reset_query() if self.left else ""
        self.left = False
        return query


class Database:
    """A pool of connections to one PostgreSQL (15 or newer).

    ``connection`` and ``transaction`` raise ``Unavailable`` when the server can't be reached or goes away; what was
    done in the transaction is then undone, or, when the connection broke during the commit, unknown.
    """

    def __init__(self, pool: asyncpg.Pool, dsn: str) -> None:
        self._pool = pool
        self.dsn = dsn

    @classmethod
    async def open(cls, dsn: str, *, size: int = 10, application: str = "pharos") -> Database:
        """Connect. Raises ``Unavailable``."""
        with _driver_errors():
            pool = await asyncpg.create_pool(
                dsn,
                min_size=1,
                max_size=size,
                connection_class=_Connection,
                timeout=10,
                command_timeout=60,
                server_settings={
                    "application_name": application,
                    "timezone": "UTC",
                    "jit": "off",
                    "idle_in_transaction_session_timeout": "60s",
                },
            )
        return cls(pool, dsn)

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection outside any transaction."""
        with _driver_errors():
            async with self._pool.acquire(timeout=10) as connection:
                leave = connection.leave  # of what is lent, which a broken connection no longer has
                try:
                    yield connection
                except asyncpg.InterfaceError as error:
                    if connection.is_closed():
                        raise
                    leave()
                    raise MisusedConnection from error
                except BaseException:
                    leave()
                    raise

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Lend a connection inside one transaction: committed at the end, rolled back by an exception."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Connection]:
        """Lend a connection whose reads all see the same moment."""
        async with (
            self.connection() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            yield connection

    async def ping(self) -> None:
        """Ask for one answer. Raises ``Unavailable``, after 5 seconds at the latest."""
        with _driver_errors():
            async with asyncio.timeout(5), self.connection() as connection:
                await connection.fetchval("select 1")

    async def close(self) -> None:
        """Close the connections, waiting up to 5 seconds for those in use."""
        try:
            async with asyncio.timeout(5):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()


@contextlib.contextmanager
def _driver_errors() -> Iterator[None]:
    try:
        yield
    except _GONE as error:
        raise Unavailable("the database can't be reached") from error
