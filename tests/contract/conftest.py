"""The gateway's contract tests run against a scripted service and a REST client before it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.contract.gateway_upstream import ACCEPTED, Upstream, rest


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
