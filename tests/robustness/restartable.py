"""What a test may stop and start again by itself: a PostgreSQL, and the API server on one port."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import Final

from server.localpg import LocalPostgres
from tests.acceptance.processes import Process
from tests.acceptance.programs import Program
from tests.robustness.settings import SETTINGS

_DATABASE: Final = "pharos"


class Restartable:
    """A PostgreSQL that keeps its promises: other tests' one may forget in a crash what it has committed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server = LocalPostgres(folder)
        self._server.start()
        self._server.ensure_database(_DATABASE)
        self.url = self._server.dsn(_DATABASE)

    async def restart(self, number: signal.Signals) -> None:
        """SIGINT: sessions are ended in order. SIGQUIT: at once, and the start recovers from the log."""
        pid = int((self._folder / "cluster/postmaster.pid").read_text().split(maxsplit=1)[0])
        postmaster = Process.of(pid)
        postmaster.send(number)
        await asyncio.to_thread(postmaster.wait, 60.0)
        await asyncio.to_thread(self._server.start)

    def close(self) -> None:
        self._server.stop()


class ApiServer:
    """`serve` on one database. Start it from the main thread; it comes back on the port that it had."""

    def __init__(self, folder: Path, database: str) -> None:
        self._log = folder / "serve.log"
        self._env = {**SETTINGS, "DATABASE_URL": database, "PHAROS_DATA_DIR": str(folder)}
        self._program: Program | None = None
        self.address = "127.0.0.1:0"

    async def start(self) -> None:
        port = self.address.rpartition(":")[2]
        command = (sys.executable, "-m", "server", "serve", "--port", port)
        self._program = Program(command, self._log, **self._env)
        self.address = (await asyncio.to_thread(self._program.ready))["grpc"]

    async def restart(self, number: signal.Signals) -> None:
        """SIGKILL: nobody is told. SIGTERM: its streams' readers are sent away."""
        assert self._program is not None
        if number is signal.SIGKILL:
            self._program.kill_family()
        else:
            assert await asyncio.to_thread(self._program.terminate) == 0
        await self.start()

    def close(self) -> None:
        if self._program is not None:
            self._program.close()
