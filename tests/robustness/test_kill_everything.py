"""kill -9 of every process of the service, the database's too, in the middle of a send; then it is started again."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.acceptance.programs import Program, Up
from tests.acceptance.stack import Stack
from tests.acceptance.story import Listener, assert_agreement, follow
from tests.robustness.crowd import Crowd
from tests.robustness.in_flight import EARLIEST, LATEST, assert_repeats_are_of, repeated_at_most
from tests.robustness.settings import SETTINGS

_WORKERS = 2


@pytest.fixture
def providers(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A sandbox that is not the service's own: its ledger outlives the service. What it says of itself."""
    command = (sys.executable, "-m", "sandbox", "--dir", tmp_path / "sandbox")
    with closing(Program(command, tmp_path / "sandbox.log")) as sandbox:
        yield sandbox.ready()


def _up(data_dir: Path, providers: dict[str, str], *words: str) -> Up:
    addresses = {
        "PHAROS_FCM_URL": providers["fcmUrl"],
        "PHAROS_OAUTH_URL": providers["oauthUrl"],
        "PHAROS_APNS_URL": providers["apnsUrl"],
        "PHAROS_PROVIDER_CA": providers["caFile"],
    }
    return Up(data_dir, "--workers", str(_WORKERS), *words, **SETTINGS, **addresses)


@pytest.fixture
def stack(tmp_path: Path, providers: dict[str, str]) -> Iterator[Stack]:
    of_sandbox = {
        "PHAROS_SANDBOX_URL": providers["controlUrl"],
        "PHAROS_SANDBOX_FCM_KEY": providers["fcmKeyFile"],
        "PHAROS_SANDBOX_APNS_CERT": providers["apnsCertFile"],
        "PHAROS_SANDBOX_APNS_KEY": providers["apnsKeyFile"],
    }
    with closing(_up(tmp_path / "data", providers)) as up:
        started = Stack(up, up.variables() | of_sandbox)
        started.upload_credentials("default")
        yield started


@pytest.mark.timeout(300)
async def test_a_send_outlives_the_death_of_everything(stack: Stack, providers: dict[str, str]) -> None:
    crowd, later = Crowd("all", 10_000), Crowd("later", 2)
    async with stack.client() as client, stack.sandbox() as sandbox:
        operation_id = (await client.send(crowd.request())).operation_id
        async with Listener(client, operation_id) as listener:
            assert await listener.final(EARLIEST) < LATEST
            stack.up.kill_family()
            killed_at = datetime.now(UTC)
            recorded = {crowd.tokens[index] for index in listener.story.final}
            port = stack.grpc.rpartition(":")[2]
            with closing(_up(stack.up.data_dir, providers, "--grpc-port", port)) as up:
                variables = await asyncio.to_thread(up.variables)
                story = await listener.end()

                pushes = await sandbox.pushes(crowd.tokens)
                await assert_agreement(client, story, crowd.expected, pushes)
                assert_repeats_are_of(pushes, killed_at, recorded, at_most=repeated_at_most(workers=_WORKERS))
                assert variables["PHAROS_ACCOUNT_ID"] == stack.variables["PHAROS_ACCOUNT_ID"]
                again = await follow(client, (await client.send(later.request())).operation_id)
                assert again.counts == {"SENT": len(later.tokens)}, "both credentials still open"
