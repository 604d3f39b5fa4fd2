"""When a push is tried again."""

from __future__ import annotations

import random
from datetime import timedelta

FIRST_DELAY = 2.0  # seconds, at most, after the first try
LONGEST_DELAY = 600.0
LONGEST_RETRY_AFTER = 3600.0
HORIZON = timedelta(hours=24)
SHORTEST_LIFE = timedelta(seconds=30)


def backoff(attempts: int, retry_after: float | None = None) -> timedelta:
    """Return how long to wait after ``attempts`` tries: full jitter, and never before ``retry_after`` seconds.

    Anything up to a ceiling that doubles with each try, which spreads load best
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/). Of a provider's Retry-After, which is a
    lower bound, up to an hour is believed, and a little is added so that not everybody comes back at once.
    """
    ceiling = min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(max(attempts, 1) - 1, 16))
    floor = min(retry_after or 0.0, LONGEST_RETRY_AFTER) * random.uniform(1.0, 1.1)  # noqa: S311 # spreads load
    return timedelta(seconds=max(random.uniform(0.0, ceiling), floor))  # noqa: S311 # spreads load


def lifetime(ttl: int | None, horizon: timedelta = HORIZON) -> timedelta:
    """Return how long after its due time a push may be tried: min(ttl, horizon), but long enough for a first try.

    A ``ttl`` of 0 means at once or never: the provider is told so, while our own queue gets a moment to pass it on.
    """
    if ttl is None:
        return horizon
    return min(max(timedelta(seconds=ttl), SHORTEST_LIFE), horizon)
