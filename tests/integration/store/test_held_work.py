"""Work that waits for a refused credential: until its time, or until something about the credential changes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from server.domain.apps import CredentialChange, NewContent
from server.domain.credentials import CredentialType
from server.domain.jobs import Holder, Job
from server.store.credentials import Credentials
from server.store.health import CredentialHealths
from server.store.jobs import Jobs
from tests.integration.store.sending import Sending, flush_of

_LONG = timedelta(hours=1)
_NEW_CONTENT = CredentialChange(None, NewContent(b"rotated", None))
_NEW_DEFAULT = CredentialChange(is_default=True, content=None)

Change = Callable[[Sending], Awaitable[object]]


async def _rotate(sending: Sending, credential: UUID | None = None) -> None:
    await Credentials(sending.database).update(sending.account, credential or sending.fcm, _NEW_CONTENT)


async def _hold(sending: Sending, job: Job, credential: UUID, version: int = 1, **fields: Any) -> None:
    held = flush_of(rest=[*job.recipients], wait=_LONG, held_by=Holder(credential, version), **fields)
    await Jobs(sending.database).flush(job, held)


async def _held(sending: Sending) -> Job:
    """A send's only job, held by the default credential."""
    await sending.accept(3)
    job = await sending.claim_one()
    await _hold(sending, job, sending.fcm)
    assert await sending.claim() == []
    return job


async def _take_over(sending: Sending) -> None:
    spare = await sending.credential(CredentialType.FCM)
    await Credentials(sending.database).update(sending.account, spare, _NEW_DEFAULT)


async def _upload_default(sending: Sending) -> None:
    await sending.credential(CredentialType.FCM, is_default=True)


async def _delete_default(sending: Sending) -> None:
    await sending.credential(CredentialType.FCM)
    await Credentials(sending.database).delete(sending.account, sending.fcm)


async def _delete_last(sending: Sending) -> None:
    await Credentials(sending.database).delete(sending.account, sending.fcm)


@pytest.mark.parametrize("change", [_rotate, _take_over, _upload_default, _delete_default, _delete_last])
async def test_what_a_credential_holds_is_due_at_once_when_it_changes(sending: Sending, change: Change) -> None:
    job = await _held(sending)
    await change(sending)
    (again,) = await sending.claim()
    assert (again.lease.job_id, set(again.recipients), again.picks) == (job.lease.job_id, {0, 1, 2}, 1)
    assert again.small == job.small
    assert await sending.value("select held_by is null from jobs")


async def test_what_a_credential_holds_is_due_at_once_when_its_provider_takes_it_again(sending: Sending) -> None:
    healths = CredentialHealths(sending.database)
    await healths.unwell(sending.account, sending.fcm, 1, "invalid_grant", None)
    job = await _held(sending)
    assert await healths.well(sending.account, sending.fcm, 1)
    assert (await sending.claim_one()).lease.job_id == job.lease.job_id


async def test_a_change_of_another_credential_lets_nothing_go(sending: Sending) -> None:
    await _held(sending)
    spare = await sending.credential(CredentialType.FCM)
    other = await Sending.start(sending.database)
    await _rotate(sending, spare)
    await _rotate(other)
    await Credentials(sending.database).delete(sending.account, spare)
    assert await sending.claim() == []


async def test_work_that_waits_for_a_time_is_not_let_go(sending: Sending) -> None:
    await sending.accept(1)
    job = await sending.claim_one()
    await Jobs(sending.database).flush(job, flush_of(rest=[0], wait=_LONG))
    await _rotate(sending)
    assert await sending.claim() == []


async def test_what_is_let_go_once_waits_for_its_time_the_next_time(sending: Sending, jobs: Jobs) -> None:
    await _held(sending)
    await _rotate(sending)
    (job,) = await sending.claim()
    await jobs.flush(job, flush_of(rest=[0, 1, 2], wait=_LONG))
    await _rotate(sending)
    assert await sending.claim() == []


async def test_who_has_held_work_goes_on(sending: Sending, jobs: Jobs) -> None:
    await _held(sending)
    await sending.make_due()
    (job,) = await sending.claim()
    await _rotate(sending)
    assert await sending.claim() == []
    await jobs.flush(job, flush_of(rest=[0, 1, 2], wait=_LONG))  # the lease is still its own


@pytest.mark.parametrize("change", [_rotate, _take_over, _delete_default])
async def test_work_of_a_credential_that_changed_meanwhile_is_not_held(sending: Sending, change: Change) -> None:
    await sending.accept(3)
    job = await sending.claim_one()
    await change(sending)
    await _hold(sending, job, sending.fcm)
    assert [again.lease.job_id for again in await sending.claim()] == [job.lease.job_id]


async def test_a_credential_that_a_send_named_holds_it_though_it_is_not_the_default(sending: Sending) -> None:
    spare = await sending.credential(CredentialType.FCM)
    await sending.accept(1, fcm_credential=spare)
    await _hold(sending, await sending.claim_one(), spare)
    assert await sending.claim() == []
    await _rotate(sending, spare)
    assert len(await sending.claim()) == 1


async def test_a_change_and_the_flushes_at_the_same_time_leave_nothing_held(sending: Sending) -> None:
    for _ in range(30):
        await sending.accept(1)
    claimed = await sending.claim()
    await asyncio.gather(*(_hold(sending, job, sending.fcm) for job in claimed[:15]))
    await asyncio.gather(_rotate(sending), *(_hold(sending, job, sending.fcm) for job in claimed[15:]))
    assert len(await sending.claim()) == 30
