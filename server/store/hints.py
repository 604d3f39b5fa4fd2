"""Hints between processes over LISTEN/NOTIFY: "this feed grew", "there are jobs".

Never inside the transactions that do the work: NOTIFY serialises commits. What happened is told on one connection of
its own, at most every few dozen milliseconds. A hint may get lost; readers poll slowly besides.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Iterable
from uuid import UUID

import asyncpg
import structlog

log = structlog.get_logger(__name__)

CHANNEL = "pharos"
GATHER_SECONDS = 0.03
RECONNECT_SECONDS = 0.5
CHECK_SECONDS = 10.0
_MOST_ACCOUNTS = 200  # a payload holds 8,000 bytes; beyond this all accounts are meant


class Signal:
    """Wakes every waiter when rung; a ring nobody waits for is remembered once."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._listeners: list[Callable[[], object]] = []

    def subscribe(self, listener: Callable[[], object]) -> None:
        """Call ``listener`` at each ring, at once."""
        self._listeners.append(listener)

    def ring(self) -> None:
        self._event.set()
        for listener in self._listeners:
            listener()

    async def wait(self, seconds: float) -> None:
        """Return when rung, or after ``seconds``."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._event.wait()
        self._event.clear()


class Hints:
    """One per process; ``run`` it as a task. ``jobs`` and ``feeds`` ring for this process's hints and others'."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self.jobs = Signal()
        self.feeds = Signal()
        self._grown: set[UUID] = set()  # feeds to read, for this process
        self._all_grown = True
        self._to_tell: set[UUID] = set()
        self._tell_jobs = False
        self._something = asyncio.Event()
        self._told_at = 0.0

    def announce_feed(self, account_id: UUID) -> None:
        """Tell everyone that the account's feed has grown."""
        self._to_tell.add(account_id)
        self._something.set()

    def announce_jobs(self) -> None:
        """Tell everyone that there are jobs."""
        self._tell_jobs = True
        self._something.set()

    def take_grown(self) -> set[UUID] | None:
        """Return the accounts whose feeds grew since the last call; None when it may be any."""
        grown, everything = self._grown, self._all_grown
        self._grown, self._all_grown = set(), False
        return None if everything else grown

    async def run(self) -> None:
        """Listen and tell until cancelled, connecting anew whenever the connection is lost."""
        while True:
            try:
                await self._with_connection()
            except (
                OSError,
                TimeoutError,
                asyncpg.PostgresError,
                asyncpg.InterfaceError,
                asyncpg.InternalClientError,
            ) as error:
                log.warning("hints: connection lost", error=type(error).__name__)
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _with_connection(self) -> None:
        connection = await asyncpg.connect(self._dsn, timeout=10, command_timeout=10)
        try:
            await connection.add_listener(CHANNEL, self._heard)
            connection.add_termination_listener(self._lost)
            self._hear_everything()  # whatever was said while nobody listened
            while True:
                await self._tell(connection)
        finally:
            connection.terminate()

    async def _tell(self, connection: asyncpg.Connection) -> None:
        """Wait for something to tell, gather a moment, and tell it. A quiet connection is checked now and then."""
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                await self._something.wait()
        except TimeoutError:
            await connection.execute("select 1")
            return
        # The first is told at once; what comes soon after it is gathered.
        await asyncio.sleep(max(self._told_at + GATHER_SECONDS - time.monotonic(), 0.0))
        self._told_at = time.monotonic()
        payload = self._payload()
        await connection.execute("select pg_notify($1, $2)", CHANNEL, payload)

    def _payload(self) -> str:
        accounts: Iterable[UUID] = self._to_tell
        everything = len(self._to_tell) > _MOST_ACCOUNTS
        payload = json.dumps(
            {"jobs": self._tell_jobs, "feeds": "*" if everything else [account.hex for account in accounts]}
        )
        self._to_tell, self._tell_jobs = set(), False
        self._something.clear()
        return payload

    def _lost(self, _connection: object) -> None:
        self._something.set()  # its next statement fails, and run connects anew

    def _heard(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        try:
            said = json.loads(str(payload))
            feeds = said["feeds"]
            grown = None if feeds == "*" else {UUID(hex=account) for account in feeds}
            jobs = bool(said["jobs"])
        except (ValueError, KeyError, TypeError):
            self._hear_everything()  # said by something newer: it may mean anything
            return
        if jobs:
            self.jobs.ring()
        if grown is None or len(self._grown) > _MOST_ACCOUNTS:  # nobody takes them in a process without readers
            self._grown, self._all_grown = set(), True
        elif grown and not self._all_grown:
            self._grown |= grown
        if grown is None or grown:
            self.feeds.ring()

    def _hear_everything(self) -> None:
        self._all_grown = True
        self.jobs.ring()
        self.feeds.ring()
