"""When a push is tried again, and until when."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.domain.retry import FIRST_DELAY, LONGEST_DELAY, backoff, lifetime


@given(st.integers(min_value=0, max_value=10_000), st.floats(min_value=0, max_value=3600))
def test_i11_the_wait_is_never_shorter_than_the_provider_asked_for(attempts: int, retry_after: float) -> None:
    assert backoff(attempts, retry_after) >= timedelta(seconds=retry_after)


@given(st.integers(min_value=0, max_value=10_000))
def test_the_wait_is_anything_up_to_a_ceiling_that_doubles(attempts: int) -> None:
    ceiling = min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(max(attempts - 1, 0), 64))
    waits = [backoff(attempts).total_seconds() for _ in range(200)]
    assert 0 <= min(waits) < ceiling / 4
    assert ceiling * 3 / 4 < max(waits) <= ceiling


def test_who_was_told_to_wait_as_long_does_not_come_back_at_the_same_moment() -> None:
    waits = {backoff(1, 60.0) for _ in range(20)}
    assert len(waits) > 10
    assert max(waits) <= timedelta(seconds=66)


def test_of_a_retry_after_an_hour_is_believed() -> None:
    assert timedelta(hours=1) <= backoff(1, 1e9) <= timedelta(hours=1.1)


@pytest.mark.parametrize(
    ("ttl", "seconds"), [(None, 86_400), (0, 30), (29, 30), (31, 31), (86_400, 86_400), (2_419_200, 86_400)]
)
def test_retrying_ends_with_the_ttl_but_leaves_the_queue_a_moment_and_goes_on_for_a_day_at_most(
    ttl: int | None, seconds: int
) -> None:
    assert lifetime(ttl) == timedelta(seconds=seconds)
