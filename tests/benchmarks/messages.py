"""The sends that are measured: to whom, and what they say. The last recipient of each is malformed to the target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from pharos.push.v1.device_registrations_pb2 import RegisterDeviceRequest
from pharos.push.v1.push_notifications_pb2 import Content, SendPushNotificationRequest
from pharos.push.v1.types_pb2 import Provider, Recipient

from tests.benchmarks.target import LONGEST_TOKEN

To = Literal["FCM", "APN", "users"]

CONSTANT = ("New styles in stock", "Fresh colorways just dropped.")
PERSONALISED = ("Hi {{ name }}", "Your order {{ order }} is on its way.")
_MALFORMED = {"FCM": "m" * LONGEST_TOKEN, "APN": "ab" * 31}


@dataclass(frozen=True)
class Send:
    """A send to so many recipients, of which the last is malformed. ``users`` are ids, for sends to users.

    ``first`` is the number of its first device: other sends have others.
    """

    to: To
    recipients: int
    personalised: bool
    users: Sequence[str] = ()
    first: int = 0

    @property
    def pushes(self) -> int:
        """Requests that the target gets, the malformed one included."""
        if self.to != "users":
            return self.recipients
        return sum(devices_of(number) for number in range(self.recipients - 1)) + 1

    def rest_body(self) -> bytes:
        """As a caller of the REST API would write it."""
        title, body = self._texts
        return msgspec.json.encode({"to": self._recipients(), "content": {"title": title, "body": body}})

    def grpc_request(self) -> SendPushNotificationRequest:
        title, body = self._texts
        recipients = [_message(recipient) for recipient in self._recipients()]
        return SendPushNotificationRequest(to=recipients, content=Content(title=title, body=body))

    @property
    def _texts(self) -> tuple[str, str]:
        return PERSONALISED if self.personalised else CONSTANT

    def _recipients(self) -> list[dict[str, Any]]:
        numbers = range(self.first, self.first + self.recipients - 1)
        good = [{**self._address(number), **self._variables(number)} for number in numbers]
        provider = "FCM" if self.to == "users" else self.to
        return [*good, {"token": _MALFORMED[provider], "provider": provider, **self._variables(0)}]

    def _address(self, number: int) -> dict[str, str]:
        if self.to == "users":
            return {"userId": self.users[number]}
        return {"token": device_token(self.to, number), "provider": self.to}

    def _variables(self, number: int) -> dict[str, Any]:
        if not self.personalised:
            return {}
        return {"variables": {"name": f"Ada {number}", "order": f"A-{number:05}"}}


def device_token(provider: str, number: int) -> str:
    """FCM's have about 163 characters, APNs' 64."""
    return f"{number:064x}" if provider == "APN" else f"bench{number:010}:APA91b{'t' * 141}"


def devices_of(user: int) -> int:
    """Every other user has two devices."""
    return 1 + user % 2


def registrations(first_devices: range, user_ids: Sequence[str] = ()) -> list[RegisterDeviceRequest]:
    """The first device of each user, which makes the user; given its id, the second one, where it has two."""
    if not user_ids:
        return [_registration("FCM", number) for number in first_devices]
    return [_registration("APN", number, user_ids[number]) for number in first_devices if devices_of(number) > 1]


def _registration(provider: str, number: int, user_id: str = "") -> RegisterDeviceRequest:
    return RegisterDeviceRequest(
        provider=Provider.Value(f"PROVIDER_{provider}"), token=device_token(provider, number), user_id=user_id
    )


def _message(recipient: dict[str, Any]) -> Recipient:
    variables = recipient.get("variables")
    if "userId" in recipient:
        return Recipient(user_id=recipient["userId"], variables=variables)
    provider = Provider.Value(f"PROVIDER_{recipient['provider']}")
    return Recipient(token=recipient["token"], provider=provider, variables=variables)
