"""How many pushes a second a project takes, learned from its refusals: additive increase, multiplicative decrease."""

from __future__ import annotations

import math

SHARE_AFTER_REFUSAL = 0.5  # of what was sent a second before
REGAINED_A_SECOND = 0.05  # of the pace before the refusal: what was lost comes back in ten seconds
DOUBLED_IN = 10.0  # seconds, from there on: who was refused while there was little to send is not slow for ever
SLOWEST_SHARE = 0.005  # of the quota
SLOWEST = 1.0  # pushes a second, where there is no quota
BURST_SECONDS = 0.1  # an idle project may make up for so much at once
MEASURED_SECONDS = 0.5


class Pace:
    """The pace of one project, for all its credentials in this process. Times are seconds of the monotonic clock.

    ``quota`` is what the provider grants a second, None where it names nothing.
    """

    def __init__(self, quota: float | None = None) -> None:
        self._quota = math.inf if quota is None else quota
        self._slowest = SLOWEST if quota is None else max(quota * SLOWEST_SHARE, SLOWEST)
        self._before = self._base = self._quota  # before the last refusal, and at ``_since``, from where it grows
        self._since = 0.0
        self._next = 0.0  # when the next push may begin (virtual scheduling, ITU-T I.371)
        self._begun = 0
        self._measured_from = 0.0
        self._measured = 0.0

    def rate(self, now: float) -> float:
        """Return the pushes a second that may begin now."""
        if self._base == self._quota:
            return self._quota
        elapsed = max(now - self._since, 0.0)
        regained = self._base + REGAINED_A_SECOND * self._before * elapsed
        if regained > self._before:
            more = elapsed - (1 - SHARE_AFTER_REFUSAL) / REGAINED_A_SECOND
            regained = self._before * 2 ** min(more / DOUBLED_IN, 30.0)
        return min(self._quota, max(regained, self._base))

    def delay(self, now: float) -> float:
        """Return how long until the next push may begin: 0 for at once."""
        return max(self._next - now, 0.0)

    def begin(self, now: float) -> None:
        """Count a push that begins."""
        rate = self.rate(now)
        if rate < math.inf:
            self._next = max(self._next, now - BURST_SECONDS) + 1.0 / rate
        self._begun += 1
        elapsed = now - self._measured_from
        if elapsed >= MEASURED_SECONDS:
            self._measured = max(self._begun / elapsed, self._measured / 2)  # a pause does not make it slow
            self._measured_from, self._begun = now, 0

    def refuse(self, begun_at: float, now: float, until: float) -> None:
        """Slow down after the refusal of a push that began at ``begun_at``; the pace grows again from ``until`` on.

        Pushes that began before the last slowing say nothing new: a burst of refusals counts once.
        """
        if begun_at < self._since:
            return
        slowed = min(self.rate(now), max(self._measured, self._recent(now)))
        self._base = max(slowed * SHARE_AFTER_REFUSAL, self._slowest)
        self._before = self._base / SHARE_AFTER_REFUSAL
        self._since = until

    def _recent(self, now: float) -> float:
        """Return what was begun since the last measurement, a second."""
        return self._begun / max(now - self._measured_from, MEASURED_SECONDS)
