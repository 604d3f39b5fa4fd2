"""Starts the clients, each as a process of its own, and reads their reports."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tests.benchmarks import programs
from tests.benchmarks.clients import driving
from tests.benchmarks.clients.driving import Job, Mode, Report

_PATIENCE = 600.0
_STATUSES = re.compile(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx")


class ClientError(Exception):
    """A client failed as a program."""


@dataclass(frozen=True)
class Client:
    """``share`` of the pushes of a fast client that this one gets, so that slow ones don't take all the time."""

    name: str
    modes: tuple[Mode, ...]
    run: Callable[[Job], Report]
    share: float = 1.0
    in_flight: int = 500
    note: str = ""
    repeats: bool = False  # sends one push again and again
    patient: bool = True  # waits for the peer's settings before it opens more than one stream, as APNs wants it


def python_client(module: str, *required: str, loop: str = "asyncio") -> Callable[[Job], Report]:
    """A client written in Python, from this package."""

    def run(job: Job) -> Report:
        for distribution in required:
            programs.require_library(distribution)
        changed = msgspec.structs.replace(job, loop=loop)
        argv = [sys.executable, "-m", f"tests.benchmarks.clients.{module}", msgspec.json.encode(changed).decode()]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=_PATIENCE)
        if done.returncode:
            raise ClientError(f"{module}: {done.stderr.strip()[-2000:]}")
        if done.stderr:
            sys.stderr.write(done.stderr[-2000:])
        return msgspec.json.decode(done.stdout, type=Report)

    return run


def h2load(job: Job) -> Report:
    """nghttp2's load generator. Its start, measured with one push, is taken off, as it is for everybody.

    It sends one body again and again, and the malformed push by itself.
    """
    program = programs.find("h2load")
    with tempfile.TemporaryDirectory(prefix="pharos-h2load-") as folder:
        first = _h2load(program, job, Path(folder), 0, 1)
        many = _h2load(program, job, Path(folder), 0, job.pushes - 2)
        malformed = _h2load(program, job, Path(folder), job.pushes // 2, 1)
    accepted, rejected = first[1] + many[1] + malformed[1], first[2] + many[2] + malformed[2]
    failed = job.pushes - accepted - rejected
    return Report(many[0] - first[0], job.pushes - 3, accepted, rejected, failed)


def _h2load(program: Path, job: Job, folder: Path, number: int, pushes: int) -> tuple[float, int, int]:
    """CPU seconds, and how many were accepted and rejected."""
    (folder / "body").write_bytes(driving.bodies(job)[number])
    # All paths but the malformed one's, or that one alone.
    found = driving.paths(job)
    chosen = [found[number]] if number else [path for at, path in enumerate(found) if at != job.pushes // 2]
    (folder / "uris").write_text(
        "".join(f"{job.url}{path}\n" for path in (chosen if job.mode == "apns" else chosen[:1]))
    )
    headers = [*driving.shared_headers(job), *driving.own_headers(job)[0]]
    argv = [str(program), "-n", str(pushes), "-c", "1", "-m", str(min(job.in_flight, pushes)), "-t", "1"]
    argv += ["-i", str(folder / "uris"), "-d", str(folder / "body")]
    argv += [word for name, value in headers for word in ("-H", f"{name}: {value}")]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    counts = _STATUSES.search(said)
    if process.returncode or counts is None:
        raise ClientError(f"h2load: {said[-2000:]}")
    accepted, *rest = map(int, counts.groups())
    return usage.ru_utime + usage.ru_stime, accepted, sum(rest)


OWN = Client("pharos", ("fcm", "apns"), python_client("own", loop="uvloop"), note="on uvloop, as the worker runs")
CLIENTS = (
    OWN,
    Client("pharos, asyncio", ("fcm", "apns"), python_client("own")),
    Client(
        "h2load", ("fcm", "apns"), h2load, note="one body and one set of headers for all", repeats=True, patient=False
    ),
    Client("aioapns", ("apns",), python_client("aioapns_client", "aioapns"), share=0.25),
    Client(
        "httpx",
        ("fcm",),
        python_client("httpx_client", "httpx"),
        share=0.1,
        in_flight=100,
        note="100 in flight, where it is best",
    ),
    Client("firebase-admin", ("fcm",), python_client("firebase_client", "firebase-admin"), share=0.1),
)


async def run(client: Client, job: Job) -> Report:
    """The client's report. Raises NotMeasuredError and ClientError."""
    return await asyncio.to_thread(client.run, job)
