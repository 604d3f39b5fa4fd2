"""Clients made from our own OpenAPI document by a generator of others, typed by the compiler and run by Node.

The documents' programs run as they are but for ids, credentials and the base URL. Their package is in no registry, so
typescript/twilio-comms stands in for it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import pytest

from tests.acceptance.documented import fetch, id_in, register
from tests.acceptance.sandbox_port import SandboxPort
from tests.acceptance.stack import Stack
from tests.external.outside import fill, need, run

_SOURCE = Path(__file__).with_name("typescript")
_USER = "comms_pushnotificationuser_01h9krwprkeee8fzqspvwy6nq8"
_TOKEN = (
    "dqWD7WEC83K41WHyufTS7:APA91bFcrVaOLqKeJfSiEutJXX2Tr9wN_tYOwYd8rFA6mYUMBFqdz9n6k3v5EpFA_ukXD89hGqG3OarzbVfdjGnLOI"
    "AQfwbQcqJkjQWMrhwElrtU1y3JLDPfnjc0eTJLxzhyYvDFopEh"
)


@dataclass(frozen=True)
class Exchange:
    """A request that a program made, and its answer."""

    method: str
    url: str
    status: int
    answer: Any


RunSample: TypeAlias = Callable[..., Exchange]


@pytest.fixture(scope="module")
def workshop(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the packages, the running service's document, and everything compiled."""
    need("node", "npm")
    folder = tmp_path_factory.mktemp("typescript")
    shutil.copytree(_SOURCE, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("node_modules"))
    run("npm", "ci", "--ignore-scripts", folder=folder)
    document = httpx.get(f"{stack.url}/openapi.json", timeout=60).raise_for_status()
    (folder / "openapi.json").write_bytes(document.content)
    run("node", "node_modules/.bin/openapi-typescript", "openapi.json", "--output", "schema.d.ts", folder=folder)
    run("node", "node_modules/.bin/tsc", folder=folder)
    return folder


def _run_program(workshop: Path, name: str, values: dict[str, str], *words: str) -> list[Any]:
    """Runs the compiled program with live values; what it says, a line of JSON each."""
    compiled = workshop / f"{name}.js"
    live = compiled.with_stem(f"{compiled.stem}_live")
    live.write_text(fill(compiled.read_text("utf-8"), values), "utf-8")
    return [json.loads(line) for line in run("node", *words, live, folder=workshop).stdout.splitlines()]


@pytest.fixture
def run_sample(workshop: Path, account: Stack) -> RunSample:
    """Runs a program of the documents as the account, with these words of it replaced; what went over the wire."""

    def run_it(name: str, values: dict[str, str], account_id: str, auth_token: str) -> Exchange:
        told = {
            f'"{account_id}"': json.dumps(account.variables["PHAROS_ACCOUNT_ID"]),
            f'"{auth_token}",': f"{json.dumps(account.variables['PHAROS_AUTH_TOKEN'])}, environment: '{account.url}',",
        }
        recorder = ("--import", "./record.mjs")
        [said] = _run_program(workshop, f"samples/{name}", told | values, *recorder)
        return Exchange(said["method"], said["url"], said["status"], json.loads(said["body"]))

    return run_it


async def test_a_device_is_registered(run_sample: RunSample, account: Stack, rest: httpx.AsyncClient) -> None:
    user = (await register(rest, "typescript-first"))["userId"]

    exchange = run_sample("register", {_USER: user}, "YOUR_ACCOUNTID_HERE", "YOUR_AUTHTOKEN_HERE")

    url = f"{account.url}/v1/PushNotifications/DeviceRegistrations"
    assert (exchange.method, exchange.url, exchange.status) == ("POST", url, 202)
    location = f"{url}/{exchange.answer['resourceId']}"
    assert exchange.answer == {"resourceId": id_in(location), "resourceLocation": location}
    registration = await fetch(rest, location)
    assert (registration["appName"], registration["userId"]) == ("limonade_app", user)
    assert registration["devices"] == [{"provider": "FCM", "token": _TOKEN}]


async def test_a_user_is_fetched(run_sample: RunSample, account: Stack, rest: httpx.AsyncClient) -> None:
    user = (await register(rest, "typescript-fetched"))["userId"]

    exchange = run_sample("fetch_user", {_USER: user}, "<username>", "<password>")

    url = f"{account.url}/v1/PushNotifications/Users/{user}"
    assert (exchange.method, exchange.url, exchange.status) == ("GET", url, 200)
    assert exchange.answer == await fetch(rest, url)
    assert exchange.answer.keys() == {"id", "createdAt", "updatedAt", "deletedAt"}


async def test_users_are_listed(run_sample: RunSample, rest: httpx.AsyncClient) -> None:
    user = (await register(rest, "typescript-listed"))["userId"]
    page = (await fetch(rest, "/v1/PushNotifications/Users?pageSize=50"))["pagination"]["self"]

    exchange = run_sample("list_users", {'"pageToken"': json.dumps(page)}, "<username>", "<password>")

    url = httpx.URL(exchange.url)
    assert (exchange.method, url.path, exchange.status) == ("GET", "/v1/PushNotifications/Users", 200)
    assert dict(url.params) == {"pageToken": page, "pageSize": "50"}
    assert user in [listed["id"] for listed in exchange.answer["users"]]
    assert exchange.answer["pagination"].keys() == {"next", "self"}


async def test_a_user_is_deleted(run_sample: RunSample, account: Stack, rest: httpx.AsyncClient) -> None:
    user = (await register(rest, "typescript-deleted"))["userId"]

    exchange = run_sample("delete_user", {_USER: user}, "<username>", "<password>")

    url = f"{account.url}/v1/PushNotifications/Users/{user}"
    assert (exchange.method, exchange.url, exchange.status) == ("DELETE", url, 202)
    assert exchange.answer == {"resourceId": user, "resourceLocation": url}
    assert (await fetch(rest, url))["deletedAt"] is not None


async def test_a_client_made_from_the_document_sends_and_follows(
    workshop: Path, account: Stack, rest: httpx.AsyncClient, sandbox: SandboxPort
) -> None:
    user = (await register(rest, "typescript-user", appName="limonade_app"))["userId"]
    told = {
        "https://comms.twilio.com": account.url,
        "<username>": account.variables["PHAROS_ACCOUNT_ID"],
        "<password>": account.variables["PHAROS_AUTH_TOKEN"],
        "FCM_DEVICE_TOKEN": "typescript-token",
        _USER: user,
    }

    [said] = _run_program(workshop, "client", told)

    assert said == {
        "replayed": [True, "true"],
        "ended": True,
        "status": "COMPLETED",
        "sent": 2,
        "listed": [["SENT", "outside"]] * 2,
        "next": None,
        "refused": [[20001, "$.to"]],
    }
    tokens = ["typescript-token", "typescript-user"]
    pushes = await sandbox.pushes(tokens)
    assert [[push.text for push in pushes[token]] for token in tokens] == [
        ["Hey Jessie, you have 3 points."],
        ["Hey you, you have 0 points."],
    ]


def test_a_linter_of_others_has_nothing_against_the_document(workshop: Path) -> None:
    run("node", "lint.mjs", "openapi.json", folder=workshop)
