"""A service under attack: raw connections to it, and what has to be as before when the attack is over."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from tests.acceptance.database import rows
from tests.acceptance.processes import Process
from tests.acceptance.stack import Stack
from tests.plain_http import TRUSTS_NOBODY

MIB = 1024 * 1024
_PATIENCE = 60.0


@dataclass(frozen=True)
class Answer:
    """One HTTP response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def document(self) -> Any:
        return json.loads(self.body)


class Wire:
    """One connection to a gateway, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer

    @classmethod
    @asynccontextmanager
    async def to(cls, url: str) -> AsyncIterator[Self]:
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            yield cls(reader, writer)
        finally:
            writer.transport.abort()

    async def send(self, *parts: bytes) -> None:
        """Returns early when the other side has closed."""
        with suppress(ConnectionError):
            for part in parts:
                self._writer.write(part)
                await self._writer.drain()

    def end(self) -> None:
        """Nothing more will be sent."""
        with suppress(OSError):
            self._writer.write_eof()

    async def answer(self) -> Answer | None:
        """The next response; None when the connection was closed without one."""
        async with asyncio.timeout(_PATIENCE):
            try:
                head = await self.reader.readuntil(b"\r\n\r\n")
                status, headers = _head(head)
                return Answer(status, headers, await self._body(headers))
            except (asyncio.IncompleteReadError, ConnectionError):
                return None

    async def _body(self, headers: Mapping[str, str]) -> bytes:
        if "content-length" in headers:
            return await self.reader.readexactly(int(headers["content-length"]))
        return await self.reader.read()


def _head(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    found = re.fullmatch(r"HTTP/1\.1 (\d{3}) .*", first)
    assert found, first
    return int(found[1]), {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}


def assert_refused(status: int, body: bytes, *allowed: int) -> list[dict[str, Any]]:
    """It is the documented error document, with one of these statuses; its errors."""
    document = json.loads(body)
    assert status in allowed, (status, str(document)[:1000])
    assert status == document["status"]
    assert 1 <= len(document["errors"]) <= 50
    for error in document["errors"]:
        assert error.keys() == {"code", "message", "infoUrl", "context"}
        assert error["code"] == (20001 if status == 400 else 20003 if status == 401 else 20000 + status)
    return list(document["errors"])


@contextmanager
def unharmed(stack: Stack, *, grows_at_most: int) -> Iterator[None]:
    """Around an attack: nothing was written, memory stayed within bounds, the same processes still serve."""
    before = _run(rows(stack.up))
    processes = [stack.up.program("gateway", "--grpc"), stack.up.program("server", "serve")]
    for process in processes:
        _forget_peak(process)
    resident = [_memory(process, "VmRSS") for process in processes]
    yield
    after = _run(rows(stack.up))
    assert not {table: after[table] - before[table] for table in before if after[table] > before[table]}
    assert all(process.runs for process in processes)
    grown = [_memory(process, "VmHWM") - was for process, was in zip(processes, resident, strict=True)]
    assert max(grown) <= grows_at_most, f"gateway and server grew by {[each // MIB for each in grown]} MiB"
    served = httpx.get(
        f"{stack.url}/v1/PushNotifications/Apps/test_app", auth=stack.auth, timeout=_PATIENCE, verify=TRUSTS_NOBODY
    )
    assert served.status_code == 200


def _run(work: Coroutine[Any, Any, dict[str, int]]) -> dict[str, int]:
    """Like asyncio.run, which would take away the loop that pytest-asyncio has set (3.11)."""
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(work)


def _memory(process: Process, name: str) -> int:
    """Bytes; see proc(5), /proc/pid/status."""
    found = re.search(rf"^{name}:\s+(\d+) kB$", Path(f"/proc/{process.pid}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) * 1024


def _forget_peak(process: Process) -> None:
    """Lets VmHWM begin anew (5, see proc(5), clear_refs)."""
    Path(f"/proc/{process.pid}/clear_refs").write_text("5")


def post(path: str, stack: Stack, *headers: str) -> bytes:
    """A request's head up to the blank line, with the account's credentials."""
    request = httpx.Request("POST", stack.url + path)
    [authorized] = [next(stack.auth.sync_auth_flow(request))]
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Authorization: {authorized.headers['Authorization']}", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


def chunks(size: int, piece: bytes) -> Iterable[bytes]:
    """A chunked body of that size without its end."""
    chunk = b"%x\r\n%b\r\n" % (len(piece), piece)
    return (chunk for _ in range(size // len(piece)))
