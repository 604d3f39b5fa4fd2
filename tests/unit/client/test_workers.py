"""`pharos work`: so many workers, kept running, stopped together."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from client.workers import cores

_SCRIPT = Path(__file__).with_name("programs") / "work_with_dummies.py"


@pytest.fixture
async def two_workers() -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(_SCRIPT), "2"), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    yield process
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()


async def _ready(process: asyncio.subprocess.Process) -> object:
    assert process.stdout
    async with asyncio.timeout(30):
        return json.loads((await process.stdout.readline()).decode().removeprefix("ready "))


async def _said(process: asyncio.subprocess.Process, pattern: str) -> re.Match[str]:
    assert process.stderr
    async with asyncio.timeout(30):
        async for line in process.stderr:
            if match := re.search(pattern, line.decode()):
                return match
    raise AssertionError(f"never said: {pattern}")


async def test_they_have_names_and_the_options_of_a_worker(two_workers: asyncio.subprocess.Process) -> None:
    assert await _ready(two_workers) == {"workers": ["w-1", "w-2"]}
    arguments = {(await _said(two_workers, r"up pid=\d+ args=(.*) env")).group(1) for _ in range(2)}
    assert arguments == {f"work --name w-{n} --die-with-parent --data-dir d" for n in (1, 2)}


async def test_one_that_is_killed_is_started_again(two_workers: asyncio.subprocess.Process) -> None:
    killed = await _said(two_workers, r"w-1 up pid=(\d+)")
    await _ready(two_workers)
    os.kill(int(killed.group(1)), signal.SIGKILL)
    again = await _said(two_workers, r"w-1 up pid=(\d+)")
    assert again.group(1) != killed.group(1)


async def test_a_signal_stops_them_all(two_workers: asyncio.subprocess.Process) -> None:
    await _ready(two_workers)
    two_workers.send_signal(signal.SIGTERM)
    async with asyncio.timeout(30):
        _, said = await two_workers.communicate()
    assert two_workers.returncode == 0
    assert sorted(re.findall(r"(\S+) down", said.decode())) == ["w-1", "w-2"]


def test_by_default_there_is_one_for_each_core() -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)
