"""What the launcher asks of the running server, over the same driver its users have."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import asyncpg

T = TypeVar("T")

_CONNECT_SECONDS = 10.0
_CREATE_SECONDS = 120.0


def accepts_sessions(dsn: str) -> bool:
    """Whether a session can be had now: not while the server is missing, starting, recovering or shutting down."""
    return _run(_accepts_sessions(dsn))


def create_database(dsn: str, name: str) -> None:
    """Create the database unless it exists, however many processes ask for it at once."""
    _run(_create_database(dsn, name))


def _run(work: Coroutine[None, None, T]) -> T:
    """In a thread of its own: whatever event loop the caller has or runs is left alone."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


async def _accepts_sessions(dsn: str) -> bool:
    try:
        connection = await asyncpg.connect(dsn, timeout=_CONNECT_SECONDS)
    except PermissionError:
        raise  # the socket is another user's: waiting changes nothing
    except asyncpg.TooManyConnectionsError:
        return True
    except (OSError, asyncpg.CannotConnectNowError, asyncpg.ConnectionDoesNotExistError):
        return False
    await connection.close(timeout=_CONNECT_SECONDS)
    return True


async def _create_database(dsn: str, name: str) -> None:
    connection = await asyncpg.connect(dsn, timeout=_CONNECT_SECONDS, command_timeout=_CREATE_SECONDS)
    try:
        if not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name):
            quoted = name.replace('"', '""')
            await connection.execute(f'CREATE DATABASE "{quoted}"')
    except (asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError):
        return  # another process made it in between
    finally:
        await connection.close(timeout=_CONNECT_SECONDS)
