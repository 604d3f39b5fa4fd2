"""PostgreSQL is stopped in the middle of a send and comes back."""

from __future__ import annotations

import asyncio
import signal

from client.push_client import PushClient
from tests.acceptance.sandbox_port import SandboxPort
from tests.acceptance.stack import Stack
from tests.acceptance.story import Listener, assert_agreement, repeated
from tests.robustness.crowd import Crowd

_EARLIEST, _LATEST = 300, 1_700


async def test_nothing_is_lost_and_nothing_told_twice(stack: Stack, client: PushClient, sandbox: SandboxPort) -> None:
    crowd = Crowd("postgres", 2_000)
    server, worker = stack.up.program("serve"), stack.up.program("--name", "worker-1")
    postmaster = stack.up.postmaster()
    operation_id = (await client.send(crowd.request())).operation_id

    async with Listener(client, operation_id) as listener:
        assert await listener.final(_EARLIEST) < _LATEST
        postmaster.send(signal.SIGINT)
        await asyncio.to_thread(postmaster.wait, 60.0)
        story = await listener.end()

    pushes = await sandbox.pushes(crowd.tokens)
    await assert_agreement(client, story, crowd.expected, pushes)
    assert not repeated(pushes), "a worker that lives keeps what it knows until the database is back"
    assert stack.up.postmaster() != postmaster
    assert server.runs, "who uses the database waits for it"
    assert worker.runs, "who uses the database waits for it"
