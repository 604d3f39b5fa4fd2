"""The sandbox's control port: what it took, and how it is told to misbehave."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import httpx

from tests.plain_http import TRUSTS_NOBODY


@dataclass(frozen=True)
class Push:
    """A push that a provider accepted. `body` is the request's; `push_id` is the same in each attempt at it."""

    provider: str
    token: str
    push_id: str
    title: str
    text: str
    at: datetime
    body: Mapping[str, Any] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)

    @classmethod
    def from_ledger(cls, entry: Mapping[str, Any]) -> Self:
        body, at = entry["body"], datetime.fromisoformat(entry["at"])
        if entry["provider"] == "FCM":
            shown, push_id = body["message"].get("notification", {}), body["message"]["data"]["pharosPushId"]
        else:
            shown, push_id = body["aps"].get("alert", {}), entry["headers"]["apns-id"]
        title, text = shown.get("title", ""), shown.get("body", "")
        return cls(entry["provider"], entry["token"], push_id, title, text, at, body, entry["headers"])


class SandboxPort:
    """Use it with `async with`. Leaving it takes rules back that were set through it."""

    def __init__(self, url: str) -> None:
        self._http = httpx.AsyncClient(base_url=url, timeout=60.0, verify=TRUSTS_NOBODY)
        self._scripted = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._scripted:
                (await self._http.delete("/rules")).raise_for_status()
        finally:
            await self._http.aclose()

    async def pushes(self, tokens: Iterable[str]) -> dict[str, list[Push]]:
        """The accepted pushes to these devices, oldest first, by token; tokens without any are left out."""
        wanted = set(tokens)
        found: dict[str, list[Push]] = defaultdict(list)
        for entry in (await self._http.get("/ledger")).raise_for_status().json():
            if entry["token"] in wanted:
                found[entry["token"]].append(Push.from_ledger(entry))
        return dict(found)

    async def rejected(self, provider: str) -> int:
        """How many pushes the provider has refused so far."""
        summary = (await self._http.get("/ledger/summary")).raise_for_status().json()
        return int(summary[provider]["rejected"])

    async def set_rules(self, *rules: Mapping[str, Any]) -> None:
        """See sandbox.rules for what a rule is."""
        self._scripted = True
        (await self._http.put("/rules", json=rules)).raise_for_status()

    async def rules(self) -> list[dict[str, Any]]:
        """Those in force, with how often each `matched` and was `applied`."""
        rules: list[dict[str, Any]] = (await self._http.get("/rules")).raise_for_status().json()
        return rules

    async def matched(self) -> None:
        """Waits until the first rule has matched something."""
        async with asyncio.timeout(60):
            while not (await self.rules())[0]["matched"]:  # noqa: ASYNC110 - another process's state
                await asyncio.sleep(0.05)

    async def forget(self) -> None:
        """Empties the ledger."""
        (await self._http.delete("/ledger")).raise_for_status()
