"""`pharos demo`: everything in one go against the sandbox, 10,000 recipients, and a check of each of them."""

from __future__ import annotations

import asyncio
import base64
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from pharos.push.v1.device_registrations_pb2 import RegisterDeviceRequest

from client.agreement import Push, differences
from client.audience import APP_NAME, Member, make_audience, send_request
from client.connection import Connection
from client.dev_env import read_env_file
from client.errors import PushError
from client.live_view import counted, progress_view, summary_lines
from client.processes import Child, ProcessError
from client.push_client import PushClient
from client.supervision import together
from client.tally import Tally

_UP_WITHIN = 180.0
_STOP_WITHIN = 120.0
_DELIVERED_WITHIN = 600.0
_REGISTERING_AT_ONCE = 32
_SHOWN_DIFFERENCES = 50
_LOG_TAIL = 15


def run(recipients: int) -> int:
    """Runs the demo; the exit code: 0 if all agrees, 1 if not, 130 when interrupted. Leaves nothing behind."""
    try:
        return asyncio.run(_until_signal(recipients))
    except (ProcessError, PushError, httpx.HTTPError, TimeoutError) as error:
        sys.stderr.write(f"pharos demo: {error or type(error).__name__}\n")
        return 1


async def _until_signal(recipients: int) -> int:
    running = asyncio.create_task(_demo(recipients))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    try:
        return await running
    except asyncio.CancelledError:
        _say("interrupted")
        return 130


async def _demo(recipients: int) -> int:
    with tempfile.TemporaryDirectory(prefix="pharos-demo-") as data_dir:
        _say(f"starting everything in {data_dir}")
        async with _everything(Path(data_dir)) as variables:
            await _upload_credentials(variables)
            async with PushClient.connect(Connection.of(variables)) as client:
                return await _show(client, variables, make_audience(recipients))


async def _show(client: PushClient, variables: Mapping[str, str], members: list[Member]) -> int:
    await _register([member for member in members if member.is_user], client)
    began = time.monotonic()
    tally = await _deliver(client, members)
    took = time.monotonic() - began
    operation = await client.get_operation(tally.operation.id)
    async with httpx.AsyncClient(base_url=variables["PHAROS_SANDBOX_URL"], timeout=60.0) as sandbox:
        pushes = [Push.from_ledger(entry) for entry in await _fetch(sandbox, "/ledger")]
        summary = await _fetch(sandbox, "/ledger/summary")
    duplicates = sum(summary[provider]["duplicates"] for provider in ("FCM", "APN"))
    for line in (*summary_lines(tally), _rates(len(members), len(pushes), took), *_examples(pushes)):
        _say(line)
    return _verdict(differences(members, tally, operation.stats, pushes, duplicates), len(members))


@asynccontextmanager
async def _everything(data_dir: Path) -> AsyncIterator[dict[str, str]]:
    """`pharos up --sandbox`, while this lasts; the variables of its dev.env."""
    argv = [sys.executable, "-m", "client", "up", "--sandbox", "--workers", "2", "--quiet", "--die-with-parent"]
    argv += ["--data-dir", str(data_dir), "--http-port", "0", "--grpc-port", "0"]
    up = await Child.spawn("up", argv, lambda _, line: _complain(line))
    try:
        yield read_env_file(Path((await up.ready(_UP_WITHIN))["env"]))
    except (ProcessError, PushError, httpx.HTTPError, TimeoutError):
        _show_logs(data_dir / "logs")
        raise
    finally:
        await up.stop(_STOP_WITHIN)


async def _upload_credentials(variables: Mapping[str, str]) -> None:
    """Over REST, as an operator would do it."""
    auth = httpx.BasicAuth(variables["PHAROS_ACCOUNT_ID"], variables["PHAROS_AUTH_TOKEN"])
    fcm = {"privateKey": _base64_of(variables["PHAROS_SANDBOX_FCM_KEY"])}
    apn = {
        "certificate": _base64_of(variables["PHAROS_SANDBOX_APNS_CERT"]),
        "privateKey": _base64_of(variables["PHAROS_SANDBOX_APNS_KEY"]),
    }
    async with httpx.AsyncClient(base_url=variables["PHAROS_URL"], auth=auth, timeout=30.0) as http:
        for kind, content in (("FCM", fcm), ("APN", apn)):
            upload = {"appName": APP_NAME, "credentialType": kind, "content": content}
            response = await http.post("/v1/PushNotifications/Credentials", json=upload)
            if response.is_error:
                raise ProcessError(f"the {kind} credential was refused: {response.status_code} {response.text}")
    _say("uploaded an FCM and an APNs credential")


def _base64_of(path: str) -> str:
    return base64.b64encode(Path(path).read_bytes()).decode("ascii")


async def _register(users: Sequence[Member], client: PushClient) -> None:
    waiting = iter(users)
    with progress_view("registering users") as view:
        registered = 0

        async def register_some() -> None:
            nonlocal registered
            for user in waiting:
                await _register_one(user, client)
                registered += 1
                view.show(registered, len(users))

        await together(*(register_some() for _ in range(_REGISTERING_AT_ONCE)))


async def _register_one(user: Member, client: PushClient) -> None:
    """The first device makes the user; the others join it. A phone given away is then registered to a new user."""
    for device in user.devices:
        request = RegisterDeviceRequest(
            app_name=APP_NAME, provider=device.provider, token=device.token, user_id=user.user_id
        )
        registration_id = (await client.register_device(request)).resource_id
        if not user.user_id:
            user.user_id = (await client.get_device_registration(registration_id)).user_id
    if user.gives_phone_away:
        [device] = user.devices
        await client.register_device(
            RegisterDeviceRequest(app_name=APP_NAME, provider=device.provider, token=device.token)
        )


async def _deliver(client: PushClient, members: list[Member]) -> Tally:
    """Sends, and follows the stream to its end."""
    tally = Tally()
    operation_id = (await client.send(send_request(members))).operation_id
    async with asyncio.timeout(_DELIVERED_WITHIN):
        with progress_view("delivering") as view:
            async with aclosing(client.watch(operation_id=operation_id)) as messages:
                async for message in messages:
                    tally.add(message)
                    view.show(len(tally.final), len(members), counted(tally.by_status()))
    return tally


async def _fetch(sandbox: httpx.AsyncClient, path: str) -> Any:
    return (await sandbox.get(path)).raise_for_status().json()


def _rates(recipients: int, pushes: int, took: float) -> str:
    rates = f"{recipients / took:,.0f} recipients/s, {pushes / took:,.0f} pushes/s"
    return f"{recipients:,} recipients, {pushes:,} accepted pushes in {took:.2f} s: {rates}"


def _examples(pushes: Sequence[Push]) -> Iterator[str]:
    """One push of each provider, as it arrived."""
    for provider in ("FCM", "APN"):
        push = next((push for push in pushes if push.provider == provider), None)
        if push is not None:
            yield f"{provider} {push.token[:12]}...: {push.title!r} {push.body!r}"


def _verdict(found: Sequence[str], recipients: int) -> int:
    if not found:
        _say(f"stream, counts and ledger agree on all {recipients:,} recipients; no duplicates")
        return 0
    _say(f"{len(found)} differences:")
    for difference in found[:_SHOWN_DIFFERENCES]:
        _say(f"  {difference}")
    return 1


def _show_logs(directory: Path) -> None:
    """The logs' last lines, since the logs go with the directory."""
    for path in sorted(directory.glob("*.log")):
        for line in path.read_text("utf-8", "replace").splitlines()[-_LOG_TAIL:]:
            _complain(f"{path.stem}: {line}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _complain(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
