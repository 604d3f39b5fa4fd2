"""Figure (a): what a push costs its client, bare: our transport and everybody else's against the same target."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from sandbox.identity import APNS_TOPIC
from tests.benchmarks import judging, nghttpd, target
from tests.benchmarks.arithmetic import median_ratio, per_10k
from tests.benchmarks.clients import starting
from tests.benchmarks.clients.driving import Job, Mode, Report
from tests.benchmarks.clients.starting import CLIENTS, OWN, Client, ClientError
from tests.benchmarks.figure import Figure, Sizes, Table, say
from tests.benchmarks.programs import NotMeasuredError
from tests.benchmarks.target import FCM_PATH, Count, Target

_STREAMS = 1_000
_BEARER = "Bearer ya29." + "c" * 200
_UNCOUNTED = "nghttpd, fcm"
_ON_NGINX_ONLY = ("httpx", "firebase-admin", "pharos, asyncio")

# Key in the report: our client, theirs, and the course on which both were measured.
RATIOS = {
    "connection_vs_h2load": ("pharos", "h2load", "nginx, fcm"),
    "connection_vs_h2load_apns": ("pharos", "h2load", "nginx, apns"),
    "connection_vs_h2load_nghttpd": ("pharos", "h2load", _UNCOUNTED),
    "connection_vs_aioapns": ("pharos", "aioapns", "nginx, apns"),
    "connection_vs_httpx": ("pharos", "httpx", "nginx, fcm"),
    "connection_vs_firebase_admin": ("pharos", "firebase-admin", "nginx, fcm"),
}


@dataclass
class Course:
    """One target in one mode, and what each client came to on it. ``counts`` is None where the target can't count."""

    name: str
    job: Job
    mark: Callable[[], Any]
    counts: Callable[[Any], Count] | None
    costs: dict[str, list[float]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def runners(self) -> list[Client]:
        """Those that this course has, and that did not turn out to be missing."""
        return [each for each in CLIENTS if self.job.mode in each.modes and each.name not in self.missing]


async def measure(sizes: Sizes) -> Figure:
    """Rounds in which every client has its turn on every course."""
    with tempfile.TemporaryDirectory(prefix="pharos-bench-") as folder:
        judged = await _judge_all(Path(folder) / "sandbox")
        async with _courses(Path(folder), sizes) as (courses, absent):
            for course in courses:
                course.missing |= judged
            for number in range(sizes.rounds):
                say(f"connection: round {number + 1} of {sizes.rounds}")
                for course in courses:
                    await _round(course)
    return _figure(courses, absent, sizes)


async def _judge_all(folder: Path) -> dict[str, str]:
    """The clients that are not here, with the reason. Raises MismatchError for one that does not send right."""
    missing = {}
    async with judging.judge(folder) as judge:
        for client in CLIENTS:
            try:
                for mode in client.modes:
                    await judge.judge(client, mode)
            except NotMeasuredError as error:
                missing[client.name] = str(error)
    return missing


async def _round(course: Course) -> None:
    for client in course.runners():
        job = _share(course.job, client)
        mark = course.mark()
        try:
            report = await starting.run(client, job)
        except (NotMeasuredError, ClientError) as error:
            if client is OWN:
                raise
            course.missing[client.name] = str(error)
            course.costs.pop(client.name, None)  # not of all rounds, so no part of any ratio
            continue
        _check(course, client, job, report, mark)
        course.costs.setdefault(client.name, []).append(per_10k(report.cpu, report.timed))


def _check(course: Course, client: Client, job: Job, report: Report, mark: Any) -> None:
    what = f"{client.name} ({course.name})"
    if course.counts is None:
        judging.check(what, job.pushes, report, job.pushes - 1, 1)
    else:
        judging.check(what, job.pushes, report, *course.counts(mark))


def _share(job: Job, client: Client) -> Job:
    pushes = max(int(job.pushes * client.share), 100)
    return msgspec.structs.replace(job, pushes=pushes, in_flight=client.in_flight)


@asynccontextmanager
async def _courses(folder: Path, sizes: Sizes) -> AsyncIterator[tuple[list[Course], dict[str, str]]]:
    """The courses that can be had, and why the others can't."""
    absent: dict[str, str] = {}
    async with AsyncExitStack() as stack:
        nginx = await stack.enter_async_context(target.running(folder / "nginx", fcm_streams=_STREAMS))
        courses = [
            Course("nginx, fcm", _job(nginx, "fcm", nginx.fcm_url, sizes), nginx.mark, nginx.counted_since),
            Course("nginx, apns", _job(nginx, "apns", nginx.apns_url, sizes), nginx.mark, nginx.counted_since),
        ]
        try:
            url = await stack.enter_async_context(nghttpd.running(folder / "nghttpd", nginx.credentials, _STREAMS))
            job = msgspec.structs.replace(_job(nginx, "fcm", url, sizes), malformed_path=nghttpd.ABSENT)
            courses.append(Course(_UNCOUNTED, job, lambda: None, None))
            courses[-1].missing |= dict.fromkeys(_ON_NGINX_ONLY, "measured against nginx only")
        except NotMeasuredError as error:
            absent[_UNCOUNTED] = str(error)
        yield courses, absent


def _job(nginx: Target, mode: Mode, url: str, sizes: Sizes) -> Job:
    credentials = nginx.credentials
    return Job(
        url=url,
        ca_file=str(credentials.ca_file),
        mode=mode,
        path=FCM_PATH,
        authorization=_BEARER if mode == "fcm" else "bearer " + judging.provider_token(credentials.apns_p8_file),
        topic=APNS_TOPIC,
        pushes=sizes.pushes,
        in_flight=0,
        fcm_key_file=str(credentials.fcm_key_file),
        apns_p8_file=str(credentials.apns_p8_file),
    )


def _figure(courses: list[Course], absent: dict[str, str], sizes: Sizes) -> Figure:
    figure = Figure({}, {}, {"rounds": sizes.rounds, "pushes": sizes.pushes}, [])
    for course in courses:
        figure.raw[course.name] = {"cpu_s_per_10k": course.costs, "not_measured": course.missing}
        figure.tables.append(_table(course))
    by_name = {course.name: course for course in courses}
    for key, (ours, theirs, name) in RATIOS.items():
        found = by_name.get(name)
        reason = absent[name] if found is None else found.missing.get(ours) or found.missing.get(theirs)
        figure.ratios[key] = None
        if reason is not None or found is None:
            figure.reasons[key] = f"not measured: {reason}"
        else:
            figure.ratios[key] = median_ratio(found.costs[ours], found.costs[theirs])
    return figure


def _table(course: Course) -> Table:
    measured = sorted(course.costs.items(), key=lambda item: statistics.median(item[1]))
    ours = course.costs.get("pharos")
    rows = [
        [
            name,
            f"{statistics.median(costs):.3f}",
            f"{min(costs):.3f}",
            f"{median_ratio(costs, ours):.2f}" if ours else "",
        ]
        for name, costs in measured
    ]
    notes = [f"{client.name}: {client.note}" for client in CLIENTS if client.note and client.name in course.costs]
    notes += [f"{name}: not measured: {reason}" for name, reason in course.missing.items()]
    if course.counts is None:
        notes.append("nghttpd keeps no count, so the clients' own counts stand alone here")
    return Table(f"Bare connection, {course.name}", ["client", "CPU s / 10,000", "best", "x pharos"], rows, notes)
