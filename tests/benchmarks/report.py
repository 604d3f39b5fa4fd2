"""The report of a run: as JSON in docs/benchmarks/, as a page in docs/benchmarks.md, and on the screen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from tests.benchmarks.figure import Figure, Sizes, Table

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "benchmarks"
PAGE = ROOT / "docs" / "benchmarks.md"
BY_HAND = "<!-- From here on by hand: `make bench` keeps it. -->"

# What each key of `ratios` says, and the most that it may be.
TARGETS: dict[str, tuple[str, float | None]] = {
    "connection_vs_h2load": ("bare connection, CPU per push, x h2load, on nginx", 1.5),
    "connection_vs_h2load_nghttpd": ("the same on nghttpd", 3.0),
    "connection_vs_h2load_apns": ("the same on nginx, with APNs' headers and paths", None),
    "connection_vs_aioapns": ("bare connection, CPU per push, x aioapns", 0.1),
    "connection_vs_httpx": ("bare connection, CPU per push, x httpx", 0.02),
    "connection_vs_firebase_admin": ("bare connection, CPU per push, x firebase-admin", None),
    "end_to_end_cpu_s_per_10k": ("end to end, everything of ours and PostgreSQL, CPU s / 10,000 pushes", 0.8),
    "end_to_end_vs_aioapns": ("end to end, x what aioapns alone needs for the same messages", 1 / 3),
    "accept_cpu_s_per_10k": ("accept of 10,000 recipients over REST, CPU s", 0.15),
    "accept_grpc_cpu_s_per_10k": ("accept of 10,000 recipients over gRPC, CPU s", None),
    "growth_1m": ("the last 100,000 of 1,000,000 deliveries, CPU per push, x the first", 1.15),
    "peak_memory_mib_1m": ("peak memory of the largest process of ours, 1,000,000 queued, MiB", 200.0),
    "single_push_p99_behind_bulk": ("single push behind four bulk sends, accept to provider, p99, x idle", 5.0),
    "stream_cpu_us_per_event": ("status stream, one subscriber, the server's CPU per event, us", 10.0),
    "stream_fan_out": ("100 subscribers to one operation, the server's CPU, x serialising each message for each", 2.5),
    "stream_p99_ms": ("provider's answer to subscriber, idle, p99, ms", 250.0),
    "stream_idle_mib": ("1,000 idle subscribers, the server's memory, MiB", 150.0),
    "feed_lock": ("sends to one recipient, 8 workers: time with one account, x time with 8 accounts", 2.0),
}


class Section(msgspec.Struct):
    """One figure as it was measured. ``load`` is the machine's one-minute load before and after."""

    taken: str
    commit: str | None
    seconds: float
    load: tuple[float, float]
    sizes: Sizes
    figure: Figure


class Report(msgspec.Struct):
    """Everything. ``ratios`` has every key; one that is None has its reason."""

    date: str
    machine: dict[str, Any]
    versions: dict[str, str | None]
    ratios: dict[str, float | None]
    reasons: dict[str, str]
    targets: dict[str, float]
    figures: dict[str, Section]


def report(date: str, machine: dict[str, Any], versions: dict[str, str | None], figures: dict[str, Section]) -> Report:
    """Brings the figures together. What no figure gave was not run."""
    ratios: dict[str, float | None] = dict.fromkeys(TARGETS)
    reasons: dict[str, str] = {}
    for section in figures.values():
        ratios |= section.figure.ratios
        reasons |= section.figure.reasons
    reasons |= {key: "not measured: not run" for key, value in ratios.items() if value is None and key not in reasons}
    limits = {key: limit for key, (_, limit) in TARGETS.items() if limit is not None}
    return Report(date, machine, versions, ratios, reasons, limits, figures)


def save(made: Report) -> Path:
    """Write the JSON and the page; returns the former's path."""
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{made.date}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(rounded(msgspec.to_builtins(made))), indent=1) + b"\n")
    kept = PAGE.read_text().partition(BY_HAND)[2] if PAGE.exists() else "\n"
    PAGE.write_text(f"{page(made)}\n{BY_HAND}{kept}")
    return path


def load(date: str) -> Report | None:
    """The saved report of a day."""
    path = FOLDER / f"{date}.json"
    return msgspec.json.decode(path.read_bytes(), type=Report) if path.exists() else None


def page(made: Report) -> str:
    """The report as Markdown."""
    parts = [_INTRODUCTION, _machine(made), f"## Targets\n{_targets(made)}", _METHOD]
    for name, section in made.figures.items():
        parts.append(f"## {name.capitalize()}\n{_taken(section)}\n")
        parts.extend(_table(table) for table in section.figure.tables)
    return "\n".join(parts)


def verdict(value: float | None, limit: float | None) -> str:
    """How a value stands to its target."""
    if value is None:
        return "not measured"
    if limit is None:
        return ""
    return "reached" if value <= limit else "**missed**"


def rounded(value: Any) -> Any:
    """Floats with five digits: more than any of them means."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, Mapping):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return value


def _targets(made: Report) -> str:
    rows = []
    for key, (text, limit) in TARGETS.items():
        value = made.ratios[key]
        shown = made.reasons.get(key, "") if value is None else f"{value:.3g}"
        rows.append([text, f"`{key}`", "" if limit is None else f"{limit:.3g}", shown, verdict(value, limit)])
    return _rows(["figure", "key", "at most", "measured", ""], rows)


def _machine(made: Report) -> str:
    facts = {**made.machine, **{name: version or "not installed" for name, version in made.versions.items()}}
    return f"Taken on {made.date}. " + ", ".join(f"{name}: {value}" for name, value in facts.items()) + ".\n"


def _taken(section: Section) -> str:
    before, after = section.load
    commit = f" at commit {section.commit}" if section.commit else ""
    sizes = ", ".join(f"{name} {value:,}" for name, value in msgspec.to_builtins(section.sizes).items())
    return (
        f"Taken {section.taken}{commit} in {section.seconds:.0f} s; load before {before:.1f}, after {after:.1f}. "
        f"Sizes: {sizes}."
    )


def _table(table: Table) -> str:
    notes = "".join(f"- {note}\n" for note in table.notes)
    return f"### {table.title}\n{_rows(table.columns, table.rows)}\n{notes}"


def _rows(columns: list[str], rows: Iterable[list[str]]) -> str:
    """A Markdown table whose columns are as wide as they have to be: it is read on the screen too."""
    lines = [columns, *rows]
    widths = [max(len(line[at]) for line in lines) for at in range(len(columns))]
    rule = ["-" * width for width in widths]
    padded = [
        [cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in (columns, rule, *lines[1:])
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in padded)


_INTRODUCTION = """\
# What a push costs
Written by `make bench`, with all figures in docs/benchmarks/ as JSON. CPU seconds are what counts; they differ from
machine to machine, so that beside each stands what an outside program needed in the same run.
"""

_METHOD = """\
## How it is measured
- CPU: user and system time of a process and all its descendants, from the kernel's clocks. A client's counts from its
  first answer on, so that nobody's imports and handshakes are in it; h2load's start is measured apart and taken off.
- Everything runs on this one machine, over TLS on the loopback interface. Clients and kinds of sends take turns in
  rounds; a ratio is the median of the rounds' ratios, so that noise meets both sides of it.
- The target is nginx, which answers as FCM and APNs do, each answer another, and logs every push. Each client's run and
  each send has one malformed push in it. The bench fails unless the target refused exactly that one and counted exactly
  what the client or the operation claims. nginx can't read JSON: it tells by lengths and paths. So before it is
  measured, each client is judged in the same way by the strict sandbox and its ledger.
- PostgreSQL is Pharos' embedded one with its durable settings; the workers are as many as the cores.
- What is not installed is not measured, and the table says so. `pharos bench profile` shows where a worker's time goes.
"""
