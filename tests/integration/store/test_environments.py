"""Where an Apple device belongs: kept with the device, until it registers again."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from server.domain.credentials import CredentialType
from server.domain.delivery import DeadDevice, LearnedEnvironment
from server.domain.devices import Device, Environment, NewDevice
from server.domain.feed import FeedEvent, FeedNotice
from server.domain.jobs import Expansion, Job, LeaseLost, UserDevice
from server.domain.notices import RemovalsStopped
from server.domain.pushes import Provider
from server.store.feed import Feed
from server.store.jobs import Jobs
from server.store.registrations import Registrations
from tests.integration.store.sending import Sending, eventually, flush_of, sent, users

_APN, _SANDBOX = CredentialType.APN, CredentialType.APN_SANDBOX
_DEVELOPMENT = Environment.DEVELOPMENT


async def _claimed(sending: Sending) -> Job:
    await sending.accept(1)
    return await sending.claim_one()


async def _learn(jobs: Jobs, job: Job, *tokens: str, environment: Environment = _DEVELOPMENT) -> None:
    await jobs.flush(job, flush_of([sent(0)], learned=[LearnedEnvironment(token, environment) for token in tokens]))


async def _environments(sending: Sending) -> dict[str, int | None]:
    rows = await sending.fetch("select token, environment from devices")
    return {row["token"]: row["environment"] for row in rows}


async def test_what_a_push_taught_is_there_at_the_next_expansion(sending: Sending, jobs: Jobs) -> None:
    user = await sending.user("a0", "a1", provider=Provider.APN)
    await _learn(jobs, await _claimed(sending), "a0")
    await sending.accept(users(user))
    job = await sending.claim_one()
    found = await jobs.expand(sending.account, sending.app, job.recipients)
    devices = [UserDevice(Provider.APN, "a0", _DEVELOPMENT), UserDevice(Provider.APN, "a1")]
    assert found == {0: Expansion(known=True, deleted=False, devices=devices)}


async def test_a_later_push_corrects_it(sending: Sending, jobs: Jobs) -> None:
    await sending.register("a0", provider=Provider.APN)
    await _learn(jobs, await _claimed(sending), "a0")
    await _learn(jobs, await _claimed(sending), "a0", environment=Environment.PRODUCTION)
    assert await _environments(sending) == {"a0": 1}


async def test_the_same_token_of_another_provider_or_account_learns_nothing(sending: Sending, jobs: Jobs) -> None:
    await sending.register("a0")
    await (await Sending.start(sending.database)).register("a0", provider=Provider.APN)
    await _learn(jobs, await _claimed(sending), "a0")
    rows = await sending.fetch("select environment from devices")
    assert [row["environment"] for row in rows] == [None, None]


async def test_a_device_registered_since_the_claim_learns_nothing(sending: Sending, jobs: Jobs) -> None:
    user = await sending.user("a0", provider=Provider.APN)
    job = await _claimed(sending)
    await sending.register("a0", user, Provider.APN)
    await _learn(jobs, job, "a0")
    assert await _environments(sending) == {"a0": None}


async def test_a_device_registered_while_its_lesson_is_written_learns_nothing(sending: Sending, jobs: Jobs) -> None:
    await sending.register("a0", provider=Provider.APN)
    job = await _claimed(sending)
    async with sending.database.transaction() as refreshing:
        await refreshing.execute("update devices set registered_at = clock_timestamp(), environment = null")
        flushing = asyncio.ensure_future(_learn(jobs, job, "a0"))
        await eventually(lambda: sending.value("select exists (select from pg_locks where not granted)"))
    await flushing
    assert await _environments(sending) == {"a0": None}


async def _same_user(sending: Sending, user: UUID) -> None:
    await sending.register("a0", user, Provider.APN)


async def _another_user(sending: Sending, user: UUID) -> None:  # noqa: ARG001  # as the others
    await sending.register("a0", await sending.user(), Provider.APN)


async def _batch_of_the_same(sending: Sending, user: UUID) -> None:
    await Registrations(sending.database).register_batch(sending.account, [_new(user)])


async def _batch_of_another(sending: Sending, user: UUID) -> None:  # noqa: ARG001  # as the others
    await Registrations(sending.database).register_batch(sending.account, [_new(await sending.user())])


def _new(user: UUID) -> NewDevice:
    return NewDevice(Device(Provider.APN, "a0"), user_id=user)


@pytest.mark.parametrize("register", [_same_user, _another_user, _batch_of_the_same, _batch_of_another])
async def test_a_registration_opens_the_question_anew(sending: Sending, jobs: Jobs, register: object) -> None:
    user = await sending.user("a0", "a1", provider=Provider.APN)
    await _learn(jobs, await _claimed(sending), "a0", "a1")
    await register(sending, user)  # type: ignore[operator]  # one of those above
    assert await _environments(sending) == {"a0": None, "a1": 2}


async def test_i8_flushes_that_learn_and_remove_the_same_devices_do_not_fail_each_other(
    sending: Sending, jobs: Jobs
) -> None:
    tokens = [f"{n:04x}" for n in range(200)]
    user = await sending.user()
    await sending.fetch(
        "with r as (insert into device_registrations (account_id, app_id, user_id) values ($1, $2, $3) returning *)"
        " insert into devices (account_id, app_id, provider, token_hash, token, registration_id, user_id)"
        " select $1, $2, 2, sha256(t::bytea), t, r.registration_id, $3 from r, unnest($4::text[]) as t",
        *(sending.account, sending.app, user, tokens),
    )
    for _ in range(2):
        await sending.accept(1)
    first, second = await sending.claim()
    dead = [DeadDevice(Provider.APN, token, first.claimed_at) for token in tokens[:100]]
    learned = [LearnedEnvironment(token, _DEVELOPMENT) for token in reversed(tokens)]
    await asyncio.gather(
        jobs.flush(first, flush_of([sent(0)], dead=dead, learned=learned[:100])),
        jobs.flush(second, flush_of([sent(0)], dead=list(reversed(dead)), learned=learned[:100])),
    )
    assert await _environments(sending) == dict.fromkeys(tokens[100:], 2)
    await sending.audit()


async def _used(sending: Sending, jobs: Jobs, **named: UUID) -> set[UUID]:
    await sending.accept(1, **named)
    return {credential.credential_id for credential in await jobs.credentials(await sending.claim_one())}


async def test_a_named_production_credential_has_the_apps_sandbox_default_beside_it(
    sending: Sending, jobs: Jobs
) -> None:
    await sending.credential(_APN)
    named = await sending.credential(_APN)
    sandbox = await sending.credential(_SANDBOX)
    await sending.credential(_SANDBOX, is_default=False)
    await sending.credential(_SANDBOX, app_name="other")
    assert await _used(sending, jobs, apn_credential=named) == {sending.fcm, named, sandbox}


async def test_i9_a_named_production_credential_that_was_deleted_leaves_none_for_apple(
    sending: Sending, jobs: Jobs
) -> None:
    named = await sending.credential(_APN)
    await sending.credential(_SANDBOX)
    await sending.accept(1, apn_credential=named)
    await sending.delete_credential(named)
    assert [each.credential_id for each in await jobs.credentials(await sending.claim_one())] == [sending.fcm]


async def test_a_stop_of_removals_stands_in_the_feed_behind_what_it_came_with(sending: Sending, jobs: Jobs) -> None:
    operation = await sending.accept(1)
    job = await sending.claim_one()
    stop = RemovalsStopped(operation, sending.fcm, "UNREGISTERED", 250)
    await jobs.flush(job, flush_of([sent(0)], notices=[stop]))
    *_, event, notice = await Feed(sending.database).read(sending.account, 0)
    assert isinstance(event, FeedEvent)
    assert isinstance(notice, FeedNotice)
    assert (notice.seq, notice.notice) == (event.seq + 1, stop)
    await sending.audit()


async def test_i6_a_flush_without_its_lease_tells_nothing_and_teaches_nothing(sending: Sending, jobs: Jobs) -> None:
    await sending.register("a0", provider=Provider.APN)
    operation = await sending.accept(1)
    job = await sending.claim_one()
    await sending.make_due()
    await sending.claim()
    stop = RemovalsStopped(operation, sending.fcm, "UNREGISTERED", 250)
    with pytest.raises(LeaseLost):
        await jobs.flush(job, flush_of([sent(0)], notices=[stop], learned=[LearnedEnvironment("a0", _DEVELOPMENT)]))
    assert await _environments(sending) == {"a0": None}
    assert await sending.value("select count(*) from notices") == 0
