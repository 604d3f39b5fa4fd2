"""``make bench``, ``pharos bench``: measures what Pharos costs, and prints one report."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec

from client.errors import PushError
from client.processes import ProcessError
from tests.benchmarks import (
    accept,
    connection,
    end_to_end,
    feed_lock,
    growth,
    latency,
    machine,
    profile,
    programs,
    report,
    stream,
)
from tests.benchmarks.clients.starting import ClientError
from tests.benchmarks.figure import QUICK, Figure, Sizes, say
from tests.benchmarks.judging import MismatchError
from tests.benchmarks.programs import NotMeasuredError
from tests.benchmarks.report import Section

Measure = Callable[[Sizes], Coroutine[Any, Any, Figure]]

# In the order of the report: what measures each figure, and the keys it answers for.
FIGURES: dict[str, tuple[Measure, Sequence[str]]] = {
    "connection": (connection.measure, tuple(connection.RATIOS)),
    "accept": (accept.measure, accept.KEYS),
    "end-to-end": (end_to_end.measure, end_to_end.KEYS),
    "latency": (latency.measure, latency.KEYS),
    "stream": (stream.measure, stream.KEYS),
    "feed-lock": (feed_lock.measure, feed_lock.KEYS),
    "growth": (growth.measure, growth.KEYS),
}
_PARTS, _PROFILE = "parts", "profile"
_FAILURES = (MismatchError, ClientError, ProcessError, PushError, httpx.HTTPError, TimeoutError)


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0 when every figure was measured and every count agreed; a missed target is said, and no failure."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.quick and options.save:
        parser.error("--quick measures nothing that is worth saving")
    sizes = QUICK if options.quick else Sizes()
    if options.growth:
        sizes = msgspec.structs.replace(sizes, growth=options.growth, window=min(sizes.window, options.growth // 2))
    chosen = options.figures or [*FIGURES, _PARTS]
    failed = _measure_all([name for name in FIGURES if name in chosen], sizes, save=options.save)
    if _PROFILE in chosen:
        print(asyncio.run(profile.profile(sizes)))
    if _PARTS in chosen:
        failed |= _run_parts()
    return int(failed)


def _measure_all(names: Sequence[str], sizes: Sizes, *, save: bool) -> bool:
    """Measure, print, and save after each figure, so that a long run that breaks off has not been for nothing."""
    failed = False
    date = datetime.now(UTC).date().isoformat()
    found: dict[str, Section] = {}
    for name in names:
        try:
            found[name] = _measure(name, sizes)
        except _FAILURES as error:
            failed = True
            say(f"{name}: failed: {error}\n" + "\n".join(getattr(error, "__notes__", ())))
            found[name] = _failed(name, sizes, f"failed: {error}")
            continue
        if save:
            path = report.save(_together(date, {name: found[name]}, earlier=report.load(date)))
            say(f"{name}: saved in {path.relative_to(report.ROOT)}")
    if found:
        if sizes.rounds == QUICK.rounds:
            print("QUICK: the numbers are too small for figures; this shows only that everything works.\n")
        print(report.page(_together(date, found, earlier=None)))
    return failed


def _measure(name: str, sizes: Sizes) -> Section:
    measure, _ = FIGURES[name]
    taken, began, before = datetime.now(UTC), time.monotonic(), os.getloadavg()[0]
    try:
        figure = asyncio.run(measure(sizes))
    except NotMeasuredError as error:
        figure = _nothing(name, str(error))
    load = (before, os.getloadavg()[0])
    took = time.monotonic() - began
    return Section(taken.isoformat(timespec="seconds"), machine.commit(), took, load, sizes, figure)


def _failed(name: str, sizes: Sizes, reason: str) -> Section:
    """What the printed report says of a figure that came to nothing. It is not saved."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Section(now, machine.commit(), 0.0, (0.0, 0.0), sizes, _nothing(name, reason))


def _nothing(name: str, reason: str) -> Figure:
    keys = FIGURES[name][1]
    return Figure(dict.fromkeys(keys), dict.fromkeys(keys, f"not measured: {reason}"), {}, [])


def _together(date: str, found: dict[str, Section], earlier: report.Report | None) -> report.Report:
    """The figures of this run; and those of an earlier run of the day, each of which says when it was taken."""
    figures = {**(earlier.figures if earlier else {}), **found}
    ordered = {name: figures[name] for name in FIGURES if name in figures}
    return report.report(date, machine.describe(), programs.versions(), ordered)


def _run_parts() -> bool:
    """Smaller measurements of single parts, each a program of its own."""
    failed = False
    for script in sorted(Path(__file__).parent.glob("bench_*.py")):
        print(f"== {script.stem.removeprefix('bench_').replace('_', ' ')}", flush=True)
        failed |= subprocess.run([sys.executable, str(script)], check=False).returncode != 0
        print(flush=True)
    return failed


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pharos bench", description="Measure what a push costs on this machine.")
    parser.add_argument(
        "figures",
        nargs="*",
        choices=[*FIGURES, _PARTS, _PROFILE, []],
        metavar="FIGURE",
        help=f"any of {', '.join(FIGURES)}, {_PARTS}, {_PROFILE}; all but the last when none is named",
    )
    parser.add_argument("--save", action="store_true", help="write docs/benchmarks/DATE.json and docs/benchmarks.md")
    parser.add_argument("--quick", action="store_true", help="small numbers: shows that it works, and measures nothing")
    parser.add_argument("--growth", type=int, metavar="N", help="deliveries of the figure growth, else 1,000,000")
    return parser


if __name__ == "__main__":
    # Ended like by Ctrl-C: what was started is stopped, what was written is removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    raise SystemExit(main())
