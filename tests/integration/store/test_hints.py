"""Hints between processes: heard by all, gathered, and back after every loss of the connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import asyncpg
import pytest

from server.store import hints as hints_module
from server.store.database import Database
from server.store.hints import CHANNEL, Hints
from tests.integration.store.sending import Sending, eventually


@pytest.fixture
async def two(database: Database) -> AsyncIterator[tuple[Hints, Hints]]:
    """The hints of two processes, both listening."""
    both = (Hints(database.dsn), Hints(database.dsn))
    tasks = [asyncio.ensure_future(each.run()) for each in both]
    for each in both:
        await each.jobs.wait(10)
        each.take_grown()
        await each.feeds.wait(10)
    yield both
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def _heard(hints: Hints, seconds: float = 10.0) -> set[UUID] | None:
    await hints.feeds.wait(seconds)
    return hints.take_grown()


async def test_everyone_hears_which_feeds_grew(two: tuple[Hints, Hints]) -> None:
    accounts = {uuid4() for _ in range(20)}
    for account in accounts:
        two[0].announce_feed(account)
    assert await _heard(two[0]) == accounts
    assert await _heard(two[1]) == accounts
    assert two[1].take_grown() == set()


async def test_jobs_and_feeds_ring_apart(two: tuple[Hints, Hints]) -> None:
    two[0].announce_jobs()
    await two[1].jobs.wait(10)
    assert await _heard(two[1], 0.0) == set()


async def test_too_many_accounts_for_one_message_mean_all(two: tuple[Hints, Hints]) -> None:
    for _ in range(1_000):
        two[0].announce_feed(uuid4())
    assert await _heard(two[1]) is None


async def test_what_a_newer_version_says_means_anything(two: tuple[Hints, Hints], sending: Sending) -> None:
    await sending.fetch("select pg_notify($1, 'v2 {}')", CHANNEL)
    assert await _heard(two[1]) is None
    await two[1].jobs.wait(10)


async def test_a_killed_connection_comes_back_and_hears_again(
    two: tuple[Hints, Hints], sending: Sending, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hints_module, "RECONNECT_SECONDS", 0.01)
    killed = await sending.fetch(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid() and application_name <> 'pharos-test'"
    )
    assert len(killed) == 2
    account = uuid4()

    async def heard_again() -> bool:
        two[0].announce_feed(account)  # the first may get lost with the connection
        return account in (await _heard(two[1], 0.1) or set())

    await eventually(heard_again, 5)  # noticed at once, not when the quiet connection is checked


async def test_after_a_reconnect_anything_may_have_been_missed(
    two: tuple[Hints, Hints], sending: Sending, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hints_module, "RECONNECT_SECONDS", 0.01)
    monkeypatch.setattr(hints_module, "CHECK_SECONDS", 0.01)
    two[1].announce_jobs()
    await two[1].jobs.wait(10)  # from here on the quiet connection is checked every 10 ms
    await sending.fetch(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid() and application_name <> 'pharos-test'"
    )
    assert await _heard(two[1]) is None
    await two[1].jobs.wait(10)


async def test_i14_feeds_that_nobody_asks_for_are_not_gathered_without_end(
    two: tuple[Hints, Hints], database: Database
) -> None:
    connection = await asyncpg.connect(database.dsn, timeout=10)
    for _ in range(20):
        two[0]._heard(connection, 0, CHANNEL, _payload(50))  # noqa: SLF001 - as asyncpg calls it
    assert len(two[0]._grown) <= 300  # noqa: SLF001 - what this is about
    assert two[0].take_grown() is None
    await connection.close(timeout=10)


def _payload(accounts: int) -> str:
    return '{"jobs": false, "feeds": [' + ", ".join(f'"{uuid4().hex}"' for _ in range(accounts)) + "]}"
