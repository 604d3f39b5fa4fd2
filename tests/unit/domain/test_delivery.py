"""One recipient under a worker: what each outcome makes of it, and that an end is an end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.domain.delivery import (
    DeadDevice,
    DeviceState,
    RecipientState,
    call_off,
    can_wait,
    dead_device,
    expire,
    settle,
)
from server.domain.devices import Environment
from server.domain.operations import Status
from server.domain.outcomes import Accepted, CredentialRefused, NotSent, Outcome, Rejected, Scope, Throttled, Unknown
from server.domain.pushes import Provider
from server.domain.reasons import Reason
from server.domain.retry import FIRST_DELAY

_NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
_TOMORROW = _NOW + timedelta(days=1)
_AGAIN = (Throttled("429", 5.0), NotSent("CONNECT"), CredentialRefused("401", Scope.DEVICE), Unknown("TIMEOUT"))
_FINAL = (Accepted("m"), Rejected(Reason.UNREGISTERED, "404", device_dead=True))


def _device(token: str = "t", **fields: object) -> DeviceState:
    return DeviceState(Provider.FCM, token, **fields)  # type: ignore[arg-type]  # by the caller


def test_an_accepted_push_is_sent_with_the_providers_id() -> None:
    device = _device()
    settle(device, Accepted("projects/p/messages/1"), _NOW, _TOMORROW)
    assert (device.status, device.reason, device.message_id) == (Status.SENT, Reason.NONE, "projects/p/messages/1")


def test_a_rejected_push_failed_for_the_providers_reason_and_code() -> None:
    device = _device()
    settle(device, Rejected(Reason.PAYLOAD_TOO_LARGE, "PayloadTooLarge"), _NOW, _TOMORROW)
    assert (device.status, device.reason, device.code) == (Status.FAILED, Reason.PAYLOAD_TOO_LARGE, "PayloadTooLarge")


@pytest.mark.parametrize("outcome", _AGAIN)
def test_any_other_outcome_is_tried_again_later(outcome: Outcome) -> None:
    device = _device()
    settle(device, outcome, _NOW, _TOMORROW)
    assert not device.decided
    assert device.not_before is not None
    least, most = (5.0, 5.5) if isinstance(outcome, Throttled) else (0.0, FIRST_DELAY)
    assert timedelta(seconds=least) <= device.not_before - _NOW <= timedelta(seconds=most)


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (_AGAIN[0], Reason.EXPIRED),
        (_AGAIN[1], Reason.EXPIRED),
        (_AGAIN[2], Reason.CREDENTIAL_REJECTED),
        (_AGAIN[3], Reason.OUTCOME_UNKNOWN),
    ],
)
def test_a_push_that_can_not_be_tried_again_in_time_fails_for_what_held_it(outcome: Outcome, reason: Reason) -> None:
    now, later = _device(), _device()
    settle(now, outcome, _NOW, _NOW + timedelta(microseconds=1))
    assert (now.status, now.reason) == (Status.FAILED, reason)
    settle(later, outcome, _NOW, _TOMORROW)
    expire([later], _TOMORROW + timedelta(microseconds=1), _TOMORROW)
    assert (later.status, later.reason) == (Status.FAILED, reason)


def test_only_calls_that_may_have_reached_the_provider_count_as_attempts() -> None:
    device = _device()
    for outcome in _AGAIN:
        settle(device, outcome, _NOW, _TOMORROW)
    assert (device.attempts, device.tries) == (3, 4)


def test_nobody_expires_at_the_deadline_itself() -> None:
    device = _device()
    expire([device], _TOMORROW, _TOMORROW)
    assert not device.decided
    expire([device], _TOMORROW + timedelta(microseconds=1), _TOMORROW)
    assert (device.status, device.reason) == (Status.FAILED, Reason.EXPIRED)


def test_a_device_that_would_wait_past_its_deadline_fails_for_its_last_call() -> None:
    device = _device()
    settle(device, Throttled("429", 60.0), _NOW, _NOW + timedelta(seconds=59))
    assert (device.status, device.reason, device.code) == (Status.FAILED, Reason.EXPIRED, "429")


def test_a_device_whose_credential_was_refused_waits_for_the_credential_and_not_for_a_time() -> None:
    device = _device()
    settle(device, CredentialRefused("401"), _NOW, _TOMORROW)
    assert (device.not_before, device.reason, device.decided) == (None, Reason.CREDENTIAL_REJECTED, False)


def _turned() -> DeviceState:
    device = DeviceState(Provider.APN, "c0ffee")
    device.refuse_in(Environment.PRODUCTION, "BadDeviceToken")
    return device


def test_a_device_in_its_second_environment_is_begun_and_its_backoff_begins_there() -> None:
    device = _turned()
    assert _recipient(device).begun
    settle(device, NotSent("CONNECT"), _NOW, _TOMORROW)
    assert (device.attempts, device.tries) == (1, 1)


def test_a_refused_credential_of_the_second_environment_leaves_what_the_first_one_said() -> None:
    """The token is unknown to production; work is not held for weeks on the chance that it is of development."""
    called, resting, throttled = _turned(), _turned(), _turned()
    settle(called, CredentialRefused("403"), _NOW, _TOMORROW)
    soon = _NOW + timedelta(seconds=30)
    assert not can_wait(resting, soon, _TOMORROW, Reason.CREDENTIAL_REJECTED)
    assert can_wait(throttled, soon, _TOMORROW, Reason.EXPIRED)
    for device in (called, resting):
        assert (device.status, device.reason, device.code) == (Status.FAILED, Reason.INVALID_TOKEN, "BadDeviceToken")
    assert (called.attempts, resting.attempts) == (2, 1)
    assert not throttled.decided


@given(st.lists(st.sampled_from(_AGAIN), max_size=30), st.sampled_from(_FINAL), st.integers(0, 100_000))
def test_i4_i5_any_course_of_outcomes_ends_in_exactly_one_final_status(
    course: list[Outcome], last: Outcome, seconds: int
) -> None:
    device = _device()
    deadline = _NOW + timedelta(seconds=seconds)
    now = _NOW
    for outcome in [*course, last]:
        expire([device], now, deadline)
        if device.decided:
            break
        settle(device, outcome, now, deadline)
        assert device.status in {Status.QUEUED, Status.SENT, Status.FAILED}
        assert device.attempts <= device.tries
        now = max(now, device.not_before or now)
    assert device.decided
    assert (device.reason is Reason.NONE) == (device.status is Status.SENT)


def _recipient(*devices: DeviceState) -> RecipientState:
    return RecipientState(3, uuid4(), list(devices))


def test_a_recipient_was_sent_the_push_when_one_device_was() -> None:
    state = _recipient(_device("a", status=Status.FAILED, reason=Reason.UNREGISTERED), _device("b", status=Status.SENT))
    assert (state.end().status, state.end().reason) == (Status.SENT, Reason.NONE)


def test_a_recipient_failed_for_the_first_devices_reason() -> None:
    state = _recipient(
        _device("a", status=Status.FAILED, reason=Reason.UNREGISTERED),
        _device("b", status=Status.FAILED, reason=Reason.EXPIRED),
    )
    assert (state.end().status, state.end().reason) == (Status.FAILED, Reason.UNREGISTERED)


def test_a_recipient_is_begun_by_a_try_or_a_decision_and_not_by_being_held() -> None:
    assert not _recipient(_device(not_before=_TOMORROW), _device()).begun
    assert _recipient(_device(), _device(tries=1)).begun
    assert _recipient(_device(), _device(status=Status.FAILED)).begun


@pytest.mark.parametrize("outcome", [*_AGAIN, Accepted("m"), Rejected(Reason.PAYLOAD_REJECTED, "400")])
def test_i10_only_an_answer_about_the_token_itself_kills_the_device(outcome: Outcome) -> None:
    assert dead_device(_device(), outcome, _NOW) is None


@pytest.mark.parametrize(
    ("providers_time", "since"),
    [
        (None, _NOW),
        (_NOW - timedelta(days=3), _NOW - timedelta(days=3)),
        (_NOW + timedelta(days=3), _NOW),  # a clock ahead of ours must not reach a registration of today
    ],
)
def test_i10_a_device_is_dead_since_the_providers_time_but_not_later_than_the_claim(
    providers_time: datetime | None, since: datetime
) -> None:
    rejected = Rejected(Reason.UNREGISTERED, "410", device_dead=True, dead_since=providers_time)
    assert dead_device(_device("t"), rejected, _NOW) == DeadDevice(Provider.FCM, "t", since)


@pytest.mark.parametrize(
    ("devices", "lost", "status", "reason"),
    [
        ([], False, Status.CANCELED, Reason.NONE),
        ([], True, Status.FAILED, Reason.OUTCOME_UNKNOWN),
        ([_device(tries=2)], False, Status.CANCELED, Reason.NONE),
        ([_device(tries=1, attempts=1)], False, Status.FAILED, Reason.CANCELED),
        ([_device(tries=1, attempts=1)], True, Status.FAILED, Reason.OUTCOME_UNKNOWN),
        ([_device(tries=1, attempts=1, reason=Reason.OUTCOME_UNKNOWN)], False, Status.FAILED, Reason.OUTCOME_UNKNOWN),
        ([_device(status=Status.SENT, attempts=1), _device()], True, Status.SENT, Reason.NONE),
        (
            [_device(status=Status.FAILED, reason=Reason.UNREGISTERED, attempts=1), _device()],
            *(False, Status.FAILED, Reason.UNREGISTERED),
        ),
    ],
)
def test_a_canceled_recipient_ends_canceled_only_where_nobody_was_called(
    devices: list[DeviceState], status: Status, reason: Reason, *, lost: bool
) -> None:
    end = call_off(RecipientState(3, None, devices), lost=lost)
    assert (end.index, end.status, end.reason) == (3, status, reason)
    assert all(device.decided for device in end.devices)
