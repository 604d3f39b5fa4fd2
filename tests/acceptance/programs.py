"""The commands as their users run them: real processes, and what they say."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from client.dev_env import read_env_file
from tests.acceptance.processes import Process, below

PHAROS = Path(sys.executable).with_name("pharos")
_READY_WITHIN = 180.0
_RUNS_WITHIN = 120.0
_ENDS_WITHIN = 90.0
_LOG_LINES = 150


def clean_environment() -> dict[str, str]:
    """Ours without what would point a program at another service or database."""
    return {
        name: value
        for name, value in os.environ.items()
        if name != "DATABASE_URL" and not name.startswith(("PHAROS_", "PG"))
    }


def pharos(*words: str | Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end."""
    return subprocess.run(  # noqa: S603 - our own program, no shell
        [str(PHAROS), *map(str, words)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env=clean_environment() | dict(env or {}),
        timeout=_RUNS_WITHIN,
    )


class Program:
    """A program that says `ready {json}` on its first line. Its stderr is appended to `log`.

    Start it from the main thread: it ends with the thread that started it.
    """

    logs: ClassVar[list[Path]] = []  # of all that were started, for failure reports

    def __init__(self, command: Iterable[str | Path], log: Path, **env: str) -> None:
        if log not in self.logs:
            self.logs.append(log)
        with log.open("ab") as stderr:
            self._process = subprocess.Popen(  # noqa: S603 - our own program, no shell
                [*map(str, command), "--die-with-parent"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                bufsize=0,
                env=clean_environment() | env,
                start_new_session=True,
            )
        self.log = log
        self.pid = self._process.pid

    def ready(self) -> dict[str, str]:
        """Waits until it is up; what it says then."""
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], _READY_WITHIN)
        line = self._process.stdout.readline().decode() if readable else ""
        assert line.startswith("ready "), f"it said {line!r} where it should say that it is ready"
        said: dict[str, str] = json.loads(line.removeprefix("ready "))
        return said

    def family(self) -> list[Process]:
        """The program and everything below it, parents before children."""
        return [Process.of(self.pid), *below(self.pid)]

    @property
    def exited(self) -> bool:
        return self._process.poll() is not None

    def wait(self) -> int:
        """The exit code, once it has ended; negative for a signal."""
        code = self._process.wait(_ENDS_WITHIN)
        if self._process.stdout is not None:
            self._process.stdout.close()
        return code

    def terminate(self) -> int:
        """SIGTERM, and the exit code."""
        self._process.terminate()
        return self.wait()

    def kill_family(self) -> None:
        """kill -9 of all of it at one moment: nothing sees its parent die, or starts a child again."""
        self._process.send_signal(signal.SIGSTOP)
        family = self.family()
        for process in reversed(family):
            process.send(signal.SIGKILL)
        for process in family:
            process.wait(_ENDS_WITHIN)
        self.wait()

    def close(self) -> None:
        """Ends it whatever state it is in; for the end of a fixture."""
        if self._process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                self.terminate()
        if self._process.poll() is None:
            self.kill_family()
        self.wait()

    @classmethod
    def log_tails(cls) -> list[tuple[str, str]]:
        """The last lines of everything that was started, by its log's name."""
        return [
            (str(log), "\n".join(log.read_text("utf-8", "replace").splitlines()[-_LOG_LINES:]))
            for log in cls.logs
            if log.exists()
        ]


class Up(Program):
    """A running `pharos up` on free ports."""

    def __init__(self, data_dir: Path, *words: str, **env: str) -> None:
        ports = ("--http-port", "0", "--grpc-port", "0")
        log = data_dir.with_name(f"{data_dir.name}.log")
        super().__init__((PHAROS, "up", "--data-dir", data_dir, *ports, *words), log, **env)
        self.data_dir = data_dir
        self.env_file = data_dir / "dev.env"

    def variables(self) -> dict[str, str]:
        """Waits until it is up; what its dev.env says then."""
        said = self.ready()
        assert Path(said["env"]) == self.env_file
        return read_env_file(self.env_file)

    def program(self, *words: str) -> Process:
        """The one process below it whose command line holds all these words."""
        [found] = [each for each in below(self.pid) if set(words) <= set(each.command)]
        return found

    def postmaster(self) -> Process:
        """The database server itself, which all sessions are children of."""
        pid_file = self.data_dir / "postgres/cluster/postmaster.pid"
        return Process.of(int(pid_file.read_text().split(maxsplit=1)[0]))
