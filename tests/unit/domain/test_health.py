"""Which of several things that ail a credential it shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from server.domain.health import EXPIRY_NOTICE, Ailment, Health, HealthState, health_of

_NOW = datetime(2030, 5, 1, tzinfo=UTC)
_HOUR = timedelta(hours=1)
_OK = Health(HealthState.OK)


def _throttled(until: datetime) -> Ailment:
    return Ailment(HealthState.THROTTLED, _NOW - _HOUR, until, "QUOTA_EXCEEDED")


_REJECTED = Ailment(HealthState.REJECTED, _NOW - _HOUR, None, "InvalidProviderToken")


def test_a_rejection_is_shown_before_all_else() -> None:
    shown = health_of(_REJECTED, _NOW + _HOUR, _NOW)
    assert shown == Health(HealthState.REJECTED, _NOW - _HOUR, None, "InvalidProviderToken")


@pytest.mark.parametrize(
    ("until", "state"), [(_NOW + _HOUR, HealthState.THROTTLED), (_NOW, HealthState.OK), (_NOW - _HOUR, HealthState.OK)]
)
def test_a_throttled_credential_is_so_until_its_time(until: datetime, state: HealthState) -> None:
    assert health_of(_throttled(until), None, _NOW).state is state


def test_a_throttle_goes_before_an_expiry_which_shows_when_it_is_over() -> None:
    ends = _NOW + timedelta(days=29)
    assert health_of(_throttled(_NOW + _HOUR), ends, _NOW).state is HealthState.THROTTLED
    assert health_of(_throttled(_NOW), ends, _NOW) == Health(HealthState.EXPIRING, ends - EXPIRY_NOTICE, ends)


@pytest.mark.parametrize(
    ("left", "state"),
    [
        (timedelta(days=30), HealthState.OK),
        (timedelta(days=30) - timedelta(seconds=1), HealthState.EXPIRING),
        (-_HOUR, HealthState.EXPIRING),
    ],
)
def test_a_certificate_is_expiring_for_its_last_30_days_and_after(left: timedelta, state: HealthState) -> None:
    assert health_of(None, _NOW + left, _NOW).state is state


def test_a_key_is_ok() -> None:
    assert health_of(None, None, _NOW) == _OK
