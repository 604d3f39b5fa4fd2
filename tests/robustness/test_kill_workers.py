"""kill -9 of workers at random during many sends, and right after a flush in the middle of a batch."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

import pytest

from tests.robustness.crowd import Crowd
from tests.robustness.people import People
from tests.robustness.run import Run, running
from tests.robustness.scale import scaled, seeded
from tests.robustness.service import Service
from tests.robustness.validators import broken

_SENDS = scaled(5, 18)  # and two to people
_SIZE = scaled(600, 10_000)
_PEOPLE = scaled(200, 10_000)
_KILLS = scaled(3, 25)


async def _kill_at_random(run: Run, chance: Random, recipients: int) -> None:
    """When shares of the recipients are final that chance has chosen."""
    for share in sorted(chance.uniform(0.02, 0.9) for _ in range(_KILLS)):
        await run.observer.until_final(share * recipients)
        await run.kill_workers(chance.randrange(len(run.service.workers)))


async def _kill_after_a_flush(run: Run) -> None:
    """All of them, so that the one that flushed is hit."""
    await run.observer.until_begun()
    await run.kill_workers(*range(len(run.service.workers)))


@pytest.mark.timeout(scaled(300, 3600))
async def test_kills_lose_nothing_and_repeat_only_what_was_in_hand(
    tmp_path: Path, sandbox_keys: Path, database_url: str
) -> None:
    chance = seeded("kill-workers")
    crowds = [Crowd(f"kill{number}", _SIZE) for number in range(_SENDS)]
    people = [People(f"kill{number}", _PEOPLE) for number in range(2)]
    async with running(Service(tmp_path, sandbox_keys, database_url), database_url) as run:
        client = await run.new_account()
        for each in people:
            await each.register(run, client)
        await run.slow_down(*(each.put_off(times=2) for each in people))
        await asyncio.gather(*(run.send(client, audience) for audience in (*people, *crowds)))

        await _kill_after_a_flush(run)
        await _kill_at_random(run, chance, _SENDS * _SIZE + len(people) * _PEOPLE)
        await run.observer.until_ended()

        history = await run.history()
    assert broken(history) == {}
    assert len(history.losses) == _KILLS + 1
    assert sum(bool(loss.in_hand) for loss in history.losses) > 1, "a kill that hits nothing shows nothing"
    assert history.outcomes == {who: status for each in (*crowds, *people) for who, status in each.outcomes.items()}
