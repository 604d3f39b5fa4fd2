"""``python -m sandbox`` as its users start it: one ready line, a clean end, credentials and ports that last."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from sandbox import Ports, Sandbox
from sandbox.__main__ import main

PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-m", "sandbox", *sys.argv[1:], "--die-with-parent"], stdout=subprocess.PIPE)
print(child.pid, child.stdout.readline().decode(), flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sandbox") / "credentials"


@asynccontextmanager
async def started(*command: str) -> AsyncIterator[asyncio.subprocess.Process]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, *command, stdin=pipe, stdout=pipe)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def ready(process: asyncio.subprocess.Process) -> dict[str, Any]:
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), 20)
    word, _, document = line.decode().partition(" ")
    assert word == "ready"
    loaded: dict[str, Any] = json.loads(document)
    return loaded


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_says_where_it_is_and_ends_cleanly(directory: Path, number: signal.Signals) -> None:
    async with started("-m", "sandbox", "--dir", str(directory)) as process:
        said = await ready(process)
        files = {name: Path(path) for name, path in said.items() if name.endswith("File")}
        assert files.keys() == {"caFile", "fcmKeyFile", "apnsCertFile", "apnsKeyFile", "apnsP8File"}
        assert {path.parent for path in files.values()} == {directory}
        assert {"controlUrl", "apnsKeyId", "apnsTeamId", "apnsTopic", "fcmProjectId"} <= said.keys()
        tls = ssl.create_default_context(cafile=said["caFile"])
        async with httpx.AsyncClient(http2=True, verify=tls, timeout=10) as client:
            assert (await client.get(f"{said['controlUrl']}/healthz")).status_code == 200
            assert (await client.post(f"{said['apnsUrl']}/3/device/abcd")).status_code == 403
            assert (await client.post(said["oauthUrl"])).status_code == 400
        _, silent = await asyncio.open_connection("127.0.0.1", int(said["apnsUrl"].rpartition(":")[2]))
        process.send_signal(number)
        rest, _ = await asyncio.wait_for(process.communicate(), 10)
        assert (process.returncode, rest) == (0, b"")
        silent.transport.abort()


async def test_it_dies_with_its_parent(directory: Path) -> None:
    async with started("-c", PARENT, "--dir", str(directory)) as parent:
        assert parent.stdout is not None
        line = await asyncio.wait_for(parent.stdout.readline(), 20)
        pid, _, document = line.decode().partition(" ready ")
        said = json.loads(document)
        reader, writer = await asyncio.open_connection("127.0.0.1", int(said["controlUrl"].rpartition(":")[2]))
        parent.kill()
        await parent.wait()
        try:
            assert await asyncio.wait_for(reader.read(), 10) == b""
        finally:
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
            writer.transport.abort()


async def test_credentials_and_ports_outlast_a_restart(directory: Path) -> None:
    async with Sandbox.start(directory) as first:
        urls = first.urls
        files = [first.identity.ca_file, first.identity.apns_p8_file, first.identity.apns_cert_file]
        before = [file.read_bytes() for file in files]
        key = first.identity.service_account["private_key"]
    ports = Ports(*(int(url.rpartition(":")[2]) for url in (urls.fcm, urls.apns, urls.control, urls.apns_sandbox)))
    async with Sandbox.start(directory, ports) as second:
        assert second.urls == urls
        assert [file.read_bytes() for file in files] == before
        assert second.identity.service_account["private_key"] == key


async def test_the_service_account_follows_the_port(directory: Path) -> None:
    for _ in range(2):
        async with Sandbox.start(directory) as sandbox:
            account = json.loads(sandbox.identity.fcm_key_file.read_text())
            assert account["token_uri"] == sandbox.urls.oauth


async def test_a_half_made_directory_is_made_anew(tmp_path: Path) -> None:
    async with Sandbox.start(tmp_path) as sandbox:
        ca = sandbox.identity.ca_file.read_bytes()
        (tmp_path / "apns-key.pem").unlink()
    async with Sandbox.start(tmp_path) as sandbox:
        assert sandbox.identity.ca_file.read_bytes() != ca
        assert sandbox.identity.apns_key_file.is_file()
        tls = ssl.create_default_context(cafile=sandbox.identity.ca_file)
        tls.load_cert_chain(sandbox.identity.apns_cert_file, sandbox.identity.apns_key_file)


def test_a_taken_port_is_an_error_not_a_traceback(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["--dir", str(directory), "--fcm-port", str(taken.getsockname()[1])]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("sandbox: ")


async def test_a_client_that_says_nothing_does_not_hold_up_the_end(directory: Path) -> None:
    async with Sandbox.start(directory) as sandbox:
        ports = [int(url.rpartition(":")[2]) for url in (sandbox.urls.control, sandbox.urls.apns)]
        silent = [(await asyncio.open_connection("127.0.0.1", port))[1] for port in ports]
        begun = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - begun < 5
    for writer in silent:
        writer.transport.abort()
