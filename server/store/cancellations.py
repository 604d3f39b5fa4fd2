"""Canceling operations: marked first, so that no claim calls a provider any more, then ended job by job."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

from server.domain.credentials import SealedCredential
from server.domain.delivery import RecipientState, call_off
from server.domain.errors import Conflict, NotFound
from server.domain.jobs import Flush, Job, by_provider
from server.domain.operations import OperationStatus
from server.domain.pushes import Provider
from server.domain.requests import Done, RequestKey
from server.store import idempotency, transactions
from server.store.database import Connection, Database
from server.store.jobs import credentials_of, job_from, record
from server.store.statements import Statements

_SQL = Statements("cancellations")
_HEAD_START = timedelta(seconds=5)  # before workers help to end what was marked


class Cancellations:
    """Cancels the operations of all accounts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def cancel(self, account: UUID, operation_id: UUID, key: RequestKey | None = None) -> Done[UUID]:
        """Cancel an operation and return its id. What workers hold is ended by them, soon.

        Raises ``NotFound``, and ``Conflict`` for one that is complete or as ``idempotency.respond`` does.
        """
        done = await idempotency.run(
            self._database, account, key, lambda connection: _mark(connection, account, operation_id)
        )
        while await self._end_next(account, operation_id):
            pass
        return done

    async def _end_next(self, account: UUID, operation_id: UUID) -> bool:
        """End one job that nobody holds, with one event as a flush has; return whether there may be more."""

        async def work(connection: Connection) -> bool:
            row = await connection.fetchrow(_SQL.take, account, operation_id)
            if row is None:
                return bool(await connection.fetchval(_SQL.left, account, operation_id))
            job = job_from(row)
            used = by_provider(await credentials_of(connection, job)) if job.begun else {}
            await record(connection, job, _end_of(job, used))
            return True

        return await transactions.run(self._database, work)


async def _mark(connection: Connection, account: UUID, operation_id: UUID) -> UUID:
    await connection.execute(_SQL.lock_jobs, account, operation_id)
    status = await connection.fetchval(_SQL.mark, account, operation_id, _HEAD_START)
    if status is None:
        raise NotFound("there is no such operation")
    if status == OperationStatus.COMPLETED:
        raise Conflict("the operation is complete: there is nothing left to cancel")
    return operation_id


def _end_of(job: Job, used: Mapping[Provider, SealedCredential]) -> Flush:
    fcm, apn = used.get(Provider.FCM), used.get(Provider.APN)
    states = [
        job.begun.get(index) or RecipientState(index, recipient.user_id) for index, recipient in job.recipients.items()
    ]
    ends = [call_off(state, lost=job.lost) for state in states]
    return Flush(
        ends=ends,
        rest=(),
        begun=(),
        dead=(),
        keep=False,
        wait=timedelta(),
        fcm_credential=fcm.credential_id if fcm else None,
        apn_credential=apn.credential_id if apn else None,
    )
