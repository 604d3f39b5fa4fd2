"""What lanes learn of their credentials, brought to the store one after the other: the latest news of each counts."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

import structlog

from server.dispatch.lanes import Unwell
from server.dispatch.ports import Announcer, HealthStore
from server.domain.credentials import SealedCredential
from server.domain.errors import Unavailable

log = structlog.get_logger(__name__)

AFTER_FAILURE_SECONDS = 0.5
LAST_SECONDS = 5.0  # for what is left at a stop
SAME_NEWS_SECONDS = 10.0  # a credential is refused by hundreds of answers at once
KEPT = 2048  # credentials; beyond, the least recently heard of is forgotten

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True, eq=False)
class _News:
    credential: SealedCredential
    code: str = ""
    until: float | None = None  # monotonic: the end of a throttle
    well: bool = False

    @property
    def refused(self) -> bool:
        return not self.well and self.until is None


class HealthReports:
    """``tell`` hears the news, and ``run`` as a task writes them; ``finish`` writes what is left at a stop."""

    def __init__(self, store: HealthStore, announcer: Announcer) -> None:
        self._store = store
        self._announcer = announcer
        self._pending: OrderedDict[UUID, _News] = OrderedDict()
        self._refused: OrderedDict[tuple[UUID, int], float] = OrderedDict()  # when that was written last
        self._something = asyncio.Event()
        self._writing = asyncio.Lock()

    def tell(self, credential: SealedCredential, unwell: Unwell | None) -> None:
        """Hear why a credential is unwell, or that it is well again."""
        news = _news(credential, unwell)
        known = self._pending.get(credential.credential_id)
        if (news.refused and known is None and self._was_written(news)) or (known and not _counts(news, known)):
            return
        _keep(self._pending, credential.credential_id, news)
        self._something.set()

    async def run(self) -> None:
        """Write until cancelled. While the database is away the news wait for it."""
        while True:
            await self._something.wait()
            try:
                while self._pending:
                    await self._write_next()
            except Unavailable:
                log.warning("the health of credentials waits for the database", credentials=len(self._pending))
                await asyncio.sleep(AFTER_FAILURE_SECONDS)
            else:
                self._something.clear()

    async def finish(self) -> None:
        """Write what is left if the database answers soon."""
        try:
            async with asyncio.timeout(LAST_SECONDS):
                while self._pending:
                    await self._write_next()
        except (Unavailable, TimeoutError):
            log.warning("the health of credentials was not written", credentials=len(self._pending))

    async def _write_next(self) -> None:
        async with self._writing:
            if not self._pending:
                return
            credential_id, news = next(iter(self._pending.items()))
            if await self._write(news):
                self._announcer.announce_feed(UUID(news.credential.account_id))
                if news.well:  # what waited for it is due
                    self._announcer.announce_jobs()
            if self._pending.get(credential_id) is news:
                del self._pending[credential_id]

    async def _write(self, news: _News) -> bool:
        """Return whether it was news to the account."""
        credential = news.credential
        key = (UUID(credential.account_id), credential.credential_id, credential.version)
        self._refused.pop(key[1:], None)
        if news.well:
            return await self._store.well(*key)
        if news.until is not None:
            left = news.until - time.monotonic()
            return left > 0 and await self._store.unwell(*key, news.code, left)
        written = await self._store.unwell(*key, news.code, None)
        _keep(self._refused, key[1:], time.monotonic())
        return written

    def _was_written(self, news: _News) -> bool:
        at = self._refused.get((news.credential.credential_id, news.credential.version))
        return at is not None and time.monotonic() < at + SAME_NEWS_SECONDS


def _news(credential: SealedCredential, unwell: Unwell | None) -> _News:
    if unwell is None:
        return _News(credential, well=True)
    until = None if unwell.seconds is None else time.monotonic() + unwell.seconds
    return _News(credential, unwell.code, until)


def _counts(news: _News, known: _News) -> bool:
    """Whether news take the place of others that wait: who is refused or throttled longer stays so until it is well."""
    if news.credential.version != known.credential.version:
        return news.credential.version > known.credential.version
    if news.well or known.well:
        return True
    if news.until is None or known.until is None:
        return known.until is not None
    return news.until > known.until


def _keep(of: OrderedDict[K, V], key: K, value: V) -> None:
    of[key] = value
    of.move_to_end(key)
    if len(of) > KEPT:
        of.popitem(last=False)
