"""The benchmarks, small: that they come to figures, that every count agrees, and that they leave nothing running."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.processes import below, still_running

_WITHIN = 150.0


async def bench(*arguments: str) -> asyncio.subprocess.Process:
    """`pharos bench --quick`, which measures nothing that is worth reading."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "client", "bench", "--quick", *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def measured(said: str, key: str) -> tuple[float, str]:
    """What a row of the targets says, and its verdict."""
    [row] = [line for line in said.splitlines() if f"`{key}`" in line]
    *_, value, verdict = (cell.strip() for cell in row.split("|")[:-1])
    return float(value), verdict


def entries(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def test_the_connection_is_measured_against_httpx_and_aioapns() -> None:
    running = await bench("connection")
    async with asyncio.timeout(_WITHIN):
        said, complained = await running.communicate()
    assert running.returncode == 0, complained.decode()
    for key in ("connection_vs_httpx", "connection_vs_aioapns"):
        ratio, verdict = measured(said.decode(), key)
        assert 0 < ratio < 1, f"{key} is {ratio}"
        assert verdict in ("reached", "**missed**")


async def test_accept_and_latency_are_measured_from_end_to_end() -> None:
    running = await bench("accept", "latency")
    async with asyncio.timeout(_WITHIN):
        said, complained = await running.communicate()
    assert running.returncode == 0, complained.decode()
    cost, _ = measured(said.decode(), "accept_cpu_s_per_10k")
    assert 0 < cost < 5
    assert measured(said.decode(), "single_push_p99_behind_bulk")[0] > 0


async def test_a_bench_that_is_stopped_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    running = await bench("growth")
    assert running.stderr is not None
    async with asyncio.timeout(_WITHIN):
        while not (line := await running.stderr.readline()).startswith(b"growth:"):
            assert line, "it ended before it had queued a send"
        family = below(running.pid)
        os.kill(running.pid, signal.SIGTERM)
        await running.communicate()
    assert running.returncode != 0
    assert family
    assert still_running(family) == []
    assert entries(tmp_path) == []
