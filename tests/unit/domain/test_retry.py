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
def test_the_wait_doubles_up_to_its_longest_and_jitter_only_adds(attempts: int) -> None:
    least = min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(max(attempts - 1, 0), 64))
    assert timedelta(seconds=least) <= backoff(attempts) <= timedelta(seconds=least * 1.25)


def test_waits_are_spread() -> None:
    assert len({backoff(5) for _ in range(20)}) > 10


@pytest.mark.parametrize(
    ("ttl", "seconds"), [(None, 86_400), (0, 30), (29, 30), (31, 31), (86_400, 86_400), (2_419_200, 86_400)]
)
def test_retrying_ends_with_the_ttl_but_leaves_the_queue_a_moment_and_goes_on_for_a_day_at_most(
    ttl: int | None, seconds: int
) -> None:
    assert lifetime(ttl) == timedelta(seconds=seconds)
