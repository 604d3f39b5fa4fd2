"""The queue of batches, and the flush that records what became of their recipients.

Claim, flush and split are fenced by the lease: a worker that lost it changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import asyncpg
import msgspec
import structlog

from server.domain.credentials import SealedCredential
from server.domain.delivery import DeviceState, End, RecipientState
from server.domain.devices import Environment
from server.domain.jobs import MOST_PICKS, Expansion, Flush, Flushed, Holder, Job, Lease, LeaseLost, UserDevice
from server.domain.notices import RemovedDevice
from server.domain.operations import OperationStatus, Recipient, Status
from server.domain.pushes import Provider
from server.domain.reasons import Reason
from server.store import transactions
from server.store.database import Connection, Database
from server.store.notices import write_devices_removed, write_removals_stopped
from server.store.numbers import CREDENTIAL_TYPE_OF, PROVIDER_OF, PROVIDERS
from server.store.operations import decode_message
from server.store.statements import Statements
from server.store.tokens import token_hash

log = structlog.get_logger(__name__)

_SQL = Statements("jobs")
_encode_progress = msgspec.msgpack.Encoder().encode
_decode_progress = msgspec.msgpack.Decoder(list[RecipientState]).decode
_encode_devices = msgspec.json.Encoder().encode
_decode_devices = msgspec.json.Decoder(
    list[tuple[int, str | None, Status, Reason, int, str | None, str | None]]  # as _device writes them
).decode

_SMALL = 0  # the lane of small sends
_FIRST_TURN = UUID(int=0)


class Jobs:
    """What workers take from the queue and give back to it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._small_turn = self._bulk_turn = _FIRST_TURN  # the account that was last in its turn

    async def claim(self, small: int, bulk: int, lease: timedelta) -> list[Job]:
        """Take up to ``small`` jobs of small sends and ``bulk`` of others that are due. Accounts take turns."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL.claim, small, bulk, lease, self._small_turn, self._bulk_turn)
        looked = rows[0]
        claimed = [row for row in rows if row["job_id"] is not None]
        small_rows = [row for row in claimed if row["lane"] == _SMALL]
        bulk_rows = [row for row in claimed if row["lane"] != _SMALL]
        self._small_turn = _turn_behind(self._small_turn, small_rows, small, looked["small_end"])
        self._bulk_turn = _turn_behind(self._bulk_turn, bulk_rows, bulk, looked["bulk_end"])
        return [job for row in claimed if (job := _readable(row))]

    async def credentials(self, job: Job) -> list[SealedCredential]:
        """Return the credentials that the job's send uses now."""
        async with self._database.connection() as connection:
            return await credentials_of(connection, job)

    async def expand(self, account: UUID, app: UUID, recipients: Mapping[int, Recipient]) -> dict[int, Expansion]:
        """Return the users among the recipients with their devices under the app, by recipient index: one query."""
        users = {index: recipient.user_id for index, recipient in recipients.items() if recipient.user_id}
        if not users:
            return {}
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL.expand, account, app, list(users), list(users.values()))
        return _expansions(rows)

    async def flush(self, job: Job, flush: Flush) -> Flushed:
        """Record in one transaction and return what it came to.

        Raises ``LeaseLost`` and ``Unavailable``: then nothing was recorded, except that a commit whose answer got lost
        counts once however often the flush is repeated.
        """
        if not (flush.dead or flush.learned or flush.notices or flush.held_by):
            return await transactions.run_statement(self._database, lambda connection: record(connection, job, flush))

        async def work(connection: Connection) -> Flushed:
            holder_changed = flush.held_by is not None and not await _lock_holder(connection, job, flush.held_by)
            removed = await _judge_devices(connection, job, flush)
            released = replace(flush, held_by=None, wait=timedelta()) if holder_changed else flush
            flushed = await record(connection, job, released)
            for notice in flush.notices:
                await write_removals_stopped(connection, job.lease.account_id, notice)
            if removed:
                await write_devices_removed(connection, job.lease.account_id, job.operation_id, removed)
            return flushed

        return await transactions.run(self._database, work)

    async def extend(self, leases: Sequence[Lease], lease: timedelta) -> set[UUID]:
        """Keep the leases for another while; return those that are still held."""
        columns = [(held.account_id, held.job_id, held.lease) for held in leases]
        accounts, jobs, held = (list(column) for column in zip(*columns, strict=True))
        rows = await transactions.run_statement(
            self._database, lambda connection: connection.fetch(_SQL.extend, accounts, jobs, held, lease)
        )
        return {row["lease"] for row in rows}

    async def give_back(self, job: Job) -> None:
        """Return a job at once, as if it had not been claimed."""
        lease = job.lease
        await transactions.run_statement(
            self._database,
            lambda connection: connection.execute(
                _SQL.give_back, lease.account_id, lease.job_id, lease.lease, job.lost
            ),
        )

    async def split(self, job: Job) -> None:
        """Replace the job by two with half of its recipients each, which get one more try before they are split too.

        A recipient that is alone then gets as many as any job: what killed its batch may have been another one.
        """
        indexes = sorted(job.recipients)
        middle = len(indexes) // 2
        lease, halves = job.lease, (indexes[:middle], indexes[middle:])
        await transactions.run_statement(
            self._database,
            lambda connection: connection.execute(
                _SQL.split, lease.account_id, lease.job_id, lease.lease, *halves, MOST_PICKS - 1
            ),
        )


def _turn_behind(turn: UUID, rows: Sequence[asyncpg.Record], asked: int, end: UUID | None) -> UUID:
    """Return behind which account the next claim goes on: from the beginning when this one came to the end.

    ``end`` is the last account that the claim looked at, where there may be more behind it.
    """
    if asked == 0:
        return turn
    in_turn = [row["account_id"] for row in rows if row["in_turn"]]
    return max(in_turn) if len(in_turn) >= asked else end or _FIRST_TURN


def _readable(row: asyncpg.Record) -> Job | None:
    """Return a claimed job; one that another version wrote and this one can't read is left to its lease."""
    try:
        return job_from(row)
    except (msgspec.MsgspecError, ValueError):
        log.exception("job can't be read", job_id=str(row["job_id"]))
        return None


async def credentials_of(connection: Connection, job: Job) -> list[SealedCredential]:
    """Return the credentials that the job's send uses now."""
    account = job.lease.account_id
    rows = await connection.fetch(_SQL.credentials, account, job.app_id, job.fcm_credential, job.apn_credential)
    return [
        SealedCredential(
            str(account),
            row["credential_id"],
            row["version"],
            CREDENTIAL_TYPE_OF[row["credential_type"]],
            row["sealed"],
        )
        for row in rows
    ]


async def record(connection: Connection, job: Job, flush: Flush) -> Flushed:
    """Flush in the caller's transaction; what is dead apart."""
    ends = flush.ends
    row = await connection.fetchrow(
        _SQL.flush,
        job.lease.account_id,
        job.lease.job_id,
        job.lease.lease,
        job.operation_id,
        [end.index for end in ends],
        [end.status for end in ends],
        [end.reason for end in ends],
        [end.user_id for end in ends],
        [_tried(end) for end in ends],
        [_devices(end) for end in ends],
        flush.fcm_credential,
        flush.apn_credential,
        not flush.rest,
        flush.wait,
        list(flush.rest),
        _encode_progress(flush.begun) if flush.begun else None,
        flush.keep,
        job.lost,
        flush.held_by.credential_id if flush.held_by else None,
    )
    if not row["held"]:
        raise LeaseLost
    status = row["operation_status"]
    return Flushed(None if status is None else OperationStatus(status), row["canceled"])


async def release(connection: Connection, account: UUID, credentials: Sequence[UUID]) -> None:
    """Make the work that waits for one of the credentials due at once, in the caller's transaction.

    Before this the transaction may lock credentials and devices; behind it operations and feeds, as flushes do.
    """
    await connection.execute(_SQL.release, account, credentials)


async def _lock_holder(connection: Connection, job: Job, holder: Holder) -> bool:
    """Keep a refused credential as it is until the commit; False: the job's send has something else to use now."""
    named = [credential for credential in (job.fcm_credential, job.apn_credential) if credential]
    return bool(await connection.fetchval(_SQL.lock_holder, job.lease.account_id, *holder, named))


async def _judge_devices(connection: Connection, job: Job, flush: Flush) -> list[RemovedDevice]:
    account = job.lease.account_id
    dead = [(PROVIDERS[each.provider], token_hash(each.token), each.dead_since, None) for each in flush.dead]
    apn = PROVIDERS[Provider.APN]
    learned = [(apn, token_hash(each.token), job.claimed_at, each.environment) for each in flush.learned]
    if not dead and not learned:
        return []
    columns = (list(column) for column in zip(*dead, *learned, strict=True))
    rows = await connection.fetch(_SQL.judge_devices, account, job.app_id, *columns)
    registrations = list({row["registration_id"] for row in rows})
    if registrations:
        await connection.execute(_SQL.lock_registrations, account, registrations)
        await connection.execute(_SQL.remove_empty_registrations, account, registrations)
    return [RemovedDevice(row["user_id"], PROVIDER_OF[row["provider"]], row["token"]) for row in rows]


def job_from(row: asyncpg.Record) -> Job:
    """Return the job in a row of ``claim``."""
    recipients = _recipients(row)
    begun = _decode_progress(row["progress"]) if row["progress"] else []
    return Job(
        lease=Lease(row["account_id"], row["job_id"], row["lease"]),
        operation_id=row["operation_id"],
        app_id=row["app_id"],
        fcm_credential=row["fcm_credential"],
        apn_credential=row["apn_credential"],
        message=decode_message(row["message"]),
        ttl=row["ttl"],
        due_at=row["operation_due_at"],
        deadline=row["deadline"],
        claimed_at=row["claimed_at"],
        picks=row["picks"],
        small=row["lane"] == _SMALL,
        recipients=recipients,
        begun={state.index: state for state in begun if state.index in recipients},
        canceled=row["called_off"],
        lost=row["lost"],
    )


def _recipients(row: asyncpg.Record) -> Mapping[int, Recipient]:
    first = row["first_index"]
    indexes: Iterable[int] = row["indexes"] if row["indexes"] is not None else range(first, first + len(row["tokens"]))
    users, tokens, providers, variables = row["user_ids"], row["tokens"], row["providers"], row["variables"]
    return {
        index: Recipient(
            users[index - first],
            tokens[index - first],
            PROVIDER_OF.get(providers[index - first]),
            variables[index - first],
        )
        for index in indexes
    }


def _expansions(rows: Sequence[asyncpg.Record]) -> dict[int, Expansion]:
    found: dict[int, Expansion] = {}
    devices: dict[int, list[UserDevice]] = {}
    for row in rows:
        index = row["index"]
        if index not in found:
            devices[index] = []
            found[index] = Expansion(row["known"], row["deleted"], devices[index])
        if row["token"] is not None:
            environment = None if row["environment"] is None else Environment(row["environment"])
            devices[index].append(UserDevice(PROVIDER_OF[row["provider"]], row["token"], environment))
    return found


def _tried(end: End) -> int:
    bits = 0
    for device in end.devices:
        bits |= PROVIDERS[device.provider]
    return bits


def _devices(end: End) -> str:
    own = end.user_id is None  # the recipient is its token: not written twice
    return _encode_devices([_device(device, own=own) for device in end.devices]).decode()


def _device(device: DeviceState, *, own: bool) -> tuple[object, ...]:
    return (
        PROVIDERS[device.provider],
        None if own else device.token,
        device.status,
        device.reason,
        device.attempts,
        device.message_id,
        device.code,
    )


def devices_tried(progress: bytes | None, index: int) -> tuple[DeviceState, ...]:
    """Return what a job's progress has of a recipient that is not final yet: the devices tried so far."""
    begun = _decode_progress(progress) if progress else []
    devices = (device for state in begun if state.index == index for device in state.devices)
    return tuple(device for device in devices if device.begun)


def devices_from(text: str | None, own_token: str | None) -> list[DeviceState]:
    """Return the devices in ``notifications.devices``; those without a token have the recipient's."""
    if not text:
        return []
    return [
        DeviceState(
            PROVIDER_OF[provider],
            token or own_token or "",
            status,
            reason,
            attempts,
            message_id=message_id,
            code=code,
        )
        for provider, token, status, reason, attempts, message_id, code in _decode_devices(text)
    ]
