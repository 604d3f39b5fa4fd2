"""What a measurement hands to the report, and how much it is to measure."""

from __future__ import annotations

import sys
from typing import Any

import msgspec


class Sizes(msgspec.Struct, frozen=True):
    """How much is measured. The defaults are those of `make bench`; QUICK only shows that everything works."""

    rounds: int = 5
    pushes: int = 20_000  # of a fast client in one round
    accepts: int = 10  # sends of each kind
    sends: int = 5  # of each kind, end to end
    recipients: int = 10_000  # of a send
    growth: int = 1_000_000  # deliveries, all queued before the first is delivered
    window: int = 100_000  # the first and the last of them that are compared
    singles: int = 300  # pushes, idle and behind bulk
    events: int = 100_000  # recipients whose status one subscriber is told
    subscribers: int = 100  # to one operation
    idle_subscribers: int = 1_000  # to an account where nothing happens
    idle_seconds: float = 30.0
    contended: int = 4_000  # sends to one recipient each, by one account and by one for each worker


QUICK = Sizes(
    rounds=1,
    pushes=1_000,
    accepts=2,
    sends=1,
    recipients=1_000,
    growth=8_000,
    window=2_000,
    singles=20,
    events=2_000,
    subscribers=10,
    idle_subscribers=20,
    idle_seconds=2.0,
    contended=200,
)


class Table(msgspec.Struct, frozen=True):
    """Rows of text under a title. Every column but the first holds numbers."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    notes: list[str] = []


class Figure(msgspec.Struct):
    """One measurement. ``ratios`` has every key it was to give; a key that is None has its reason."""

    ratios: dict[str, float | None]
    reasons: dict[str, str]
    raw: dict[str, Any]
    tables: list[Table]


def say(line: str) -> None:
    """Progress, beside the report."""
    print(line, file=sys.stderr, flush=True)
