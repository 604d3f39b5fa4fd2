"""A feed that tells when it was read."""

from __future__ import annotations

import asyncio
from typing import Any

from server.store.database import Database
from server.store.feed import Feed


class AttentiveFeed(Feed):
    """Counts its reads."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._begun = self._over = self._last = 0  # the highest number of one that is over
        self._reads = asyncio.Condition()

    async def read(self, *asked: Any, **named: Any) -> Any:
        self._begun += 1
        number = self._begun
        found = await super().read(*asked, **named)
        async with self._reads:
            self._over += 1
            self._last = max(self._last, number)
            self._reads.notify_all()
        return found

    async def looked_at(self) -> None:
        """Returns when a read that began after this is over, and none is under way."""
        wanted = self._begun + 1
        async with asyncio.timeout(30), self._reads:
            await self._reads.wait_for(lambda: self._last >= wanted and self._over == self._begun)
