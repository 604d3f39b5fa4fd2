"""From recipients to their devices: who is called, and who is final without a call."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from server.domain.delivery import DeviceState, End, RecipientState
from server.domain.jobs import Expansion
from server.domain.operations import Recipient, Status
from server.domain.pushes import Provider
from server.domain.reasons import Reason


@dataclass(frozen=True, slots=True)
class Reach:
    """The providers that can be called, and those whose credential the send named but that was deleted since."""

    usable: Collection[Provider]
    deleted: Collection[Provider]


@dataclass(slots=True)
class Plan:
    """``states`` have at least one device; ``ends`` are final already."""

    states: list[RecipientState] = field(default_factory=list)
    ends: list[End] = field(default_factory=list)


def plan(
    recipients: Mapping[int, Recipient],
    begun: Mapping[int, RecipientState],
    expansions: Mapping[int, Expansion],
    reach: Reach,
) -> Plan:
    """Expand every recipient; those in ``begun`` were tried before, with the devices they have there."""
    made = Plan()
    for index, recipient in recipients.items():
        earlier = begun.get(index)
        if earlier is not None:
            step: RecipientState | End = _resume(earlier, expansions.get(index), reach)
        elif recipient.user_id is not None:
            step = _user(index, recipient, expansions[index], reach)
        else:
            step = _token(index, recipient, reach)
        if isinstance(step, End):
            made.ends.append(step)
        else:
            made.states.append(step)
    return made


def _token(index: int, recipient: Recipient, reach: Reach) -> RecipientState:
    assert recipient.token is not None  # a recipient is a user or a token
    assert recipient.provider is not None
    state = RecipientState(index, None, [DeviceState(recipient.provider, recipient.token)])
    _fail_unreachable(state, reach)
    return state


def _user(index: int, recipient: Recipient, expansion: Expansion, reach: Reach) -> RecipientState | End:
    reason = _unaddressable(expansion, reach)
    if reason is not Reason.NONE:
        return End(index, recipient.user_id, Status.UNADDRESSABLE, reason)
    devices = [
        DeviceState(device.provider, device.token, environment=device.environment)
        for device in expansion.devices
        if device.provider in reach.usable or device.provider in reach.deleted
    ]
    state = RecipientState(index, recipient.user_id, devices)
    _fail_unreachable(state, reach)
    return state


def _unaddressable(expansion: Expansion, reach: Reach) -> Reason:
    if not expansion.known:
        return Reason.USER_NOT_FOUND
    if expansion.deleted:
        return Reason.USER_DELETED
    if not expansion.devices:
        return Reason.NO_DEVICE
    if any(device.provider in reach.usable or device.provider in reach.deleted for device in expansion.devices):
        return Reason.NONE
    return Reason.NO_CREDENTIAL


def _resume(state: RecipientState, expansion: Expansion | None, reach: Reach) -> RecipientState:
    """Go on with the devices that were fixed when the recipient was begun, except those unregistered since."""
    if state.user_id is not None and expansion is not None:
        registered = {(device.provider, device.token): device for device in expansion.devices}
        for device in state.devices:
            now = registered.get((device.provider, device.token))
            if now is not None:
                device.environment = now.environment
            elif not device.decided:
                device.fail(Reason.USER_DELETED if expansion.deleted else Reason.NO_DEVICE)
    _fail_unreachable(state, reach)
    return state


def _fail_unreachable(state: RecipientState, reach: Reach) -> None:
    for device in state.devices:
        if not device.decided and device.provider not in reach.usable:
            device.fail(Reason.CREDENTIAL_DELETED)
