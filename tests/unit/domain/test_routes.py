"""Apple's two environments: which credential a device is tried with, and what BadDeviceToken proves."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import uuid4

import pytest

from server.domain.credentials import CredentialType, SealedCredential
from server.domain.delivery import DeviceState, LearnedEnvironment, RecipientState
from server.domain.devices import Environment
from server.domain.operations import Status
from server.domain.outcomes import Accepted, Outcome, Rejected
from server.domain.pushes import Provider
from server.domain.reasons import Reason
from server.domain.routes import Routes

_PRODUCTION, _DEVELOPMENT = Environment.PRODUCTION, Environment.DEVELOPMENT
_FCM = SealedCredential("account", uuid4(), 1, CredentialType.FCM, b"")
_APN = SealedCredential("account", uuid4(), 1, CredentialType.APN, b"")
_SANDBOX = SealedCredential("account", uuid4(), 1, CredentialType.APN_SANDBOX, b"")
_ALL = (_FCM, _APN, _SANDBOX)

_BAD = Rejected(Reason.INVALID_TOKEN, "BadDeviceToken", device_dead=True)
_GONE = Rejected(Reason.UNREGISTERED, "Unregistered", device_dead=True)
_OTHER_APP = Rejected(Reason.SENDER_MISMATCH, "DeviceTokenNotForTopic", device_dead=True)
_TOO_LARGE = Rejected(Reason.PAYLOAD_TOO_LARGE, "PayloadTooLarge")
_TAKEN = Accepted("m")


def _apn(environment: Environment | None = None, refused_in: Environment | None = None) -> DeviceState:
    return DeviceState(Provider.APN, "c0ffee", environment=environment, refused_in=refused_in)


@pytest.mark.parametrize(
    ("credentials", "environment", "used"),
    [
        (_ALL, None, _APN),
        (_ALL, _PRODUCTION, _APN),
        (_ALL, _DEVELOPMENT, _SANDBOX),
        ((_SANDBOX,), None, _SANDBOX),
        ((_SANDBOX,), _PRODUCTION, _SANDBOX),
        ((_APN,), _DEVELOPMENT, _APN),
    ],
)
def test_a_device_is_tried_where_it_belongs_and_else_where_there_is_a_credential(
    credentials: Sequence[SealedCredential], environment: Environment | None, used: SealedCredential
) -> None:
    assert Routes(credentials).credential(_apn(environment)) is used


@pytest.mark.parametrize(("environment", "then"), [(None, _SANDBOX), (_PRODUCTION, _SANDBOX), (_DEVELOPMENT, _APN)])
def test_a_device_unknown_in_one_environment_is_turned_to_the_other_once(
    environment: Environment | None, then: SealedCredential
) -> None:
    routes, device = Routes(_ALL), _apn(environment)
    first = routes.credential(device)
    assert routes.turn(device, _BAD)
    assert not device.decided
    assert (routes.credential(device), routes.first(device)) == (then, first)
    assert (device.attempts, device.reason, device.code) == (1, Reason.INVALID_TOKEN, "BadDeviceToken")
    assert not routes.turn(device, _BAD)
    assert routes.kills(device, _BAD)


@pytest.mark.parametrize("outcome", [_GONE, _OTHER_APP, _TOO_LARGE, _TAKEN])
def test_no_other_answer_turns_a_device(outcome: Outcome) -> None:
    device = _apn()
    assert not Routes(_ALL).turn(device, outcome)
    assert device == _apn()


def test_fcm_has_no_environments() -> None:
    device = DeviceState(Provider.FCM, "c0ffee")
    bad = Rejected(Reason.INVALID_TOKEN, "INVALID_ARGUMENT", device_dead=True)
    routes = Routes(_ALL)
    assert not routes.turn(device, bad)
    assert routes.kills(device, bad)
    assert routes.learned(RecipientState(0, uuid4(), [device]), device, _TAKEN) is None


@pytest.mark.parametrize("only", [_APN, _SANDBOX])
def test_there_is_no_turn_without_the_other_credential_and_the_device_is_dead(only: SealedCredential) -> None:
    routes, device = Routes([only]), _apn()
    assert not routes.turn(device, _BAD)
    assert routes.kills(device, _BAD)


@pytest.mark.parametrize(("only", "belongs"), [(_APN, _DEVELOPMENT), (_SANDBOX, _PRODUCTION)])
def test_i10_an_environment_that_a_device_does_not_belong_to_can_not_kill_it(
    only: SealedCredential, belongs: Environment
) -> None:
    routes = Routes([only])
    assert not routes.kills(_apn(belongs), _BAD)
    assert routes.kills(_apn(belongs.other), _BAD)
    assert routes.kills(_apn(belongs), _GONE)  # which Apple says only of a token that it knows


def test_i10_a_send_that_names_the_sandbox_credential_kills_only_devices_of_development() -> None:
    """Everybody with the app from the store would get that answer."""
    routes = Routes([_FCM, _SANDBOX], named_apn=_SANDBOX.credential_id)
    assert not routes.turn(_apn(), _BAD)
    assert not routes.kills(_apn(), _BAD)
    assert not routes.kills(_apn(_PRODUCTION), _BAD)
    assert routes.kills(_apn(_DEVELOPMENT), _BAD)
    assert routes.kills(_apn(), _GONE)


def test_a_send_that_names_a_production_credential_turns_to_the_apps_sandbox_credential() -> None:
    routes, device = Routes(_ALL, named_apn=_APN.credential_id), _apn()
    assert routes.turn(device, _BAD)
    assert routes.credential(device) is _SANDBOX


@pytest.mark.parametrize("outcome", [_TOO_LARGE, _TAKEN])
def test_i10_what_is_not_about_the_token_kills_nobody(outcome: Outcome) -> None:
    assert not Routes(_ALL).kills(_apn(), outcome)
    assert not Routes(_ALL).kills(_apn(None, _PRODUCTION), outcome)


@pytest.mark.parametrize(
    ("credentials", "environment", "refused_in", "learned"),
    [
        (_ALL, None, None, None),  # production: the assumption anyway
        (_ALL, _DEVELOPMENT, None, None),
        (_ALL, None, _PRODUCTION, _DEVELOPMENT),
        (_ALL, _PRODUCTION, _PRODUCTION, _DEVELOPMENT),
        (_ALL, _DEVELOPMENT, _DEVELOPMENT, _PRODUCTION),
        ((_APN,), _DEVELOPMENT, None, _PRODUCTION),
        ((_SANDBOX,), None, None, None),  # an app of one environment: nothing hangs on it
    ],
)
def test_what_a_push_that_was_taken_teaches(
    credentials: Sequence[SealedCredential],
    environment: Environment | None,
    refused_in: Environment | None,
    learned: Environment | None,
) -> None:
    device = _apn(environment, refused_in)
    expected = None if learned is None else LearnedEnvironment("c0ffee", learned)
    routes = Routes(credentials)
    assert routes.learned(RecipientState(0, uuid4(), [device]), device, _TAKEN) == expected
    assert routes.learned(RecipientState(0, None, [device]), device, _TAKEN) is None  # a token is nobody's device
    assert routes.learned(RecipientState(0, uuid4(), [device]), device, _BAD) is None


def test_a_turn_outlives_the_credential_that_it_came_from() -> None:
    device = _apn(None, _PRODUCTION)
    assert Routes([_SANDBOX]).first(device) is _SANDBOX
    assert Routes([_APN]).credential(device) is _APN
    assert device.status is Status.QUEUED
