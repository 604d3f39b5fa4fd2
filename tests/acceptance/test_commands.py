"""The `pharos` command: up, down and up again, accounts, sends and watching."""

from __future__ import annotations

import json
import re
import select
import signal
import stat
import subprocess
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from pharos.push.v1.device_registrations_pb2 import RegisterDeviceRequest
from pharos.push.v1.push_notifications_pb2 import Content, SendPushNotificationRequest
from pharos.push.v1.types_pb2 import Provider, Recipient

from client.push_client import PushClient
from tests.acceptance.processes import still_running
from tests.acceptance.programs import PHAROS, Up, clean_environment, pharos
from tests.acceptance.sandbox_port import SandboxPort
from tests.acceptance.stack import Stack
from tests.acceptance.story import follow

_HELLO = Content(body="Hello")
_OPERATION_ID = r"comms_operation_[0-7][a-hjkmnpqrstv-z0-9]{25}"


async def _register(client: PushClient) -> str:
    request = RegisterDeviceRequest(token="live-kept", provider=Provider.PROVIDER_FCM, app_name="kept")
    return (await client.register_device(request)).resource_id


async def test_what_was_there_is_there_after_down_and_up(tmp_path: Path) -> None:
    with closing(Up(tmp_path / "data", "--sandbox")) as up:
        first = Stack(up, up.variables())
        first.upload_credentials("kept", "FCM")
        async with first.client() as client:
            registration = await client.get_device_registration(await _register(client))
        _assert_ends_cleanly(up)

    with closing(Up(tmp_path / "data", "--sandbox")) as up:
        second = Stack(up, up.variables())
        account = ("PHAROS_ACCOUNT_ID", "PHAROS_AUTH_TOKEN")
        assert [second.variables[name] for name in account] == [first.variables[name] for name in account]
        async with second.client() as client, second.sandbox() as sandbox:
            assert await client.get_device_registration(registration.id) == registration
            assert (await client.get_app("kept")).is_default
            send = SendPushNotificationRequest(to=[Recipient(user_id=registration.user_id)], content=_HELLO)
            assert (await follow(client, (await client.send(send)).operation_id)).counts == {"SENT": 1}
            assert await sandbox.pushes(["live-kept"]), "the kept credential still opens"
        _assert_ends_cleanly(up)


def _assert_ends_cleanly(up: Up) -> None:
    family = up.family()
    assert len(family) > len(("up", "database", "PostgreSQL", "server", "worker", "gateway", "sandbox"))
    assert up.terminate() == 0
    assert not still_running(family)


def test_a_second_up_on_the_same_folder_is_refused(stack: Stack) -> None:
    second = pharos("up", "--data-dir", stack.up.data_dir, "--http-port", "0", "--grpc-port", "0")

    assert second.returncode == 1
    assert re.fullmatch(r"pharos up: another `pharos up` already runs on \S+\n", second.stderr)
    assert httpx.get(f"{stack.url}/readyz", timeout=60).status_code == 200, "the first one did not notice"


def test_dev_env_says_where_everything_is_to_its_owner_alone(stack: Stack) -> None:
    assert stat.S_IMODE(stack.up.env_file.stat().st_mode) == 0o600
    assert stack.variables.keys() == {
        *("PHAROS_URL", "PHAROS_GRPC", "PHAROS_ACCOUNT_ID", "PHAROS_AUTH_TOKEN", "PHAROS_SANDBOX_URL"),
        *("PHAROS_SANDBOX_FCM_KEY", "PHAROS_SANDBOX_APNS_CERT", "PHAROS_SANDBOX_APNS_KEY", "PHAROS_SANDBOX_APNS_P8"),
        *("PHAROS_SANDBOX_APNS_KEY_ID", "PHAROS_SANDBOX_APNS_TEAM_ID", "PHAROS_SANDBOX_APNS_TOPIC"),
    }
    for name in ("FCM_KEY", "APNS_CERT", "APNS_KEY", "APNS_P8"):
        assert Path(stack.variables[f"PHAROS_SANDBOX_{name}"]).is_file()
    sourced = subprocess.run(  # noqa: S603 - our own words
        ["/bin/sh", "-c", '. "$0"; printf %s "$PHAROS_URL"', str(stack.up.env_file)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert sourced.stdout == stack.url


def test_an_account_is_created(stack: Stack) -> None:
    made = pharos("accounts", "create", "--data-dir", stack.up.data_dir, "--name", "another")

    assert made.returncode == 0, made.stderr
    created = json.loads(made.stdout)
    assert created.keys() == {"accountId", "authToken"}
    app = f"{stack.url}/v1/PushNotifications/Apps/default"
    auth = (created["accountId"], created["authToken"])
    assert httpx.get(app, auth=auth, timeout=60).status_code == 404, "it is known, and has nothing"
    assert httpx.get(app, auth=stack.auth, timeout=60).status_code == 200


async def test_send_follows_what_it_sent(stack: Stack, sandbox: SandboxPort) -> None:
    recipients = ("--to", "fcm:live-command", "--to", "apn:" + "11fe" * 16, "--to", "fcm:unregistered-command")

    sent = pharos(
        *("send", *recipients, "--title", "From the shell", "--body", "Hello", "--data", "door=7"),
        *("--watch", "--env-file", stack.up.env_file),
    )

    assert sent.returncode == 0, sent.stderr
    operation_id, *progress, summary, reasons = sent.stdout.splitlines()
    assert re.fullmatch(_OPERATION_ID, operation_id)
    assert re.match(r"delivering 3/3 ", progress[-1])
    assert summary == f"{operation_id} COMPLETED: SENT 2  FAILED 1"
    assert reasons == "reasons: UNREGISTERED 1"
    [push] = (await sandbox.pushes(["live-command"]))["live-command"]
    assert (push.title, push.text, push.body["message"]["data"]["door"]) == ("From the shell", "Hello", "7")


def test_send_and_watch_take_the_connection_from_the_environment(stack: Stack, tmp_path: Path) -> None:
    recipients = tmp_path / "recipients.jsonl"
    lines = [{"provider": "FCM", "token": f"live-file-{number}", "variables": {"n": number}} for number in range(3)]
    recipients.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    sent = pharos("send", "--to-file", recipients, "--body", "Hello {{ n }}", env=stack.variables)
    operation_id = sent.stdout.strip()

    watched = pharos("watch", operation_id, env=stack.variables)

    assert watched.returncode == 0, watched.stderr
    assert watched.stdout.splitlines()[-1] == f"{operation_id} COMPLETED: SENT 3"


def test_watching_the_account_goes_on_until_interrupted(stack: Stack) -> None:
    watching = subprocess.Popen(  # noqa: S603 - our own program, no shell
        [PHAROS, "watch", "--account", "--env-file", stack.up.env_file],
        stdout=subprocess.PIPE,
        text=True,
        env=clean_environment(),
    )
    with watching:
        try:
            sent, shown = _send_until_something_is_shown(watching, stack)
        finally:
            watching.send_signal(signal.SIGINT)
        assert watching.wait(60) == 130
    operation_id, _, counts = shown.partition(" ")
    assert operation_id in sent
    assert re.match(r"(PROCESSING|COMPLETED)  recipients 1 ", counts)


def _send_until_something_is_shown(watching: subprocess.Popen[str], stack: Stack) -> tuple[set[str], str]:
    """The operations sent and the first line shown: what was sent before the watch began is not told."""
    assert watching.stdout is not None
    sent: set[str] = set()
    while not sent or not select.select([watching.stdout], [], [], 1.0)[0]:
        sent.add(pharos("send", "--to", "fcm:live-watched", "--body", "Hello", env=stack.variables).stdout.strip())
    return sent, watching.stdout.readline()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("send", "--body", "Hello"), 2, "no recipients"),
        (("send", "--to", "fax:1", "--body", "Hello"), 2, "fax:1"),
        (("watch", "comms_operation_01h9krwprkeee8fzqspvwy6nq8"), 1, "no such operation"),
        (("send", "--to", "fcm:t", "--app", "unknown", "--body", "Hello"), 1, "there is no such app"),
    ],
)
def test_a_mistake_is_told_in_a_line(stack: Stack, words: tuple[str, ...], code: int, said: str) -> None:
    ran = pharos(*words, "--env-file", stack.up.env_file)

    assert ran.returncode == code
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr
