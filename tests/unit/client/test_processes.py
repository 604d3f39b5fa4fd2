from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import pytest

from client.processes import Child, ProcessError, run_program

WITHIN = 30.0

Spawn = Callable[[str], Awaitable[Child]]


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
async def spawn(lines: list[str]) -> AsyncIterator[Spawn]:
    children: list[Child] = []

    async def spawn_one(program: str) -> Child:
        argv = [sys.executable, "-c", f"import os, signal, sys, time\n{program}"]
        children.append(await Child.spawn("child", argv, lambda _, line: lines.append(line)))
        return children[-1]

    yield spawn_one
    for child in children:
        with suppress(ProcessLookupError):
            await child.stop(0.1)


def said(*names: str) -> str:
    return "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})\n" + "\n".join(names)


READY = 'print(\'ready {"port": "1"}\', flush=True)'
WAIT = "signal.sigwait({signal.SIGTERM})"


async def test_a_ready_line_is_read_and_other_lines_are_logged(spawn: Spawn, lines: list[str]) -> None:
    child = await spawn(said("print('before', flush=True)", READY, "print('after', flush=True)", WAIT))

    ready = await child.ready(WITHIN)
    await child.stop(WITHIN)

    assert ready == {"port": "1"}
    assert lines == ["before", "after"]


async def test_the_last_line_is_logged_though_unfinished_and_a_long_one_whole(spawn: Spawn, lines: list[str]) -> None:
    child = await spawn("print('x' * 300_000, file=sys.stderr); sys.stderr.write('the end'); sys.exit(2)")

    code = await child.ended()

    assert code == 2
    assert lines == ["x" * 300_000, "the end"]


async def test_an_end_before_the_ready_line_is_an_error_at_once(spawn: Spawn) -> None:
    child = await spawn("sys.exit(3)")

    with pytest.raises(ProcessError, match="child ended with exit code 3 before it was ready"):
        await child.ready(WITHIN)


async def test_a_program_that_never_gets_ready_is_given_up(spawn: Spawn) -> None:
    child = await spawn(said(WAIT))

    with pytest.raises(ProcessError, match=r"child was not ready after 0\.2 s"):
        await child.ready(0.2)


async def test_a_line_that_is_no_json_is_not_ready(spawn: Spawn, lines: list[str]) -> None:
    child = await spawn("print('ready to go')")

    with pytest.raises(ProcessError, match="before it was ready"):
        await child.ready(WITHIN)

    assert lines == ["ready to go"]


async def test_the_end_is_seen_though_a_grandchild_holds_the_pipes(spawn: Spawn) -> None:
    child = await spawn("if os.fork() == 0: os.setsid(); signal.alarm(20); signal.pause()\nos._exit(5)")

    async with asyncio.timeout(10):
        assert await child.ended() == 5


async def test_canceling_a_stop_kills(spawn: Spawn) -> None:
    child = await spawn(said(READY, "signal.sigwait({signal.SIGUSR1})"))
    await child.ready(WITHIN)
    stopping = asyncio.create_task(child.stop(WITHIN))
    await asyncio.wait({stopping}, timeout=0.05)

    stopping.cancel()

    async with asyncio.timeout(10):
        assert await child.ended() == -9


async def test_a_program_run_to_its_end_returns_what_it_says_and_logs_its_stderr() -> None:
    logged: list[str] = []
    argv = [sys.executable, "-c", "import sys; print('a secret'); print('a warning', file=sys.stderr)"]

    answer = await run_program("tool", argv, lambda _, line: logged.append(line), within=WITHIN)

    assert answer == "a secret\n"
    assert logged == ["a warning"]


async def test_a_program_that_fails_is_an_error_without_what_it_said() -> None:
    argv = [sys.executable, "-c", "print('a secret'); raise SystemExit(4)"]

    with pytest.raises(ProcessError) as raised:
        await run_program("tool", argv, lambda _, __: None, within=WITHIN)

    assert str(raised.value) == "tool ended with exit code 4"


async def test_a_program_that_hangs_is_killed() -> None:
    argv = [sys.executable, "-c", "import signal; signal.pause()"]

    with pytest.raises(ProcessError, match=r"tool took longer than 0\.2 s"):
        await run_program("tool", argv, lambda _, __: None, within=0.2)
