"""Figures (d) and (e): a million queued, then delivered: does the last push cost what the first did? And memory."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tests.benchmarks import accounting, stack
from tests.benchmarks.accounting import difference
from tests.benchmarks.arithmetic import per_10k
from tests.benchmarks.figure import Figure, Sizes, Table, say
from tests.benchmarks.messages import Send
from tests.benchmarks.stack import Stack
from tests.benchmarks.target import Mark, Target

KEYS = ("growth_1m", "peak_memory_mib_1m")
_ROLES = ("gateway", "serve", "work", "postgres")
_OURS = ("gateway", "serve", "work")
_MILLION = 1_000_000  # the keys name it
_WITHIN = 3600.0
_AT_ONCE = 2  # sends being accepted


@dataclass
class Course:
    """``windows``: CPU seconds per 10,000 pushes by role, window by window, while the queue ran empty.

    ``queued`` and ``peak`` are MiB by role: when all was queued and no worker had run, and in the end.
    """

    windows: list[dict[str, float]]
    queued: dict[str, float]
    peak: dict[str, float]


async def measure(sizes: Sizes) -> Figure:
    """All sends are accepted before the workers start. The first send's pushes warm them up."""
    async with stack.running() as running:
        course = await _run(running, running.target, sizes)
    return _figure(course, sizes)


async def _run(running: Stack, nginx: Target, sizes: Sizes) -> Course:
    count = sizes.growth // sizes.recipients + 1
    sends = [Send("FCM", sizes.recipients, personalised=True, first=n * sizes.recipients) for n in range(count)]
    operations = await _accept_all(running, sends)
    queued = accounting.peak_mib(running.roles)
    mark = nginx.mark()
    await running.start_workers()
    windows = await _windows(running, nginx, mark, sizes)
    await running.delivered(operations, mark, sends)
    return Course(windows, queued, accounting.peak_mib(running.roles))


async def _accept_all(running: Stack, sends: Sequence[Send]) -> list[str]:
    operations: dict[int, str] = {}
    waiting = iter(enumerate(sends))

    async def accept_some() -> None:
        for number, send in waiting:
            operations[number] = await running.accept(send.rest_body())
            if number % 10 == 0:
                say(f"growth: {number} of {len(sends)} sends queued")

    await asyncio.gather(*(accept_some() for _ in range(_AT_ONCE)))
    return [operations[number] for number in range(len(sends))]


async def _windows(running: Stack, nginx: Target, mark: Mark, sizes: Sizes) -> list[dict[str, float]]:
    """The cost of each window of pushes, by what the target had got at its two ends."""
    windows = []
    await nginx.has_pushes(mark, sizes.recipients, _WITHIN)
    before, done = running.cpu(), nginx.pushes_since(mark)
    for number in range(1, sizes.growth // sizes.window + 1):
        await nginx.has_pushes(mark, sizes.recipients + number * sizes.window, _WITHIN)
        after, reached = running.cpu(), nginx.pushes_since(mark)
        spent = difference(after, before)
        windows.append({role: per_10k(spent[role], reached - done) for role in _ROLES})
        before, done = after, reached
        say(f"growth: {reached:,} delivered")
    return windows


def _figure(course: Course, sizes: Sizes) -> Figure:
    totals = [sum(window.values()) for window in course.windows]
    found = {KEYS[0]: totals[-1] / totals[0], KEYS[1]: max(course.peak[role] for role in _OURS)}
    full = sizes.growth == _MILLION
    ratios = {key: value if full else None for key, value in found.items()}
    reasons = {} if full else dict.fromkeys(KEYS, f"not measured: only {sizes.growth:,} deliveries")
    raw = {
        "found": found,
        "deliveries": sizes.growth,
        "window": sizes.window,
        "cpu_s_per_10k": course.windows,
        "peak_mib_queued": course.queued,
        "peak_mib": course.peak,
        "workers": stack.CORES,
    }
    return Figure(ratios, reasons, raw, [_growth_table(course.windows, totals, sizes), _memory_table(course, sizes)])


def _growth_table(windows: list[dict[str, float]], totals: list[float], sizes: Sizes) -> Table:
    rows = [
        [f"{number * sizes.window:,}", *(f"{window[role]:.3f}" for role in _ROLES), f"{total:.3f}"]
        for number, (window, total) in enumerate(zip(windows, totals, strict=True), 1)
    ]
    rows.append(
        [
            "median",
            *(f"{statistics.median(each[role] for each in windows):.3f}" for role in _ROLES),
            f"{statistics.median(totals):.3f}",
        ]
    )
    notes = [f"each row is the cost of the {sizes.window:,} deliveries up to its number; accept is not in it"]
    return Table(f"Growth over {sizes.growth:,} deliveries, CPU s / 10,000 pushes", ["", *_ROLES, "sum"], rows, notes)


def _memory_table(course: Course, sizes: Sizes) -> Table:
    rows = [
        [
            "all queued, no worker yet",
            *(f"{course.queued[role]:.0f}" if course.queued[role] else "" for role in _ROLES),
        ],
        ["all delivered", *(f"{course.peak[role]:.0f}" for role in _ROLES)],
    ]
    notes = ["the largest single process of each; PostgreSQL's contain what it shares (128 MB of buffers)"]
    return Table(f"Peak memory (VmHWM), {sizes.growth:,} queued, MiB", ["", *_ROLES], rows, notes)
