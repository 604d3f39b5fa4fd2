"""kill -9 of a worker in the middle of a send: another one takes over, and only what was in flight is sent again."""

from __future__ import annotations

import signal
from datetime import UTC, datetime

import pytest

from client.push_client import PushClient
from tests.acceptance.sandbox_port import SandboxPort
from tests.acceptance.stack import Stack
from tests.acceptance.story import Listener, assert_agreement
from tests.robustness.crowd import Crowd
from tests.robustness.in_flight import EARLIEST, LATEST, assert_repeats_are_of, repeated_at_most


@pytest.mark.timeout(300)
async def test_only_what_was_in_flight_is_sent_again(stack: Stack, client: PushClient, sandbox: SandboxPort) -> None:
    crowd = Crowd("worker", 10_000)
    operation_id = (await client.send(crowd.request())).operation_id

    async with Listener(client, operation_id) as listener:
        assert await listener.final(EARLIEST) < LATEST
        worker = stack.up.program("--name", "worker-1")
        worker.send(signal.SIGKILL)
        killed_at = datetime.now(UTC)
        recorded = {crowd.tokens[index] for index in listener.story.final}
        story = await listener.end()

    pushes = await sandbox.pushes(crowd.tokens)
    await assert_agreement(client, story, crowd.expected, pushes)
    assert_repeats_are_of(pushes, killed_at, recorded, at_most=repeated_at_most(workers=1))
    assert stack.up.program("--name", "worker-1") != worker, "it was started again"
