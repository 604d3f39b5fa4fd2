"""The HTTP around the resources: credentials, ids, health, and the body on the wire."""

from __future__ import annotations

import asyncio
import base64
import tracemalloc
from collections.abc import AsyncIterator
from http import HTTPStatus

import httpx
import pytest
from grpc_health.v1 import health_pb2

from gateway.app import Gateway, open_channel
from gateway.settings import MIB, Settings
from tests.contract.gateway_upstream import OPERATION, Upstream, rest

SENDS = "/v1/PushNotifications"


def _basic(pair: str) -> str:
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


@pytest.mark.parametrize(
    "header", [None, "", "Bearer x", "Basic", "Basic !!!", "Basic " + base64.b64encode(b"no colon").decode()]
)
async def test_without_credentials_there_is_no_call(
    upstream: Upstream, client: httpx.AsyncClient, header: str | None
) -> None:
    client.auth = None
    response = await client.get(SENDS, headers={} if header is None else {"Authorization": header})
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == 'Basic realm="pharos"'
    assert response.json()["errors"][0]["code"] == 20003
    assert not upstream.calls


async def test_credentials_are_passed_on(upstream: Upstream, client: httpx.AsyncClient) -> None:
    client.auth = None
    await client.get(SENDS, headers={"Authorization": _basic("AC1:päss").replace("Basic", "basic ")})
    assert upstream.metadata["authorization"] == _basic("AC1:päss")


@pytest.mark.parametrize("given", ["abc-1", "a b", "x" * 128])
async def test_a_request_id_is_echoed_and_passed_on(upstream: Upstream, client: httpx.AsyncClient, given: str) -> None:
    response = await client.get(SENDS, headers={"X-Request-Id": given})
    assert response.headers["X-Request-Id"] == given
    assert upstream.metadata["x-request-id"] == given


@pytest.mark.parametrize("given", [None, "", "x" * 129, "caf\u00e9", "a\tb"])
async def test_a_request_without_a_sane_id_gets_one(
    upstream: Upstream, client: httpx.AsyncClient, given: str | None
) -> None:
    headers = {} if given is None else {"X-Request-Id": given.encode("latin-1")}
    made = [(await client.get(SENDS, headers=headers)).headers["X-Request-Id"] for _ in range(2)]
    assert len(set(made)) == 2
    assert given not in made
    assert [metadata["x-request-id"] for _, _, metadata in upstream.calls] == made


@pytest.mark.parametrize("path", ["/nowhere", "/healthz", "/readyz", "/v1/PushNotifications"])
async def test_every_answer_has_a_request_id(client: httpx.AsyncClient, path: str) -> None:
    client.auth = None
    assert (await client.get(path, headers={"X-Request-Id": "r1"})).headers["X-Request-Id"] == "r1"


async def test_health_is_of_the_process_and_readiness_of_the_service(
    upstream: Upstream, client: httpx.AsyncClient
) -> None:
    client.auth = None
    status = health_pb2.HealthCheckResponse
    seen = []
    for state in (status.SERVING, status.NOT_SERVING):
        await upstream.health.set("", state)
        seen.append([(await client.get(path)).status_code for path in ("/healthz", "/readyz")])
    assert seen == [[200, 200], [200, 503]]


async def test_a_gateway_without_a_service_is_alive_and_not_ready() -> None:
    async with Upstream() as gone:
        pass
    async with rest(gone.target) as client:
        assert (await client.get("/healthz")).status_code == HTTPStatus.OK
        assert (await client.get("/readyz")).status_code == HTTPStatus.SERVICE_UNAVAILABLE


async def test_a_gateway_that_stops_is_not_ready(upstream: Upstream) -> None:
    await upstream.health.set("", health_pb2.HealthCheckResponse.SERVING)
    async with open_channel(upstream.target) as channel:
        gateway = Gateway(channel, Settings())
        async with httpx.AsyncClient(transport=httpx.ASGITransport(gateway), base_url="http://push.test") as client:
            before = await client.get("/readyz")
            gateway.drain()
            after = await client.get("/readyz")
    assert (before.status_code, after.status_code) == (200, 503)


async def test_a_cancelled_operation_needs_no_body(upstream: Upstream, client: httpx.AsyncClient) -> None:
    path = f"/v1/PushNotifications/Operations/{OPERATION}/Cancel"
    bare = await client.post(path, headers={"Content-Type": "text/plain", "Idempotency-Key": "k"})
    assert bare.status_code == 202
    assert upstream.request.request_id == "k"
    assert (await client.post(path, json={})).status_code == 202
    refused = await client.post(path, json={"operationId": "x"})
    assert refused.json()["errors"][0]["message"] == "Unknown field `operationId`"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/json"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
)
async def test_a_body_that_is_not_json_is_415(
    upstream: Upstream, client: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    response = await client.post(SENDS, content=b"{}", headers=headers)
    assert response.status_code == 415
    assert response.json()["errors"][0]["code"] == 20415
    assert not upstream.calls


async def test_a_json_body_may_name_its_charset(client: httpx.AsyncClient) -> None:
    headers = {"Content-Type": 'Application/JSON; charset="UTF-8"'}
    assert (await client.post(SENDS, content=b"{}", headers=headers)).status_code == 202


async def _chunks(count: int, size: int, sent: list[int]) -> AsyncIterator[bytes]:
    for _ in range(count):
        sent.append(size)
        yield b" " * size


@pytest.mark.parametrize(("size", "status"), [(1000, 202), (1001, 413)])
@pytest.mark.parametrize("chunked", [True, False])
async def test_a_body_over_the_limit_is_413(upstream: Upstream, size: int, status: int, *, chunked: bool) -> None:
    body = b"{}".ljust(size)
    content = _chunks_of(body) if chunked else body
    async with rest(upstream.target, max_body=1000) as client:
        response = await client.post(SENDS, content=content, headers={"Content-Type": "application/json"})
    assert response.status_code == status
    assert len(upstream.calls) == (status == 202)
    if status == 413:
        assert response.json()["errors"][0]["code"] == 20413


async def _chunks_of(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 100):
        yield body[start : start + 100]


async def test_what_is_over_the_limit_is_not_kept(upstream: Upstream) -> None:
    async def fresh_chunks() -> AsyncIterator[bytes]:
        for _ in range(15):
            yield bytearray(MIB // 2).replace(b"\0", b" ")

    async with rest(upstream.target, max_body=4 * MIB) as client:
        tracemalloc.start()
        try:
            response = await client.post(SENDS, content=fresh_chunks(), headers={"Content-Type": "application/json"})
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert response.status_code == 413
    assert peak < 6 * MIB


async def test_an_endless_body_is_not_read_for_ever(upstream: Upstream) -> None:
    sent: list[int] = []
    async with rest(upstream.target, max_body=1000) as client:
        content = _chunks(1_000_000, 100, sent)
        response = await client.post(SENDS, content=content, headers={"Content-Type": "application/json"})
    assert response.status_code == 413
    assert response.headers["Connection"] == "close"
    assert sum(sent) < 3000


async def test_a_body_that_does_not_come_is_408(upstream: Upstream) -> None:
    async def stalled() -> AsyncIterator[bytes]:
        yield b'{"to":'
        await asyncio.Event().wait()

    async with rest(upstream.target, upload_timeout=0.05) as client:
        response = await client.post(SENDS, content=stalled(), headers={"Content-Type": "application/json"})
    assert response.status_code == 408
    assert response.headers["Connection"] == "close"
