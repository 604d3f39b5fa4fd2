"""A browser follows a send: Chromium's EventSource, from a page of another origin, with a stream token."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.sandbox_port import SandboxPort
from tests.acceptance.stack import Stack
from tests.contract.gateway_upstream import serving
from tests.external.browser import Page, chromium, page
from tests.external.cutting_proxy import CuttingProxy, cutting_proxy

_EVENTS = "/v1/PushNotifications/Operations/{}/Events"
_DOCS = Path(__file__).parents[2] / "docs/status_stream.md"
_CONNECTING, _CLOSED = 0, 2  # the states of an EventSource
_PLAIN = """
const events = new EventSource(%s);
for (const name of ["snapshot", "changes", "end"]) {
  events.addEventListener(name, (event) => tell({ name, data: JSON.parse(event.data) }));
}
events.onerror = () => tell({ name: "lost", state: events.readyState });
"""


@pytest.fixture
async def origin() -> AsyncIterator[Page]:
    with page() as made:
        yield made


@asynccontextmanager
async def _gateway(stack: Stack, *origins: str) -> AsyncIterator[CuttingProxy]:
    """A gateway that lets pages of these origins in, behind a proxy that can lose its connections."""
    async with (
        serving(stack.grpc, cors_origins=origins) as (client, _),
        cutting_proxy(str(client.base_url.host), client.base_url.port or 0) as proxy,
    ):
        yield proxy


async def _send(rest: httpx.AsyncClient, *tokens: str) -> str:
    to = [{"token": token, "provider": "FCM"} for token in tokens]
    sent = await rest.post("/v1/PushNotifications", json={"to": to, "content": {"body": "Hello"}})
    assert sent.status_code == 202, sent.text
    return str(sent.json()["operationId"])


async def _finished(rest: httpx.AsyncClient, operation_id: str) -> None:
    """Waits for the operation's end, over a stream of its own."""
    answer = await rest.get(_EVENTS.format(operation_id))
    assert "event: end" in answer.text


def _token(stack: Stack, operation_id: str, ttl: int) -> str:
    made = httpx.post(
        f"{stack.url}/v1/PushNotifications/StreamTokens",
        auth=stack.auth,
        json={"operationId": operation_id, "ttl": ttl},
        timeout=60,
    )
    assert made.status_code == 200, made.text
    return str(made.json()["token"])


def _statuses(told: list[dict[str, Any]]) -> list[tuple[int, str]]:
    """Recipients in the order in which the page was told of them, with repetitions if there were any."""
    return [
        (recipient["recipientIndex"], recipient["status"])
        for event in told
        for recipient in event.get("data", {}).get("recipients", ())
    ]


async def test_a_browser_follows_a_send_through_a_lost_connection_and_stays_away_after_the_end(
    account: Stack, rest: httpx.AsyncClient, sandbox: SandboxPort, origin: Page, tmp_path: Path
) -> None:
    await sandbox.set_rules({"provider": "FCM", "token": "held", "latencyMs": 6000})
    async with _gateway(account, origin.url) as proxy:
        operation_id = await _send(rest, "live-browser", "held-browser", "unregistered-browser")
        url = f"{proxy.url}{_EVENTS.format(operation_id)}?access_token={_token(account, operation_id, 600)}"
        origin.script(_PLAIN % json.dumps(url))
        async with chromium(origin.url, tmp_path):
            before = [await origin.told()]
            proxy.cut()
            await _finished(rest, operation_id)
            lost = await origin.told_until(lambda event: event["name"] == "lost")
            proxy.mend()
            after = await origin.told_until(lambda event: event["name"] == "end")
            gone = await origin.told_until(lambda event: event.get("state") == _CLOSED)

    assert before[0]["name"] == "snapshot"
    assert lost[-1]["state"] == _CONNECTING
    assert sorted(_statuses([*before, *lost, *after])) == [(0, "SENT"), (1, "SENT"), (2, "FAILED")]
    assert "snapshot" not in {event["name"] for event in after}, "it began anew instead of going on"
    assert after[-1]["data"]["operation"]["stats"]["sent"] == 2
    assert {event["name"] for event in gone} == {"lost"}, "something came after the end"


async def test_the_documented_page_goes_on_with_a_new_token_when_the_first_ones_time_is_over_and_its_server_fails_once(
    account: Stack, rest: httpx.AsyncClient, sandbox: SandboxPort, origin: Page, tmp_path: Path
) -> None:
    await sandbox.set_rules({"provider": "FCM", "token": "held", "latencyMs": 8000})
    [documented] = re.findall(r"^```js\n(.*?)^```$", _DOCS.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    tokens: list[str] = []
    failed: list[str] = []
    async with _gateway(account, origin.url) as proxy:
        operation_id = await _send(rest, "live-documented", "held-documented")

        def issue() -> dict[str, str]:
            if len(tokens) == 1 and not failed:
                failed.append("once")
                raise ConnectionError("the page's own server is restarting")
            tokens.append(_token(account, operation_id, 2))
            return {"url": proxy.url, "token": tokens[-1]}

        origin.answers = {"/stream-token": issue}
        show = "(name, data) => tell({ name, data })"
        origin.script(f"{documented}\nfollow({json.dumps(operation_id)}, {show});")
        async with chromium(origin.url, tmp_path):
            told = await origin.told_until(lambda event: event["name"] == "end")

    assert len(tokens) > 1
    assert [event["name"] for event in told].count("snapshot") == 1
    assert sorted(_statuses(told)) == [(0, "SENT"), (1, "SENT")]


async def test_a_page_of_another_origin_reads_nothing(
    account: Stack, rest: httpx.AsyncClient, origin: Page, tmp_path: Path
) -> None:
    async with _gateway(account, "http://127.0.0.1:1") as proxy:
        operation_id = await _send(rest, "live-stranger")
        url = f"{proxy.url}{_EVENTS.format(operation_id)}?access_token={_token(account, operation_id, 600)}"
        origin.script(_PLAIN % json.dumps(url))
        async with chromium(origin.url, tmp_path):
            assert await origin.told() == {"name": "lost", "state": _CLOSED}
