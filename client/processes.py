"""A program started as a child process: its ready line, its log lines, its end."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Self

Ready = dict[str, str]
Log = Callable[[str, str], None]  # a program's name, and one line of what it says

_READY = "ready "
_STDOUT, _STDERR = 1, 2
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class ProcessError(Exception):
    """A program did not come up, or failed."""


def die_with_parent() -> bool:
    """Has the kernel send this process SIGTERM when its parent ends; False if it has ended already. Linux only."""
    parent = os.getppid()
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    return os.getppid() == parent


class Child:
    """A running program. Made by `spawn`; whoever made it calls `stop`."""

    def __init__(self, name: str, transport: asyncio.SubprocessTransport, output: _Output, log: Log) -> None:
        self.name = name
        self._transport = transport
        self._output = output
        self._log = log

    @classmethod
    async def spawn(cls, name: str, argv: Sequence[str], log: Log, env: Mapping[str, str] | None = None) -> Self:
        """Starts the program in a session of its own: a Ctrl-C in the terminal is for the parent alone."""
        transport, output = await asyncio.get_running_loop().subprocess_exec(
            lambda: _Output(lambda line: log(name, line)),
            *argv,
            stdin=subprocess.DEVNULL,
            env=env,
            start_new_session=True,
        )
        return cls(name, transport, output, log)

    @property
    def pid(self) -> int:
        return self._transport.get_pid()

    async def ready(self, within: float) -> Ready:
        """What the program says in its `ready {json}` line. Raises ProcessError if it does not say so in time."""
        said, exited = self._output.ready, self._output.exited
        either: set[asyncio.Future[Ready] | asyncio.Future[None]] = {said, exited}
        await asyncio.wait(either, timeout=within, return_when=asyncio.FIRST_COMPLETED)
        if exited.done():
            raise ProcessError(f"{self.name} {ending(await self.ended())} before it was ready")
        if not said.done():
            raise ProcessError(f"{self.name} was not ready after {within:g} s")
        return said.result()

    async def ended(self) -> int:
        """Waits for the end; the exit code, negative for a signal."""
        await asyncio.shield(self._output.exited)
        # The last lines are still in the pipes, which programs that the child started may hold open for long.
        await asyncio.wait({self._output.closed}, timeout=1.0)
        self._transport.close()
        code = self._transport.get_returncode()
        return 0 if code is None else code

    async def stop(self, grace: float) -> None:
        """SIGTERM, and SIGKILL when the program is still there after `grace` seconds or the wait is canceled."""
        self._send(signal.SIGTERM)
        try:
            await asyncio.wait({self._output.exited}, timeout=grace)
        finally:
            if not self._output.exited.done():
                self._log(self.name, "did not stop in time and is killed")
                self.kill()
        await self.ended()

    def kill(self) -> None:
        """SIGKILL, without waiting."""
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        if not self._output.exited.done():
            self._transport.send_signal(number)


class _Output(asyncio.SubprocessProtocol):
    """Takes a child's output apart into its ready line and log lines."""

    def __init__(self, log: Callable[[str], None]) -> None:
        loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[Ready] = loop.create_future()
        self.exited: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self._log = log
        self._begun = {_STDOUT: b"", _STDERR: b""}

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        *lines, self._begun[fd] = (self._begun[fd] + data).split(b"\n")
        for line in lines:
            self._take(fd, line.decode("utf-8", "replace"))

    def process_exited(self) -> None:
        self.exited.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        for line in filter(None, self._begun.values()):
            self._log(line.decode("utf-8", "replace"))
        self.closed.set_result(None)

    def _take(self, fd: int, line: str) -> None:
        ready = None if self.ready.done() or fd != _STDOUT else _ready(line)
        if ready is None:
            self._log(line)
        else:
            self.ready.set_result(ready)


def _ready(line: str) -> Ready | None:
    """The values of a ready line; None for any other line."""
    if not line.startswith(_READY):
        return None
    try:
        values = json.loads(line.removeprefix(_READY))
    except ValueError:
        return None
    return values if isinstance(values, dict) else None


async def run_program(
    name: str, argv: Sequence[str], log: Log, env: Mapping[str, str] | None = None, *, within: float
) -> str:
    """Runs a program to its end and returns its stdout, which is not logged. Raises ProcessError if it fails."""
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(within):
            said, complained = await process.communicate()
    except TimeoutError:
        raise ProcessError(f"{name} took longer than {within:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    for line in complained.decode("utf-8", "replace").splitlines():
        log(name, line)
    if process.returncode:
        raise ProcessError(f"{name} {ending(process.returncode)}")
    return said.decode("utf-8", "replace")


def ending(code: int) -> str:
    """An exit code in words."""
    return f"ended with exit code {code}" if code >= 0 else f"was ended by {signal.Signals(-code).name}"
