"""What providers say against credentials, as it is kept and told in the feed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import cycle
from uuid import UUID, uuid4

import pytest

from server.domain.apps import CredentialChange, NewContent
from server.domain.credentials import CredentialType
from server.domain.errors import Conflict
from server.domain.health import Health, HealthState
from server.domain.jobs import Holder, LeaseLost
from server.domain.notices import HealthChanged, Notice
from server.store.cancellations import Cancellations
from server.store.credentials import Credentials
from server.store.health import CredentialHealths
from server.store.jobs import Jobs
from server.store.notices import notice_from
from tests.integration.store.sending import Sending, flush_of, sent

_CODE = "InvalidProviderToken"
_OK = Health(HealthState.OK)


@pytest.fixture
def healths(sending: Sending) -> CredentialHealths:
    return CredentialHealths(sending.database)


async def _health(sending: Sending, credential: UUID | None = None) -> Health:
    found = await Credentials(sending.database).get(sending.account, credential or sending.fcm)
    assert found is not None
    return found.health


async def _told(sending: Sending) -> list[Notice]:
    rows = await sending.fetch("select kind, body from notices where account_id = $1 order by seq", sending.account)
    return [notice_from(row["kind"], row["body"]) for row in rows]


async def _states(sending: Sending) -> list[HealthState]:
    return [notice.health.state for notice in await _told(sending) if isinstance(notice, HealthChanged)]


async def _rotate(sending: Sending, not_after: datetime | None = None) -> None:
    change = CredentialChange(None, NewContent(b"rotated", not_after))
    await Credentials(sending.database).update(sending.account, sending.fcm, change)


async def test_nothing_is_said_against_a_new_credential(sending: Sending, healths: CredentialHealths) -> None:
    assert await _health(sending) == _OK
    assert not await healths.well(sending.account, sending.fcm, 1)
    assert await _told(sending) == []


async def test_a_refused_credential_is_rejected_until_it_is_taken_again(
    sending: Sending, healths: CredentialHealths
) -> None:
    before = datetime.now(UTC)
    assert await healths.unwell(sending.account, sending.fcm, 1, _CODE, None)
    health = await _health(sending)
    assert (health.state, health.until, health.reason) == (HealthState.REJECTED, None, _CODE)
    assert health.since is not None
    assert abs(health.since - before) < timedelta(seconds=30)
    assert not await healths.unwell(sending.account, sending.fcm, 1, "another", None)
    assert not await healths.unwell(sending.account, sending.fcm, 1, "429", 60.0)
    assert await _health(sending) == health
    assert await healths.well(sending.account, sending.fcm, 1)
    assert await _health(sending) == _OK
    told = [HealthChanged(sending.fcm, "default", CredentialType.FCM, each) for each in (health, _OK)]
    assert await _told(sending) == told
    await sending.audit()


async def test_a_throttle_that_goes_on_is_told_once(sending: Sending, healths: CredentialHealths) -> None:
    assert await healths.unwell(sending.account, sending.fcm, 1, "429", 60.0)
    first = await _health(sending)
    assert not await healths.unwell(sending.account, sending.fcm, 1, "429", 600.0)
    second = await _health(sending)
    assert not await healths.unwell(sending.account, sending.fcm, 1, "429", 10.0)
    assert (second, second.state) == (await _health(sending), HealthState.THROTTLED)
    assert first.since == second.since
    assert first.until is not None
    assert second.until is not None
    assert second.until - first.until > timedelta(seconds=500)
    assert await _states(sending) == [HealthState.THROTTLED]


async def test_a_throttle_ends_with_its_time_and_the_next_is_news(sending: Sending, healths: CredentialHealths) -> None:
    await healths.unwell(sending.account, sending.fcm, 1, "429", 60.0)
    await sending.fetch("update credential_health set until = now() - interval '1 second'")
    assert await _health(sending) == _OK
    assert await healths.unwell(sending.account, sending.fcm, 1, "429", 60.0)
    assert (await _health(sending)).state is HealthState.THROTTLED
    assert await healths.unwell(sending.account, sending.fcm, 1, _CODE, None)
    assert await _states(sending) == [HealthState.THROTTLED, HealthState.THROTTLED, HealthState.REJECTED]


async def test_new_content_begins_anew_and_what_was_said_of_the_old_is_void(
    sending: Sending, healths: CredentialHealths
) -> None:
    await healths.unwell(sending.account, sending.fcm, 1, _CODE, None)
    await _rotate(sending)
    assert await _health(sending) == _OK
    assert not await healths.unwell(sending.account, sending.fcm, 1, _CODE, None)
    assert await _health(sending) == _OK
    assert await healths.unwell(sending.account, sending.fcm, 2, _CODE, None)
    assert not await healths.well(sending.account, sending.fcm, 1)
    assert (await _health(sending)).state is HealthState.REJECTED
    assert await _states(sending) == [HealthState.REJECTED, HealthState.OK, HealthState.REJECTED]


async def test_new_content_of_a_credential_that_was_well_is_no_news(sending: Sending) -> None:
    await _rotate(sending)
    assert await _told(sending) == []


async def test_a_certificate_near_its_end_is_told_when_nothing_worse_is_left(
    sending: Sending, healths: CredentialHealths
) -> None:
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(days=10)
    await _rotate(sending, ends)
    expiring = Health(HealthState.EXPIRING, ends - timedelta(days=30), ends)
    assert await _health(sending) == expiring
    await healths.unwell(sending.account, sending.fcm, 2, _CODE, None)
    await healths.well(sending.account, sending.fcm, 2)
    assert await _states(sending) == [HealthState.REJECTED, HealthState.EXPIRING]


async def test_a_deleted_credential_is_not_told_of(sending: Sending, healths: CredentialHealths) -> None:
    await healths.unwell(sending.account, sending.fcm, 1, _CODE, None)
    await sending.credential(CredentialType.FCM)
    await Credentials(sending.database).delete(sending.account, sending.fcm)
    for credential in (sending.fcm, uuid4()):
        assert not await healths.unwell(sending.account, credential, 1, _CODE, None)
        assert not await healths.well(sending.account, credential, 1)
    assert await _states(sending) == [HealthState.REJECTED]


async def test_reports_at_once_are_one_piece_of_news(sending: Sending, healths: CredentialHealths) -> None:
    reports = [healths.unwell(sending.account, sending.fcm, 1, _CODE, None) for _ in range(20)]
    assert sum(await asyncio.gather(*reports)) == 1
    assert await _states(sending) == [HealthState.REJECTED]


async def test_reports_rotations_claims_flushes_and_cancels_at_once_never_block_each_other(
    sending: Sending, healths: CredentialHealths
) -> None:
    """No deadlock is seen, though everything goes on at once; and the feed has no hole."""
    operations = [await sending.accept(2) for _ in range(100)]
    seconds = cycle((None, 9.0))
    await healths.unwell(sending.account, sending.fcm, 1, _CODE, None)

    async def version() -> int:
        return int(await sending.value("select version from credentials where credential_id = $1", sending.fcm))

    async def hold() -> None:
        jobs = Jobs(sending.database)
        for job in await jobs.claim(10, 10, timedelta(seconds=30)):
            holder = Holder(sending.fcm, await version())
            first, *rest = job.recipients
            with contextlib.suppress(LeaseLost):
                await jobs.flush(job, flush_of([sent(first)], rest=rest, held_by=holder))

    async def report() -> None:
        await healths.unwell(sending.account, sending.fcm, await version(), _CODE, next(seconds))
        await healths.well(sending.account, sending.fcm, await version())

    async def cancel() -> None:
        with contextlib.suppress(Conflict):
            await Cancellations(sending.database).cancel(sending.account, operations.pop(0))

    kinds: list[Callable[[], Awaitable[None]]] = [hold, hold, report, cancel, lambda: _rotate(sending)]

    async def repeat(work: Callable[[], Awaitable[None]]) -> None:
        for _ in range(25):
            await work()

    async with asyncio.timeout(60):
        await asyncio.gather(*(repeat(work) for work in kinds * 2))
    await sending.fetch("select pg_stat_force_next_flush()")
    assert await sending.value("select deadlocks from pg_stat_database where datname = current_database()") == 0
    assert await version() == 51
    assert (await _states(sending))[:2] == [HealthState.REJECTED, HealthState.OK]
    await sending.audit()
