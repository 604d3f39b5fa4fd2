"""The senders of FCM and APNs over both transports, against the sandbox at its worst; its ledger says what it took."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from sandbox import Rule, Sandbox
from sandbox.identity import APNS_KEY_ID, APNS_TEAM_ID, APNS_TOPIC
from sandbox.rules import GoAwaySpec
from sandbox.wire import Fault
from server.domain.credentials import CredentialContent, CredentialType, SealedCredential, seal_context
from server.domain.outcomes import Accepted, NotSent, Outcome, Throttled, Unknown
from server.domain.pushes import Content, Presentation, Push
from server.providers.credentials.parsing import parse_credential
from server.providers.endpoints import Endpoints
from server.providers.fcm.sender import FcmSender
from server.providers.sealing import Sealer
from server.providers.senders import Sender, Senders
from tests.contract.fates import SLACK
from tests.contract.wires import KINDS, forgotten_sockets

TIMEOUT = 3.0
PATIENCE = 30.0  # where no push may run out of time: httpx takes seconds of CPU for a thousand
SEALER = Sealer([b"k" * 32])


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sandbox")


@pytest.fixture
async def sandbox(directory: Path) -> AsyncIterator[Sandbox]:
    async with Sandbox.start(directory) as running:
        yield running


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def seconds() -> float:
    """How long a push may take."""
    return TIMEOUT


@pytest.fixture
async def senders(kind: str, sandbox: Sandbox, seconds: float) -> AsyncIterator[Senders]:
    urls = sandbox.urls
    endpoints = Endpoints(urls.fcm, urls.oauth, urls.apns, urls.apns, sandbox.identity.ca_file, seconds)
    with forgotten_sockets() if kind == "httpx" else contextlib.nullcontext():
        senders = Senders(endpoints, SEALER, KINDS[kind])
        yield senders
        async with asyncio.timeout(seconds + SLACK):
            await senders.aclose()


@pytest.fixture(params=["FCM", "APN key", "APN certificate"])
async def sender(request: pytest.FixtureRequest, senders: Senders, sandbox: Sandbox) -> Sender:
    files = sandbox.identity
    kind, content = {
        "FCM": (CredentialType.FCM, CredentialContent(_base64(files.fcm_key_file))),
        "APN key": (
            CredentialType.APN,
            CredentialContent(_base64(files.apns_p8_file), None, APNS_KEY_ID, APNS_TEAM_ID, APNS_TOPIC),
        ),
        "APN certificate": (
            CredentialType.APN,
            CredentialContent(_base64(files.apns_key_file), _base64(files.apns_cert_file)),
        ),
    }[request.param]
    identity, secret = uuid4(), parse_credential(kind, content).secret
    sealed = SEALER.seal(secret, seal_context("a1", identity))
    return senders.get(SealedCredential("a1", identity, 1, kind, sealed))


def _base64(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()


def tokens(count: int, prefix: str = "ab") -> list[str]:
    """Device tokens that both providers take."""
    return [f"{prefix}{number:062x}" for number in range(count)]


async def send(sender: Sender, devices: Sequence[str], seconds: float = TIMEOUT) -> dict[str, Outcome]:
    """One push to each at once. Fails when one is not over in time."""
    pushes = [Push(uuid4(), device, Content(title="Hi"), Presentation()) for device in devices]
    async with asyncio.timeout(seconds + SLACK):
        outcomes = await asyncio.gather(*(sender.send(push) for push in pushes))
    return dict(zip(devices, outcomes, strict=True))


def audit(outcomes: dict[str, Outcome], sandbox: Sandbox) -> Counter[type[Any]]:
    """The sandbox's ledger against what we believe; how often each outcome came."""
    taken = Counter(record.token for record in sandbox.ledger.records())
    for device, outcome in outcomes.items():
        if isinstance(outcome, Accepted):
            assert taken[device] == 1, "accepted once, and only once"
        elif isinstance(outcome, NotSent):
            assert taken[device] == 0, "not sent, and yet taken"
        else:
            assert taken[device] <= 1
    return Counter(map(type, outcomes.values()))


def _goaway(*, drain: bool, processed: bool, code: int = 0) -> Rule:
    spec = GoAwaySpec(code=code, debug='{"reason":"Shutdown"}', drain=drain)
    return Rule(fault=Fault.GOAWAY, goaway=spec, processed=processed, skip=40, times=1, latency_ms=20)


@pytest.mark.parametrize("seconds", [PATIENCE])
async def test_a_thousand_are_taken_once_each(sender: Sender, sandbox: Sandbox, seconds: float) -> None:
    sandbox.rules.replace(Rule(latency_ms=5, jitter_ms=20))
    assert audit(await send(sender, tokens(1000), seconds), sandbox) == {Accepted: 1000}


@pytest.mark.parametrize("processed", [False, True])
@pytest.mark.parametrize("drain", [True, False])
async def test_goaway_in_full_flight(
    sender: Sender,
    sandbox: Sandbox,
    kind: str,
    drain: bool,  # noqa: FBT001 - a parameter of the test
    processed: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    sandbox.rules.replace(_goaway(drain=drain, processed=processed), Rule(latency_ms=30, jitter_ms=20))
    outcomes = await send(sender, tokens(300))
    found = audit(outcomes, sandbox)
    if kind == "http2":
        assert found.keys() <= {Accepted, Unknown}, found
        assert not drain or found == {Accepted: 300}


@pytest.mark.parametrize("processed", [False, True])
@pytest.mark.parametrize("fault", [Fault.CUT, Fault.RESET, Fault.STALL])
async def test_faults_that_tell_nothing(
    sender: Sender,
    sandbox: Sandbox,
    kind: str,
    fault: Fault,
    processed: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    sandbox.rules.replace(Rule(fault=fault, processed=processed, skip=25, times=2), Rule(latency_ms=10, jitter_ms=10))
    found = audit(await send(sender, tokens(150)), sandbox)
    assert found[Accepted] + found[Unknown] + found[NotSent] == 150
    if kind == "http2":
        assert 2 <= found[Unknown] <= (150 if fault is Fault.CUT else 2)
        assert found[NotSent] == 0


@pytest.mark.parametrize("seconds", [PATIENCE])
async def test_refused_streams_are_sent_again(sender: Sender, sandbox: Sandbox, kind: str, seconds: float) -> None:
    sandbox.rules.replace(Rule(fault=Fault.REFUSE, skip=20, times=15), Rule(latency_ms=5))
    found = audit(await send(sender, tokens(150), seconds), sandbox)
    assert found[Unknown] == 0
    if kind == "http2":
        assert found == {Accepted: 150}


@pytest.mark.parametrize("fault", [Fault.GOAWAY, Fault.CUT])
async def test_connections_that_fail_at_first(sender: Sender, sandbox: Sandbox, kind: str, fault: Fault) -> None:
    google = int(isinstance(sender, FcmSender))  # the first connection is for an access token
    sandbox.rules.replace(Rule(on="connect", fault=fault, skip=google, times=2, goaway=GoAwaySpec(debug="busy")))
    found = audit(await send(sender, tokens(50)), sandbox)
    assert kind != "http2" or found[Unknown] == 0
    for wave in range(4):
        found = audit(await send(sender, tokens(50, f"cd{wave:02}")), sandbox)
    assert found == {Accepted: 50}


async def test_connections_that_never_begin(sender: Sender, sandbox: Sandbox, kind: str) -> None:
    sandbox.rules.replace(Rule(on="connect", fault=Fault.STALL))
    found = audit(await send(sender, tokens(20)), sandbox)
    assert found[Accepted] == 0
    assert kind != "http2" or found == {NotSent: 20}


async def test_a_limit_lowered_and_raised_again(sender: Sender, sandbox: Sandbox, kind: str) -> None:
    """What is above the new limit is refused, and safe to send again."""
    sandbox.rules.replace(
        Rule(times=1, skip=60, max_streams=5, latency_ms=30),
        Rule(times=1, skip=150, max_streams=100, latency_ms=5),
        Rule(latency_ms=30, jitter_ms=10),
    )
    found = audit(await send(sender, tokens(300)), sandbox)
    if kind == "http2":
        assert found == {Accepted: 300}


async def test_a_storm_of_refusals_by_status(sender: Sender, sandbox: Sandbox, kind: str) -> None:
    sandbox.rules.replace(Rule(status=503, headers={"retry-after": "7"}, times=100))
    outcomes = await send(sender, tokens(150))
    found = audit(outcomes, sandbox)
    assert kind != "http2" or found == {Throttled: 100, Accepted: 50}


async def test_everything_in_turns(sender: Sender, sandbox: Sandbox) -> None:
    """Ten waves, each with another trouble; at the end the ledger and the outcomes still agree."""
    outcomes: dict[str, Outcome] = {}
    troubles = [
        _goaway(drain=True, processed=True),
        Rule(fault=Fault.CUT, processed=True, skip=30, times=1),
        Rule(fault=Fault.REFUSE, skip=10, times=20),
        Rule(fault=Fault.RESET, processed=True, skip=30, times=5),
        _goaway(drain=False, processed=True, code=2),
        Rule(max_streams=3, times=1, skip=20),
        Rule(on="connect", fault=Fault.CUT, times=1),
        Rule(fault=Fault.CUT, skip=5, times=2),
        Rule(status=500, times=10),
    ]
    for number, trouble in enumerate(troubles):
        sandbox.rules.replace(trouble, Rule(latency_ms=5, jitter_ms=10))
        outcomes |= await send(sender, tokens(80, f"{number:02}"))
    audit(outcomes, sandbox)
    sandbox.rules.clear()
    outcomes = {}
    for attempt in range(3):
        outcomes = await send(sender, tokens(80, f"ff{attempt:02}"))
    assert audit(outcomes, sandbox) == {Accepted: 80}
