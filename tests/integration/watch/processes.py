"""The part of an API process that follows the feed, and readers of its streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from server.domain.feed import Changes, End, Filter, Item, SnapshotPart
from server.store.hints import Hints
from server.watch.stream import StatusStreams


@dataclass(frozen=True)
class Process:
    """Hints and streams that share them."""

    hints: Hints
    streams: StatusStreams[Item]

    async def listening(self) -> None:
        """Return once hints of others are heard."""
        await self.hints.jobs.wait(10)  # rung once it has begun to listen

    def items(self, watched: Filter, token: str = "", *, snapshot: bool = True) -> Any:
        """A stream's items, to be closed by who takes them."""
        return aclosing(self.streams.open(watched, token, snapshot=snapshot))

    async def whole(self, watched: Filter, token: str = "") -> list[Item]:
        """A stream to its end."""
        async with asyncio.timeout(60), self.items(watched, token) as items:
            return [item async for item in items]

    async def in_pieces(self, watched: Filter) -> list[Item]:
        """A stream to its end by one who leaves after every message and resumes behind it."""
        seen: list[Item] = []
        async with asyncio.timeout(60):
            while not seen or not isinstance(seen[-1], End):
                seen.extend(await self._piece(watched, seen[-1].token if seen else ""))
        return seen

    async def _piece(self, watched: Filter, token: str) -> list[Item]:
        found: list[Item] = []
        async with self.items(watched, token) as items:
            async for item in items:
                found.append(item)
                if item.token:
                    break
        return found


async def until_changes(items: AsyncIterator[Item], count: int) -> list[tuple[UUID, int]]:
    """Operation and index of the next changes, at least so many."""
    found: list[tuple[UUID, int]] = []
    async with asyncio.timeout(60):
        while len(found) < count:
            found.extend(told([await anext(items)]))
    return found


def told(items: Sequence[Item]) -> list[tuple[UUID, int]]:
    """Operation and index of all recipients that the items tell of."""
    found: list[tuple[UUID, int]] = []
    for item in items:
        if isinstance(item, Changes | SnapshotPart):
            found.extend((change.operation_id, change.index) for change in item.recipients)
    return found
