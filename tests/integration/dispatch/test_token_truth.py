"""Which devices are removed, and where the others belong, with real workers."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from server.dispatch.removals import LEAST
from server.domain.credentials import CredentialType
from server.domain.operations import Status
from server.domain.outcomes import NotSent, Outcome, Rejected
from server.domain.pushes import Provider, Push
from server.domain.reasons import Reason
from tests.integration.dispatch.workers import Workers
from tests.integration.store.sending import Sending, eventually, users
from tests.unit.dispatch.scripted import Providers

pytestmark = pytest.mark.usefixtures("quick")

_BAD = Rejected(Reason.INVALID_TOKEN, "BadDeviceToken", device_dead=True)
_GONE = Rejected(Reason.UNREGISTERED, "UNREGISTERED", device_dead=True)


class _Apple(Providers):
    """Knows each token with the credentials that it was told; others get BadDeviceToken before any script."""

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[str, UUID] = {}

    async def take(self, push: Push, credential: UUID) -> Outcome:
        outcome = await super().take(push, credential)
        belongs = self.known.get(push.token)
        return _BAD if belongs is not None and credential != belongs else outcome


@pytest.fixture
def providers() -> _Apple:
    return _Apple()


async def _sent(sending: Sending, user: UUID) -> dict[int, tuple[Status, Reason]]:
    operation = await sending.accept(users(user))
    await eventually(lambda: sending.completed(operation))
    return await sending.ends(operation)


async def _environments(sending: Sending) -> dict[str, int | None]:
    return {row["token"]: row["environment"] for row in await sending.fetch("select token, environment from devices")}


async def test_a_device_of_development_costs_one_extra_call_in_its_life(
    sending: Sending, providers: _Apple, workers: Workers
) -> None:
    apn = await sending.credential(CredentialType.APN)
    sandbox = await sending.credential(CredentialType.APN_SANDBOX)
    user = await sending.user("de", "ab", provider=Provider.APN)
    providers.known = {"de": sandbox, "ab": apn}
    workers.start()
    for _ in range(2):
        assert await _sent(sending, user) == {0: (Status.SENT, Reason.NONE)}
    assert [call.credential for call in providers.of("de")] == [apn, sandbox, sandbox]
    assert [call.credential for call in providers.of("ab")] == [apn, apn]
    assert await _environments(sending) == {"de": 2, "ab": None}
    await sending.audit()


async def test_an_app_that_is_installed_from_the_store_now_is_found_there_again(
    sending: Sending, providers: _Apple, workers: Workers
) -> None:
    apn = await sending.credential(CredentialType.APN)
    sandbox = await sending.credential(CredentialType.APN_SANDBOX)
    user = await sending.user("de", provider=Provider.APN)
    await sending.fetch("update devices set environment = 2")
    providers.known = {"de": apn}
    workers.start()
    for _ in range(2):
        await _sent(sending, user)
    assert [call.credential for call in providers.calls] == [sandbox, apn, apn]
    assert await _environments(sending) == {"de": 1}


async def test_a_token_that_no_environment_knows_is_removed(
    sending: Sending, providers: _Apple, workers: Workers
) -> None:
    await sending.credential(CredentialType.APN)
    await sending.credential(CredentialType.APN_SANDBOX)
    user = await sending.user("de", "ab", provider=Provider.APN)
    providers.script("de", _BAD, _BAD)
    workers.start()
    assert await _sent(sending, user) == {0: (Status.SENT, Reason.NONE)}
    assert await sending.devices() == {"ab"}


async def test_a_device_registered_again_while_its_second_try_is_under_way_is_not_remembered(
    sending: Sending, providers: _Apple, workers: Workers
) -> None:
    await sending.credential(CredentialType.APN)
    providers.known = {"de": await sending.credential(CredentialType.APN_SANDBOX)}
    user = await sending.user("de", provider=Provider.APN)
    operation = await sending.accept(users(user))
    providers.open.clear()
    workers.start()
    await providers.reached(1)
    await sending.register("de", user, Provider.APN)
    providers.open.set()
    await eventually(lambda: sending.completed(operation))
    assert await sending.statuses(operation) == [Status.SENT]
    assert await _environments(sending) == {"de": None}


async def test_i8_a_worker_that_takes_over_goes_on_in_the_second_environment(
    sending: Sending, providers: _Apple, workers: Workers
) -> None:
    apn = await sending.credential(CredentialType.APN)
    sandbox = await sending.credential(CredentialType.APN_SANDBOX)
    user = await sending.user("de", provider=Provider.APN)
    providers.known = {"de": sandbox}
    providers.answer(sandbox, NotSent("CONNECT"))
    operation = await sending.accept(users(user))
    first = workers.start()
    await eventually(lambda: sending.value("select progress is not null from jobs"))
    await first.kill()
    before = len(providers.calls)
    providers.answer(sandbox, None)
    await sending.make_due()
    workers.start()
    await eventually(lambda: sending.completed(operation))
    assert await sending.statuses(operation) == [Status.SENT]
    assert [call.credential for call in providers.calls[:2]] == [apn, sandbox]
    assert {call.credential for call in providers.calls[before:]} == {sandbox}
    assert await _environments(sending) == {"de": 2}


@pytest.mark.parametrize("dated", [True, False])
async def test_i10_a_device_registered_again_while_its_push_is_under_way_outlives_the_answer(
    sending: Sending, providers: _Apple, workers: Workers, *, dated: bool
) -> None:
    """The answer is about the life before, whether or not Apple says since when."""
    await sending.credential(CredentialType.APN)
    user = await sending.user("de", "ab", provider=Provider.APN)
    now = await sending.value("select now()")
    gone = replace(_GONE, dead_since=now + timedelta(hours=1)) if dated else _GONE  # a clock ahead of ours
    for token in ("de", "ab"):
        providers.script(token, gone)
    operation = await sending.accept(users(user))
    providers.open.clear()
    workers.start()
    await providers.reached(1)
    await sending.register("de", user, Provider.APN)
    providers.open.set()
    await eventually(lambda: sending.completed(operation))
    assert await sending.ends(operation) == {0: (Status.FAILED, Reason.UNREGISTERED)}
    assert await sending.devices() == {"de"}


async def test_i10_a_send_of_which_everybody_dies_removes_nobody_and_says_so_in_the_feed(
    sending: Sending, providers: _Apple, workers: Workers
) -> None:
    people = [await sending.user(f"t{n}") for n in range(60)]
    providers.answer(sending.fcm, _GONE)
    operation = await sending.accept(users(*people))
    running = workers.start()
    await eventually(lambda: sending.completed(operation))
    assert set((await sending.ends(operation)).values()) == {(Status.FAILED, Reason.UNREGISTERED)}
    assert len(await sending.devices()) == 60
    body = "body ->> 'operation_id' as operation, body ->> 'code' as code, (body -> 'devices')::integer as devices"
    (notice,) = await sending.fetch(f"select kind, {body} from notices")  # noqa: S608 - a constant
    assert (notice["kind"], notice["operation"], notice["code"]) == (2, str(operation), "UNREGISTERED")
    assert notice["devices"] >= LEAST
    assert running.announcements.feeds
    await sending.audit()


async def test_i10_a_payload_that_everybody_rejects_removes_nobody(
    sending: Sending, providers: _Apple, workers: Workers
) -> None:
    user = await sending.user("a", "b")
    providers.answer(sending.fcm, Rejected(Reason.PAYLOAD_REJECTED, "INVALID_ARGUMENT"))
    operation = await sending.accept(users(user))
    workers.start()
    await eventually(lambda: sending.completed(operation))
    assert await sending.devices() == {"a", "b"}
    assert await sending.value("select count(*) from notices") == 0
