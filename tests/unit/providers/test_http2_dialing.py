"""Which addresses are tried, in which order, and when."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import pytest

from server.providers.http2 import pool
from server.providers.http2.dialing import Dialer
from server.providers.http2.pool import Http2Transport
from server.providers.transport import NotSentError, Origin, Request, SharedHeaders


class Network:
    """A name with three addresses, all of which refuse."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tried: list[str] = []
        self.asked = 0
        self.addresses = ["10.0.0.1", "10.0.0.2", "10.0.0.2", "10.0.0.3"]
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "getaddrinfo", self._resolve)
        monkeypatch.setattr(loop, "create_connection", self._connect)

    async def _resolve(self, *_: Any, **__: Any) -> list[Any]:
        self.asked += 1
        return [(None, None, 0, "", (address, 443)) for address in self.addresses]

    async def _connect(self, _: Any, address: str, *__: Any, **___: Any) -> Any:
        self.tried.append(address)
        raise ConnectionRefusedError


async def test_each_dial_asks_for_addresses_and_begins_with_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network(monkeypatch)
    dialer = Dialer("https://push.example", ssl.create_default_context(), pytest.fail, 5.0)  # type: ignore[arg-type]
    for _ in range(3):
        with pytest.raises(NotSentError, match="CONNECT_FAILED"):
            await dialer.dial()
    assert network.asked == 3
    assert [address[-1] for address in network.tried] == list("123231312")


async def test_every_address_is_tried_where_all_are_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network(monkeypatch)
    network.addresses = [f"10.0.0.{number}" for number in range(6)]

    async def connect(_: Any, address: str, *__: Any, **___: Any) -> Any:
        network.tried.append(address)
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", connect)
    dialer = Dialer("https://push.example", ssl.create_default_context(), pytest.fail, 0.6)  # type: ignore[arg-type]
    with pytest.raises(NotSentError, match="NO_CONNECTION_IN_TIME"):
        await dialer.dial()
    assert network.tried == network.addresses


async def test_a_provider_that_was_away_for_ever_is_reached_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many dials failed, the next one is made."""
    network = Network(monkeypatch)
    transport = Http2Transport(Origin("https://push.example", streams=100, connections=1), ssl.create_default_context())
    monkeypatch.setattr(pool, "_LONGEST_BACKOFF", 0.0)
    transport._failures = 5_000  # noqa: SLF001  # half a day of them
    deadline = asyncio.get_running_loop().time() + 5
    for _ in range(2):
        with pytest.raises(NotSentError, match="CONNECT_FAILED"):
            await transport.post(Request("/", SharedHeaders(()), (), b""), deadline)
    assert network.asked == 2
    await transport.aclose()
