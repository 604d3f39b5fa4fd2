"""How fast a project is sent to: by its quota, and by what its refusals teach."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from server.dispatch.pace import BURST_SECONDS, SLOWEST, Pace


def _begun_within(pace: Pace, start: float, seconds: float) -> int:
    """How many pushes begin when each begins as soon as it may."""
    now, begun = start, 0
    while now + pace.delay(now) < start + seconds:
        now += pace.delay(now)
        pace.begin(now)
        begun += 1
    return begun


def test_without_a_quota_and_a_refusal_nothing_waits() -> None:
    pace = Pace()
    for _ in range(1000):
        assert pace.delay(1.0) == 0
        pace.begin(1.0)
    assert pace.rate(1.0) == math.inf


def test_a_quota_is_kept_but_for_a_short_burst() -> None:
    pace = Pace(100.0)
    begun = _begun_within(pace, 1000.0, 10.0)
    assert 1000 <= begun <= 1000 + 100 * BURST_SECONDS + 1


def test_a_refusal_halves_what_was_sent_and_the_pace_comes_back_by_and_by() -> None:
    pace = Pace(1000.0)
    _begun_within(pace, 1000.0, 2.0)
    pace.refuse(1001.9, 1002.0, 1005.0)
    assert 400 <= pace.rate(1005.0) <= 600
    assert 650 <= pace.rate(1010.0) <= 850
    assert pace.rate(1100.0) == 1000.0
    assert 400 <= _begun_within(pace, 1005.0, 1.0) <= 620


def test_without_a_quota_the_pace_is_learned_from_what_was_sent() -> None:
    pace = Pace()
    now = 1000.0
    while now < 1003.0:
        pace.begin(now)
        now += 0.01
    pace.refuse(1002.9, 1003.0, 1003.0)
    assert 40 <= pace.rate(1003.0) <= 60


def test_who_was_refused_with_little_to_send_is_not_slow_for_ever() -> None:
    pace = Pace(10_000.0)
    pace.begin(1000.0)
    pace.refuse(1000.0, 1000.1, 1000.1)
    assert pace.rate(1000.1) == 50
    assert 90 <= pace.rate(1010.2) <= 110
    assert pace.rate(1100.0) == 10_000


def test_a_burst_of_refusals_counts_once() -> None:
    pace = Pace(1000.0)
    _begun_within(pace, 1000.0, 2.0)
    for _ in range(200):
        pace.refuse(1001.9, 1002.0, 1003.0)
    assert pace.rate(1003.0) >= 400


def test_refusals_of_what_was_sent_afterwards_slow_down_further() -> None:
    pace = Pace(1000.0)
    now = 1000.0
    for _ in range(30):
        _begun_within(pace, now, 1.0)
        pace.refuse(now + 0.9, now + 1.0, now + 1.0)
        now += 1.0
    assert pace.rate(now) <= 30


@given(st.lists(st.tuples(st.floats(0.001, 10.0), st.booleans()), max_size=60))
def test_the_pace_never_ends_and_never_exceeds_the_quota(course: list[tuple[float, bool]]) -> None:
    pace, now = Pace(500.0), 1000.0
    for seconds, refused in course:
        now += seconds + pace.delay(now)
        pace.begin(now)
        if refused:
            pace.refuse(now, now, now + 1.0)
        assert SLOWEST <= pace.rate(now) <= 500.0
        assert pace.delay(now) <= 1.0 + 1.0 / SLOWEST
