"""Providers that end connections, stay silent and ask for patience, all during one send."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from client.push_client import PushClient
from tests.acceptance.sandbox_port import SandboxPort
from tests.acceptance.story import assert_agreement, follow, repeated
from tests.robustness.crowd import Crowd

_SIZE = 1_000


def _faults() -> Iterator[dict[str, Any]]:
    """One after the other, spread over the pushes of each provider. `processed` ones are taken and not answered."""
    for provider in ("FCM", "APN"):
        yield {"provider": provider, "skip": 20, "times": 1, "fault": "goaway"}
        yield {"provider": provider, "skip": 60, "times": 1, "fault": "goaway", "processed": True}
        yield {"provider": provider, "skip": 100, "times": 1, "fault": "cut"}
        yield {"provider": provider, "skip": 140, "times": 1, "fault": "cut", "processed": True}
        yield {"provider": provider, "skip": 180, "times": 3, "fault": "reset", "processed": True}
        yield {"provider": provider, "skip": 200, "times": 3, "fault": "refuse"}
        yield {"provider": provider, "skip": 220, "times": 3, "fault": "stall", "processed": True}
        yield {"provider": provider, "skip": 260, "times": 1, "fault": "goaway", "goaway": {"drain": False}}
        yield {"provider": provider, "skip": 300, "times": 30, "status": 503, "headers": {"retry-after": "1"}}


async def test_every_recipient_becomes_final_whatever_providers_do(client: PushClient, sandbox: SandboxPort) -> None:
    crowd = Crowd("faults", _SIZE)
    await sandbox.set_rules(*_faults())

    operation_id = (await client.send(crowd.request())).operation_id
    story = await follow(client, operation_id)

    spent = {
        (rule["provider"], rule.get("fault", "503"), rule["skip"]) for rule in await sandbox.rules() if rule["applied"]
    }
    assert len(spent) == len(list(_faults())), "a fault that never happened shows nothing"
    pushes = await sandbox.pushes(crowd.tokens)
    await assert_agreement(client, story, crowd.expected, pushes)
    twice = repeated(pushes)
    assert twice, "what a provider took without an answer is sent again"
    for token, got in twice.items():
        index = crowd.tokens.index(token)
        [device] = (await client.get_push_notification(story.final[index].push_notification_id)).devices
        assert device.attempts >= len(got), "only after an unknown outcome"
