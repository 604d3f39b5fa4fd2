"""What has to be done now and then, whoever does it."""

from __future__ import annotations

import asyncio
from typing import Protocol

import structlog

from server.domain.errors import Unavailable

log = structlog.get_logger(__name__)

EVERY_SECONDS = 3600.0
AFTER_FAILURE_SECONDS = 30.0


class Partitions(Protocol):
    """Where a day's rows go."""

    async def make(self) -> None: ...


async def keep_partitions(partitions: Partitions) -> None:
    """Make the coming days' partitions, hourly, until cancelled. A miss costs nothing: they are made a week ahead."""
    while True:
        try:
            await partitions.make()
        except Unavailable:
            log.warning("partitions wait for the database")
            await asyncio.sleep(AFTER_FAILURE_SECONDS)
        else:
            await asyncio.sleep(EVERY_SECONDS)
