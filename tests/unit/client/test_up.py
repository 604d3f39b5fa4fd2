from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import stat
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.plain_http import TRUSTS_NOBODY

SCRIPT = Path(__file__).with_name("programs") / "up_with_dummies.py"
WITHIN = 60.0


class Up:
    """A running `up`; its log is read line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.log: list[str] = []

    async def ready(self) -> dict[str, str]:
        assert self.process.stdout
        async with asyncio.timeout(WITHIN):
            line = (await self.process.stdout.readline()).decode()
        assert line.startswith("ready "), "".join([*self.log, await self.rest()])
        said: dict[str, str] = json.loads(line.removeprefix("ready "))
        return said

    async def log_line(self, pattern: str) -> re.Match[str]:
        """The first line, of those not read yet, that matches."""
        assert self.process.stderr
        async with asyncio.timeout(WITHIN):
            async for line in self.process.stderr:
                self.log.append(line.decode())
                if match := re.search(pattern, self.log[-1]):
                    return match
        raise AssertionError("".join(self.log))

    async def rest(self) -> str:
        """Waits for the end; everything logged."""
        assert self.process.stderr
        async with asyncio.timeout(WITHIN):
            self.log.append((await self.process.stderr.read()).decode())
            await self.process.wait()
        return "".join(self.log)

    async def stop(self) -> str:
        self.process.send_signal(signal.SIGTERM)
        return await self.rest()


Start = Callable[..., Awaitable[Up]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    started: list[Up] = []

    async def start_one(*words: str, **env: str) -> Up:
        inherited = {key: value for key, value in os.environ.items() if key != "DATABASE_URL"}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(SCRIPT),
            str(tmp_path / "data"),
            *words,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=inherited | env,
            start_new_session=True,
        )
        started.append(Up(process))
        return started[-1]

    yield start_one
    for up in started:
        with suppress(ProcessLookupError):
            up.process.kill()
        await up.rest()


async def test_it_says_ready_once_everything_is(start: Start) -> None:
    up = await start()

    ready = await up.ready()

    async with httpx.AsyncClient(base_url=ready["url"], verify=TRUSTS_NOBODY) as http:
        assert (await http.get("/readyz")).status_code == 200
    log = await up.stop()
    names = re.findall(r"(\S+) up pid=", log)
    assert names[0] == "database"
    assert sorted(names[1:4]) == ["serve", "worker-1", "worker-2"]
    assert names[4:] == ["gateway"]
    assert log.index("database up") < log.index("migrated") < log.index("serve up")


async def test_the_programs_are_told_where_the_others_are(start: Start, tmp_path: Path) -> None:
    up = await start("sandbox")
    ready = await up.ready()

    log = await up.stop()

    target = ready["grpc"].removeprefix("http://")
    assert re.search(rf"gateway up .*--grpc {target} ", log)
    [worker] = re.findall(r"worker-1 up .*env=(.*)", log)
    env = json.loads(worker)
    assert env["DATABASE_URL"] == f"postgresql://{tmp_path / 'data'}"
    assert env["PHAROS_FCM_URL"].startswith("https://127.0.0.1:")
    assert env["PHAROS_PROVIDER_CA"] == str(tmp_path / "data/sandbox/caFile")
    assert all("--die-with-parent" in line for line in re.findall(r"up pid=.*", log))


async def test_a_database_of_ones_own_is_used(start: Start) -> None:
    up = await start(DATABASE_URL="postgresql://elsewhere/db")
    await up.ready()

    log = await up.stop()

    assert "database up" not in log
    assert "postgresql://elsewhere/db" in log


async def test_dev_env_is_for_its_owner_only_and_holds_the_connection(start: Start, tmp_path: Path) -> None:
    up = await start("sandbox")
    ready = await up.ready()

    assert ready["env"] == str(tmp_path / "data/dev.env")
    assert _mode(ready["env"]) == 0o600
    variables = dict(line.split("=", 1) for line in _read(ready["env"]).splitlines())
    assert variables["PHAROS_URL"] == ready["url"]
    assert variables["PHAROS_GRPC"] == ready["grpc"]
    assert ready["grpc"].startswith("http://127.0.0.1:")
    assert variables["PHAROS_AUTH_TOKEN"] == "made-up-secret"
    assert variables["PHAROS_SANDBOX_FCM_KEY"] == str(tmp_path / "data/sandbox/fcmKeyFile")
    assert variables["PHAROS_SANDBOX_APNS_TOPIC"] == "com.example.app"
    assert list(variables) == [
        "PHAROS_URL",
        "PHAROS_GRPC",
        "PHAROS_ACCOUNT_ID",
        "PHAROS_AUTH_TOKEN",
        "PHAROS_SANDBOX_URL",
        "PHAROS_SANDBOX_FCM_KEY",
        "PHAROS_SANDBOX_APNS_CERT",
        "PHAROS_SANDBOX_APNS_KEY",
        "PHAROS_SANDBOX_APNS_P8",
        "PHAROS_SANDBOX_APNS_KEY_ID",
        "PHAROS_SANDBOX_APNS_TEAM_ID",
        "PHAROS_SANDBOX_APNS_TOPIC",
    ]


async def test_the_account_is_kept_and_its_token_is_never_logged(start: Start) -> None:
    first = await start("sandbox")
    env_file = (await first.ready())["env"]
    account = _read(env_file).splitlines()[2:4]
    log = await first.stop()

    second = await start()
    await second.ready()

    assert _read(env_file).splitlines()[2:] == account
    log += await second.stop()
    assert "made-up-secret" not in log


async def test_a_signal_stops_the_last_started_first(start: Start) -> None:
    up = await start("sandbox")
    await up.ready()

    log = await up.stop()

    assert up.process.returncode == 0
    down = re.findall(r"(\S+) down", log)
    assert down[0] == "gateway"
    assert sorted(down[1:4]) == ["serve", "worker-1", "worker-2"]
    assert down[4:] == ["sandbox", "database"]


async def test_a_ctrl_c_in_the_terminal_stops_in_order_too(start: Start) -> None:
    up = await start()
    await up.ready()

    os.killpg(up.process.pid, signal.SIGINT)

    log = await up.rest()
    assert up.process.returncode == 0
    assert re.findall(r"(gateway|database) down", log) == ["gateway", "database"]


async def test_a_signal_during_the_start_stops_what_runs_already(start: Start) -> None:
    up = await start()
    await up.log_line("database up")

    log = await up.stop()

    assert up.process.returncode == 0
    assert "database down" in log
    assert "gateway up" not in log


async def test_a_program_that_ignores_the_signal_is_killed(start: Start) -> None:
    up = await start(DUMMY_STUBBORN="worker-1")
    pid = int((await up.log_line(r"worker-1 up pid=(\d+)"))[1])
    await up.ready()

    log = await up.stop()

    assert up.process.returncode == 0
    assert "did not stop in time and is killed" in log
    assert "database down" in log
    assert not _exists(f"/proc/{pid}")


async def test_a_second_signal_does_not_wait_for_the_stubborn(start: Start) -> None:
    up = await start(DUMMY_STUBBORN="worker-1", UP_GRACE="600")
    await up.ready()
    pids = [int((await up.log_line(r"up pid=(\d+)"))[1]) for _ in range(5)]
    descriptors = [os.pidfd_open(pid) for pid in pids]
    up.process.send_signal(signal.SIGTERM)
    await up.log_line("gateway down")

    await up.stop()

    assert up.process.returncode == 0
    async with asyncio.timeout(WITHIN):
        await asyncio.gather(*map(_gone, descriptors))


@pytest.mark.parametrize(("name", "shown"), [("serve", "server"), ("gateway", "gateway"), ("worker-2", "worker-2")])
async def test_a_program_that_dies_comes_back_at_the_same_place(start: Start, name: str, shown: str) -> None:
    up = await start()
    pid = int((await up.log_line(rf"{name} up pid=(\d+)"))[1])
    ready = await up.ready()

    os.kill(pid, signal.SIGKILL)

    await up.log_line(rf"up +\| {shown} was ended by SIGKILL; starting it again")
    args = (await up.log_line(rf"{name} up pid=\d+ args=(.*) env"))[1]
    port = {"serve": ready["grpc"], "gateway": ready["url"]}.get(name, ":").rpartition(":")[2]
    assert f"--port {port}" in args if port else "--name worker-2" in args
    await up.stop()
    assert up.process.returncode == 0


async def test_a_restarted_sandbox_keeps_its_ports(start: Start) -> None:
    up = await start("sandbox")
    pid = int((await up.log_line(r"sandbox up pid=(\d+)"))[1])
    variables = _read((await up.ready())["env"])

    os.kill(pid, signal.SIGKILL)

    args = (await up.log_line(r"sandbox up pid=\d+ args=(.*) env"))[1]
    [control] = re.findall(r"PHAROS_SANDBOX_URL=http://127.0.0.1:(\d+)", variables)
    assert f"--control-port {control}" in args
    assert "-port 0" not in args
    await up.stop()


async def test_it_gives_up_on_a_program_that_keeps_dying(start: Start) -> None:
    up = await start(DUMMY_SHORT_LIVED="worker-1")

    log = await up.rest()

    assert up.process.returncode == 1
    assert len(re.findall(r"worker-1 up", log)) == 5
    assert "pharos up: worker-1 ended with exit code 7, 5 times within 60 s" in log
    assert log.index("serve down") < log.index("database down")


async def test_a_program_that_does_not_come_up_ends_the_start(start: Start) -> None:
    up = await start(DUMMY_FAILING="gateway")

    log = await up.rest()

    assert up.process.returncode == 1
    assert "pharos up: gateway ended with exit code 3 before it was ready" in log
    assert "database down" in log


async def test_a_second_one_on_the_same_data_is_refused(start: Start, tmp_path: Path) -> None:
    first = await start()
    await first.ready()

    second = await start()

    log = await second.rest()
    assert second.process.returncode == 1
    assert log == f"pharos up: another `pharos up` already runs on {tmp_path / 'data'}\n"
    await first.stop()
    assert first.process.returncode == 0


async def test_when_it_is_killed_its_programs_end_and_the_next_one_starts(start: Start) -> None:
    up = await start("sandbox")
    await up.ready()
    pids: list[int] = []
    while len(pids) < 6:
        pids.append(int((await up.log_line(r"up pid=(\d+)"))[1]))
    descriptors = [os.pidfd_open(pid) for pid in pids]

    up.process.kill()

    async with asyncio.timeout(WITHIN):
        await asyncio.gather(*map(_gone, descriptors))
    following = await start()
    await following.ready()
    await following.stop()


async def test_quiet_keeps_the_programs_lines_in_files(start: Start, tmp_path: Path) -> None:
    up = await start("quiet")
    await up.ready()

    shown = await up.stop()

    assert " up pid=" not in shown
    assert "gateway up pid=" in _read(tmp_path / "data/logs/gateway.log")
    assert "worker-2 down" in _read(tmp_path / "data/logs/worker-2.log")


async def _gone(descriptor: int) -> None:
    """Waits for the end of a process that is not our child, and closes its pidfd."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[Any] = loop.create_future()
    loop.add_reader(descriptor, lambda: ended.done() or ended.set_result(None))
    try:
        await ended
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _read(path: str | Path) -> str:
    return Path(path).read_text("utf-8")


def _mode(path: str) -> int:
    return stat.S_IMODE(Path(path).stat().st_mode)


def _exists(path: str) -> bool:
    return Path(path).exists()
