"""The service as processes that a test may kill, stop and start: a sandbox, a server and workers on one database."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tests.acceptance.programs import Program
from tests.robustness.settings import SETTINGS

_PORTS: Final = {
    "--fcm-port": "fcmUrl",
    "--apns-port": "apnsUrl",
    "--apns-sandbox-port": "apnsSandboxUrl",
    "--control-port": "controlUrl",
}


class Service:
    """Nothing here starts a process again by itself. Start it from the main thread.

    ``database`` is the address that the server and the workers use. The sandbox's keys are kept in ``keys``, which
    several services may share.
    """

    def __init__(self, folder: Path, keys: Path, database: str, workers: int = 2, **settings: str) -> None:
        self._folder = folder
        self._keys = keys
        self._env = {**SETTINGS, **settings, "DATABASE_URL": database, "PHAROS_DATA_DIR": str(folder)}
        self._sandbox_ports: list[str] = []
        self.sandbox: Program | None = None
        self.providers: Mapping[str, str] = {}
        self.server: Program | None = None
        self.address = ""
        self.workers: list[Program] = []
        self._wanted = workers

    @property
    def lease(self) -> float:
        return float(self._env["PHAROS_LEASE_SECONDS"])

    @property
    def provider_timeout(self) -> float:
        return float(self._env["PHAROS_PROVIDER_TIMEOUT_SECONDS"])

    async def start(self) -> None:
        await self.start_sandbox()
        self._env |= {
            "PHAROS_FCM_URL": self.providers["fcmUrl"],
            "PHAROS_OAUTH_URL": self.providers["oauthUrl"],
            "PHAROS_APNS_URL": self.providers["apnsUrl"],
            "PHAROS_APNS_SANDBOX_URL": self.providers["apnsSandboxUrl"],
            "PHAROS_PROVIDER_CA": self.providers["caFile"],
        }
        self.server = self._program("serve", "-m", "server", "serve", "--port", "0")
        self.workers = [self._worker(number) for number in range(self._wanted)]
        self.address = (await _ready(self.server))["grpc"]
        for worker in self.workers:
            await _ready(worker)

    async def start_sandbox(self) -> None:
        """Also after its end: on the ports that it had."""
        words = ("-m", "sandbox", "--dir", str(self._keys), "--calls", str(self.calls_file))
        self.sandbox = self._program("sandbox", *words, *self._sandbox_ports)
        self.providers = await _ready(self.sandbox)
        for option, name in _PORTS.items():
            self._sandbox_ports += [option, str(urlsplit(self.providers[name]).port)]

    async def start_worker(self, number: int) -> None:
        """In place of one that has ended, or the next one."""
        self.workers[number : number + 1] = [self._worker(number)]
        await _ready(self.workers[number])

    def pause_worker(self, number: int) -> None:
        """SIGSTOP, to all processes that it has."""
        for process in self.workers[number].family():
            process.send(signal.SIGSTOP)

    def resume_worker(self, number: int) -> None:
        for process in reversed(self.workers[number].family()):
            process.send(signal.SIGCONT)

    async def stop_worker(self, number: int) -> None:
        """SIGTERM: it ends when it has recorded what it had begun."""
        assert await asyncio.to_thread(self.workers[number].terminate) == 0

    @property
    def calls_file(self) -> Path:
        return self._folder / "calls"

    def calls(self) -> Iterator[dict[str, object]]:
        """What the sandbox noted, see sandbox.calls."""
        if self.calls_file.exists():
            with self.calls_file.open() as lines:
                yield from map(json.loads, lines)

    @property
    def programs(self) -> list[Program]:
        return [program for program in (*self.workers, self.server, self.sandbox) if program is not None]

    def close(self) -> None:
        for program in self.programs:
            with suppress(ProcessLookupError):
                program.kill_family()
            program.wait()

    def _worker(self, number: int) -> Program:
        name = f"worker-{number}"
        return self._program(name, "-m", "server", "work", "--name", name)

    def _program(self, name: str, *words: str) -> Program:
        return Program((sys.executable, *words), self._folder / f"{name}.log", **self._env)


async def _ready(program: Program) -> dict[str, str]:
    return await asyncio.to_thread(program.ready)
