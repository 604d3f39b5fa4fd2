"""The documents' curl commands, letter by letter but for the host, ids, tokens and keys, run by bash."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import pytest

from tests.acceptance.documented import (
    CREDENTIAL_ID,
    OPERATION_ID,
    REGISTRATION_ID,
    TOKEN,
    USER_ID,
    fetch,
    last_event,
    register,
)
from tests.acceptance.sandbox_port import SandboxPort
from tests.acceptance.stack import Stack, credential_contents
from tests.external.outside import fill, need, run

_COMMANDS = Path(__file__).with_name("curl")
_USER = "comms_user_01h9krwprkeee8fzqspvwy6nq8"
# What curl shall do besides what the command says: it reads this first, and so the command stays what it is.
_CURLRC = 'silent\nshow-error\nwrite-out = "\\n%{http_code} %{content_type} %header{location}"\n'


@dataclass(frozen=True)
class Answer:
    status: int
    media_type: str
    location: str
    body: Any


Curl: TypeAlias = Callable[..., Answer]


@pytest.fixture(scope="module")
def curl_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need("bash", "curl")
    home = tmp_path_factory.mktemp("curl")
    (home / ".curlrc").write_text(_CURLRC)
    return home


@pytest.fixture
def curl(account: Stack, curl_home: Path) -> Curl:
    """Runs a command of the documents as the account, with these words of it replaced."""
    return lambda name, values=None: _curl(name, account, curl_home, values or {})


def _curl(name: str, account: Stack, home: Path, values: dict[str, str]) -> Answer:
    sample = (_COMMANDS / f"{name}.sh").read_text("utf-8")
    command = fill(sample, {"https://comms.twilio.com": account.url, **values})
    known = {
        "CURL_HOME": str(home),
        "TWILIO_ACCOUNT_SID": account.variables["PHAROS_ACCOUNT_ID"],
        "TWILIO_AUTH_TOKEN": account.variables["PHAROS_AUTH_TOKEN"],
    }
    body, _, last = run("bash", "-euc", command, env=known).stdout.rpartition("\n")
    status, media_type, location = last.split(" ")
    return Answer(int(status), media_type, location, json.loads(body))


def _assert_made(answer: Answer, url: str, pattern: str) -> None:
    """202 with the resource's id and where it is, as the documents have it."""
    assert (answer.status, answer.media_type) == (202, "application/json"), answer.body
    assert re.fullmatch(pattern, answer.body["resourceId"])
    location = f"{url}/{answer.body['resourceId']}"
    assert answer.body == {"resourceId": answer.body["resourceId"], "resourceLocation": location}
    assert answer.location == location


async def _assert_sent(answer: Answer, account: Stack, rest: httpx.AsyncClient, recipients: int) -> None:
    """202 with the operation, which then sends to all recipients."""
    assert (answer.status, answer.media_type) == (202, "application/json"), answer.body
    assert re.fullmatch(OPERATION_ID, answer.body["operationId"])
    location = f"{account.url}/v1/PushNotifications/Operations/{answer.body['operationId']}"
    assert answer.body == {"operationId": answer.body["operationId"], "operationLocation": location}
    assert answer.location == location
    assert await last_event(rest, f"{location}/Events") == "end"
    operation = await fetch(rest, location)
    stats = operation["stats"]
    assert (operation["status"], stats["recipients"], stats["sent"]) == ("COMPLETED", recipients, recipients)


@pytest.mark.parametrize("kind", ["FCM", "APN"])
async def test_credentials_are_uploaded(curl: Curl, account: Stack, rest: httpx.AsyncClient, kind: str) -> None:
    made_up = {"certificate": "YOUR_CERTIFICATE", "privateKey": "YOUR_PRIVATE_KEY"}
    content = credential_contents(account.variables)[kind]
    app_name = f"uploaded_{kind.lower()}"

    values = {made_up[name]: value for name, value in content.items()}
    answer = curl(f"upload_{kind.lower()}", {**values, "YOUR_APP_NAME": app_name})

    _assert_made(answer, f"{account.url}/v1/PushNotifications/Credentials", CREDENTIAL_ID)
    credential = await fetch(rest, answer.location)
    assert (credential["credentialType"], credential["appName"], credential["isDefault"]) == (kind, app_name, True)


def test_a_device_is_registered_with_and_without_a_user_and_fetched(curl: Curl, account: Stack) -> None:
    url = f"{account.url}/v1/PushNotifications/DeviceRegistrations"
    first = curl("register_without_user")
    _assert_made(first, url, REGISTRATION_ID)
    name = first.body["resourceId"]

    fetched = curl("fetch_registration", {"{DeviceRegistrationId}": name})

    assert (fetched.status, fetched.media_type) == (200, "application/json")
    user = fetched.body["userId"]
    assert re.fullmatch(USER_ID, user)
    sample = {
        "appName": "test_app",
        "userId": user,
        "devices": [{"provider": "FCM", "token": TOKEN}],
        "id": name,
        "related": [
            {"id": user, "name": "user", "uri": f"/Users/{user}"},
            {"id": "test_app", "name": "push_notification_app", "uri": "/PushNotifications/Apps/test_app"},
        ],
        "tags": {},
    }
    assert fetched.body == sample

    second = curl("register_with_user", {_USER: _as_in_the_guide(user), TOKEN: "another-phone"})

    _assert_made(second, url, REGISTRATION_ID)
    assert second.body["resourceId"] == name, "one registration of a user under an app"
    devices = curl("fetch_registration", {"{DeviceRegistrationId}": name}).body["devices"]
    assert devices == [*sample["devices"], {"provider": "FCM", "token": "another-phone"}]


async def test_a_user_gets_it_on_every_device(
    curl: Curl, account: Stack, rest: httpx.AsyncClient, sandbox: SandboxPort
) -> None:
    tokens = ["curl-phone", "curl-tablet"]
    user = (await register(rest, tokens[0]))["userId"]
    await register(rest, tokens[1], userId=user)

    answer = curl("send_to_user", {_USER: _as_in_the_guide(user)})

    await _assert_sent(answer, account, rest, 1)
    text = "It looks like you have been away for a while. New offers are waiting for you."
    assert await _shown(sandbox, *tokens) == {token: [("FCM", "Welcome Back!", text)] for token in tokens}


async def test_a_token_gets_it(curl: Curl, account: Stack, rest: httpx.AsyncClient, sandbox: SandboxPort) -> None:
    answer = curl("send_direct", {"FCM_DEVICE_TOKEN": "curl-direct"})

    await _assert_sent(answer, account, rest, 1)
    text = "Hello, your flight is leaving soon! Tap for details"
    assert await _shown(sandbox, "curl-direct") == {"curl-direct": [("FCM", "Your flight details", text)]}


async def test_each_recipient_gets_its_own_text(
    curl: Curl, account: Stack, rest: httpx.AsyncClient, sandbox: SandboxPort
) -> None:
    apple = "c0ffee" * 10 + "c0de"
    answer = curl("send_personalized", {"FCM_DEVICE_TOKEN": "curl-jessie", "APN_DEVICE_TOKEN": apple})

    await _assert_sent(answer, account, rest, 2)
    title, text = "New styles in stock!", "Hey {}, new colorways just dropped on your favorite silhouettes."
    assert await _shown(sandbox, "curl-jessie", apple) == {
        "curl-jessie": [("FCM", title, text.format("Jessie"))],
        apple: [("APN", title, text.format("James"))],
    }


def _as_in_the_guide(user: str) -> str:
    """The guide's ids begin otherwise than the reference's, and mean the same users."""
    return f"comms_user_{user.rpartition('_')[2]}"


async def _shown(sandbox: SandboxPort, *tokens: str) -> dict[str, list[tuple[str, str, str]]]:
    """What the devices were sent: provider, title and text of each push."""
    pushes = await sandbox.pushes(tokens)
    return {token: [(push.provider, push.title, push.text) for push in got] for token, got in pushes.items()}
