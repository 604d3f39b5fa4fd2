"""The days' partitions are there before they are needed, whoever makes them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from server.store.partitions import DAYS_AHEAD, Partitions
from tests.integration.store.sending import Sending, eventually


async def _days(sending: Sending, parent: str) -> set[str]:
    rows = await sending.fetch(
        "select inhrelid::regclass::text as name from pg_inherits where inhparent = $1::regclass", parent
    )
    return {row["name"].removeprefix(f"{parent}_") for row in rows}


def _expected(today: datetime) -> set[str]:
    return {f"{today + timedelta(days=n):%Y%m%d}" for n in range(-1, DAYS_AHEAD + 1)}


async def test_missing_days_are_made_by_any_number_of_processes_at_once(sending: Sending) -> None:
    today = datetime.now(UTC)
    for parent in ("batches", "notifications"):
        await sending.fetch(f"drop table {parent}_{today + timedelta(days=3):%Y%m%d}")
    await asyncio.gather(*(Partitions(sending.database).make() for _ in range(5)))
    for parent in ("batches", "notifications"):
        assert await _days(sending, parent) >= _expected(today)


async def test_a_send_lies_in_the_partition_of_the_day_in_its_id(sending: Sending) -> None:
    rows = await sending.fetch(
        "select tableoid::regclass::text as name, operation_id from batches where operation_id = $1",
        await sending.accept(1),
    )
    day = datetime.fromtimestamp((rows[0]["operation_id"].int >> 80) / 1000, UTC)
    assert rows[0]["name"] == f"batches_{day:%Y%m%d}"


async def test_making_partitions_does_not_wait_for_long_reads_nor_hold_up_sends(sending: Sending) -> None:
    for parent in ("batches", "notifications"):
        await sending.fetch(f"drop table {parent}_{datetime.now(UTC) + timedelta(days=3):%Y%m%d}")
    async with sending.database.transaction() as reader:
        await reader.fetch("select count(*) from notifications")  # a long read of all days
        async with asyncio.timeout(10):
            await Partitions(sending.database).make()
            await sending.accept(1)
    await eventually(lambda: sending.value("select count(*) = 1 from batches"))
