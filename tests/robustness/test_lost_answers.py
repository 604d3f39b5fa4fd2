"""Connections to PostgreSQL cut when a transaction is committed and nobody was told: at accept, claim and record."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.robustness.crowd import Crowd
from tests.robustness.people import People
from tests.robustness.proxy import Moment, Proxy, accepting, claiming, proxied, recording
from tests.robustness.run import Run, running
from tests.robustness.scale import scaled
from tests.robustness.service import Service
from tests.robustness.validators import broken

_SIZE = scaled(600, 10_000)
_TIMES = scaled(3, 10)


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[Proxy]:
    async with proxied(database_url) as proxy:
        yield proxy


@pytest.fixture
async def run(tmp_path: Path, sandbox_keys: Path, database_url: str, proxy: Proxy) -> AsyncIterator[Run]:
    """Everything of the service goes through the proxy."""
    service = Service(tmp_path, sandbox_keys, proxy.url, PHAROS_LEASE_SECONDS="2")
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(running(service, database_url))


async def test_an_accept_whose_answer_is_lost_is_one_operation(run: Run, proxy: Proxy) -> None:
    """The client repeats it with the same key."""
    crowds = [Crowd(f"accept{number}", 200) for number in range(_TIMES)]
    client = await run.new_account()
    for crowd in crowds:
        async with asyncio.TaskGroup() as group:
            group.create_task(proxy.lose(accepting))
            group.create_task(run.send(client, crowd))
    await run.observer.until_ended()

    history = await run.history()
    assert broken(history) == {}
    assert len(history.operations) == len(crowds)
    assert history.outcomes == {who: status for crowd in crowds for who, status in crowd.outcomes.items()}


@pytest.mark.timeout(scaled(180, 3600))
@pytest.mark.parametrize("moment", [claiming, recording])
async def test_a_claim_or_a_record_whose_answer_is_lost_counts_once(run: Run, proxy: Proxy, moment: Moment) -> None:
    """Nobody forgot a call here, so nobody is called again."""
    crowd, people = Crowd("answer", _SIZE), People("answer", _SIZE // 4)
    client = await run.new_account()
    await people.register(run, client)
    await run.slow_down(people.put_off())
    losing = asyncio.create_task(_lose(proxy, moment, _TIMES))
    await run.send(client, crowd)
    await run.send(client, people)
    await losing
    await run.observer.until_ended()

    history = await run.history()
    assert not history.losses
    assert broken(history) == {}
    assert proxy.lost == _TIMES
    assert history.outcomes == crowd.outcomes | people.outcomes


@pytest.mark.timeout(scaled(180, 3600))
async def test_connections_that_are_cut_at_any_moment_lose_and_repeat_nothing(run: Run, proxy: Proxy) -> None:
    crowd, people = Crowd("cut", _SIZE), People("cut", _SIZE // 4)
    client = await run.new_account()
    await people.register(run, client)
    await run.slow_down(people.put_off())
    await run.send(client, people)
    await run.send(client, crowd)
    for part in range(_TIMES):
        await run.observer.until_final(_SIZE * part / _TIMES)
        proxy.cut()
    await run.observer.until_ended()

    history = await run.history()
    assert not history.losses
    assert broken(history) == {}
    assert history.outcomes == crowd.outcomes | people.outcomes


async def _lose(proxy: Proxy, moment: Moment, times: int) -> None:
    for _ in range(times):
        await proxy.lose(moment)
