"""The outside programs that Pharos is measured against, and how they are run and ended."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import metadata
from pathlib import Path

from client.processes import Child
from server.localpg.identity import Identity

_UP_WITHIN = 10.0
_STOP_WITHIN = 10.0
_POLL = 0.02

PACKAGES = {"h2load": "nghttp2-client", "nghttpd": "nghttp2-server", "nginx": "nginx-light"}
_FOLDERS = (*os.environ.get("PATH", "").split(os.pathsep), "/usr/sbin", "/sbin")  # a user's PATH often lacks these
_LIBRARIES = ("httpx", "aioapns", "firebase-admin", "h2", "grpcio", "protobuf", "asyncpg", "uvloop", "python-liquid")


class NotMeasuredError(Exception):
    """A figure can't be had here; the text says why."""


def find(program: str) -> Path:
    """Where the program is. Raises NotMeasuredError with the Debian package that has it."""
    found = shutil.which(program, path=os.pathsep.join(_FOLDERS))
    if found is None:
        raise NotMeasuredError(f"{program} is not installed (Debian: {PACKAGES[program]})")
    return Path(found)


def require_library(distribution: str) -> None:
    """Raises NotMeasuredError when a Python library is missing."""
    if _version(distribution) is None:
        raise NotMeasuredError(f"{distribution} is not installed (`make bench` installs it)")


def versions() -> dict[str, str | None]:
    """Of every program and library that takes part; None for what is missing."""
    return {name: _program_version(name) for name in PACKAGES} | {name: _version(name) for name in _LIBRARIES}


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@asynccontextmanager
async def serving(name: str, port: int, program: Path, *arguments: str) -> AsyncIterator[int]:
    """An outside server that listens on ``port`` while this lasts; its process id. It ends with us in any case."""
    argv = Identity("this user").command(program, *arguments)
    said: list[str] = []
    child = await Child.spawn(name, argv, lambda _, line: said.append(line))
    try:
        await _listening(child, port, said)
        yield child.pid
    finally:
        await child.stop(_STOP_WITHIN)


async def _listening(child: Child, port: int, said: list[str]) -> None:
    """These servers say nothing when they are up, so that connecting is the only question to ask."""
    ended = asyncio.create_task(child.ended())
    try:
        async with asyncio.timeout(_UP_WITHIN):
            while not _takes_connections(port):
                if (await asyncio.wait({ended}, timeout=_POLL))[0]:
                    raise NotMeasuredError(f"{child.name} did not start: {' '.join(said)[-500:]}")
    except TimeoutError:
        raise NotMeasuredError(f"{child.name} did not listen within {_UP_WITHIN:g} s") from None
    finally:
        ended.cancel()


def _takes_connections(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _program_version(program: str) -> str | None:
    try:
        path = find(program)
    except NotMeasuredError:
        return None
    flag = "-v" if program == "nginx" else "--version"
    said = subprocess.run([path, flag], capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+(\.\d+)?", said.stdout + said.stderr)
    return found.group() if found else None
