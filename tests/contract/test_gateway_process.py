"""The gateway as a process: how it starts, what it prints, how it stops, and what it doesn't put up with."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from pharos.push.v1 import delivery_status_pb2

from gateway import __main__ as program
from tests.contract.gateway_upstream import OPERATION, Upstream, serving
from tests.plain_http import TRUSTS_NOBODY

EVENTS = f"/v1/PushNotifications/Operations/{OPERATION}/Events"


@asynccontextmanager
async def started(*arguments: str, **environment: str) -> AsyncIterator[tuple[Process, str]]:
    """A gateway process and its URL. Killed in the end if it is still there."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", *arguments), stdout=PIPE, stderr=PIPE, env={**os.environ, **environment}
    )
    try:
        assert process.stdout
        async with asyncio.timeout(20):
            word, _, document = (await process.stdout.readline()).decode().partition(" ")
        assert word == "ready"
        yield process, json.loads(document)["url"]
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def client_of(url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, auth=("AC1", "very-secret"), timeout=10, verify=TRUSTS_NOBODY)


async def stopped(process: Process) -> str:
    """What the process has logged, once it has ended well."""
    async with asyncio.timeout(20):
        _, logged = await process.communicate()
    assert process.returncode == 0
    return logged.decode()


@pytest.mark.parametrize("by", ["option", "environment"])
async def test_it_says_where_it_listens_and_serves_there(upstream: Upstream, by: str) -> None:
    arguments, environment = ["--grpc", upstream.target, "--public-url", "https://p.example/"], {}
    if by == "environment":
        arguments, environment = [], {"PHAROS_GRPC": upstream.target, "PHAROS_PUBLIC_URL": "https://p.example/"}
    async with started(*arguments, **environment) as (process, url), client_of(url) as client:
        response = await client.get("/v1/PushNotifications/Nothing/here")
        assert response.json()["errors"][0]["infoUrl"].startswith("https://p.example/docs")
        assert "server" not in response.headers
        assert (await client.get("/v1/PushNotifications")).status_code == 200
        process.terminate()
        await stopped(process)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_answers_what_was_asked_ends_streams_and_exits_0(
    upstream: Upstream, signum: signal.Signals
) -> None:
    go_on = asyncio.Event()

    async def slow(_: Any, __: Any) -> Any:
        await go_on.wait()
        return None

    async def watch(_: Any, __: Any) -> Any:
        yield delivery_status_pb2.WatchDeliveryStatusResponse(resume_token="t1", checkpoint={})
        await asyncio.Event().wait()

    upstream.answers |= {"ListUsers": slow, "WatchDeliveryStatus": watch}
    async with started("--grpc", upstream.target) as (process, url), client_of(url) as client:
        async with client.stream("GET", EVENTS) as events, asyncio.TaskGroup() as tasks:
            chunks = events.aiter_raw()
            assert b"id: t1" in await anext(chunks)
            upstream.called.clear()
            asked = tasks.create_task(client.get("/v1/PushNotifications/Users"))
            await upstream.called.wait()
            process.send_signal(signum)
            assert [chunk async for chunk in chunks] == []
            go_on.set()
        assert asked.result().status_code == 500  # None is no answer; what counts is that it came
        await stopped(process)


async def test_it_stops_with_its_parent(upstream: Upstream) -> None:
    starter = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-m', 'gateway', *sys.argv[1:]], stdout=subprocess.PIPE)\n"
        "print(child.stdout.readline().decode(), flush=True)\n"
        "sys.stdin.read()\n"
    )
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", starter, "--grpc", upstream.target, "--die-with-parent"),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
    )
    assert parent.stdout
    assert parent.stderr
    async with asyncio.timeout(20):
        assert (await parent.stdout.readline()).startswith(b"ready ")
        parent.kill()
        # The gateway holds the other end of stderr too, so this ends when it has.
        await parent.stderr.read()
        await parent.wait()


async def test_logs_are_json_without_credentials_or_bodies(upstream: Upstream) -> None:
    async def fail(_: Any, __: Any) -> Any:
        raise RuntimeError

    upstream.answers["RegisterDevice"] = fail
    async with started("--grpc", upstream.target) as (process, url), client_of(url) as client:
        body = {"token": "device-token", "provider": "FCM"}
        response = await client.post("/v1/PushNotifications/DeviceRegistrations", json=body)
        assert response.status_code == 500
        process.terminate()
        logged = await stopped(process)
    lines = [json.loads(line) for line in logged.splitlines()]
    assert {"time", "level", "logger", "message"} <= lines[0].keys()
    [failed] = [line for line in lines if line["message"] == "call failed"]
    assert failed["request_id"] == response.headers["X-Request-Id"]
    assert failed["rpc"] == "/pharos.push.v1.DeviceRegistrationService/RegisterDevice"
    for secret in ("very-secret", "QUMxOnZlcnktc2VjcmV0", "device-token"):
        assert secret not in logged


@pytest.mark.parametrize(
    "arguments", [[], ["--grpc", "a:1", "--public-url", "ftp://x"], ["--grpc", "a:1", "--port", "x"]]
)
def test_wrong_arguments_are_refused(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PHAROS_GRPC", raising=False)
    with pytest.raises(SystemExit) as exit_info:
        program.main(arguments)
    assert exit_info.value.code == 2
    assert "usage:" in capsys.readouterr().err


async def test_a_taken_port_ends_the_process(upstream: Upstream) -> None:
    async with started("--grpc", upstream.target) as (_, url):
        port = url.rpartition(":")[2]
        second = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway", "--grpc", upstream.target, "--port", port), stdout=PIPE, stderr=PIPE
        )
        async with asyncio.timeout(20):
            said, _ = await second.communicate()
    assert second.returncode not in {0, None}
    assert said == b""


async def _converse(url: str, *parts: bytes) -> bytes:
    """Send the parts, then what comes back until the gateway closes the connection."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for part in parts:
        writer.write(part)
    async with asyncio.timeout(20):
        answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 100_000,
        b"GET / HTTP/1.1\r\nX: " + b"y" * 600_000,
        b"GET /" + b"y" * 600_000,
    ],
)
async def test_a_request_head_without_an_end_is_refused(upstream: Upstream, head: bytes) -> None:
    async with started("--grpc", upstream.target) as (_, url):
        try:
            answer = await _converse(url, head)
        except ConnectionResetError:
            return  # closed while there was more to come: refused all the same
    assert answer.startswith(b"HTTP/1.1 400 ")


async def test_a_request_head_that_does_not_come_is_not_waited_for(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.serving._HEAD_SECONDS", 0.05)
    async with serving(upstream.target) as (client, _):
        url = str(client.base_url).rstrip("/")
        assert await _converse(url) == b""
        assert await _converse(url, b"GET / HTTP/1.1\r\n") == b""
        assert await _converse(url, b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n") != b""


async def test_a_client_that_leaves_in_the_middle_of_its_body_is_no_error(upstream: Upstream) -> None:
    head = (
        b"POST /v1/PushNotifications HTTP/1.1\r\nHost: x\r\nAuthorization: Basic YTpi\r\n"
        b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    )
    async with started("--grpc", upstream.target) as (process, url), client_of(url) as client:
        host, _, port = url.removeprefix("http://").partition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(head)
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        assert (await client.get("/healthz")).status_code == 200
        process.terminate()
        logged = await stopped(process)
    assert {json.loads(line)["level"] for line in logged.splitlines()} == {"info"}
    assert not upstream.calls


async def test_an_announced_body_over_twice_the_limit_is_refused_unread(upstream: Upstream) -> None:
    head = (
        b"POST /v1/PushNotifications HTTP/1.1\r\nHost: x\r\nAuthorization: Basic YTpi\r\n"
        b"Content-Length: 99999999\r\n\r\n"
    )
    async with started("--grpc", upstream.target) as (_, url):
        answer = await _converse(url, head)
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_a_client_that_asks_first_is_not_told_to_go_on(upstream: Upstream) -> None:
    head = (
        b"POST /v1/PushNotifications HTTP/1.1\r\nHost: x\r\nAuthorization: Basic YTpi\r\n"
        b"Expect: 100-continue\r\nContent-Length: 33554433\r\n\r\n"
    )
    async with started("--grpc", upstream.target) as (_, url):
        answer = await _converse(url, head)
    assert answer.startswith(b"HTTP/1.1 413 ")
