"""From an accepted send to recorded ends."""

from __future__ import annotations

from uuid import UUID

import pytest

from server.dispatch.job_run import JobRun
from server.domain.credentials import CredentialType
from server.domain.delivery import DeviceState, RecipientState
from server.domain.operations import Message, Recipient, Status
from server.domain.outcomes import NotSent, Rejected, Unknown
from server.domain.pushes import Presentation, Provider
from server.domain.reasons import Reason
from server.domain.templates import ContentSource
from server.store.notifications import Notifications
from tests.integration.dispatch.workers import Workers
from tests.integration.store.sending import MESSAGE, Sending, eventually, users
from tests.unit.dispatch.scripted import Providers

pytestmark = pytest.mark.usefixtures("quick")


async def _completed(sending: Sending, operation: UUID) -> None:
    await eventually(lambda: sending.completed(operation))


async def test_i1_every_recipient_of_a_large_send_gets_one_push(
    sending: Sending, providers: Providers, workers: Workers
) -> None:
    operation = await sending.accept(1_700)
    working = workers.start()
    await _completed(sending, operation)
    assert sorted(providers.tokens()) == sorted(f"t{n}" for n in range(1_700))
    assert set(await sending.statuses(operation)) == {Status.SENT}
    assert set(working.announcements.feeds) == {sending.account}
    await sending.audit()


async def test_i1_two_workers_share_a_send_and_repeat_nothing(
    sending: Sending, providers: Providers, workers: Workers
) -> None:
    operations = [await sending.accept(600), await sending.accept(600), await sending.accept(50)]
    workers.start()
    workers.start()
    for operation in operations:
        await _completed(sending, operation)
    assert len(providers.calls) == 1_250
    assert len({call.push.push_id for call in providers.calls}) == 1_250
    await sending.audit()


async def test_each_kind_of_recipient_comes_to_its_end(
    sending: Sending, providers: Providers, workers: Workers
) -> None:
    await sending.credential(CredentialType.APN)
    reachable, lonely = await sending.user("a", "b"), await sending.user()
    await sending.register("c0ffee", reachable, Provider.APN)
    direct = Recipient(token="dead", provider=Provider.FCM, variables='{"name":"Ada"}')
    providers.script("dead", Rejected(Reason.UNREGISTERED, "UNREGISTERED", device_dead=True))
    providers.script("b", Rejected(Reason.UNREGISTERED, "UNREGISTERED", device_dead=True))
    operation = await sending.accept([*users(reachable, lonely), direct])
    workers.start()
    await _completed(sending, operation)
    assert await sending.ends(operation) == {
        0: (Status.SENT, Reason.NONE),
        1: (Status.UNADDRESSABLE, Reason.NO_DEVICE),
        2: (Status.FAILED, Reason.UNREGISTERED),
    }
    assert await sending.devices() == {"a", "c0ffee"}
    assert providers.of("dead")[0].push.content.body == "Hello Ada"
    first = await Notifications(sending.database).get(sending.account, operation, 0)
    assert first is not None
    assert [(device.provider, device.token, device.status) for device in first.devices] == [
        (Provider.FCM, "a", Status.SENT),
        (Provider.FCM, "b", Status.FAILED),
        (Provider.APN, "c0ffee", Status.SENT),
    ]
    await sending.audit()


async def test_i12_a_recipient_that_can_not_be_rendered_fails_alone(
    sending: Sending, providers: Providers, workers: Workers
) -> None:
    loop = "{% for i in (1..n) %}{{ i }}{% endfor %}"
    to = [
        Recipient(token="bad", provider=Provider.FCM, variables='{"n":1000000000}'),
        Recipient(token="good", provider=Provider.FCM, variables='{"n":3}'),
    ]
    message = Message(ContentSource(body=loop), Presentation())
    operation = await sending.accept(to, message=message)
    workers.start()
    await _completed(sending, operation)
    ends = await sending.ends(operation)
    assert ends == {0: (Status.FAILED, Reason.RENDER_ERROR), 1: (Status.SENT, Reason.NONE)}
    assert [call.push.content.body for call in providers.calls] == ["123"]


async def test_i8_every_attempt_at_a_device_has_the_same_id(
    sending: Sending, providers: Providers, workers: Workers
) -> None:
    user = await sending.user("a", "b")
    providers.script("a", Unknown("TIMEOUT"), NotSent("CONNECT"))
    operation = await sending.accept(users(user, user))
    workers.start()
    await _completed(sending, operation)
    for token, calls in {"a": 4, "b": 2}.items():
        assert len(providers.of(token)) == calls
        assert len({call.push.push_id for call in providers.of(token)}) == 2  # one for each recipient
    assert len({call.push.push_id for call in providers.calls}) == 4


async def test_an_app_with_a_sandbox_credential_only_reaches_apple_devices_through_it(
    sending: Sending, providers: Providers, workers: Workers
) -> None:
    sandbox = await sending.credential(CredentialType.APN_SANDBOX)
    operation = await sending.accept([Recipient(token="c0ffee", provider=Provider.APN)])
    workers.start()
    await _completed(sending, operation)
    assert [call.credential for call in providers.calls] == [sandbox]
    assert await sending.value("select apn_credential from notifications") == sandbox


async def test_i9_a_send_whose_named_credential_was_deleted_calls_nobody(
    sending: Sending, providers: Providers, workers: Workers
) -> None:
    named = await sending.credential(CredentialType.FCM)
    user = await sending.user("u")
    operation = await sending.accept([Recipient(token="t", provider=Provider.FCM), *users(user)], fcm_credential=named)
    await sending.delete_credential(named)
    workers.start()
    await _completed(sending, operation)
    assert await sending.ends(operation) == dict.fromkeys(range(2), (Status.FAILED, Reason.CREDENTIAL_DELETED))
    assert providers.calls == []


async def test_a_poison_recipient_ends_alone_and_the_others_get_the_push(
    sending: Sending, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that dies of one recipient, each time it comes to it, before it could record anything."""
    push = JobRun._push  # noqa: SLF001 # an error of a push itself would be that push's own

    async def deadly(run: JobRun, state: RecipientState, device: DeviceState) -> bool:
        if device.token == "t5":
            raise ZeroDivisionError
        return await push(run, state, device)

    operation = await sending.accept(8, message=MESSAGE)
    monkeypatch.setattr(JobRun, "_push", deadly)
    workers.start()

    async def over() -> bool:
        await sending.fetch("update jobs set due_at = now() where lease is not null and picks > 0")  # leases run out
        return await sending.completed(operation)

    await eventually(over, 60)
    ends = await sending.ends(operation)
    assert ends.pop(5) == (Status.FAILED, Reason.POISON)
    assert set(ends.values()) == {(Status.SENT, Reason.NONE)}
    await sending.audit()
