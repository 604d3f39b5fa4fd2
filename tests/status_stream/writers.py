"""Many writers of one account: transactions of every size that stay open for a while, and some that are undone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from math import inf
from random import Random
from time import monotonic
from typing import Final, TypeVar
from uuid import UUID, uuid4

from server.domain.credentials import CredentialType
from server.domain.delivery import DeviceState, End
from server.domain.errors import Unavailable
from server.domain.feed import Place
from server.domain.jobs import Flush, Job, LeaseLost
from server.domain.operations import Recipient, Status
from server.domain.pushes import Provider
from server.domain.reasons import Reason
from server.domain.requests import RequestKey
from server.store.database import Connection, Database
from server.store.jobs import Jobs, record
from server.store.numbers import PROVIDER_OF
from server.store.operations import Operations
from tests.integration.store.sending import Sending, flush_of
from tests.status_stream.history import Change, Commit, Counts

T = TypeVar("T")

_FAILS_EVERY: Final = 5
_REASONS: Final = (Reason.UNREGISTERED, Reason.EXPIRED)
_USER_EVERY: Final = 7  # recipient; the others are tokens, every other one of an Apple device
_LEASE = timedelta(seconds=3)  # how long what was claimed in an answer that got lost is left alone
SIZES: Final = (1, 1, 2, 5, 20, 60, 200)  # recipients of a commit
OPEN: Final = (0.0, 0.0, 0.0, 0.002, 0.02)  # seconds that a transaction stays open with its number taken
UNDONE: Final = 0.1
_PAUSE: Final = 0.02  # between two tries while the database is away, or work is another's

_EVENTS = "select * from events where account_id = $1 order by seq"
_ROWS = "select operation_id, index, status, reason from notifications where account_id = $1"
_BATCHES = "select operation_id, first_index, user_ids, providers from batches where account_id = $1"


@dataclass
class Witnesses:
    """When the COMMIT was sent that made a recipient final, and when its answer came; by the commit's first one."""

    seen: dict[tuple[UUID, int], tuple[float, float]] = field(default_factory=dict)

    def committing(self, job: Job, flush: Flush) -> None:
        """Of a COMMIT without an answer nobody knows when it was over: only that it had begun."""
        self.seen.setdefault(_key(job, flush), (monotonic(), inf))

    def committed(self, job: Job, flush: Flush) -> None:
        begun, _ = self.seen[_key(job, flush)]
        self.seen[_key(job, flush)] = (begun, monotonic())

    def of(self, operation: UUID, indexes: Sequence[int]) -> tuple[float, float]:
        return self.seen.get((operation, min(indexes, default=-1)), (-inf, inf))


async def apps_of(sending: Sending, count: int) -> list[Sending]:
    """The account with each of so many apps. Sends of one app wait for each other before they come to the feed."""
    found = [sending]
    for number in range(1, count):
        name = f"app-{number}"
        fcm = await sending.credential(CredentialType.FCM, app_name=name)
        app = await Operations(sending.database).app(sending.account, name)
        assert app is not None
        found.append(replace(sending, app=app[0], app_name=name, fcm=fcm))
    return found


class Writers:
    """``announce`` tells readers' processes that the account's feed has grown. ``users`` get a seventh of each send."""

    def __init__(
        self, apps: Sequence[Sending], announce: Callable[[], None], chance: Random, users: Sequence[UUID] = ()
    ) -> None:
        self._apps = apps
        self._database: Database = apps[0].database
        self._announce = announce
        self._chance = chance
        self.users = users
        self._plan: Iterator[int] = iter(())
        self._jobs: list[Job] = []
        self._choosing = asyncio.Lock()
        self.sizes: Sequence[int] = SIZES
        self.open_for: Sequence[float] = OPEN
        self.undone_share = UNDONE
        self.witnesses = Witnesses()
        self.accepted: dict[UUID, int] = {}  # recipients of each send
        self.of_app: dict[str, set[UUID]] = {app.app_name: set() for app in apps}
        self.undone = 0
        self.retries = 0
        self.most_open = 0  # transactions at once
        self._open = 0

    async def accept(self, recipients: int) -> UUID:
        """A send under one of the apps."""
        return await self.accept_for(self._chance.choice(self._apps), audience(recipients, self.users))

    async def accept_for(self, app: Sending, recipients: Sequence[Recipient]) -> UUID:
        """A send of this app to these."""
        key = RequestKey("send", str(uuid4()), bytes(32))
        send = await self._insist(lambda: app.accept(recipients, key))
        self.of_app[app.app_name].add(send)
        self.accepted[send] = len(recipients)
        return send

    async def last_seq(self) -> int:
        """The feed's, as soon as the database says it."""
        question = "select last_seq from feeds where account_id = $1"
        seq: int = await self._insist(lambda: self._apps[0].value(question, self._apps[0].account))
        return seq

    async def run(self, writers: int, sends: Iterable[int] = ()) -> None:
        """So many at once, until all is final. ``sends``: recipients of those that are accepted by and by."""
        self._plan = iter(sends)
        async with asyncio.TaskGroup() as group:
            for _ in range(writers):
                group.create_task(self._write())

    async def _write(self) -> None:
        while (job := await self._next()) is not None:
            with suppress(LeaseLost):  # it took longer than the lease: somebody will have it again
                await self._record(job)

    async def _next(self) -> Job | None:
        """A claimed job, once there is one; None when there will be none."""
        async with self._choosing:
            while not self._jobs:
                size = next(self._plan, None)
                if size is not None:
                    await self.accept(size)
                self._jobs = await self._insist(lambda: Jobs(self._database).claim(8, 8, _LEASE))
                self._chance.shuffle(self._jobs)
                if not self._jobs and size is None:
                    if not await self._insist(self._left):
                        return None
                    await asyncio.sleep(_PAUSE)
            return self._jobs.pop()

    async def _left(self) -> bool:
        """Whether there is work that is ours: what is leased for longer somebody else holds."""
        ours = "select exists (select from jobs where due_at < now() + $1::interval)"
        return bool(await self._apps[0].value(ours, 2 * _LEASE))

    async def _record(self, job: Job) -> None:
        indexes = sorted(job.recipients)
        while indexes:
            size = self._chance.choice(self.sizes)
            part, indexes = indexes[:size], indexes[size:]
            flush = ends_of(job, part, rest=indexes)
            while not await self._insist(lambda flush=flush: self._commit(job, flush)):  # type: ignore[misc]  # a default
                self.undone += 1
            self._announce()

    async def _commit(self, job: Job, flush: Flush) -> bool:
        """Whether it was committed, and not undone."""
        with suppress(_Undone):
            async with self._counted(), self._database.transaction() as connection:
                await record(connection, job, flush)
                await connection.execute("select pg_sleep($1)", self._chance.choice(self.open_for))
                if self._chance.random() < self.undone_share:
                    raise _Undone
                self.witnesses.committing(job, flush)
            self.witnesses.committed(job, flush)
            return True
        return False

    @asynccontextmanager
    async def _counted(self) -> AsyncIterator[None]:
        self._open += 1
        self.most_open = max(self.most_open, self._open)
        try:
            yield
        finally:
            self._open -= 1

    async def _insist(self, work: Callable[[], Awaitable[T]]) -> T:
        """Repeats what is safe to be repeated until the database is there."""
        while True:
            try:
                return await work()
            except Unavailable:
                self.retries += 1
                await asyncio.sleep(_PAUSE)


class _Undone(Exception):
    """Rolls a transaction back."""


def audience(size: int, users: Sequence[UUID] = ()) -> list[Recipient]:
    """So many recipients, with the same ones at the same places of every send."""
    return [_recipient(number, users) for number in range(size)]


def _recipient(number: int, users: Sequence[UUID]) -> Recipient:
    turn, place = divmod(number, _USER_EVERY)
    if users and place == 1:
        return Recipient(user_id=users[turn % len(users)])
    return Recipient(token=f"t{number}", provider=(Provider.FCM, Provider.APN)[number % 2])


def ends_of(job: Job, indexes: Sequence[int], *, rest: Sequence[int] = ()) -> Flush:
    """What a worker records of these recipients; it keeps its lease for the rest. Users have an Android phone each."""
    ends = [_end(index, job.recipients[index]) for index in indexes]
    return flush_of(ends, rest, keep=bool(rest), wait=_LEASE)


def _end(index: int, recipient: Recipient) -> End:
    turn, place = divmod(index, _FAILS_EVERY)
    reason = Reason.NONE if place else _REASONS[turn % len(_REASONS)]
    status = Status.SENT if place else Status.FAILED
    provider = recipient.provider or Provider.FCM
    device = DeviceState(provider, recipient.token or "phone", status, reason, attempts=1, message_id=f"m{index}")
    return End(index, recipient.user_id, status, reason, [device])


async def commits(connection: Connection, account: UUID, witnesses: Witnesses) -> list[Commit]:
    """The account's feed as the database has it."""
    addressed = await _addressed(connection, account)
    return [
        Commit(
            row["seq"],
            row["operation_id"],
            [
                _change((row["operation_id"], index), status, reason, addressed)
                for index, status, reason in zip(row["indexes"], row["statuses"], row["reasons"], strict=True)
            ],
            Counts(row["sent"], row["failed"]),
            *witnesses.of(row["operation_id"], row["indexes"]),
        )
        for row in await connection.fetch(_EVENTS, account)
    ]


async def final_rows(connection: Connection, account: UUID) -> set[Change]:
    """Who is final, by the rows of their own."""
    addressed = await _addressed(connection, account)
    rows = await connection.fetch(_ROWS, account)
    return {_change((row["operation_id"], row["index"]), row["status"], row["reason"], addressed) for row in rows}


def _change(place: Place, status: int, reason: int, addressed: Mapping[Place, tuple[str, UUID | None]]) -> Change:
    return Change(*place, Status(status).name, reason_name(Reason(reason)), *addressed[place])


def reason_name(reason: Reason) -> str:
    return "" if reason is Reason.NONE else reason.name


async def _addressed(connection: Connection, account: UUID) -> dict[Place, tuple[str, UUID | None]]:
    """Each recipient's device's provider, and the user."""
    return {
        (row["operation_id"], row["first_index"] + number): (PROVIDER_OF.get(provider, Provider.FCM).value, user)
        for row in await connection.fetch(_BATCHES, account)
        for number, (provider, user) in enumerate(zip(row["providers"], row["user_ids"], strict=True))
    }


def _key(job: Job, flush: Flush) -> tuple[UUID, int]:
    return job.operation_id, min(end.index for end in flush.ends)
