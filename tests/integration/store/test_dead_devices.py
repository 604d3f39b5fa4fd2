"""I10: a device that its provider declares dead is removed once, and never in its next life."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from server.domain.delivery import DeadDevice
from server.domain.jobs import Job
from server.domain.pushes import Provider
from server.store.jobs import Jobs
from server.store.registrations import Registrations
from tests.integration.store.sending import Sending, eventually, flush_of, sent, users


def _dead(token: str, since: datetime, provider: Provider = Provider.FCM) -> DeadDevice:
    return DeadDevice(provider, token, since)


async def _claimed(sending: Sending, count: int = 1) -> Job:
    await sending.accept(count)
    return await sending.claim_one()


async def test_i10_a_dead_device_is_removed_and_its_user_stays(sending: Sending, jobs: Jobs) -> None:
    user = await sending.user("dead", "alive")
    job = await _claimed(sending)
    await jobs.flush(job, flush_of([sent(0)], dead=[_dead("dead", job.claimed_at)]))
    assert await sending.devices() == {"alive"}
    assert await sending.value("select count(*) from device_registrations") == 1
    assert await sending.value("select deleted_at is null from users where user_id = $1", user)


async def test_i10_a_registration_goes_with_its_last_device(sending: Sending, jobs: Jobs) -> None:
    user = await sending.user("a", "b")
    job = await _claimed(sending)
    dead = [_dead("a", job.claimed_at), _dead("b", job.claimed_at)]
    await jobs.flush(job, flush_of([sent(0)], dead=dead))
    assert await sending.devices() == set()
    assert await sending.value("select count(*) from device_registrations") == 0
    assert await sending.value("select count(*) from users where user_id = $1", user) == 1


async def test_i10_a_device_registered_again_after_the_providers_time_stays(sending: Sending, jobs: Jobs) -> None:
    await sending.register("reborn")
    job = await _claimed(sending)
    dead = [_dead("reborn", job.claimed_at - timedelta(days=1)), _dead("other", job.claimed_at)]
    await jobs.flush(job, flush_of([sent(0)], dead=dead))
    assert await sending.devices() == {"reborn"}


async def test_i10_a_device_registered_after_the_claim_stays(sending: Sending, jobs: Jobs) -> None:
    user = await sending.user("a")
    job = await _claimed(sending)
    await sending.register("a", user)
    await jobs.flush(job, flush_of([sent(0)], dead=[_dead("a", job.claimed_at)]))
    assert await sending.devices() == {"a"}


async def test_i10_a_device_registered_again_while_it_is_removed_stays(sending: Sending, jobs: Jobs) -> None:
    await sending.register("a")
    job = await _claimed(sending)
    async with sending.database.transaction() as refreshing:
        await refreshing.execute("update devices set registered_at = clock_timestamp()")
        flushing = asyncio.ensure_future(jobs.flush(job, flush_of([sent(0)], dead=[_dead("a", job.claimed_at)])))
        await _until_waiting(sending, 1)
    await flushing
    assert await sending.devices() == {"a"}
    assert await sending.value("select count(*) from device_registrations") == 1


async def test_i10_the_same_token_of_another_provider_app_or_account_stays(sending: Sending, jobs: Jobs) -> None:
    await sending.register("c0ffee", provider=Provider.APN)
    stranger = await Sending.start(sending.database)
    await stranger.register("c0ffee")
    job = await _claimed(sending)
    await jobs.flush(job, flush_of([sent(0)], dead=[_dead("c0ffee", job.claimed_at)]))
    assert await sending.value("select count(*) from devices") == 2


async def test_i10_a_device_that_dies_twice_is_removed_once(sending: Sending, jobs: Jobs) -> None:
    await sending.register("a")
    job = await _claimed(sending, 2)
    dead = [_dead("a", job.claimed_at), _dead("a", job.claimed_at)]
    await jobs.flush(job, flush_of([sent(0)], rest=[1], dead=dead, keep=True, wait=timedelta(seconds=30)))
    user = await sending.user("a")
    await jobs.flush(job, flush_of([sent(1)], dead=dead))
    assert await sending.value("select user_id from devices where token = 'a'") == user


async def test_i10_a_user_whose_new_device_comes_while_the_last_one_dies_keeps_the_new_one(
    sending: Sending, jobs: Jobs
) -> None:
    user = await sending.user("old")
    job = await _claimed(sending)
    async with sending.database.transaction() as other:
        await other.execute("select from jobs for update")
        flushing = asyncio.ensure_future(jobs.flush(job, flush_of([sent(0)], dead=[_dead("old", job.claimed_at)])))
        await _until_waiting(sending, 1)  # the device is gone, its registration too, and nothing is committed
        joining = asyncio.ensure_future(sending.register("new", user))
        await _until_waiting(sending, 2)
    await flushing
    registration = await Registrations(sending.database).get(sending.account, await joining)
    assert registration is not None
    assert registration.user_id == user
    assert await sending.devices() == {"new"}


async def test_i10_a_user_whose_last_device_dies_while_a_new_one_comes_keeps_the_new_one(
    sending: Sending, jobs: Jobs
) -> None:
    user = await sending.user("old")
    job = await _claimed(sending)
    async with sending.database.transaction() as joining:  # a registration that has not committed yet
        await joining.execute("select from device_registrations for update")
        await joining.execute(
            "insert into devices (account_id, app_id, provider, token_hash, token, registration_id, user_id)"
            " select account_id, app_id, 1, 'new', 'new', registration_id, user_id from device_registrations"
        )
        flushing = asyncio.ensure_future(jobs.flush(job, flush_of([sent(0)], dead=[_dead("old", job.claimed_at)])))
        await _until_waiting(sending, 1)
    await flushing
    assert await sending.devices() == {"new"}
    assert await sending.value("select user_id from device_registrations") == user


async def test_i8_flushes_that_remove_the_same_devices_do_not_fail_each_other(sending: Sending, jobs: Jobs) -> None:
    """Two sends find the same devices dead, each in its own order."""
    tokens = [f"d{n}" for n in range(200)]
    user = await sending.user()
    await sending.fetch(
        "with r as (insert into device_registrations (account_id, app_id, user_id) values ($1, $2, $3) returning *)"
        " insert into devices (account_id, app_id, provider, token_hash, token, registration_id, user_id)"
        " select $1, $2, 1, sha256(t::bytea), t, r.registration_id, $3 from r, unnest($4::text[]) as t",
        sending.account,
        sending.app,
        user,
        tokens,
    )
    for _ in range(2):
        await sending.accept(users(user))
    first, second = await sending.claim()
    dead = [_dead(token, first.claimed_at) for token in tokens]
    await asyncio.gather(
        jobs.flush(first, flush_of([sent(0)], dead=dead)),
        jobs.flush(second, flush_of([sent(0)], dead=list(reversed(dead)))),
    )
    assert await sending.devices() == set()
    await sending.audit()


async def test_i8_a_flush_that_loses_a_deadlock_is_carried_out_after_it(sending: Sending, jobs: Jobs) -> None:
    await sending.register("a")
    job = await _claimed(sending)
    async with sending.database.transaction() as other:
        await other.execute("set local deadlock_timeout = '1min'")  # the flush is the one to give way
        await other.execute("select from jobs for update")
        flushing = asyncio.ensure_future(jobs.flush(job, flush_of([sent(0)], dead=[_dead("a", job.claimed_at)])))
        await _until_waiting(sending, 1)
        await other.execute("select from devices for update")
    await flushing
    assert await sending.devices() == set()
    await sending.audit()


async def _until_waiting(sending: Sending, sessions: int) -> None:
    async def waiting() -> bool:
        return bool(await sending.value("select count(distinct pid) >= $1 from pg_locks where not granted", sessions))

    await eventually(waiting)
