"""A credential that its provider refuses: what its owner sees, and what becomes of its work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from server.dispatch import lanes
from server.domain.apps import CredentialChange, NewContent
from server.domain.health import Health, HealthState
from server.domain.operations import Status
from server.domain.outcomes import CredentialRefused, Throttled
from server.store.credentials import Credentials
from tests.integration.dispatch.workers import Workers
from tests.integration.store.sending import Sending, eventually
from tests.unit.dispatch.scripted import Providers

pytestmark = pytest.mark.usefixtures("quick")


def _is(sending: Sending, state: HealthState) -> Callable[[], Awaitable[Health | None]]:
    async def check() -> Health | None:
        found = await Credentials(sending.database).get(sending.account, sending.fcm)
        assert found is not None
        return found.health if found.health.state is state else None

    return check


async def _rotate(sending: Sending) -> None:
    change = CredentialChange(None, NewContent(b"rotated", None))
    await Credentials(sending.database).update(sending.account, sending.fcm, change)


async def test_i12_a_refused_credential_holds_its_work_until_its_content_is_replaced(
    sending: Sending, providers: Providers, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "REFUSED_REST", 300.0)
    providers.answer(sending.fcm, CredentialRefused("THIRD_PARTY_AUTH_ERROR"))
    operation = await sending.accept(1_200)
    running = workers.start()
    health = await eventually(_is(sending, HealthState.REJECTED))
    assert health is not None
    assert (health.reason, health.until) == ("THIRD_PARTY_AUTH_ERROR", None)
    await eventually(
        lambda: sending.value(
            "select count(*) = 3 from jobs"
            " where held_by = $1 and lease is null and due_at > now() + interval '1 minute'",
            sending.fcm,
        )
    )
    assert await sending.ends(operation) == {}
    assert running.announcements.feeds.count(sending.account) >= 1
    providers.answer(sending.fcm, None)
    await _rotate(sending)
    await eventually(lambda: sending.completed(operation))
    assert set(await sending.statuses(operation)) == {Status.SENT}
    assert await _is(sending, HealthState.OK)()
    assert await sending.value("select count(*) from notices") == 2
    await sending.audit()


async def test_a_credential_that_is_taken_again_is_well(
    sending: Sending, providers: Providers, workers: Workers
) -> None:
    providers.answer(sending.fcm, CredentialRefused("401"))
    operation = await sending.accept(5)
    workers.start()
    await eventually(_is(sending, HealthState.REJECTED))
    providers.answer(sending.fcm, None)
    await eventually(lambda: sending.completed(operation))
    await eventually(_is(sending, HealthState.OK))


async def test_a_worker_finds_well_what_another_one_left_rejected(
    sending: Sending, providers: Providers, workers: Workers
) -> None:
    providers.answer(sending.fcm, CredentialRefused("401"))
    operation = await sending.accept(5)
    first = workers.start()
    await eventually(_is(sending, HealthState.REJECTED))
    await first.kill()
    providers.answer(sending.fcm, None)
    await sending.make_due()
    workers.start()
    await eventually(lambda: sending.completed(operation))
    await eventually(_is(sending, HealthState.OK))


async def test_a_throttled_credential_says_until_when(sending: Sending, providers: Providers, workers: Workers) -> None:
    providers.answer(sending.fcm, Throttled("QUOTA_EXCEEDED", 60.0))
    await sending.accept(5)
    workers.start()
    health = await eventually(_is(sending, HealthState.THROTTLED))
    assert health is not None
    assert health.reason == "QUOTA_EXCEEDED"
    assert health.until is not None
    assert health.since is not None
    assert 50 < (health.until - health.since).total_seconds() < 70
