"""I10: when many devices die at once it is rather we who are wrong, and they stay."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from server.config import BadSetting, Config
from server.dispatch.removals import (
    FIRST_CREDIT,
    LEAST,
    MOST_CREDIT,
    SHARE,
    WINDOW_SECONDS,
    Death,
    Decision,
    RemovalGuard,
)
from server.domain.delivery import DeadDevice
from server.domain.notices import RemovalsStopped
from server.domain.outcomes import Accepted, Outcome, Rejected
from server.domain.pushes import Provider
from server.domain.reasons import Reason

_NOW = datetime(2026, 1, 2, tzinfo=UTC)
_WRONG = Rejected(Reason.INVALID_TOKEN, "BadDeviceToken", device_dead=True)
_MISMATCH = Rejected(Reason.SENDER_MISMATCH, "DeviceTokenNotForTopic", device_dead=True)
_GONE = Rejected(Reason.UNREGISTERED, "UNREGISTERED", device_dead=True)
_GONE_SINCE = Rejected(Reason.UNREGISTERED, "Unregistered", device_dead=True, dead_since=_NOW)
_ACCEPTED = Accepted("m")


class _Sends:
    """One credential's sends under a guard; devices are named by the order in which they died."""

    def __init__(self, share: float = 0.5) -> None:
        self.time = 0.0
        self.guard = RemovalGuard(share, lambda: self.time)
        self.operation, self.credential = uuid4(), uuid4()
        self._devices = 0

    def answer(self, *outcomes: Outcome, operation: UUID | None = None) -> list[Death]:
        deaths = []
        for outcome in outcomes:
            self.guard.answered(operation or self.operation, self.credential, outcome)
            if isinstance(outcome, Rejected) and outcome.device_dead:
                deaths.append(self._death(outcome))
        return deaths

    def flush(self, *outcomes: Outcome, last: bool = False) -> Decision:
        return self.guard.decide(self.operation, self.answer(*outcomes), last=last)

    def small(self, outcome: Outcome) -> int:
        """Send to one device; return how many were removed."""
        operation = uuid4()
        deaths = self.answer(outcome, operation=operation)
        return len(self.guard.decide(operation, deaths, last=True).removed)

    def stop(self, code: str, devices: int) -> RemovalsStopped:
        return RemovalsStopped(self.operation, self.credential, code, devices)

    def _death(self, outcome: Rejected) -> Death:
        self._devices += 1
        dead = DeadDevice(Provider.APN, f"d{self._devices}", _NOW)
        return Death(dead, self.credential, outcome.reason, outcome.code, certain=outcome.dead_since is not None)


@pytest.mark.parametrize("answer", [_WRONG, _MISMATCH, _GONE])
def test_an_operation_whose_devices_all_die_of_one_answer_removes_none_and_says_so(answer: Rejected) -> None:
    sends = _Sends()
    assert sends.flush(*[answer] * 250) == Decision([], [], [sends.stop(answer.code, 250)])
    assert sends.flush(*[answer] * 250) == Decision([], [], [])  # said once
    assert sends.flush(*[_ACCEPTED] * 5_000, answer, last=True) == Decision([], [], [])  # and it stays so


def test_the_first_devices_of_an_operation_wait_until_it_has_answers_enough() -> None:
    sends = _Sends()
    first = sends.flush(*[_WRONG] * (LEAST - 1))
    assert (first.removed, len(first.kept)) == ([], LEAST - 1)
    held = [*first.kept, *sends.answer(_WRONG)]
    assert sends.guard.decide(sends.operation, held, last=False) == Decision([], [], [sends.stop(_WRONG.code, LEAST)])


def test_a_few_deaths_among_many_answers_are_removed_at_once() -> None:
    sends = _Sends()
    decision = sends.flush(*[_ACCEPTED] * 200, *[_GONE] * 60, *[_WRONG] * 30)
    assert (len(decision.removed), decision.kept, decision.stops) == (90, [], [])


def test_the_share_is_of_one_error_and_exceeded_only_above_it() -> None:
    sends = _Sends()
    assert len(sends.flush(*[_GONE] * 50, *[_ACCEPTED] * 50).removed) == 50
    decision = sends.flush(_GONE, _GONE)
    assert (decision.removed, decision.stops) == ([], [sends.stop("UNREGISTERED", 52)])
    mixed = _Sends()
    assert len(mixed.flush(*[_GONE] * 50, *[_WRONG] * 10, *[_ACCEPTED] * 40).removed) == 60


def test_what_one_credential_reaches_does_not_vouch_for_another() -> None:
    sends = _Sends()
    sends.flush(*[_ACCEPTED] * 1_000)
    sends.credential = uuid4()
    assert sends.flush(*[_WRONG] * 30).removed == []


def test_a_small_send_removes_its_devices() -> None:
    assert len(_Sends().flush(*[_GONE] * 5, last=True).removed) == 5


def test_a_campaign_to_stale_devices_removes_those_that_the_provider_dates() -> None:
    sends = _Sends()
    decision = sends.flush(*[_GONE_SINCE] * 300, *[_ACCEPTED] * 10)
    assert (len(decision.removed), decision.stops) == (300, [])
    assert len(sends.flush(*[_WRONG] * 5, *[_ACCEPTED] * 20).removed) == 5  # they count for no error


def test_deaths_spread_over_longer_than_the_window_are_not_many() -> None:
    sends = _Sends()
    for _ in range(10):
        removed = sends.flush(*[_GONE] * (LEAST - 1), last=True).removed
        assert len(removed) == LEAST - 1
        sends.time += WINDOW_SECONDS + 1


def test_an_error_that_was_stopped_stays_so_after_the_window() -> None:
    sends = _Sends()
    sends.flush(*[_WRONG] * LEAST)
    sends.time += WINDOW_SECONDS + 1
    assert sends.flush(*[_ACCEPTED] * 100, _WRONG).removed == []


def test_the_share_can_be_set_and_1_stops_nothing() -> None:
    strict, loose = _Sends(0.1), _Sends(1.0)
    answers = [*[_ACCEPTED] * 100, *[_GONE] * 20]
    assert strict.flush(*answers).removed == []
    assert len(loose.flush(*[_WRONG] * 500).removed) == 500


@pytest.mark.parametrize("share", ["0", "1.01", "half"])
def test_the_setting_is_a_share(share: str) -> None:
    assert Config.read({}).removal_share == SHARE
    assert Config.read({"PHAROS_REMOVAL_SHARE": "0.2"}).removal_share == 0.2
    with pytest.raises(BadSetting, match="PHAROS_REMOVAL_SHARE"):
        Config.read({"PHAROS_REMOVAL_SHARE": share})


def test_many_small_sends_with_a_credential_that_reaches_nobody_remove_only_a_few_devices() -> None:
    sends = _Sends()
    assert sum(sends.small(_WRONG) for _ in range(200)) == FIRST_CREDIT


def test_a_stop_of_many_small_sends_is_told_once() -> None:
    sends = _Sends()
    deaths = [(operation := uuid4(), sends.answer(_WRONG, operation=operation)) for _ in range(30)]
    stops = [stop for each, died in deaths for stop in sends.guard.decide(each, died, last=True).stops]
    assert [(stop.credential_id, stop.code) for stop in stops] == [(sends.credential, "BadDeviceToken")]


def test_a_credential_earns_removals_by_what_it_reaches_but_not_without_end() -> None:
    sends = _Sends()
    sends.flush(*[_ACCEPTED] * 5)
    assert sum(sends.small(_WRONG) for _ in range(200)) == FIRST_CREDIT + 5
    sends.flush(*[_ACCEPTED] * 100_000)
    assert sum(sends.small(_WRONG) for _ in range(200)) == MOST_CREDIT


def test_single_pushes_to_uninstalled_apps_remove_them_however_many() -> None:
    sends = _Sends()
    assert sum(sends.small(_GONE) for _ in range(200)) == 200


def test_what_could_not_be_recorded_is_told_again() -> None:
    sends = _Sends()
    stops = sends.flush(*[_WRONG] * LEAST).stops
    sends.guard.tell_again(stops)
    assert [sends.flush().stops for _ in range(2)] == [stops, []]


def test_the_guard_forgets_what_was_not_used_for_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.dispatch.removals.MOST_OPERATIONS", 3)
    sends = _Sends()
    sends.flush(*[_GONE] * LEAST)
    for _ in range(2):
        sends.small(_GONE)
    assert sends.flush(*[_ACCEPTED] * 100, _GONE).removed == []
    for _ in range(3):
        sends.small(_GONE)
    assert len(sends.flush(*[_ACCEPTED] * 100, _GONE).removed) == 1
