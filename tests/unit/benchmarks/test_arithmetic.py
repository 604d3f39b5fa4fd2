from __future__ import annotations

import pytest

from tests.benchmarks.accounting import difference
from tests.benchmarks.arithmetic import median_ratio, per_10k, percentile


def test_seconds_are_told_for_10_000_pushes() -> None:
    assert per_10k(0.3, 20_000) == pytest.approx(0.15)


def test_a_ratio_is_the_median_of_the_rounds_ratios_and_not_the_ratio_of_the_medians() -> None:
    ours, theirs = [1.0, 2.0, 30.0], [1.0, 4.0, 10.0]
    assert median_ratio(ours, theirs) == 1.0


def test_a_ratio_needs_both_sides_of_every_round() -> None:
    with pytest.raises(ValueError, match="zip"):
        median_ratio([1.0, 2.0], [1.0])


@pytest.mark.parametrize(("share", "value"), [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0), (0.0, 1.0)])
def test_a_percentile_is_a_value_that_was_measured(share: float, value: float) -> None:
    assert percentile([float(number) for number in range(100, 0, -1)], share) == value


def test_p99_of_few_values_is_the_largest() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.99) == 3.0


def test_there_is_no_percentile_of_nothing() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_a_role_that_came_later_began_at_zero() -> None:
    assert difference({"serve": 3.0, "work": 1.0}, {"serve": 2.5}) == {"serve": 0.5, "work": 1.0}
