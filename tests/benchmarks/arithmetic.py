"""Medians, ratios and percentiles: all the arithmetic of the report in one place."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

PER = 10_000


def per_10k(seconds: float, pushes: int) -> float:
    """CPU seconds per 10,000 pushes."""
    return seconds / pushes * PER


def median_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> float:
    """The median of the rounds' ratios. Both were measured in the same rounds, so that noise meets both."""
    return statistics.median(one / other for one, other in zip(numerators, denominators, strict=True))


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` (0-1) of all values don't exceed (nearest rank)."""
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
