"""The filters of LiquidJS 10.30, apart from those that take an expression as text (``where_exp`` and its kin).

A filter gets JSON values and answers one. Further arguments are dropped before the call, as JavaScript would.
https://liquidjs.com/filters/overview.html
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from server.rendering.filters import arrays, dates, encodings, mathematics, texts

FILTERS: dict[str, Callable[..., Any]] = {
    **mathematics.FILTERS,
    **texts.FILTERS,
    **encodings.FILTERS,
    **arrays.FILTERS,
    **dates.FILTERS,
}

VOLATILE = frozenset(dates.FILTERS) | {"sample"}
"""Filters that can answer something else the next time, though nothing in the template varies."""

STEPS = dict.fromkeys(dates.FILTERS, 200) | {"sample": 20, "json": 20, "jsonify": 20, "inspect": 20}
"""What a call costs beside its values, where that is more than a few microseconds."""

WEIGHTS = {"sort": 15, "sort_natural": 15, "strip_html": 8}
"""What an item or sixteen characters cost, in steps, where that is more than one."""
