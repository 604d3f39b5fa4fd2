"""What has to be done now and then, whoever does it."""

from __future__ import annotations

import asyncio
from typing import Protocol

import structlog

from server.domain.errors import Unavailable

log = structlog.get_logger(__name__)

EVERY_SECONDS = 3600.0
AFTER_FAILURE_SECONDS = 30.0


class Upkeep(Protocol):
    """One thing to do. Safe from several workers at once."""

    async def __call__(self) -> None: ...


async def keep_up(*parts: Upkeep) -> None:
    """Do all parts hourly, until cancelled. A miss costs nothing: partitions are made a week ahead."""
    while True:
        try:
            for part in parts:
                await part()
        except Unavailable:
            log.warning("upkeep waits for the database")
            await asyncio.sleep(AFTER_FAILURE_SECONDS)
        else:
            await asyncio.sleep(EVERY_SECONDS)
