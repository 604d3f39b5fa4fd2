"""Who is called, and who is final without a call."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from server.domain.delivery import DeviceState, End, RecipientState
from server.domain.devices import Environment
from server.domain.jobs import Expansion, UserDevice
from server.domain.operations import Recipient, Status
from server.domain.plan import Plan, Reach, plan
from server.domain.pushes import Provider
from server.domain.reasons import Reason
from tests.unit.dispatch.scripted import tokens

_FCM, _APN = Provider.FCM, Provider.APN
_BOTH = Reach(usable={_FCM, _APN}, deleted=set())
_ONLY_FCM = Reach(usable={_FCM}, deleted=set())
_FCM_DELETED = Reach(usable={_APN}, deleted={_FCM})
_USER = uuid4()


def _plan(expansion: Expansion, reach: Reach, begun: RecipientState | None = None) -> Plan:
    return plan({0: Recipient(user_id=_USER)}, {} if begun is None else {0: begun}, {0: expansion}, reach)


def _having(*devices: tuple[Provider, str]) -> Expansion:
    return Expansion(known=True, deleted=False, devices=[UserDevice(*device) for device in devices])


def _begun(*devices: DeviceState) -> RecipientState:
    return RecipientState(0, _USER, list(devices))


@pytest.mark.parametrize(
    ("expansion", "reach", "reason"),
    [
        (Expansion(known=False, deleted=False), _BOTH, Reason.USER_NOT_FOUND),
        (Expansion(known=True, deleted=True), _BOTH, Reason.USER_DELETED),
        (_having(), _BOTH, Reason.NO_DEVICE),
        (_having((_APN, "a")), _ONLY_FCM, Reason.NO_CREDENTIAL),
        (_having((_APN, "a")), Reach(usable=set(), deleted=set()), Reason.NO_CREDENTIAL),
    ],
)
def test_a_user_who_can_not_be_reached_is_unaddressable(expansion: Expansion, reach: Reach, reason: Reason) -> None:
    assert _plan(expansion, reach) == Plan(ends=[End(0, _USER, Status.UNADDRESSABLE, reason)])


def test_a_user_is_reached_on_all_devices_that_a_credential_is_for() -> None:
    (state,) = _plan(_having((_FCM, "f"), (_APN, "a")), _ONLY_FCM).states
    assert [(device.provider, device.token, device.status) for device in state.devices] == [(_FCM, "f", Status.QUEUED)]


def test_a_named_credential_that_was_deleted_fails_its_devices_and_no_others() -> None:
    (state,) = _plan(_having((_FCM, "f"), (_APN, "a")), _FCM_DELETED).states
    assert [(device.status, device.reason) for device in state.devices] == [
        (Status.FAILED, Reason.CREDENTIAL_DELETED),
        (Status.QUEUED, Reason.NONE),
    ]


def test_a_token_is_its_own_device() -> None:
    (state,) = plan(dict(enumerate(tokens(1))), {}, {}, _ONLY_FCM).states
    assert (state.user_id, [device.token for device in state.devices]) == (None, ["t0"])


def test_a_token_without_a_credential_left_failed() -> None:
    (state,) = plan(dict(enumerate(tokens(1, _APN))), {}, {}, _ONLY_FCM).states
    assert state.end() == End(0, None, Status.FAILED, Reason.CREDENTIAL_DELETED, state.devices)


def test_i8_what_was_begun_goes_on_with_its_own_devices() -> None:
    decided = DeviceState(_FCM, "f", Status.SENT, tries=1)
    waiting = DeviceState(_FCM, "g", tries=1, not_before=datetime.now(UTC) + timedelta(hours=1))
    made = _plan(_having((_FCM, "f"), (_FCM, "g"), (_FCM, "new")), _BOTH, _begun(decided, waiting))
    assert made.states == [_begun(decided, waiting)]


@pytest.mark.parametrize("deleted", [True, False])
def test_i9_a_device_unregistered_since_it_was_begun_is_not_called(*, deleted: bool) -> None:
    gone, done = DeviceState(_FCM, "gone", tries=1), DeviceState(_FCM, "done", Status.SENT, tries=1)
    (state,) = _plan(Expansion(known=True, deleted=deleted), _BOTH, _begun(gone, done)).states
    reason = Reason.USER_DELETED if deleted else Reason.NO_DEVICE
    assert [(device.status, device.reason) for device in state.devices] == [
        (Status.FAILED, reason),
        (Status.SENT, Reason.NONE),
    ]


def test_i9_a_begun_device_whose_credential_was_deleted_is_not_called() -> None:
    (state,) = _plan(_having((_FCM, "f")), _FCM_DELETED, _begun(DeviceState(_FCM, "f", tries=1))).states
    assert state.devices[0].reason is Reason.CREDENTIAL_DELETED


@pytest.mark.parametrize("environment", [None, *Environment])
def test_a_device_keeps_what_is_known_of_its_environment(environment: Environment | None) -> None:
    expansion = Expansion(known=True, deleted=False, devices=[UserDevice(_APN, "a", environment)])
    (state,) = _plan(expansion, _BOTH).states
    assert state.devices[0].environment is environment


def test_a_begun_device_goes_on_with_what_is_known_now_and_with_its_second_try() -> None:
    """Registered again since, it may be of the other build; what one environment said stays said."""
    device = DeviceState(_APN, "a", environment=Environment.DEVELOPMENT, refused_in=Environment.DEVELOPMENT)
    (state,) = _plan(_having((_APN, "a")), _BOTH, _begun(device)).states
    assert (state.devices[0].environment, state.devices[0].refused_in) == (None, Environment.DEVELOPMENT)
