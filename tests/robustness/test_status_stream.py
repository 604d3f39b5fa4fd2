"""Eight writers, twenty subscribers that leave at random, and a server and a PostgreSQL that die under them."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from time import monotonic

import pytest

from client.calls import basic_auth
from server.domain import ids
from server.domain.ids import Kind as Id
from server.store.accounts import Accounts
from server.store.database import Database
from server.store.hints import Hints
from tests.integration.store.sending import Sending, eventually, users
from tests.robustness.restartable import ApiServer, Restartable
from tests.robustness.scale import scaled, seeded
from tests.robustness.stream_report import report
from tests.robustness.subscribers import Role, Scope, Subscribers
from tests.status_stream.history import History
from tests.status_stream.validators import broken
from tests.status_stream.writers import Writers, apps_of, commits, final_rows

_WRITERS = 8
_APPS = 4
_USERS = 3
_ROUNDS = scaled(1, 5)
_BETWEEN = scaled(40, 400)  # entries of the feed between two restarts
_SENDS = (1, 3, 20, 80, 300)  # recipients
_SIZES = (1, 1, 2, 5, 20)  # of a commit
_OPEN = (0.0, 0.002, 0.01, 0.04)  # seconds that a transaction stays open: slow enough to outlast the restarts
_PATIENCE = scaled(30, 120)  # seconds

_FAILED, _APPLE = frozenset({"FAILED"}), frozenset({"APN"})
_ROLES = (
    *[Role(Scope.ACCOUNT)] * 3,
    *[Role(Scope.ACCOUNT, statuses=_FAILED)] * 2,
    Role(Scope.ACCOUNT, providers=_APPLE, snapshot=False),
    Role(Scope.ACCOUNT, reasons=frozenset({"EXPIRED"})),
    *[Role(Scope.SENDS)] * 2,
    Role(Scope.SENDS, statuses=_FAILED),
    Role(Scope.SENDS, snapshot=False),
    *[Role(Scope.NOTIFICATIONS)] * 2,
    Role(Scope.NOTIFICATIONS, snapshot=False),
    *[Role(Scope.APP)] * 2,
    Role(Scope.APP, statuses=frozenset({"SENT"}), providers=_APPLE),
    *[Role(Scope.USER)] * 2,
    Role(Scope.USER, statuses=_FAILED, snapshot=False),
)
assert len(_ROLES) == 20

Restart = tuple[str, Callable[[], Awaitable[None]]]


@pytest.fixture
async def database(postgres: Restartable) -> AsyncIterator[Database]:
    database = await Database.open(postgres.url, size=2 * _WRITERS, application="pharos-test")
    yield database
    await database.close()


@pytest.fixture
async def server(tmp_path: Path, postgres: Restartable) -> AsyncIterator[ApiServer]:
    server = ApiServer(tmp_path, postgres.url)
    await server.start()
    yield server
    server.close()


@pytest.fixture
async def hints(postgres: Restartable) -> AsyncIterator[Hints]:
    hints = Hints(postgres.url)
    running = asyncio.ensure_future(hints.run())
    yield hints
    running.cancel()
    await asyncio.wait([running])


class Scenario:
    """What happens, in the order in which it does."""

    def __init__(self, apps: Sequence[Sending], writers: Writers, subscribers: Subscribers, chance: Random) -> None:
        self._apps = apps
        self._chance = chance
        self._restarts_over = False
        self._writers = writers
        self._subscribers = subscribers
        self.late = 0  # subscribers who waited for more than there was

    async def run(self, restarts: Sequence[Restart]) -> None:
        """Raises what sent a subscriber away for good. Who waits in vain is left with what it has."""
        await self._writers.accept(_SENDS[-1])  # there is something to choose from
        async with asyncio.TaskGroup() as group:
            watching = [group.create_task(self._subscribers.watch(role)) for role in _ROLES]
            writing = group.create_task(self._write())
            for _, restart in restarts:
                await self._much_happened()
                await restart()
            await self._much_happened()
            self._restarts_over = True
            await writing
            _, late = await asyncio.wait(watching, timeout=_PATIENCE)
            self.late = len(late)
            for task in late:
                task.cancel()

    async def _write(self) -> None:
        await self._writers.run(_WRITERS, self._sends())
        self._writers.sizes = (_USERS,)  # a marker ends with the commit that tells of its users
        for app in self._apps:
            marker = await self._writers.accept_for(app, users(*self._subscribers.users))
            self._subscribers.markers[app.app_name] = marker
            if app is self._apps[-1]:
                self._subscribers.last = marker
            await self._writers.run(1)

    def _sends(self) -> Iterator[int]:
        while not self._restarts_over:
            yield self._chance.choice(_SENDS)

    async def _much_happened(self) -> None:
        """Returns when all have heard of something since, and many more commits are made."""
        since, seq = monotonic(), await self._writers.last_seq()
        await eventually(lambda: self._heard_since(since), _PATIENCE)
        await eventually(lambda: self._reached(seq + _BETWEEN), _PATIENCE)

    async def _heard_since(self, since: float) -> bool:
        heard = {
            self._subscribers.roles[reader.subscription.name]
            for reader in self._subscribers.readers
            if any(sitting.messages and sitting.messages[-1].at > since for sitting in reader.subscription.sittings)
        }
        return heard == set(_ROLES)

    async def _reached(self, seq: int) -> bool:
        return await self._writers.last_seq() >= seq


def _restarts(server: ApiServer, postgres: Restartable) -> list[Restart]:
    return _ROUNDS * [
        ("server by SIGKILL", lambda: server.restart(signal.SIGKILL)),
        ("server by SIGTERM", lambda: server.restart(signal.SIGTERM)),
        ("PostgreSQL by SIGQUIT", lambda: postgres.restart(signal.SIGQUIT)),
        ("server by SIGKILL", lambda: server.restart(signal.SIGKILL)),
    ]


async def _subscribers(sending: Sending, server: ApiServer, writers: Writers, chance: Random) -> Subscribers:
    key = await Accounts(sending.database).create_key(sending.account, "subscribers")
    metadata = basic_auth(ids.encode(Id.API_KEY, key.id), key.secret)
    return Subscribers(server.address, metadata, writers, writers.users, chance)


@pytest.mark.timeout(scaled(180, 3600))
async def test_i13_no_change_is_lost_repeated_or_out_of_order_over_restarts_of_server_and_database(
    database: Database, server: ApiServer, postgres: Restartable, hints: Hints
) -> None:
    chance, sending = seeded("stream"), await Sending.start(database)
    apps = await apps_of(sending, _APPS)
    people = [await sending.user() for _ in range(_USERS)]
    writers = Writers(apps, lambda: hints.announce_feed(sending.account), chance, people)
    writers.sizes, writers.open_for = _SIZES, _OPEN
    subscribers, restarts = await _subscribers(sending, server, writers, chance), _restarts(server, postgres)

    scenario = Scenario(apps, writers, subscribers, chance)
    await scenario.run(restarts)

    async with database.connection() as connection:
        history = History(
            await commits(connection, sending.account, writers.witnesses),
            await final_rows(connection, sending.account),
            [reader.subscription for reader in subscribers.readers],
        )
    found = broken(history)
    print(report(history, subscribers, [name for name, _ in restarts], found))  # noqa: T201 - for the docs, with `-s`
    assert found == {}
    assert not scenario.late, "all have heard of everything"
    assert writers.most_open > _WRITERS // 2, "writers that never wait for each other show nothing"
    assert sum(reader.lost for reader in subscribers.readers) >= 3 * len(_ROLES) // 2, "the restarts hit most of them"
