"""Big audiences of bare tokens, and what has to become of each."""

from __future__ import annotations

from pharos.push.v1.push_notifications_pb2 import Content, SendPushNotificationRequest
from pharos.push.v1.types_pb2 import Provider, Recipient

from tests.acceptance.story import Expected

_DEAD_EVERY = 100


class Crowd:
    """FCM and APNs devices by turns; every hundredth device is dead. `name` keeps the tokens of sends apart."""

    def __init__(self, name: str, size: int) -> None:
        self.tokens = [_token(name, number) for number in range(size)]
        self.expected = [
            Expected("FAILED") if _is_dead(number) else Expected("SENT", (token,))
            for number, token in enumerate(self.tokens)
        ]

    @property
    def addresses(self) -> list[str]:
        return self.tokens

    @property
    def devices(self) -> dict[str, set[str]]:
        """None of users."""
        return {}

    @property
    def outcomes(self) -> dict[str, str]:
        """What has to become of each address."""
        return {token: expected.status for token, expected in zip(self.tokens, self.expected, strict=True)}

    def request(self) -> SendPushNotificationRequest:
        """A recipient's index is its number."""
        return SendPushNotificationRequest(
            content=Content(title="Number {{ number }}", body="Hello {{ number }}"),
            to=(
                Recipient(token=token, provider=_provider(number), variables={"number": str(number)})
                for number, token in enumerate(self.tokens)
            ),
        )


def _provider(number: int) -> Provider.ValueType:
    return Provider.PROVIDER_APN if number % 2 else Provider.PROVIDER_FCM


def _is_dead(number: int) -> bool:
    return number % _DEAD_EVERY in {10, 61}


def _token(name: str, number: int) -> str:
    """The sandbox knows a dead device by how its token begins."""
    if number % 2:
        return f"{'dead' if _is_dead(number) else '11fe'}{name.encode().hex():0<24}{number:036x}"
    return f"{'unregistered' if _is_dead(number) else 'live'}-{name}-{number}"
