"""The gateway's contract tests run against a scripted service and a REST client before it, the transports' against a
scripted HTTP/2 server."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.certificates import Authority
from tests.contract.gateway_upstream import ACCEPTED, Upstream, rest
from tests.contract.http2_server import ScriptedServer
from tests.contract.wires import KINDS, Wire


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """A service that accepts sends; everything else answers empty until the test says otherwise."""
    async with Upstream() as upstream:
        upstream.answers["SendPushNotification"] = ACCEPTED
        yield upstream


@pytest.fixture
async def client(upstream: Upstream) -> AsyncIterator[httpx.AsyncClient]:
    """A REST client of a gateway in front of it."""
    async with rest(upstream.target) as client:
        yield client


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who vouches for the servers of these tests."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def server_tls(authority: Authority) -> ssl.SSLContext:
    return authority.issue().server_context()


@pytest.fixture(params=KINDS)
async def wire(request: pytest.FixtureRequest, authority: Authority) -> AsyncIterator[Wire]:
    """Each of the transports; made before the server, so that it closes after the server's end as well."""
    async with Wire(request.param, authority.file) as wire:
        yield wire


@pytest.fixture
async def server(server_tls: ssl.SSLContext) -> AsyncIterator[ScriptedServer]:
    """A scripted HTTP/2 server with Apple's settings, which answers everything until the test says otherwise."""
    async with ScriptedServer(server_tls) as server:
        yield server
