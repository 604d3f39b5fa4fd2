"""What browsers need of the gateway: tokens in the URL, since an EventSource sets no headers, and CORS."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
import httpx
import pytest
from pharos.push.v1 import delivery_status_pb2

from gateway import __main__ as program
from gateway.cors import parse_origins
from tests.contract.gateway_upstream import OPERATION, Upstream, rest
from tests.contract.test_gateway_process import started, stopped

EVENTS = f"/v1/PushNotifications/Operations/{OPERATION}/Events"
ACCOUNT_EVENTS = "/v1/PushNotifications/Events"
TOKENS = "/v1/PushNotifications/StreamTokens"
TOKEN = "pharos_stream_very-secret"
SHOP, STRANGER = "https://shop.example", "https://evil.example"
NOBODY = httpx.Auth()
Message = delivery_status_pb2.WatchDeliveryStatusResponse


async def _ended(_: Any, __: Any) -> AsyncIterator[Any]:
    yield Message(end={}, resume_token="t")


@pytest.fixture
def watched(upstream: Upstream) -> Upstream:
    upstream.answers["WatchDeliveryStatus"] = _ended
    return upstream


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        (f"access_token={TOKEN}", {}),
        (f"statuses=SENT&access_token={TOKEN}&lastEventId=t1", {}),
        ("", {"Authorization": f"Bearer {TOKEN}"}),
        (f"access_token={TOKEN}", {"Authorization": "Basic QUMxOnNlY3JldA=="}),
    ],
)
async def test_a_stream_token_comes_in_the_url_or_as_bearer(
    watched: Upstream, query: str, headers: dict[str, str]
) -> None:
    async with rest(watched.target) as client:
        response = await client.get(f"{EVENTS}?{query}", headers=headers, auth=NOBODY)
    assert response.status_code == 200
    assert watched.metadata["authorization"] == f"Bearer {TOKEN}"
    assert list(watched.request.statuses) == ([3] if "statuses" in query else [])


@pytest.mark.parametrize("token", ["", "%20", "a%0d%0ab", "x" * 513, "%C3%A4"])
async def test_what_can_be_no_token_is_401_without_a_call(watched: Upstream, token: str) -> None:
    async with rest(watched.target) as client:
        response = await client.get(f"{EVENTS}?access_token={token}")
    assert response.status_code == 401
    assert not watched.calls


async def test_only_event_streams_take_one(upstream: Upstream) -> None:
    async with rest(upstream.target) as client:
        in_url = await client.get(f"/v1/PushNotifications/Users?access_token={TOKEN}")
        bearer = await client.get(
            "/v1/PushNotifications/Users", headers={"Authorization": f"Bearer {TOKEN}"}, auth=NOBODY
        )
    assert (in_url.status_code, bearer.status_code) == (400, 401)
    assert TOKEN not in in_url.text
    assert not upstream.calls


async def test_a_token_given_twice_is_400_and_not_echoed(watched: Upstream) -> None:
    async with rest(watched.target) as client:
        response = await client.get(f"{EVENTS}?access_token={TOKEN}&access_token=b")
        anonymous = await client.get(f"{EVENTS}?lastEventId=a&lastEventId=b", auth=NOBODY)
    assert (response.status_code, anonymous.status_code) == (400, 401)
    assert TOKEN not in response.text
    assert not watched.calls


@pytest.mark.parametrize(
    ("code", "status"), [(grpc.StatusCode.UNAUTHENTICATED, 401), (grpc.StatusCode.PERMISSION_DENIED, 403)]
)
async def test_a_token_that_the_service_refuses_ends_an_event_source(
    upstream: Upstream, code: grpc.StatusCode, status: int
) -> None:
    async def refuse(_: Any, context: Any) -> AsyncIterator[Any]:
        await context.abort(code, "no")
        yield

    upstream.answers["WatchDeliveryStatus"] = refuse
    headers = {"Accept": "text/event-stream"}
    async with rest(upstream.target) as client:
        response = await client.get(f"{EVENTS}?access_token={TOKEN}", headers=headers, auth=NOBODY)
    assert response.status_code == status


@pytest.mark.parametrize(
    ("query", "headers", "expected"),
    [
        ("lastEventId=t1", {}, "t1"),
        ("lastEventId=t1.end", {}, "t1"),
        ("lastEventId=t1", {"Last-Event-ID": "t2"}, "t2"),
        ("", {"Last-Event-ID": "t2"}, "t2"),
    ],
)
async def test_an_event_source_that_is_made_anew_goes_on_by_its_url(
    watched: Upstream, query: str, headers: dict[str, str], expected: str
) -> None:
    async with rest(watched.target) as client:
        response = await client.get(f"{EVENTS}?{query}", headers=headers)
    assert watched.request.resume_token == expected
    assert response.status_code == (204 if query == "lastEventId=t1.end" else 200)


async def test_a_stream_token_is_made(upstream: Upstream) -> None:
    async with rest(upstream.target) as client:
        response = await client.post(TOKENS, json={"operationId": OPERATION, "ttl": 60})
    assert response.status_code == 200
    assert (upstream.request.operation_id, upstream.request.ttl) == (OPERATION, 60)


async def test_without_origins_no_page_may_read_anything(watched: Upstream) -> None:
    async with rest(watched.target) as client:
        response = await client.get(EVENTS, headers={"Origin": SHOP})
        preflight = await _preflight(client, EVENTS, SHOP)
    assert not _cors(response)
    assert (preflight.status_code, _cors(preflight)) == (405, {})


@pytest.mark.parametrize(("origins", "told"), [((SHOP, "http://localhost:3000"), SHOP), (("*",), "*")])
async def test_a_page_of_an_origin_reads_streams_and_what_goes_wrong_with_them(
    watched: Upstream, origins: tuple[str, ...], told: str
) -> None:
    headers = {"Origin": SHOP}
    async with rest(watched.target, cors_origins=origins) as client:
        answers = [
            await client.get(EVENTS, headers=headers),
            await client.get(ACCOUNT_EVENTS, headers=headers | {"Last-Event-ID": "t.end"}),
            await client.get(EVENTS, headers=headers, auth=NOBODY),
            await client.get(f"{EVENTS}?unknown=1", headers=headers),
            await client.post(TOKENS, json={}, headers=headers),
            await client.delete(EVENTS, headers=headers),
        ]
    assert [answer.status_code for answer in answers] == [200, 204, 401, 400, 200, 405]
    for answer in answers:
        assert answer.headers["Access-Control-Allow-Origin"] == told
        assert "X-Request-Id" in answer.headers["Access-Control-Expose-Headers"]
        assert answer.headers["Vary"] == "Origin"
        assert "Access-Control-Allow-Credentials" not in answer.headers


async def test_a_page_of_another_origin_does_not(watched: Upstream) -> None:
    async with rest(watched.target, cors_origins=(SHOP,)) as client:
        for origin in (STRANGER, "null", f"{SHOP}.evil.example", "http://shop.example"):
            response = await client.get(EVENTS, headers={"Origin": origin})
            preflight = await _preflight(client, EVENTS, origin)
            assert not _cors(response), origin
            assert response.headers["Vary"] == "Origin"
            assert (preflight.status_code, _cors(preflight)) == (405, {})


async def test_a_browser_may_ask_first(upstream: Upstream) -> None:
    async with rest(upstream.target, cors_origins=(SHOP,)) as client:
        stream, token = await _preflight(client, EVENTS, SHOP), await _preflight(client, TOKENS, SHOP, "POST")
    assert (stream.status_code, token.status_code) == (204, 204)
    assert stream.headers["Access-Control-Allow-Origin"] == SHOP
    assert stream.headers["Access-Control-Allow-Methods"] == "GET"
    assert token.headers["Access-Control-Allow-Methods"] == "POST"
    assert {"Authorization", "Content-Type", "Last-Event-ID"} <= set(
        token.headers["Access-Control-Allow-Headers"].split(", ")
    )
    assert token.headers["X-Request-Id"]
    assert not upstream.calls


@pytest.mark.parametrize(("everywhere", "shared"), [(False, False), (True, True)])
async def test_the_rest_of_the_api_is_for_pages_only_where_that_is_configured(
    upstream: Upstream, *, everywhere: bool, shared: bool
) -> None:
    path = "/v1/PushNotifications/Users"
    async with rest(upstream.target, cors_origins=(SHOP,), cors_everywhere=everywhere) as client:
        response = await client.get(path, headers={"Origin": SHOP})
        preflight = await _preflight(client, path, SHOP)
    assert response.status_code == 200
    assert bool(_cors(response)) is shared
    assert preflight.status_code == (204 if shared else 405)


@pytest.mark.parametrize("by", ["option", "environment"])
async def test_a_process_takes_the_settings_and_never_logs_a_token(upstream: Upstream, by: str) -> None:
    async def fail(_: Any, context: Any) -> AsyncIterator[Any]:
        await context.abort(grpc.StatusCode.INTERNAL, f"about {TOKEN}")
        yield

    upstream.answers["WatchDeliveryStatus"] = fail
    arguments, environment = ["--cors-origins", f"http://a.example, {SHOP}", "--cors-paths", "all"], {}
    if by == "environment":
        arguments, environment = [], {"PHAROS_CORS_ORIGINS": f"http://a.example, {SHOP}", "PHAROS_CORS_PATHS": "all"}
    async with (
        started("--grpc", upstream.target, *arguments, **environment) as (process, url),
        httpx.AsyncClient(base_url=url, headers={"Origin": SHOP}, timeout=10) as client,
    ):
        response = await client.get(f"{EVENTS}?access_token={TOKEN}")
        other = await client.get("/v1/PushNotifications/Users")
        await client.get(f"{EVENTS}?access_token={TOKEN}&access_token=x")
        await client.get(f"/nowhere?access_token={TOKEN}")
        process.terminate()
        logged = await stopped(process)
    assert (response.status_code, other.status_code) == (500, 401)
    assert response.headers["Access-Control-Allow-Origin"] == other.headers["Access-Control-Allow-Origin"] == SHOP
    assert any(json.loads(line)["message"] == "call failed" for line in logged.splitlines())
    assert TOKEN not in logged
    assert TOKEN not in response.text


@pytest.mark.parametrize(
    "text", ["shop.example", "https://shop.example/", "ftp://a", "https://*.example", "null", "https://a.b:443"]
)
def test_what_is_no_origin_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        program.main(["--grpc", "a:1", "--cors-origins", text])
    assert "is no origin" in capsys.readouterr().err


def test_a_wrong_choice_of_paths_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHAROS_CORS_PATHS", "some")
    with pytest.raises(SystemExit):
        program.main(["--grpc", "a:1"])


def test_origins_stand_with_commas_between() -> None:
    assert parse_origins("") == ()
    assert parse_origins(f"{SHOP},http://[::1]:8080, *") == (SHOP, "http://[::1]:8080", "*")


async def _preflight(client: httpx.AsyncClient, path: str, origin: str, method: str = "GET") -> httpx.Response:
    headers = {"Origin": origin, "Access-Control-Request-Method": method}
    return await client.options(path, headers=headers, auth=NOBODY)


def _cors(response: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name.startswith("access-control-")}
