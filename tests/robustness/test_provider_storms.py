"""Providers that are down for a while, and storms of 429 and 503 that ask for patience."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.robustness.crowd import Crowd
from tests.robustness.people import People
from tests.robustness.run import Run, running
from tests.robustness.scale import scaled
from tests.robustness.service import Service
from tests.robustness.validators import broken

_SIZE = scaled(800, 10_000)
# Jobs that wait for their next try: a worker has found out that nobody answers.
_PUT_OFF = "select exists (select from jobs where lease is null and due_at > now())"
# Else the last answers are there before a kill that waits for the first ones, on a busy machine.
_SLOWLY = {"latencyMs": 500, "jitterMs": 3_000}


@pytest.fixture
async def run(tmp_path: Path, sandbox_keys: Path, database_url: str) -> AsyncIterator[Run]:
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(running(Service(tmp_path, sandbox_keys, database_url), database_url))


async def _storm(run: Run, status: int, patience: int) -> None:
    """Everything is refused until the workers have put work off."""
    await run.sandbox.set_rules({"status": status, "headers": {"retry-after": str(patience)}})
    await run.observer.until(_PUT_OFF)
    await run.slow_down()


@pytest.mark.timeout(scaled(180, 3600))
async def test_storms_are_waited_out(run: Run) -> None:
    """Each refusal costs one more call, none comes too early, and few are refused before everybody waits."""
    crowd, people = Crowd("storm", _SIZE), People("storm", _SIZE // 8)
    client = await run.new_account()
    await people.register(run, client)
    await run.slow_down()
    await run.send(client, people)
    operation = await run.send(client, crowd)
    for share, (status, patience) in zip((0.1, 0.4, 0.7), ((429, 2), (503, 1), (429, 3)), strict=True):
        await run.observer.until_final(share * _SIZE)
        await _storm(run, status, patience)
    await run.observer.until_ended(operation)
    await run.observer.until_ended()

    history = await run.history()
    assert broken(history) == {}
    assert history.outcomes == crowd.outcomes | people.outcomes
    refused = sum(call.status in {429, 503} for call in history.calls)
    assert len(history.calls) - refused == len(history.who), "one call for each device, beside the refusals"
    assert 0 < refused < len(history.who), "not everybody is tried in a storm"


@pytest.mark.timeout(scaled(180, 3600))
async def test_who_is_unregistered_during_a_storm_is_not_called_after_it(run: Run) -> None:
    people = People("leaving", 100)
    client = await run.new_account()
    await people.register(run, client)
    await run.sandbox.set_rules(people.put_off(seconds=4))
    operation = await run.send(client, people)
    await run.observer.until(_PUT_OFF)
    await run.observer.until("select not exists (select from jobs where lease is not null)")
    leaving = people.addresses[:20]
    for user in leaving:
        await client.delete_user(user)
    await run.ended(tokens=(token for number in range(len(leaving)) for token in people.of(number)))
    await run.observer.until_ended(operation)

    history = await run.history()
    assert broken(history) == {}
    assert history.outcomes == people.outcomes, "their phones got it before"
    assert [len(history.calls_to[people.tablets[n]]) for n in range(len(leaving))] == [1] * len(leaving)


@pytest.mark.timeout(scaled(180, 3600))
async def test_providers_that_are_down_for_a_while_are_waited_for(run: Run) -> None:
    crowd, people = Crowd("down", _SIZE), People("down", _SIZE // 8)
    client = await run.new_account()
    await people.register(run, client)
    await run.sandbox.set_rules(people.put_off(), _SLOWLY)
    await run.send(client, people)
    operation = await run.send(client, crowd)
    for share in (0.2, 0.6):
        await run.observer.until_final(share * _SIZE)
        await run.kill_sandbox()
        await run.observer.until(_PUT_OFF)
        await run.service.start_sandbox()
        await run.sandbox.set_rules(_SLOWLY)
    await run.observer.until_ended(operation)
    await run.observer.until_ended()

    history = await run.history()
    assert broken(history) == {}
    assert history.outcomes == crowd.outcomes | people.outcomes


@pytest.mark.timeout(scaled(180, 3600))
async def test_a_cancel_during_a_storm_ends_without_another_call(run: Run) -> None:
    crowd = Crowd("canceled", _SIZE)
    client = await run.new_account()
    await run.sandbox.set_rules({"skip": 200, "status": 503, "headers": {"retry-after": "600"}})
    operation = await run.send(client, crowd)
    await run.observer.until(_PUT_OFF)
    await run.cancel(client, operation)
    await run.observer.until_ended(operation)

    history = await run.history()
    assert broken(history) == {}
    canceled = history.operations[operation]
    assert canceled.status == "CANCELED"
    assert canceled.counts.canceled + canceled.counts.sent + canceled.counts.failed == _SIZE
