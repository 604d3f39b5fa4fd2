"""What is written of the news that lanes have of their credentials, and when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from server.dispatch import health as health_module
from server.dispatch.health import HealthReports
from server.dispatch.lanes import Unwell
from server.domain.credentials import CredentialType, SealedCredential
from server.domain.errors import Unavailable
from tests.unit.dispatch.scripted import Announcements

_ACCOUNT = uuid4()
_ONE = SealedCredential(str(_ACCOUNT), uuid4(), 1, CredentialType.FCM, b"")
_OTHER = replace(_ONE, credential_id=uuid4())
_REFUSED = Unwell("401", None)


@dataclass
class _Store:
    """Keeps what is written: the credential, the version, and the code or None."""

    written: list[tuple[UUID, int, str | None]] = field(default_factory=list)
    seconds: list[float | None] = field(default_factory=list)
    away: int = 0  # so many writes fail
    open: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.open.set()

    async def unwell(
        self, account_id: UUID, credential_id: UUID, version: int, code: str, seconds: float | None
    ) -> bool:
        await self._answer(account_id)
        self.written.append((credential_id, version, code))
        self.seconds.append(seconds)
        return True

    async def well(self, account_id: UUID, credential_id: UUID, version: int) -> bool:
        await self._answer(account_id)
        self.written.append((credential_id, version, None))
        return False

    async def _answer(self, account_id: UUID) -> None:
        assert account_id == _ACCOUNT
        self.asked.set()
        await self.open.wait()
        if self.away:
            self.away -= 1
            raise Unavailable("away")

    def of(self, credential: SealedCredential) -> list[str | None]:
        return [code for credential_id, _, code in self.written if credential_id == credential.credential_id]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_module, "AFTER_FAILURE_SECONDS", 0.001)


@asynccontextmanager
async def _running(reports: HealthReports) -> AsyncIterator[None]:
    task = asyncio.ensure_future(reports.run())
    try:
        async with asyncio.timeout(10):
            yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _written(store: _Store, count: int) -> None:
    while len(store.written) < count:  # noqa: ASYNC110 - the next turn of the loop is what it waits for
        await asyncio.sleep(0)
    for _ in range(10):  # no more comes
        await asyncio.sleep(0)
    assert len(store.written) == count


async def test_news_are_written_and_announced_where_they_are_news_to_the_account() -> None:
    store, announcements = _Store(), Announcements()
    reports = HealthReports(store, announcements)
    async with _running(reports):
        reports.tell(_ONE, Unwell("429", 60.0))
        await _written(store, 1)
        assert store.seconds[0] == pytest.approx(60, abs=5)
        assert announcements.feeds == [_ACCOUNT]
        reports.tell(_ONE, None)
        await _written(store, 2)
    assert store.of(_ONE) == ["429", None]
    assert announcements.feeds == [_ACCOUNT]


async def test_hundreds_of_refusals_are_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    store = _Store()
    reports = HealthReports(store, Announcements())
    async with _running(reports):
        for _ in range(200):
            reports.tell(_ONE, _REFUSED)
            await asyncio.sleep(0)
        await _written(store, 1)
        monkeypatch.setattr(health_module, "SAME_NEWS_SECONDS", 0.0)
        reports.tell(_ONE, _REFUSED)  # long after, and after who knows what others told
        await _written(store, 2)


async def test_only_the_latest_of_what_waits_is_written() -> None:
    store = _Store()
    reports = HealthReports(store, Announcements())
    store.open.clear()
    async with _running(reports):
        reports.tell(_ONE, Unwell("429", 60.0))
        await store.asked.wait()
        reports.tell(_ONE, _REFUSED)
        reports.tell(_ONE, None)
        reports.tell(_OTHER, None)
        reports.tell(_OTHER, _REFUSED)
        store.open.set()
        await _written(store, 3)
    assert store.of(_ONE) == ["429", None]
    assert store.of(_OTHER) == ["401"]


@pytest.mark.parametrize(
    ("first", "second", "written"),
    [
        (_REFUSED, Unwell("429", 60.0), "401"),
        (Unwell("429", 60.0), _REFUSED, "401"),
        (Unwell("long", 60.0), Unwell("short", 6.0), "long"),
        (Unwell("short", 6.0), Unwell("long", 60.0), "long"),
    ],
)
async def test_the_worse_of_two_news_that_wait_is_written(first: Unwell, second: Unwell, written: str) -> None:
    store = _Store()
    reports = HealthReports(store, Announcements())
    reports.tell(_ONE, first)
    reports.tell(_ONE, second)
    async with _running(reports):
        await _written(store, 1)
    assert store.of(_ONE) == [written]


async def test_news_of_new_content_take_the_place_of_those_of_old() -> None:
    store = _Store()
    reports = HealthReports(store, Announcements())
    reports.tell(_ONE, _REFUSED)
    reports.tell(replace(_ONE, version=2), None)
    reports.tell(_ONE, _REFUSED)
    async with _running(reports):
        await _written(store, 1)
    assert store.written == [(_ONE.credential_id, 2, None)]


async def test_news_wait_for_the_database() -> None:
    store = _Store(away=5)
    reports = HealthReports(store, Announcements())
    async with _running(reports):
        reports.tell(_ONE, _REFUSED)
        reports.tell(_OTHER, None)
        await asyncio.sleep(0)
        while store.away:
            await store.asked.wait()
            await asyncio.sleep(0)
        await _written(store, 2)
    assert (store.of(_ONE), store.of(_OTHER)) == (["401"], [None])


async def test_a_throttle_that_ended_before_it_could_be_written_is_none() -> None:
    store = _Store()
    reports = HealthReports(store, Announcements())
    reports.tell(_ONE, Unwell("429", 0.0))
    reports.tell(_OTHER, _REFUSED)
    async with _running(reports):
        await _written(store, 1)
    assert store.of(_ONE) == []


async def test_a_stop_writes_what_is_left_once_if_the_database_answers() -> None:
    store = _Store()
    reports = HealthReports(store, Announcements())
    reports.tell(_ONE, _REFUSED)
    await reports.finish()
    assert store.of(_ONE) == ["401"]
    store.away = 1
    reports.tell(_OTHER, _REFUSED)
    await reports.finish()
    assert store.of(_OTHER) == []


async def test_a_stop_does_not_wait_for_a_database_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_module, "LAST_SECONDS", 0.01)
    store = _Store()
    store.open.clear()
    reports = HealthReports(store, Announcements())
    reports.tell(_ONE, _REFUSED)
    async with asyncio.timeout(10):
        await reports.finish()
    assert store.written == []


async def test_a_stop_in_the_middle_of_a_write_loses_nothing() -> None:
    store = _Store()
    store.open.clear()
    reports = HealthReports(store, Announcements())
    async with _running(reports):
        reports.tell(_ONE, _REFUSED)
        await store.asked.wait()
    store.open.set()
    await reports.finish()
    assert store.of(_ONE) == ["401"]


async def test_i14_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_module, "KEPT", 3)
    store = _Store()
    reports: Any = HealthReports(store, Announcements())
    for _ in range(10):
        reports.tell(replace(_ONE, credential_id=uuid4()), _REFUSED)
    async with _running(reports):
        await _written(store, 3)
