"""Before a client is measured, the sandbox judges it: strict about every push, with a ledger of what it accepted."""

from __future__ import annotations

import ssl
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import jwt
import msgspec

from client.processes import Child
from sandbox.identity import APNS_KEY_ID, APNS_TEAM_ID, APNS_TOPIC
from tests.benchmarks.clients import starting
from tests.benchmarks.clients.driving import Job, Mode, Report
from tests.benchmarks.clients.starting import Client
from tests.benchmarks.target import FCM_PATH

_READY_WITHIN = 30.0
_STOP_WITHIN = 10.0
_PUSHES = 201
_SCOPE = "https://www.googleapis.com/auth/firebase.messaging"


class MismatchError(Exception):
    """What a client claims is not what the target counted: its figure is worth nothing, and the bench fails."""


@dataclass(frozen=True)
class Judge:
    """A running sandbox."""

    ready: dict[str, str]

    async def judge(self, client: Client, mode: Mode) -> None:
        """Raises MismatchError unless all pushes but the malformed one are in the ledger, each once."""
        job = _job(self.ready, mode, _bearer(self.ready) if mode == "fcm" else _provider_token(self.ready))
        async with httpx.AsyncClient(base_url=self.ready["controlUrl"]) as control:
            (await control.delete("/ledger")).raise_for_status()
            report = await starting.run(client, job if client.patient else msgspec.structs.replace(job, in_flight=1))
            total = (await control.get("/ledger/summary")).raise_for_status().json()["total"]
        counted = (total["accepted"], total["rejected"], total["duplicates"])
        check(f"{client.name} ({mode}, sandbox)", _PUSHES, report, counted[0], counted[1])
        if counted[2] and not client.repeats:
            raise MismatchError(f"{client.name} ({mode}, sandbox): {counted[2]} duplicates")


@asynccontextmanager
async def judge(folder: Path) -> AsyncIterator[Judge]:
    """A sandbox while this lasts."""
    argv = [sys.executable, "-m", "sandbox", "--dir", str(folder), "--die-with-parent"]
    child = await Child.spawn("sandbox", argv, lambda _name, _line: None)
    try:
        yield Judge(await child.ready(_READY_WITHIN))
    finally:
        await child.stop(_STOP_WITHIN)


def check(what: str, pushes: int, report: Report, accepted: int, refused: int) -> None:
    """One malformed push refused, all others accepted, and client and target agree. Raises MismatchError."""
    claims, counts = (report.accepted, report.rejected), (accepted, refused)
    if report.failed or claims != counts or claims != (pushes - 1, 1):
        raise MismatchError(
            f"{what}: {pushes} pushes, one of them malformed; the client claims {claims[0]} accepted, {claims[1]} "
            f"refused and {report.failed} without an answer, the target counted {counts[0]} and {counts[1]}"
        )


def _job(ready: dict[str, str], mode: Mode, authorization: str) -> Job:
    return Job(
        url=ready["fcmUrl"] if mode == "fcm" else ready["apnsUrl"],
        ca_file=ready["caFile"],
        mode=mode,
        path=FCM_PATH,
        authorization=authorization,
        topic=APNS_TOPIC,
        pushes=_PUSHES,
        in_flight=100,
        fcm_key_file=ready["fcmKeyFile"],
        apns_p8_file=ready["apnsP8File"],
    )


def _provider_token(ready: dict[str, str]) -> str:
    return "bearer " + provider_token(Path(ready["apnsP8File"]))


def provider_token(p8_file: Path) -> str:
    """What identifies a sender to APNs."""
    claims = {"iss": APNS_TEAM_ID, "iat": int(time.time())}
    return str(jwt.encode(claims, p8_file.read_text(), "ES256", headers={"kid": APNS_KEY_ID}))


def _bearer(ready: dict[str, str]) -> str:
    account = msgspec.json.decode(Path(ready["fcmKeyFile"]).read_bytes())
    now = int(time.time())
    claims = {"iss": account["client_email"], "scope": _SCOPE, "aud": ready["oauthUrl"], "iat": now, "exp": now + 3600}
    assertion = jwt.encode(claims, account["private_key"], "RS256", headers={"kid": account["private_key_id"]})
    form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
    answer = httpx.post(ready["oauthUrl"], data=form, verify=_trusting(ready["caFile"]), trust_env=False)
    return f"Bearer {answer.raise_for_status().json()['access_token']}"


def _trusting(ca_file: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file)
