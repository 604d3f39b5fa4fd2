"""PostgreSQL is stopped in the middle of a send and comes back."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from client.push_client import PushClient
from tests.acceptance.programs import Up
from tests.acceptance.sandbox_port import SandboxPort
from tests.acceptance.stack import Stack
from tests.acceptance.story import Listener, assert_agreement, repeated
from tests.robustness.crowd import Crowd
from tests.robustness.settings import SETTINGS

_EARLIEST, _LATEST = 300, 1_700


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """One whose leases outlast PostgreSQL's absence: else a worker may take what another one has in hand."""
    settings = SETTINGS | {"PHAROS_LEASE_SECONDS": "60"}
    with closing(Up(tmp_path / "data", "--sandbox", "--workers", "2", **settings)) as up:
        started = Stack(up, up.variables())
        started.upload_credentials("default")
        yield started


async def test_nothing_is_lost_and_nothing_told_twice(stack: Stack, client: PushClient, sandbox: SandboxPort) -> None:
    crowd = Crowd("postgres", 2_000)
    users = [stack.up.program("serve"), *(stack.up.program("--name", f"worker-{number}") for number in (1, 2))]
    postmaster = stack.up.postmaster()
    operation_id = (await client.send(crowd.request())).operation_id

    async with Listener(client, operation_id) as listener:
        assert await listener.final(_EARLIEST) < _LATEST
        postmaster.send(signal.SIGINT)
        await asyncio.to_thread(postmaster.wait, 60.0)
        story = await listener.end()

    pushes = await sandbox.pushes(crowd.tokens)
    await assert_agreement(client, story, crowd.expected, pushes)
    assert not repeated(pushes), "a worker keeps what it knows until the database is back"
    assert stack.up.postmaster() != postmaster
    assert all(process.runs for process in users), "who uses the database waits for it"
