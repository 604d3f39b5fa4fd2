"""When a connection has been silent or idle for too long."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


@dataclass(frozen=True, slots=True)
class Timing:
    """In seconds.

    ``connect`` includes the peer's SETTINGS. ``ping`` and ``idle_ping`` are how long the peer may be silent, with and
    without open requests, until it is asked whether it is there, and ``ping_answer`` how long that may take.
    ``close`` is how long a close may take to be clean.
    """

    connect: float = 10.0
    ping: float = 15.0
    idle_ping: float = 60.0
    ping_answer: float = 10.0
    close: float = 5.0


class Step(Enum):
    """What to do with a connection."""

    NOTHING = auto()
    PING = auto()
    CLOSE = auto()
    ABORT = auto()


class Upkeep:
    """The times of one connection; all are event loop time."""

    def __init__(self, now: float) -> None:
        self.read_at = now
        self.closed_at: float | None = None
        self._used_at = now
        self._pinged_at = now

    def step(self, now: float, timing: Timing, idle: float, *, busy: bool) -> Step:
        """What is due. ``busy``: there are requests, or were since the last call; ``idle`` is how long not, at most."""
        if busy:
            self._used_at = now
        if self.closed_at is not None:
            return Step.ABORT if now - self.closed_at >= timing.close else Step.NOTHING
        if self._pinged_at > self.read_at:
            return Step.ABORT if now - self._pinged_at >= timing.ping_answer else Step.NOTHING
        if now - self._used_at >= idle:
            return Step.CLOSE
        if now - self.read_at < (timing.ping if busy else timing.idle_ping):
            return Step.NOTHING
        self._pinged_at = now
        return Step.PING
