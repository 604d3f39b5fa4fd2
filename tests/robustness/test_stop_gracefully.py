"""SIGTERM to a worker in the middle of a send: it finishes what it has begun and gives the rest back."""

from __future__ import annotations

import asyncio
import signal

from client.push_client import PushClient
from tests.acceptance.sandbox_port import SandboxPort
from tests.acceptance.stack import Stack
from tests.acceptance.story import Listener, assert_agreement, repeated
from tests.robustness.crowd import Crowd

_EARLIEST, _LATEST = 300, 1_700


async def test_a_stopped_worker_repeats_and_loses_nothing(
    stack: Stack, client: PushClient, sandbox: SandboxPort
) -> None:
    crowd = Crowd("graceful", 2_000)
    await sandbox.set_rules({"latencyMs": 150, "jitterMs": 300})  # else all is over before the signal arrives
    operation_id = (await client.send(crowd.request())).operation_id

    async with Listener(client, operation_id) as listener:
        assert await listener.final(_EARLIEST) < _LATEST
        workers = [stack.up.program("--name", f"worker-{number}") for number in (1, 2)]
        for worker in workers:
            worker.send(signal.SIGTERM)
        for worker in workers:
            await asyncio.to_thread(worker.wait, 60.0)
        assert len(listener.story.final) < len(crowd.tokens), "they gave the rest back"
        story = await listener.end()

    pushes = await sandbox.pushes(crowd.tokens)
    await assert_agreement(client, story, crowd.expected, pushes)
    assert not repeated(pushes)
