"""Users with several devices, of which a provider takes one at once, puts off another, and calls a third one dead."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from pharos.push.v1.device_registrations_pb2 import RegisterDeviceRequest
from pharos.push.v1.push_notifications_pb2 import Content, SendPushNotificationRequest
from pharos.push.v1.types_pb2 import Provider, Recipient

from client.push_client import PushClient
from tests.robustness.history import SENT
from tests.robustness.run import Run

_DEAD_EVERY = 50
_AT_ONCE = 1_000
_FCM, _APN = Provider.PROVIDER_FCM, Provider.PROVIDER_APN


class People:
    """Each has a phone that is taken and a tablet that is put off twice; every fiftieth an old phone that is dead.

    Make them with `register`. ``slow`` is how the tablets' tokens begin: the sandbox's `flaky` fails twice.
    """

    def __init__(self, name: str, size: int, slow: str = "flaky") -> None:
        self.phones = [f"{name.encode().hex():0<28}{number:036x}" for number in range(size)]
        self.tablets = [f"{slow}-{name}-{number}" for number in range(size)]
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

    async def register(self, run: Run, client: PushClient) -> None:
        await _register(client, [RegisterDeviceRequest(provider=_APN, token=token) for token in self.phones])
        owners = await run.observer.owners(self.phones)
        self.addresses = [owners[token] for token in self.phones]
        others = [*enumerate(self.tablets), *self.dead.items()]
        await _register(
            client,
            [RegisterDeviceRequest(provider=_FCM, token=token, user_id=self.addresses[n]) for n, token in others],
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
