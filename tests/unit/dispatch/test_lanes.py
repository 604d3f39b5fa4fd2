"""Who may go when on the way to a provider, what closes it, for how long, and that the others stay open."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from server.dispatch import lanes as lanes_module
from server.dispatch import pace as pace_module
from server.dispatch.lanes import FAILURES_TO_REST, REFUSED_REST, UNDER_WAY, Lane, Lanes, Rest, Unwell
from server.domain.credentials import SealedCredential
from server.domain.outcomes import Accepted, CredentialRefused, NotSent, Outcome, Rejected, Scope, Throttled, Unknown
from server.domain.projects import Project
from server.domain.reasons import Reason
from tests.unit.dispatch.scripted import APN, FCM


@dataclass
class _Time:
    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now


@dataclass
class _Heard:
    news: list[tuple[SealedCredential, Unwell | None]] = field(default_factory=list)

    def __call__(self, credential: SealedCredential, unwell: Unwell | None) -> None:
        self.news.append((credential, unwell))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Time:
    clock = _Time()
    monkeypatch.setattr(lanes_module, "time", clock)
    monkeypatch.setattr(lanes_module, "JITTER", 0.0)
    return clock


@pytest.fixture
def lane(clock: _Time) -> Lane:  # noqa: ARG001 # set before
    return Lanes().of(FCM, None)


async def _entered(lane: Lane, *, urgent: bool = False) -> Rest | None:
    async with asyncio.timeout(5):
        return await lane.enter(urgent=urgent)


async def _turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def _had(lane: Lane, outcome: Outcome, clock: _Time) -> None:
    assert await _entered(lane) is None
    lane.leave(outcome, clock.now)


async def test_pushes_under_way_are_bounded_and_urgent_ones_go_first(lane: Lane) -> None:
    for _ in range(UNDER_WAY):
        assert await _entered(lane) is None
    order: list[str] = []

    async def wait(name: str, *, urgent: bool) -> None:
        await lane.enter(urgent=urgent)
        order.append(name)

    waiting = [asyncio.ensure_future(wait(name, urgent=name == "urgent")) for name in ("first", "second", "urgent")]
    await _turns()
    assert order == []
    for left in range(1, 4):
        lane.leave(Accepted("m"))
        await _turns()
        assert order == ["urgent", "first", "second"][:left]
    await asyncio.gather(*waiting)


async def test_a_push_that_is_given_up_keeps_no_room(lane: Lane) -> None:
    for _ in range(UNDER_WAY):
        await _entered(lane)
    given_up = [asyncio.ensure_future(lane.enter(urgent=False)) for _ in range(3)]
    await _turns()
    given_up[0].cancel()
    lane.leave(Accepted("m"))  # lets the second in
    given_up[1].cancel()  # before it knows
    await _turns()
    assert given_up[2].done()
    lane.leave(None)
    assert await _entered(lane) is None


@pytest.mark.parametrize(
    ("outcome", "seconds", "reason"),
    [
        (Throttled("429", 20.0), 20.0, Reason.EXPIRED),
        (Throttled("429", 1e9), 3600.0, Reason.EXPIRED),
        (CredentialRefused("401"), REFUSED_REST, Reason.CREDENTIAL_REJECTED),
    ],
)
async def test_i12_an_answer_about_the_credential_closes_its_lane_alone(
    clock: _Time, outcome: Outcome, seconds: float, reason: Reason
) -> None:
    lanes = Lanes()
    lane = lanes.of(FCM, None)
    await _had(lane, outcome, clock)
    assert lane.rest() == Rest(timedelta(seconds=seconds), reason)
    assert await _entered(lane) == lane.rest()
    assert await _entered(lanes.of(APN, None)) is None
    clock.now += seconds - 0.5
    assert lane.rest() is not None
    clock.now += 0.6
    assert lane.rest() is None


@pytest.mark.parametrize(
    "outcome",
    [
        Accepted("m"),
        Rejected(Reason.UNREGISTERED, "404"),
        NotSent("CONNECT"),
        Unknown("TIMEOUT"),
        Throttled("429", 60.0, Scope.DEVICE),
        Throttled("503"),
        CredentialRefused("THIRD_PARTY_AUTH_ERROR", Scope.DEVICE),
    ],
)
async def test_an_answer_about_one_device_closes_nothing(lane: Lane, clock: _Time, outcome: Outcome) -> None:
    await _had(lane, outcome, clock)
    assert lane.rest() is None


async def test_a_rotated_credential_is_not_the_refused_one(clock: _Time) -> None:
    lanes = Lanes()
    await _had(lanes.of(FCM, None), CredentialRefused("401"), clock)
    assert lanes.of(FCM, None).rest() is not None
    assert lanes.of(replace(FCM, version=2), None).rest() is None


async def test_a_close_sends_away_who_waits(lane: Lane, clock: _Time) -> None:
    for _ in range(UNDER_WAY):
        await _entered(lane)
    waiting = [asyncio.ensure_future(lane.enter(urgent=urgent)) for urgent in (True, False)]
    await _turns()
    lane.leave(Throttled("429", 20.0), clock.now)
    async with asyncio.timeout(5):
        assert await asyncio.gather(*waiting) == [Rest(timedelta(seconds=20), Reason.EXPIRED)] * 2


async def test_i11_a_shorter_rest_does_not_end_a_longer_one(lane: Lane, clock: _Time) -> None:
    assert await _entered(lane) is None
    assert await _entered(lane) is None
    lane.leave(Throttled("429", 60.0), clock.now)
    lane.leave(CredentialRefused("401"), clock.now)
    assert lane.rest() == Rest(timedelta(seconds=60), Reason.CREDENTIAL_REJECTED)  # new content ends it


async def test_after_a_rest_one_goes_first_and_the_others_follow_when_it_fared_well(lane: Lane, clock: _Time) -> None:
    await _had(lane, CredentialRefused("401"), clock)
    clock.now += REFUSED_REST + 1
    assert await _entered(lane) is None
    rest = await _entered(lane)
    assert rest is not None
    assert timedelta() < rest.left <= timedelta(seconds=2)
    lane.leave(Accepted("m"), clock.now)
    assert await _entered(lane) is None
    assert await _entered(lane) is None


async def test_a_credential_refused_again_and_again_rests_longer_and_longer(lane: Lane, clock: _Time) -> None:
    rests = []
    for _ in range(6):
        await _had(lane, CredentialRefused("401"), clock)
        rest = lane.rest()
        assert rest is not None
        rests.append(rest.left.total_seconds())
        clock.now += rests[-1] + 1
    assert rests == [30, 60, 120, 240, 300, 300]


async def test_refusals_of_pushes_that_were_under_way_count_once(lane: Lane, clock: _Time) -> None:
    begun_at = clock.now
    for _ in range(100):
        assert await _entered(lane) is None
    for _ in range(100):
        clock.now += 0.001
        lane.leave(CredentialRefused("401"), begun_at)
    rest = lane.rest()
    assert rest is not None
    assert rest.left <= timedelta(seconds=REFUSED_REST)


async def test_what_began_before_a_rest_does_not_end_it(lane: Lane, clock: _Time) -> None:
    begun_at = clock.now
    assert await _entered(lane) is None
    assert await _entered(lane) is None
    clock.now += 1
    lane.leave(CredentialRefused("401"), begun_at)
    lane.leave(Accepted("m"), begun_at)
    clock.now += REFUSED_REST + 1
    assert await _entered(lane) is None
    assert await _entered(lane) is not None  # one at a time


async def test_i12_a_provider_that_fails_every_push_rests_and_makes_room_for_others(lane: Lane, clock: _Time) -> None:
    for _ in range((FAILURES_TO_REST - 1) // 2):
        await _had(lane, Unknown("NO_ANSWER_IN_TIME"), clock)
        await _had(lane, Throttled("HTTP_503"), clock)
    await _had(lane, NotSent("CONNECT_FAILED"), clock)
    assert lane.rest() is None
    await _had(lane, NotSent("CONNECT_FAILED"), clock)
    rests = []
    for _ in range(8):
        rest = lane.rest()
        assert rest is not None
        rests.append(rest.left.total_seconds())
        clock.now += rests[-1] + 0.1
        await _had(lane, NotSent("CONNECT_FAILED"), clock)
    assert rests[:4] == [1, 2, 4, 8]
    assert max(rests) == REFUSED_REST


async def test_a_provider_that_fails_some_pushes_does_not_rest(lane: Lane, clock: _Time) -> None:
    for _ in range(10):
        for _ in range(FAILURES_TO_REST - 1):
            await _had(lane, Throttled("HTTP_503"), clock)
        await _had(lane, Accepted("m"), clock)
        assert lane.rest() is None


async def test_i12_a_project_that_is_refused_slows_its_credentials_and_closes_only_the_one_that_was(
    clock: _Time,
) -> None:
    lanes, project = Lanes(), Project("fcm/p", 1000.0)
    mine, other = lanes.of(FCM, project), lanes.of(replace(APN, version=7), project)
    for _ in range(200):
        await _had(mine, Accepted("m"), clock)
        clock.now += 0.01
    await _had(mine, Throttled("QUOTA_EXCEEDED", 30.0, Scope.PROJECT), clock)
    assert mine.rest() == Rest(timedelta(seconds=30), Reason.EXPIRED)
    assert other.rest() is None
    begun = 0
    started = clock.now
    while clock.now < started + 2:
        begun += other.enter_at_once()
        clock.now += 0.001
    assert 80 <= begun <= 120  # half of what was sent a second before


async def test_who_goes_ahead_after_a_rest_and_is_refused_does_not_slow_the_project(clock: _Time) -> None:
    lane = Lanes().of(FCM, Project("fcm/p", 10_000.0))
    for _ in range(200):
        await _had(lane, Accepted("m"), clock)
        clock.now += 0.005
    for _ in range(6):
        await _had(lane, Throttled("QUOTA_EXCEEDED", 2.0, Scope.PROJECT), clock)
        clock.now += 2.1
    await _had(lane, Accepted("m"), clock)
    begun, started = 0, clock.now
    while clock.now < started + 1:
        begun += lane.enter_at_once()
        clock.now += 0.001
    assert begun >= 80


async def test_a_pace_lets_pushes_in_one_by_one() -> None:
    """By the real clock: a timer wakes who waits."""
    lane = Lanes().of(FCM, Project("fcm/p", 50.0))
    loop = asyncio.get_running_loop()
    started = loop.time()
    for _ in range(30):
        assert await _entered(lane) is None
        lane.leave(Accepted("m"), loop.time())
    assert loop.time() - started >= (30 - 50 * pace_module.BURST_SECONDS - 2) / 50


async def test_who_would_wait_long_for_the_pace_is_sent_away(clock: _Time) -> None:  # noqa: ARG001 # stands still
    lane = Lanes().of(FCM, Project("fcm/p", 10.0))
    while (rest := lane.rest()) is None:
        waiting = asyncio.ensure_future(lane.enter(urgent=False))
        await _turns()
        assert not waiting.done() or waiting.result() is None
    assert rest.reason is Reason.EXPIRED
    assert rest.left > timedelta(seconds=lanes_module.PATIENCE)


async def test_i12_urgent_pushes_wait_for_urgent_ones_alone_and_not_for_long(clock: _Time) -> None:  # noqa: ARG001 # stands still
    lane = Lanes().of(FCM, Project("fcm/p", 10.0))
    waiting = []
    while lane.rest() is None:
        waiting.append(asyncio.ensure_future(lane.enter(urgent=False)))
        await _turns()
    assert lane.rest(urgent=True) is None
    while (rest := lane.rest(urgent=True)) is None:
        waiting.append(asyncio.ensure_future(lane.enter(urgent=True)))
        await _turns()
    assert rest.left > timedelta(seconds=lanes_module.PATIENCE)
    assert len(waiting) < 10 * (2 * lanes_module.PATIENCE + pace_module.BURST_SECONDS) + 3


async def test_a_wait_of_no_time_is_a_failure_like_others(lane: Lane, clock: _Time) -> None:
    for _ in range(FAILURES_TO_REST - 1):
        await _had(lane, Throttled("HTTP_503", 0.0), clock)
    assert await _entered(lane) is None
    assert await _entered(lane) is None  # nobody goes ahead alone
    lane.leave(Throttled("HTTP_503", 0.0), clock.now)
    assert lane.rest() is not None


async def test_that_a_credential_is_well_is_told_again_after_a_while(clock: _Time) -> None:
    """Another worker may have told otherwise, and get no more of its work."""
    heard = _Heard()
    lane = Lanes(heard).of(FCM, None)
    for _ in range(12):
        await _had(lane, Accepted("m"), clock)
        clock.now += 11
    assert heard.news == [(FCM, None)] * 2


async def test_what_becomes_of_a_credential_is_told_once(clock: _Time) -> None:
    heard = _Heard()
    lane = Lanes(heard).of(FCM, None)
    await _had(lane, Accepted("m"), clock)
    await _had(lane, Throttled("429", 2.0), clock)
    assert heard.news == [(FCM, None)]  # somebody may have told otherwise before; a moment's rest is nothing to tell
    heard.news.clear()
    clock.now += 3
    await _had(lane, Throttled("429", 60.0), clock)
    clock.now += 61
    await _had(lane, CredentialRefused("INVALID_GRANT"), clock)
    clock.now += 61
    await _had(lane, Accepted("m"), clock)
    clock.now += 10
    await _had(lane, Accepted("m"), clock)
    assert heard.news == [(FCM, Unwell("429", 60.0)), (FCM, Unwell("INVALID_GRANT", None)), (FCM, None)]


async def test_i14_lanes_and_paces_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes_module, "KEPT", 3)
    lanes = Lanes()
    first = lanes.of(FCM, Project("p1"))
    for version in range(2, 5):
        lanes.of(replace(FCM, version=version), Project(f"p{version}"))
    assert lanes.of(FCM, Project("p1")) is not first
