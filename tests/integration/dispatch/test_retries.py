"""What happens to a push that was not taken at the first try, and to its neighbours."""

from __future__ import annotations

from itertools import pairwise

import pytest

from server.domain import retry
from server.domain.credentials import CredentialType
from server.domain.operations import Recipient, Status
from server.domain.outcomes import CredentialRefused, NotSent, Outcome, Rejected, Scope, Throttled, Unknown
from server.domain.pushes import Provider
from server.domain.reasons import Reason
from server.store.notifications import Notifications
from tests.integration.dispatch.workers import Workers
from tests.integration.store.sending import Sending, eventually, users
from tests.unit.dispatch.scripted import Providers

pytestmark = pytest.mark.usefixtures("quick")


@pytest.mark.parametrize("outcome", [Throttled("429", 0.01), NotSent("CONNECT"), Unknown("TIMEOUT")])
async def test_a_push_that_was_not_taken_is_tried_again_with_growing_waits(
    sending: Sending,
    providers: Providers,
    workers: Workers,
    outcome: Outcome,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retry.random, "uniform", lambda _, most: most)  # the whole of what jitter may make of it
    providers.script("t0", outcome, outcome, outcome)
    operation = await sending.accept(2)
    workers.start()
    await eventually(lambda: sending.completed(operation))
    assert await sending.statuses(operation) == [Status.SENT, Status.SENT]
    tries = [call.at for call in providers.of("t0")]
    waits = [later - earlier for earlier, later in pairwise(tries)]
    assert len(waits) == 3
    assert all(wait >= least for wait, least in zip(waits, (0.05, 0.1, 0.2), strict=True))
    assert len(providers.of("t1")) == 1
    read = await Notifications(sending.database).get(sending.account, operation, 0)
    assert read is not None
    assert read.devices[0].attempts == (1 if isinstance(outcome, NotSent) else 4)


@pytest.mark.parametrize("scope", Scope)
async def test_i11_no_attempt_comes_before_retry_after(
    sending: Sending, providers: Providers, workers: Workers, scope: Scope
) -> None:
    providers.script("t0", Throttled("429", 0.6, scope))
    operation = await sending.accept(1)
    workers.start()
    await eventually(lambda: sending.completed(operation))
    first, second = providers.of("t0")
    assert second.at - first.at >= 0.6


async def test_i11_a_worker_that_takes_over_keeps_the_wait(
    sending: Sending, providers: Providers, workers: Workers
) -> None:
    providers.script("t0", Throttled("429", 1.0, Scope.DEVICE))
    operation = await sending.accept(2)
    first = workers.start()
    await eventually(lambda: sending.value("select progress is not null from jobs"))
    await first.kill()
    await sending.make_due()
    workers.start()
    await eventually(lambda: sending.completed(operation))
    calls = providers.of("t0")
    assert calls[1].at - calls[0].at >= 1.0


async def test_i10_a_permanent_rejection_is_not_tried_again(
    sending: Sending, providers: Providers, workers: Workers
) -> None:
    providers.script("t0", Rejected(Reason.INVALID_TOKEN, "BadDeviceToken"))
    providers.script("t1", NotSent("CONNECT"))
    operation = await sending.accept(2)
    workers.start()
    await eventually(lambda: sending.completed(operation))
    assert (len(providers.of("t0")), len(providers.of("t1"))) == (1, 2)
    assert (await sending.ends(operation))[0] == (Status.FAILED, Reason.INVALID_TOKEN)


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (Throttled("429"), Reason.EXPIRED),
        (NotSent("CONNECT"), Reason.EXPIRED),
        (Unknown("TIMEOUT"), Reason.OUTCOME_UNKNOWN),
        (CredentialRefused("401"), Reason.CREDENTIAL_REJECTED),
    ],
)
async def test_retrying_ends_at_the_deadline_with_what_held_the_push(
    sending: Sending, providers: Providers, workers: Workers, outcome: Outcome, reason: Reason
) -> None:
    providers.answer(sending.fcm, outcome)
    operation = await sending.accept(3)
    await sending.fetch("update operations set deadline = clock_timestamp() + interval '0.7 seconds'")
    workers.start()
    await eventually(lambda: sending.completed(operation))
    assert set((await sending.ends(operation)).values()) == {(Status.FAILED, reason)}
    late = await sending.value(
        "select max(decided_at) > min(deadline) + interval '5 seconds' from notifications, operations"
    )
    assert not late
    await sending.audit()


async def test_i12_a_refused_credential_holds_its_work_and_delays_no_other(
    sending: Sending, providers: Providers, workers: Workers
) -> None:
    other = await Sending.start(sending.database)
    providers.answer(sending.fcm, CredentialRefused("401"))
    held = await sending.accept(2_000)
    workers.start()
    await eventually(
        lambda: sending.value("select bool_and(picks = 0) from jobs where account_id = $1", sending.account)
    )
    sent = await other.accept(1_000)
    await eventually(lambda: other.completed(sent), 10)
    refused = len([call for call in providers.calls if call.credential == sending.fcm])
    assert refused < 1_500  # the rest was held without a call
    assert await sending.ends(held) == {}
    providers.answer(sending.fcm, None)
    await eventually(lambda: sending.completed(held), 40)
    assert set(await sending.statuses(held)) == {Status.SENT}
    await sending.audit()


async def test_i12_one_providers_refusal_leaves_the_users_other_devices_alone(
    sending: Sending, providers: Providers, workers: Workers
) -> None:
    apn = await sending.credential(CredentialType.APN)
    user = await sending.user("f")
    await sending.register("a0", user, Provider.APN)
    providers.answer(apn, CredentialRefused("403"))
    operation = await sending.accept([*users(user), Recipient(token="f1", provider=Provider.FCM)])
    workers.start()
    await eventually(lambda: sending.value("select progress is not null from jobs"))
    assert sorted(set(providers.tokens()) - {"a0"}) == ["f", "f1"]
    providers.answer(apn, None)
    await eventually(lambda: sending.completed(operation))
    assert len(providers.of("f")) == 1
    assert await sending.statuses(operation) == [Status.SENT, Status.SENT]


async def test_i9_a_device_unregistered_between_tries_is_not_called_again(
    sending: Sending, providers: Providers, workers: Workers
) -> None:
    user = await sending.user("a", "b")
    providers.script("a", Throttled("429", 0.5, Scope.DEVICE))
    operation = await sending.accept(users(user))
    workers.start()
    await eventually(lambda: sending.value("select progress is not null and lease is null from jobs"))
    await sending.fetch("delete from devices where token = 'a'")
    await eventually(lambda: sending.completed(operation))
    assert len(providers.of("a")) == 1
    assert await sending.statuses(operation) == [Status.SENT]
