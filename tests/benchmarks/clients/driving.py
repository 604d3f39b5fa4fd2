"""What every client of the connection figure shares: the job it is given, the pushes, and how it accounts for them.

A client is a program of its own: ``python -m tests.benchmarks.clients.NAME JOB``, with a Job as JSON. It prints a
Report as JSON. The clock of its CPU starts when the first push was answered, so that nobody's imports and handshakes
are counted, and one push in the middle is malformed.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Literal, TypeVar

import msgspec

Mode = Literal["fcm", "apns"]
Message = TypeVar("Message")
Sends = Callable[[Message], Awaitable[bool]]
"""Sends one, and says whether the provider accepted it. Raises when there was no answer."""


class Job(msgspec.Struct, frozen=True):
    """``authorization`` is the header's value. Clients that sign for themselves use the files instead.

    ``malformed_path``: where the malformed push goes when the target can't tell by its body, in mode fcm.
    """

    url: str
    ca_file: str
    mode: Mode
    path: str
    authorization: str
    topic: str
    pushes: int
    in_flight: int
    fcm_key_file: str = ""
    apns_p8_file: str = ""
    malformed_path: str = ""
    like_pharos: bool = False  # with the texts of the end-to-end figure
    loop: Literal["asyncio", "uvloop"] = "asyncio"

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


class Report(msgspec.Struct, frozen=True):
    """``cpu`` seconds of ``timed`` pushes; what became of all of them, the first one included."""

    cpu: float
    timed: int
    accepted: int
    rejected: int
    failed: int
    wall: float = 0.0


def device_tokens(pushes: int) -> Iterator[str]:
    """APNs device tokens, each another; the malformed one in the middle is no hexadecimal."""
    for number in range(pushes):
        yield f"{number:064x}" if number != pushes // 2 else "zz"


def fcm_tokens(pushes: int) -> Iterator[str]:
    """FCM registration tokens; for the one in the middle there is no such device."""
    for number in range(pushes):
        yield f"live-{number:08}:APA91b{'t' * 100}" if number != pushes // 2 else "invalid"


def bodies(job: Job) -> list[bytes]:
    """JSON of 293 bytes, each another. In mode fcm the one in the middle is cut off."""
    if job.mode == "apns":
        return [_padded(b'{"aps":{"alert":{"title":"Hello","body":"Number %08d%b"}}}', n) for n in range(job.pushes)]
    form = (
        b'{"message":{"token":"live-%%08d:APA91b%b","notification":{"title":"Hello","body":"Your order is on its way"},'
        b'"data":{"n":"%%b"}}}' % (b"t" * 100)
    )
    made = [_padded(form, number) for number in range(job.pushes)]
    made[job.pushes // 2] = b'{"message":'
    return made


def paths(job: Job) -> list[str]:
    """One for all in mode fcm, the device's in mode apns."""
    if job.mode == "fcm":
        made = [job.path] * job.pushes
        made[job.pushes // 2] = job.malformed_path or job.path
        return made
    return [f"/3/device/{token}" for token in device_tokens(job.pushes)]


def shared_headers(job: Job) -> list[tuple[str, str]]:
    """Those that all pushes have."""
    headers = [("authorization", job.authorization)]
    if job.mode == "fcm":
        return [*headers, ("content-type", "application/json")]
    return [*headers, ("apns-topic", job.topic), ("apns-push-type", "alert"), ("apns-priority", "10")]


def own_headers(job: Job) -> list[list[tuple[str, str]]]:
    """Those that differ from push to push."""
    if job.mode == "fcm":
        return [[] for _ in range(job.pushes)]
    return [[("apns-id", str(uuid.uuid4()))] for _ in range(job.pushes)]


def main(client: Callable[[Job], AbstractAsyncContextManager[tuple[Sequence[Message], Sends[Message]]]]) -> None:
    """Run a client, which gives its messages, made beforehand, and what sends one of them."""
    job = msgspec.json.decode(sys.argv[1], type=Job)
    with asyncio.Runner(loop_factory=_loop_factory(job)) as runner:
        report = runner.run(_drive(client, job))
    print(msgspec.json.encode(report).decode())


def cpu_seconds() -> float:
    """Of this process, all its threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def _drive(
    client: Callable[[Job], AbstractAsyncContextManager[tuple[Sequence[Message], Sends[Message]]]], job: Job
) -> Report:
    async with client(job) as (messages, sends):
        answers = [await _answer(sends, messages[0])]
        waiting = iter(messages[1:])

        async def send_some() -> None:
            for message in waiting:
                answers.append(await _answer(sends, message))  # noqa: PERF401 - the tasks share the iterator

        before, began = cpu_seconds(), time.monotonic()
        async with asyncio.TaskGroup() as group:
            for _ in range(job.in_flight):
                group.create_task(send_some())
        used, wall = cpu_seconds() - before, time.monotonic() - began
    accepted, rejected, failed = (answers.count(kind) for kind in (True, False, None))
    return Report(used, len(answers) - 1, accepted, rejected, failed, wall)


async def _answer(sends: Sends[Message], message: Message) -> bool | None:
    """None where no answer came: a client's own exceptions are as many as there are clients."""
    try:
        return await sends(message)
    except Exception as error:  # noqa: BLE001 - see above; the report counts them, and any makes the bench fail
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return None


def _padded(form: bytes, number: int) -> bytes:
    bare = len(form % (number, b""))
    return form % (number, b"x" * (293 - bare))


def _loop_factory(job: Job) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if job.loop == "asyncio":
        return None
    import uvloop  # noqa: PLC0415 - only for who asks for it

    return uvloop.new_event_loop


Client = AsyncIterator[tuple[Sequence[Message], Sends[Message]]]
