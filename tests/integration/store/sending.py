"""An account that sends: what every test of the way from accept to the status feed starts from."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

from server.domain.apps import NewCredential
from server.domain.credentials import CredentialType
from server.domain.delivery import DeviceState, End, RecipientState
from server.domain.devices import Device, NewDevice
from server.domain.jobs import Flush, Job
from server.domain.operations import Message, NewOperation, Recipient, Status
from server.domain.pushes import Presentation, Provider
from server.domain.reasons import Reason
from server.domain.requests import RequestKey
from server.domain.templates import ContentSource
from server.store.accounts import Accounts
from server.store.credentials import Credentials
from server.store.database import Database
from server.store.jobs import Jobs
from server.store.operations import Operations
from server.store.registrations import Registrations

T = TypeVar("T")

LEASE = timedelta(seconds=30)
MESSAGE = Message(ContentSource(title="News", body="Hello {{ name }}"), Presentation())


@dataclass(frozen=True)
class Sending:
    """An account with an app and an FCM credential."""

    database: Database
    account: UUID
    app: UUID
    app_name: str
    fcm: UUID

    @classmethod
    async def start(cls, database: Database) -> Sending:
        account = (await Accounts(database).create("test")).id
        fcm = await _credential(database, account, CredentialType.FCM)
        found = await Operations(database).app(account, None)
        assert found is not None
        return cls(database, account, *found, fcm)

    async def credential(self, credential_type: CredentialType, **fields: Any) -> UUID:
        return await _credential(self.database, self.account, credential_type, **fields)

    async def delete_credential(self, credential: UUID) -> None:
        await self.fetch("delete from credentials where credential_id = $1", credential)

    async def register(self, token: str, user: UUID | None = None, provider: Provider = Provider.FCM) -> UUID:
        """Register a device and return its registration."""
        new = NewDevice(Device(provider, token), user_id=user)
        return (await Registrations(self.database).register(self.account, new)).value

    async def user(self, *tokens: str, provider: Provider = Provider.FCM) -> UUID:
        """Make a user who has these devices."""
        rows = await self.fetch("insert into users (account_id) values ($1) returning user_id", self.account)
        user: UUID = rows[0]["user_id"]
        for token in tokens:
            await self.register(token, user, provider)
        return user

    async def accept(self, recipients: int | Sequence[Recipient], key: RequestKey | None = None, **fields: Any) -> UUID:
        """Accept a send to so many tokens, ``t0`` and on, or to these recipients."""
        to = tokens(recipients) if isinstance(recipients, int) else recipients
        return (await Operations(self.database).accept(self.account, self.new(to, **fields), key)).value

    def new(self, recipients: Sequence[Recipient], **fields: Any) -> NewOperation:
        base: dict[str, Any] = {"fcm_credential": None, "apn_credential": None, "message": MESSAGE, "tags": {}}
        base |= {"ttl": None, "app_id": self.app, "app_name": self.app_name, "recipients": recipients}
        return NewOperation(**{**base, **fields})

    async def claim(self, limit: int = 100) -> list[Job]:
        return await Jobs(self.database).claim(limit, limit, LEASE)

    async def claim_one(self) -> Job:
        (job,) = await self.claim()
        return job

    async def make_due(self) -> None:
        """Let all leases expire and all waits be over."""
        await self.fetch("update jobs set due_at = now() - interval '1 second'")

    async def fetch(self, statement: str, *arguments: object) -> list[Any]:
        async with self.database.connection() as connection:
            return list(await connection.fetch(statement, *arguments))

    async def value(self, statement: str, *arguments: object) -> Any:
        async with self.database.connection() as connection:
            return await connection.fetchval(statement, *arguments)

    async def devices(self) -> set[str]:
        return {row["token"] for row in await self.fetch("select token from devices")}

    async def ends(self, operation: UUID) -> dict[int, tuple[Status, Reason]]:
        """How each final recipient ended."""
        rows = await self.fetch("select index, status, reason from notifications where operation_id = $1", operation)
        return {row["index"]: (Status(row["status"]), Reason(row["reason"])) for row in rows}

    async def statuses(self, operation: UUID) -> list[Status]:
        return [status for _, (status, _) in sorted((await self.ends(operation)).items())]

    async def completed(self, operation: UUID) -> bool:
        return bool(await self.value("select status = 3 from operations where operation_id = $1", operation))

    async def audit(self) -> None:
        """I5 and I13: counts, recipients and events tell the same story, and the feed has no hole."""
        for operation in await self.fetch("select * from operations"):
            await self._audit_operation(operation)
        last = await self.value("select last_seq from feeds where account_id = $1", self.account)
        seqs = await self.fetch(
            "select seq from events where account_id = $1 union all select seq from notices where account_id = $1"
            " order by seq",
            self.account,
        )
        assert [row["seq"] for row in seqs] == list(range(1, last + 1))
        columns = ", ".join(f"coalesce(sum({name}), 0)::bigint as {name}" for name in _COUNTED.values())
        (counted,), (totals,) = [
            await self.fetch(f"select {columns} from {table}")  # noqa: S608 - constants
            for table in ("operations", "app_days")
        ]
        assert dict(totals) == dict(counted)

    async def _audit_operation(self, operation: Any) -> None:
        ends = Counter(await self.statuses(operation["operation_id"]))
        counted = _counts(operation)
        assert {status: ends[status] for status in counted} == counted
        done = sum(ends.values())
        over = 4 if counted[Status.CANCELED] else 3
        assert (operation["status"] == over) == (done == operation["recipients"])
        assert operation["status"] in (1, 2, over)
        assert (operation["ended_at"] is not None) == (done == operation["recipients"])
        events = await self.fetch(
            "select * from events where operation_id = $1 order by seq", operation["operation_id"]
        )
        told = [index for event in events for index in event["indexes"]]
        assert sorted(told) == sorted(await self.ends(operation["operation_id"]))
        running: Counter[Status] = Counter()
        for event in events:
            running.update(Status(status) for status in event["statuses"])
            assert {status: running[status] for status in _counts(event)} == _counts(event)


_COUNTED = {
    Status.SENT: "sent",
    Status.FAILED: "failed",
    Status.CANCELED: "canceled",
    Status.UNADDRESSABLE: "unaddressable",
}


def _counts(row: Any) -> dict[Status, int]:
    return {status: row[name] for status, name in _COUNTED.items()}


async def _credential(database: Database, account: UUID, credential_type: CredentialType, **fields: Any) -> UUID:
    store = Credentials(database)
    new = NewCredential(await store.new_id(), credential_type, b"sealed", **fields)
    return (await store.create(account, new)).value


def tokens(count: int, provider: Provider = Provider.FCM) -> list[Recipient]:
    return [Recipient(token=f"t{n}", provider=provider) for n in range(count)]


def users(*ids: UUID) -> list[Recipient]:
    return [Recipient(user_id=user) for user in ids]


def sent(index: int, token: str | None = None, user: UUID | None = None) -> End:
    device = DeviceState(Provider.FCM, token or f"t{index}", Status.SENT, attempts=1, message_id=f"m{index}")
    return End(index, user, Status.SENT, Reason.NONE, [device])


def failed(index: int, reason: Reason = Reason.UNREGISTERED) -> End:
    device = DeviceState(Provider.FCM, f"t{index}", Status.FAILED, reason, attempts=1, code="GONE")
    return End(index, None, Status.FAILED, reason, [device])


def flush_of(ends: Iterable[End] = (), rest: Iterable[int] = (), **fields: Any) -> Flush:
    base: dict[str, Any] = {"begun": [], "dead": [], "keep": False, "wait": timedelta()}
    return Flush(list(ends), list(rest), **{**base, **fields})


def all_sent(job: Job) -> Flush:
    return flush_of(sent(index) for index in job.recipients)


def state(index: int, user: UUID | None, **devices: Status) -> RecipientState:
    """A recipient with devices by token, FCM all; decided and undecided ones were tried once."""
    made = [DeviceState(Provider.FCM, token, status, attempts=1, tries=1) for token, status in devices.items()]
    return RecipientState(index, user, made)


async def eventually(check: Callable[[], Awaitable[T]], seconds: float = 20.0) -> T:
    """Return the first true answer; fail after so many seconds without one."""
    async with asyncio.timeout(seconds):
        while not (answer := await check()):  # noqa: ASYNC110 - the state is another process's
            await asyncio.sleep(0.01)
    return answer
