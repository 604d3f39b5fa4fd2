from __future__ import annotations

import pytest

from server.providers.http2.upkeep import Step, Timing, Upkeep

TIMING = Timing(ping=15, idle_ping=60, ping_answer=10, close=5)
IDLE = 300.0


@pytest.mark.parametrize(
    ("now", "busy", "step"),
    [
        (14, True, Step.NOTHING),
        (15, True, Step.PING),
        (15, False, Step.NOTHING),
        (60, False, Step.PING),
        (300, False, Step.CLOSE),
    ],
)
def test_silence_is_asked_about_and_idleness_ends(now: float, busy: bool, step: Step) -> None:  # noqa: FBT001 # a case
    assert Upkeep(0).step(now, TIMING, IDLE, busy=busy) is step


def test_a_peer_that_does_not_answer_is_dropped_and_one_that_says_anything_is_not() -> None:
    for answered, step in ((False, Step.ABORT), (True, Step.NOTHING)):
        upkeep = Upkeep(0)
        assert upkeep.step(20, TIMING, IDLE, busy=True) is Step.PING
        assert upkeep.step(25, TIMING, IDLE, busy=True) is Step.NOTHING
        if answered:
            upkeep.read_at = 26
        assert upkeep.step(30, TIMING, IDLE, busy=True) is step


def test_requests_put_off_the_end() -> None:
    upkeep = Upkeep(0)
    upkeep.read_at = 299
    assert upkeep.step(299, TIMING, IDLE, busy=True) is Step.NOTHING
    upkeep.read_at = 598
    assert upkeep.step(598, TIMING, IDLE, busy=False) is Step.NOTHING
    assert upkeep.step(599, TIMING, IDLE, busy=False) is Step.CLOSE


def test_a_close_that_the_peer_does_not_take_part_in_is_cut_short() -> None:
    upkeep = Upkeep(0)
    upkeep.closed_at = 100
    assert upkeep.step(104, TIMING, IDLE, busy=False) is Step.NOTHING
    assert upkeep.step(105, TIMING, IDLE, busy=False) is Step.ABORT
