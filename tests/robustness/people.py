"""Users with several devices, of which a provider takes one at once, puts off another, and calls a third one dead."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from pharos.push.v1.device_registrations_pb2 import RegisterDeviceRequest
from pharos.push.v1.push_notifications_pb2 import Content, SendPushNotificationRequest
from pharos.push.v1.types_pb2 import Provider, Recipient

from client.push_client import PushClient
from tests.robustness.history import SENT
from tests.robustness.run import Run

_DEAD_EVERY = 50
_AT_ONCE = 1_000
_TABLET = "7ab1e7"
_FCM, _APN = Provider.PROVIDER_FCM, Provider.PROVIDER_APN


class People:
    """Each has a phone that is taken and a tablet that can be put off; every fiftieth an old phone that is dead.

    Make them with `register`.
    """

    def __init__(self, name: str, size: int) -> None:
        self.phones = [f"phone-{name}-{number}" for number in range(size)]
        self.tablets = [f"{_TABLET}{name.encode().hex():0<24}{number:036x}" for number in range(size)]
        self.dead = {number: f"unregistered-{name}-{number}" for number in range(0, size, _DEAD_EVERY)}
        self.addresses: list[str] = []

    @property
    def devices(self) -> dict[str, set[str]]:
        return {user: set(self.of(number)) for number, user in enumerate(self.addresses)}

    @property
    def outcomes(self) -> dict[str, str]:
        """What has to become of each address."""
        return dict.fromkeys(self.addresses, SENT)

    def of(self, number: int) -> list[str]:
        """The devices of one of them."""
        return [self.phones[number], self.tablets[number], *([self.dead[number]] if number in self.dead else [])]

    def put_off(self, seconds: int | None = None, times: int = 1) -> dict[str, Any]:
        """The sandbox's rule that throttles so many calls for each tablet, on average; each for its device alone."""
        patience = {} if seconds is None else {"headers": {"retry-after": str(seconds)}}
        answer = {"status": 429, "body": {"reason": "TooManyRequests"}, **patience}
        return {"provider": "APN", "token": _TABLET, "times": times * len(self.tablets), **answer}

    async def register(self, run: Run, client: PushClient) -> None:
        await _register(client, [RegisterDeviceRequest(provider=_FCM, token=token) for token in self.phones])
        owners = await run.observer.owners(self.phones)
        self.addresses = [owners[token] for token in self.phones]
        others = [(_APN, *each) for each in enumerate(self.tablets)] + [(_FCM, *each) for each in self.dead.items()]
        await _register(
            client,
            [RegisterDeviceRequest(provider=kind, token=token, user_id=self.addresses[n]) for kind, n, token in others],
        )
        now = datetime.now(UTC)
        run.registrations.update({token: [now] for n in range(len(self.phones)) for token in self.of(n)})

    def request(self) -> SendPushNotificationRequest:
        return SendPushNotificationRequest(
            content=Content(title="Hello", body="To all devices"), to=map(_recipient, self.addresses)
        )


def _recipient(user: str) -> Recipient:
    return Recipient(user_id=user)


async def _register(client: PushClient, devices: Sequence[RegisterDeviceRequest]) -> None:
    for part in _parts(devices):
        failed = [result.error for result in await client.register_devices(part) if result.error]
        assert not failed, failed


def _parts(devices: Sequence[RegisterDeviceRequest]) -> Iterable[Sequence[RegisterDeviceRequest]]:
    return (devices[first : first + _AT_ONCE] for first in range(0, len(devices), _AT_ONCE))
