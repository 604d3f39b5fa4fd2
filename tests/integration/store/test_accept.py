"""An accepted send is there as a whole or not at all."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from server.domain.errors import Conflict
from server.domain.ids import notification_uuid, split_notification
from server.domain.operations import Recipient
from server.domain.pushes import Provider
from server.domain.requests import RequestKey
from server.store.operations import Operations
from tests.integration.store.sending import Sending, eventually, tokens

_WRITTEN = ("operations", "batches", "jobs", "events", "idempotency_keys", "notifications")


async def _rows(sending: Sending) -> dict[str, int]:
    return {table: await sending.value(f"select count(*) from {table}") for table in _WRITTEN}  # noqa: S608 - constants


def _key(fingerprint: bytes = b"f") -> RequestKey:
    return RequestKey("send", "key", fingerprint)


async def test_a_send_has_its_recipients_in_batches_each_with_its_job(sending: Sending) -> None:
    operation = await sending.accept(1_201)
    written = await _rows(sending)
    assert written == {**dict.fromkeys(_WRITTEN, 0), "operations": 1, "batches": 3, "jobs": 3, "events": 1}
    jobs = await sending.claim()
    assert sorted(index for job in jobs for index in job.recipients) == list(range(1_201))
    assert {job.operation_id for job in jobs} == {operation}


async def test_recipients_come_back_as_they_were_sent(sending: Sending) -> None:
    user = await sending.user()
    to = [
        Recipient(user_id=user, variables='{"name":"Ada"}'),
        Recipient(token="é" * 4096, provider=Provider.FCM),
        Recipient(token="c0ffee", provider=Provider.APN, variables="{}"),
    ]
    await sending.accept(to, ttl=60)
    job = await sending.claim_one()
    assert dict(job.recipients) == dict(enumerate(to))
    assert job.ttl == 60
    assert job.deadline - job.due_at == timedelta(seconds=60)


async def test_i19_ids_made_within_one_millisecond_are_in_the_order_in_which_they_were_made(sending: Sending) -> None:
    async with sending.database.connection() as connection:
        await connection.execute("create temp table made (n serial, a uuid, b uuid)")
        await connection.execute(
            "do $$ begin for i in 1..2000 loop"
            " insert into made (a, b) values (new_id(), new_operation_id());"
            " end loop; end $$"
        )
        made = await connection.fetch("select a, b from made order by n")
    for column in ("a", "b"):
        ids = [row[column] for row in made]
        assert ids == sorted(ids)
        assert len({each.int >> 80 for each in ids}) < len(ids) / 2  # else no two were of the same millisecond


async def test_i3_a_send_whose_last_statement_fails_leaves_nothing(sending: Sending) -> None:
    today = f"batches_{datetime.now(UTC):%Y%m%d}"
    await sending.fetch(f"drop table {today}")
    with pytest.raises(asyncpg.CheckViolationError):
        await sending.accept(3, _key())
    assert not any((await _rows(sending)).values())


async def test_i3_a_caller_who_goes_away_in_the_middle_leaves_nothing(sending: Sending) -> None:
    async with sending.database.transaction() as other:
        await other.execute("select from feeds where account_id = $1 for update", sending.account)
        accepting = asyncio.ensure_future(sending.accept(3, _key()))  # stops at its last statement, the event
        await eventually(lambda: sending.value("select count(*) from pg_locks where not granted"))
        accepting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await accepting
    await eventually(lambda: sending.value("select not exists (select from pg_locks where not granted)"))
    assert not any((await _rows(sending)).values())


async def test_i2_20_equal_requests_at_once_are_one_send(sending: Sending) -> None:
    made = await asyncio.gather(*(sending.accept(3, _key()) for _ in range(20)))
    assert len(set(made)) == 1
    assert (await _rows(sending))["operations"] == 1
    assert (await _rows(sending))["events"] == 1


async def test_i2_the_answer_says_that_it_is_an_earlier_one(sending: Sending) -> None:
    operations, new = Operations(sending.database), sending.new(tokens(1))
    first = await operations.accept(sending.account, new, _key())
    again = await operations.accept(sending.account, new, _key())
    assert (first.replayed, again.replayed) == (False, True)
    assert again.value == first.value


async def test_i2_a_key_used_for_another_request_is_a_conflict(sending: Sending) -> None:
    await sending.accept(1, _key(b"one"))
    with pytest.raises(Conflict):
        await sending.accept(1, _key(b"other"))
    assert (await _rows(sending))["operations"] == 1


async def test_i16_an_operations_id_is_a_uuid7_by_the_databases_clock_with_14_zero_bits(sending: Sending) -> None:
    before = await sending.value("select clock_timestamp()")
    made = [await sending.accept(1) for _ in range(20)]
    after = await sending.value("select clock_timestamp()")
    for operation in made:
        assert (operation.version, operation.variant) == (7, "specified in RFC 4122")
        at = datetime.fromtimestamp((operation.int >> 80) / 1000, UTC)
        assert before - timedelta(milliseconds=1) <= at <= after + timedelta(milliseconds=1)
        assert operation.int & 0x3FFF == 0
    assert len(set(made)) == 20
    assert len({(operation.int >> 14) & 3 for operation in made}) > 1  # bits 14 and 15 are random, not zero too


async def test_a_notifications_id_leads_back_to_its_recipient(sending: Sending) -> None:
    operation = await sending.accept(1)
    for index in (0, 1, 499, 9_999):
        assert split_notification(notification_uuid(operation, index)) == (operation, index)


async def test_a_ttl_of_0_gets_a_moment_for_the_queue(sending: Sending) -> None:
    await sending.accept(1, ttl=0)
    job = await sending.claim_one()
    assert job.ttl == 0
    assert job.deadline - job.due_at == timedelta(seconds=30)


async def test_retrying_ends_after_a_day_however_long_the_ttl(sending: Sending) -> None:
    await sending.accept(1, ttl=2_419_200)
    await sending.accept(1)
    assert {job.deadline - job.due_at for job in await sending.claim()} == {timedelta(hours=24)}
