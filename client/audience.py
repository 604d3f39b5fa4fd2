"""The demo's audience: who gets the message, on which devices, and what must become of each."""

from __future__ import annotations

from dataclasses import dataclass, field

from pharos.push.v1.device_registrations_pb2 import Device
from pharos.push.v1.push_notifications_pb2 import Content, Sender, SendPushNotificationRequest
from pharos.push.v1.types_pb2 import DeliveryStatus, Provider, Recipient

APP_NAME = "demo"
TITLE = "Parcel {{ parcel }}"
BODY = "Hi {{ name }}, your parcel {{ parcel }} arrives today."

# The sandbox answers by a token's beginning, as the provider would for a device in that state.
_FCM_BEGINNINGS = {"live": "live", "dead": "unregistered", "invalid": "invalid", "flaky": "flaky"}
_APN_BEGINNINGS = {"live": "11fe", "dead": "dead", "invalid": "bad0", "flaky": "f1a6"}
_REACHED = ("live", "flaky")  # a flaky device refuses at first
_FIRST_NAMES = ("Ada", "Björn", "Chloé", "Dimitra", "Emeka", "Fatma", "Grace", "Hiro", "İlkay", "Jürgen")


@dataclass(slots=True)
class Member:
    """One recipient. A user has an id once registered; the others are addressed by their only device."""

    number: int
    states: tuple[str, ...]
    is_user: bool = False
    gives_phone_away: bool = False
    user_id: str = ""
    devices: tuple[Device, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.devices = tuple(_device(self.number, place, state) for place, state in enumerate(self.states))

    @property
    def name(self) -> str:
        return f"{_FIRST_NAMES[self.number % len(_FIRST_NAMES)]} {self.number}"

    @property
    def parcel(self) -> str:
        return f"P-{self.number:06}"

    @property
    def text(self) -> tuple[str, str]:
        """Title and body as they must arrive."""
        return f"Parcel {self.parcel}", f"Hi {self.name}, your parcel {self.parcel} arrives today."

    @property
    def reached(self) -> frozenset[str]:
        """The tokens that must get the push, once each."""
        if self.gives_phone_away:
            return frozenset()
        states = zip(self.devices, self.states, strict=True)
        return frozenset(device.token for device, state in states if state in _REACHED)

    @property
    def fate(self) -> DeliveryStatus.ValueType:
        """The final status that the member must come to."""
        if self.gives_phone_away:
            return DeliveryStatus.DELIVERY_STATUS_UNADDRESSABLE
        return DeliveryStatus.DELIVERY_STATUS_SENT if self.reached else DeliveryStatus.DELIVERY_STATUS_FAILED

    def recipient(self) -> Recipient:
        variables = {"name": self.name, "parcel": self.parcel}
        if self.is_user:
            return Recipient(user_id=self.user_id, variables=variables)
        [device] = self.devices
        return Recipient(token=device.token, provider=device.provider, variables=variables)


def make_audience(recipients: int) -> list[Member]:
    """Four users to six bare tokens, FCM and APNs by turns, one in a hundred or so with some trouble.

    Every other user has two devices. Troubled are, one in a thousand each and at least two: users whose only device is
    dead, users with a dead and a live device, users that gave their phone away, and dead, invalid and flaky tokens.
    """
    users = recipients * 4 // 10
    few = max(2, recipients // 1000)
    members = [Member(number, ("live",) * (1 + number % 2), is_user=True) for number in range(users)]
    members += [Member(number, ("live",)) for number in range(users, recipients)]
    _trouble(members, range(few), ("dead",))
    _trouble(members, range(few, 2 * few), ("dead", "live"))
    _trouble(members, range(2 * few, 3 * few), ("live",), gives_phone_away=True)
    for place, state in enumerate(("dead", "invalid", "flaky")):
        first = users + 2 * place * few
        _trouble(members, range(first, first + 2 * few), (state,))
    return members


def send_request(members: list[Member]) -> SendPushNotificationRequest:
    """One personalised message to all of them; a recipient's index is its member's number."""
    return SendPushNotificationRequest(
        to=(member.recipient() for member in members),
        content=Content(title=TITLE, body=BODY),
        sender=Sender(app_name=APP_NAME),
    )


def _trouble(members: list[Member], numbers: range, states: tuple[str, ...], *, gives_phone_away: bool = False) -> None:
    for number in numbers:
        members[number] = Member(number, states, members[number].is_user, gives_phone_away)


def _device(number: int, place: int, state: str) -> Device:
    """Even sums are FCM, odd ones APNs, so that a user with two devices has one of each."""
    if (number + place) % 2 == 0:
        return Device(provider=Provider.PROVIDER_FCM, token=f"{_FCM_BEGINNINGS[state]}{number:08}:APA91b{place:0>128}")
    return Device(provider=Provider.PROVIDER_APN, token=f"{_APN_BEGINNINGS[state]}{place:0>4x}{number:056x}")
