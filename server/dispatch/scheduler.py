"""Begins scheduled sends when their time has come, by the database's clock."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import structlog

from server.dispatch.ports import Announcer, Schedule
from server.domain.errors import Unavailable

log = structlog.get_logger(__name__)

POLL = timedelta(seconds=1)  # a send that is accepted meanwhile may be due earlier than those that are known
AFTER_FAILURE_SECONDS = 0.5


async def run_schedule(schedule: Schedule, announcer: Announcer) -> None:
    """Begin what is due until cancelled. Safe in several processes at once."""
    while True:
        try:
            wait = await _begin(schedule, announcer)
        except Unavailable:
            log.warning("scheduled sends wait for the database")
            await asyncio.sleep(AFTER_FAILURE_SECONDS)
        else:
            await asyncio.sleep(max(wait, timedelta()).total_seconds())


async def _begin(schedule: Schedule, announcer: Announcer) -> timedelta:
    """Return how long there is nothing to do."""
    accounts = await schedule.begin_due()
    for account in accounts:
        announcer.announce_feed(account)
    if accounts:
        announcer.announce_jobs()
    wait = await schedule.next_due()
    return POLL if wait is None else min(wait, POLL)
