"""One job from claim to last flush, with a scripted store and providers."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from server.dispatch import job_run
from server.dispatch.job_run import JobRun
from server.dispatch.lanes import Lanes
from server.dispatch.recording import FLUSH_PUSHES
from server.domain.credentials import CredentialType, SealedCredential
from server.domain.delivery import DeviceState, RecipientState
from server.domain.errors import Unavailable
from server.domain.jobs import MOST_PICKS, Expansion, Holder, Job, LeaseLost, UserDevice
from server.domain.operations import Recipient, Status
from server.domain.outcomes import Accepted, CredentialRefused, NotSent, Outcome, Rejected, Throttled, Unknown
from server.domain.pushes import Provider
from server.domain.reasons import Reason
from tests.unit.dispatch.scripted import APN, FCM, MemoryStore, Providers, job_of, parts_of, tokens

_HOLD = Throttled("429", 3600.0)
_REFUSED = CredentialRefused("401")


async def _run(run: JobRun) -> None:
    async with asyncio.timeout(20):
        await run.run()


async def _closed(outcome: Outcome) -> Lanes:
    """Lanes of which the one to FCM had this answer."""
    lanes = Lanes()
    lane = lanes.of(FCM, None)
    assert await lane.enter(urgent=False) is None
    lane.leave(outcome, time.monotonic())
    return lanes


def _users(count: int, *devices: UserDevice) -> tuple[list[Recipient], dict[int, Expansion]]:
    """Users who have these devices each, with tokens that end in the user's number."""
    recipients = [Recipient(user_id=uuid4()) for _ in range(count)]
    expansions = {
        n: Expansion(known=True, deleted=False, devices=[UserDevice(d.provider, f"{d.token}{n}") for d in devices])
        for n in range(count)
    }
    return recipients, expansions


async def test_each_recipient_ends_once_and_nothing_is_left() -> None:
    store, providers = MemoryStore(), Providers()
    providers.script("t1", Rejected(Reason.UNREGISTERED, "UNREGISTERED", device_dead=True))
    await _run(JobRun(job_of(tokens(3)), parts_of(store, providers)))
    assert [store.ends[n].status for n in range(3)] == [Status.SENT, Status.FAILED, Status.SENT]
    assert sum(len(flush.ends) for flush in store.flushes) == 3
    assert (store.flushes[-1].rest, store.flushes[-1].keep) == ([], False)
    assert [(dead.token, dead.provider) for flush in store.flushes for dead in flush.dead] == [("t1", Provider.FCM)]


async def test_many_decided_devices_of_undecided_recipients_are_recorded_and_do_not_stall_the_worker() -> None:
    """300 users whose first device gets the push while the provider of the second holds it back."""
    recipients, expansions = _users(300, UserDevice(Provider.FCM, "f"), UserDevice(Provider.APN, "a"))
    store, providers = MemoryStore(expansions), Providers()
    providers.answer(APN.credential_id, _HOLD)
    await _run(JobRun(job_of(recipients), parts_of(store, providers)))
    kept = [flush for flush in store.flushes if flush.keep]
    assert kept
    assert sum(device.status is Status.SENT for state in kept[0].begun for device in state.devices) >= FLUSH_PUSHES / 2
    assert len(store.flushes[-1].begun) == 300
    assert store.ends == {}


async def test_i8_an_unreachable_database_bounds_what_is_sent_without_a_record() -> None:
    reachable = asyncio.Event()
    store, providers = MemoryStore(before_flush=reachable.wait), Providers()
    running = asyncio.ensure_future(_run(JobRun(job_of(tokens(2_000)), parts_of(store, providers))))
    most = 2 * (FLUSH_PUSHES + job_run.WIDTH)
    before = -1
    while len(providers.calls) != before:
        before = len(providers.calls)
        for _ in range(20):
            await asyncio.sleep(0)
    assert FLUSH_PUSHES <= len(providers.calls) <= most
    assert store.flushes == []
    reachable.set()
    await running
    assert len(store.ends) == len(providers.calls) == 2_000


async def test_a_flush_that_records_the_last_recipient_is_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it was one of those in between: the job is gone then, and another flush would find its lease lost."""
    monkeypatch.setattr(job_run, "WIDTH", 2 * FLUSH_PUSHES)
    store, providers = MemoryStore(), Providers()
    await _run(JobRun(job_of(tokens(2 * FLUSH_PUSHES)), parts_of(store, providers)))
    assert [flush.rest == [] for flush in store.flushes].count(True) == 1
    assert len(store.ends) == 2 * FLUSH_PUSHES


async def test_a_flush_is_repeated_until_the_database_is_back() -> None:
    failures = [Unavailable("gone"), Unavailable("gone")]

    async def fail() -> None:
        if failures:
            raise failures.pop()

    store, providers = MemoryStore(before_flush=fail), Providers()
    await _run(JobRun(job_of(tokens(2)), parts_of(store, providers)))
    assert len(store.ends) == 2
    assert providers.tokens() == ["t0", "t1"]


async def test_i6_a_lost_lease_ends_the_run_in_the_middle() -> None:
    async def lost() -> None:
        raise LeaseLost

    store, providers = MemoryStore(before_flush=lost), Providers()
    with pytest.raises(ExceptionGroup) as caught:
        await _run(JobRun(job_of(tokens(5_000)), parts_of(store, providers)))
    assert caught.group_contains(LeaseLost)
    assert len(providers.calls) < 5_000
    assert providers.under_way == 0


async def test_pushes_of_one_job_under_way_at_once_are_bounded() -> None:
    store, providers = MemoryStore(), Providers()
    providers.open.clear()
    running = asyncio.ensure_future(_run(JobRun(job_of(tokens(500)), parts_of(store, providers))))
    await providers.reached(job_run.WIDTH)
    providers.open.set()
    await running
    assert providers.most_under_way == job_run.WIDTH


@pytest.mark.parametrize("outcome", [_HOLD, NotSent("CONNECT"), Unknown("TIMEOUT"), _REFUSED])
async def test_a_push_that_may_be_tried_again_is_left_with_its_wait(outcome: Throttled | NotSent | Unknown) -> None:
    store, providers = MemoryStore(), Providers()
    providers.script("t0", outcome)
    await _run(JobRun(job_of(tokens(2)), parts_of(store, providers)))
    last = store.flushes[-1]
    assert 0 in last.rest
    assert last.begun[0].devices[0].code == outcome.code
    least, most = {_HOLD: (3600, 3960), _REFUSED: (30, 33)}.get(outcome, (0, 2))
    assert timedelta(seconds=least) - timedelta(seconds=0.5) <= last.wait <= timedelta(seconds=most)
    assert last.held_by == (Holder(FCM.credential_id, FCM.version) if outcome is _REFUSED else None)


async def test_i12_a_closed_gate_holds_what_is_left_without_a_call() -> None:
    lanes = await _closed(CredentialRefused("401"))
    store, providers = MemoryStore(), Providers()
    both = [*tokens(3), Recipient(token="a0", provider=Provider.APN)]
    await _run(JobRun(job_of(both), parts_of(store, providers, lanes)))
    assert providers.tokens() == ["a0"]
    assert (store.flushes[-1].rest, store.flushes[-1].begun) == ([0, 1, 2], [])
    assert timedelta(seconds=25) < store.flushes[-1].wait <= timedelta(seconds=33)


async def test_work_that_a_refused_credential_holds_past_its_deadline_says_so() -> None:
    lanes = await _closed(CredentialRefused("401"))
    store, providers = MemoryStore(), Providers()
    job = job_of(tokens(1))
    soon = job_of(tokens(1), deadline=job.claimed_at + timedelta(seconds=10))
    await _run(JobRun(soon, parts_of(store, providers, lanes)))
    assert store.ends[0].reason is Reason.CREDENTIAL_REJECTED
    assert providers.calls == []


async def test_work_that_a_throttled_credential_holds_past_its_deadline_expired() -> None:
    lanes = await _closed(_HOLD)
    store, providers = MemoryStore(), Providers()
    job = job_of(tokens(1))
    await _run(
        JobRun(job_of(tokens(1), deadline=job.claimed_at + timedelta(minutes=1)), parts_of(store, providers, lanes))
    )
    assert store.ends[0].reason is Reason.EXPIRED


async def test_i9_no_push_begins_after_the_deadline_also_in_the_middle_of_a_job(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(job_run, "WIDTH", 1)
    store, providers = MemoryStore(), Providers()
    providers.open.clear()
    job = job_of(tokens(2))
    short = job_of(tokens(2), deadline=job.claimed_at + timedelta(seconds=0.2))
    running = asyncio.ensure_future(_run(JobRun(short, parts_of(store, providers))))
    await providers.reached(1)
    asyncio.get_running_loop().call_later(0.3, providers.open.set)
    await running
    assert providers.tokens() == ["t0"]
    assert [(store.ends[n].status, store.ends[n].reason) for n in range(2)] == [
        (Status.SENT, Reason.NONE),
        (Status.FAILED, Reason.EXPIRED),
    ]


async def test_a_job_claimed_after_its_deadline_calls_nobody() -> None:
    store, providers = MemoryStore(), Providers()
    now = job_of(tokens(1)).claimed_at
    await _run(JobRun(job_of(tokens(2), deadline=now - timedelta(seconds=1)), parts_of(store, providers)))
    assert providers.calls == []
    assert {end.reason for end in store.ends.values()} == {Reason.EXPIRED}


async def test_i8_a_resumed_recipient_is_pushed_only_on_its_undecided_devices_with_the_same_ids() -> None:
    recipients, expansions = _users(1, UserDevice(Provider.FCM, "a"), UserDevice(Provider.FCM, "b"))
    store, providers = MemoryStore(expansions), Providers()
    providers.script("b0", NotSent("CONNECT"), Accepted("second"))
    job = job_of(recipients)
    await _run(JobRun(job, parts_of(store, providers)))
    begun = store.flushes[-1].begun
    again = job_of(recipients, begun={0: begun[0]}, claimed_at=job.claimed_at + timedelta(minutes=1))
    await _run(JobRun(again, parts_of(store, providers)))
    assert providers.tokens() == ["a0", "b0", "b0"]
    assert len({call.push.push_id for call in providers.of("b0")}) == 1
    assert len({call.push.push_id for call in providers.calls}) == 2
    assert [device.message_id for device in store.ends[0].devices][1] == "second"
    assert [device.attempts for device in store.ends[0].devices] == [1, 1]


async def test_i11_a_device_that_waits_is_not_pushed_when_another_makes_the_job_due() -> None:
    recipients, expansions = _users(1, UserDevice(Provider.FCM, "a"), UserDevice(Provider.FCM, "b"))
    job = job_of(recipients)
    waiting = DeviceState(Provider.FCM, "a0", tries=1, not_before=job.claimed_at + timedelta(hours=1))
    begun = RecipientState(0, recipients[0].user_id, [waiting, DeviceState(Provider.FCM, "b0", tries=1)])
    store, providers = MemoryStore(expansions), Providers()
    await _run(JobRun(job_of(recipients, begun={0: begun}), parts_of(store, providers)))
    assert providers.tokens() == ["b0"]
    assert timedelta(minutes=59) < store.flushes[-1].wait <= timedelta(hours=1)


async def test_i15_a_stop_finishes_what_is_under_way_and_gives_the_rest_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_run, "WIDTH", FLUSH_PUSHES // 2)
    store, providers = MemoryStore(), Providers()
    providers.open.clear()
    run = JobRun(job_of(tokens(500)), parts_of(store, providers))
    running = asyncio.ensure_future(_run(run))
    await providers.reached(job_run.WIDTH)
    run.stop()
    providers.open.set()
    await running
    assert len(store.ends) == len(providers.calls) == job_run.WIDTH
    assert len(store.flushes[-1].rest) == 500 - job_run.WIDTH
    assert (store.flushes[-1].keep, store.flushes[-1].wait) == (False, timedelta())


async def test_i15_a_job_stopped_before_its_first_push_is_given_back_uncounted() -> None:
    store, providers = MemoryStore(), Providers()
    run = JobRun(job_of(tokens(2)), parts_of(store, providers))
    run.stop()
    await _run(run)
    assert (store.given_back, store.flushes, providers.calls) == (1, [], [])


async def test_i12_a_recipient_whose_variables_do_not_fit_fails_alone() -> None:
    store, providers = MemoryStore(), Providers()
    deep = '{"name":' + "[" * 5_000 + "]" * 5_000 + "}"
    to = [
        Recipient(token="bad", provider=Provider.FCM, variables=deep),
        Recipient(token="good", provider=Provider.FCM, variables='{"name":"Ada"}'),
    ]
    await _run(JobRun(job_of(to), parts_of(store, providers)))
    assert [(store.ends[n].status, store.ends[n].reason) for n in range(2)] == [
        (Status.FAILED, Reason.RENDER_ERROR),
        (Status.SENT, Reason.NONE),
    ]
    assert [call.push.content.body for call in providers.calls] == ["Hello Ada"]


async def test_i12_pushes_that_no_provider_is_called_for_let_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_run, "WIDTH", 1)
    store, providers = MemoryStore(), Providers()
    providers.answer(FCM.credential_id, Rejected(Reason.PAYLOAD_TOO_LARGE, "TOO_LARGE", called=False))
    run = asyncio.ensure_future(_run(JobRun(job_of(tokens(300)), parts_of(store, providers))))
    turns = 0
    while not run.done():
        await asyncio.sleep(0)
        turns += 1
    await run
    assert len(store.ends) == 300
    assert turns >= 300


async def test_an_unexpected_error_of_one_push_is_its_own() -> None:
    """The others of the batch are under way then: they end, once each. Whether it was taken itself is not known."""
    store, providers = MemoryStore(), Providers()
    providers.open.clear()
    providers.broken["t1"] = ZeroDivisionError()
    running = asyncio.ensure_future(_run(JobRun(job_of(tokens(4)), parts_of(store, providers))))
    await providers.reached(4)
    for _ in range(20):
        await asyncio.sleep(0)
    providers.open.set()
    await running
    assert {index: end.status for index, end in store.ends.items()} == dict.fromkeys((0, 2, 3), Status.SENT)
    [device] = store.flushes[-1].begun[0].devices
    assert (device.token, device.reason, device.attempts) == ("t1", Reason.OUTCOME_UNKNOWN, 1)
    assert sorted(providers.tokens()) == ["t0", "t1", "t2", "t3"]


async def test_an_unexpected_error_before_a_call_leaves_the_push_uncalled(monkeypatch: pytest.MonkeyPatch) -> None:
    store, providers = MemoryStore(), Providers()
    usual = providers.get

    def get(credential: SealedCredential) -> Any:
        if credential is APN:
            raise ZeroDivisionError
        return usual(credential)

    monkeypatch.setattr(providers, "get", get)
    to = [Recipient(token="a", provider=Provider.APN), *tokens(2)]
    await _run(JobRun(job_of(to), parts_of(store, providers)))
    assert {index: end.status for index, end in store.ends.items()} == dict.fromkeys((1, 2), Status.SENT)
    [device] = store.flushes[-1].begun[0].devices
    assert (device.code, device.attempts) == ("INTERNAL_ERROR", 0)
    assert store.flushes[-1].wait > timedelta()


async def test_a_poison_job_is_split_and_nobody_is_called() -> None:
    store, providers = MemoryStore(), Providers()
    await _run(JobRun(job_of(tokens(2), picks=MOST_PICKS + 1), parts_of(store, providers)))
    assert (store.halved, store.flushes, providers.calls) == (1, [], [])


async def test_a_poison_recipient_fails_without_a_call() -> None:
    store, providers = MemoryStore(), Providers()
    await _run(JobRun(job_of(tokens(1), picks=MOST_PICKS + 1), parts_of(store, providers)))
    assert (store.ends[0].status, store.ends[0].reason) == (Status.FAILED, Reason.POISON)
    assert (store.flushes[-1].rest, store.flushes[-1].keep, providers.calls) == ([], False, [])


async def test_a_poison_recipient_who_got_the_push_on_one_device_was_sent() -> None:
    user = uuid4()
    devices = [DeviceState(Provider.FCM, "a", Status.SENT, tries=1), DeviceState(Provider.FCM, "b", tries=1)]
    begun = {0: RecipientState(0, user, devices)}
    store, providers = MemoryStore(), Providers()
    job = job_of([Recipient(user_id=user)], picks=MOST_PICKS + 1, begun=begun)
    await _run(JobRun(job, parts_of(store, providers)))
    assert (store.ends[0].status, store.ends[0].reason) == (Status.SENT, Reason.NONE)
    assert [device.reason for device in store.ends[0].devices] == [Reason.NONE, Reason.POISON]


@pytest.mark.parametrize("named", [True, False])
async def test_apn_devices_go_through_the_sandbox_credential_only_where_there_is_no_other(*, named: bool) -> None:
    sandbox = SealedCredential("account", uuid4(), 1, CredentialType.APN_SANDBOX, b"")
    store, providers = MemoryStore(sealed=[sandbox] if named else [sandbox, APN]), Providers()
    await _run(JobRun(job_of(tokens(1, Provider.APN)), parts_of(store, providers)))
    assert providers.calls[0].credential == (sandbox if named else APN).credential_id


async def test_a_push_says_until_when_it_is_worth_delivering() -> None:
    store, providers = MemoryStore(), Providers()
    job = job_of(tokens(1), ttl=60)
    await _run(JobRun(job, parts_of(store, providers)))
    assert providers.calls[0].push.expires_at == job.due_at + timedelta(seconds=60)
    await _run(JobRun(job_of(tokens(1)), parts_of(store, providers)))
    assert providers.calls[1].push.expires_at is None


async def test_a_job_that_could_not_be_looked_at_goes_back_uncounted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a healthy recipient would end as poison after a few absences of the database."""

    async def gone(job: Job) -> list[SealedCredential]:  # noqa: ARG001 - as the port has it
        raise Unavailable("gone")

    store, providers = MemoryStore(), Providers()
    monkeypatch.setattr(store, "credentials", gone)
    monkeypatch.setattr(job_run, "UNPREPARED_SECONDS", 0.0)
    await _run(JobRun(job_of(tokens(2)), parts_of(store, providers)))
    assert (store.given_back, store.flushes, providers.calls) == (1, [], [])


async def test_i9_a_job_of_a_canceled_operation_is_ended_without_a_call() -> None:
    store, providers = MemoryStore(), Providers()
    tried = RecipientState(1, None, [DeviceState(Provider.FCM, "t1", attempts=1, tries=1)])
    await _run(JobRun(job_of(tokens(3), canceled=True, begun={1: tried}), parts_of(store, providers)))
    assert providers.calls == []
    assert {index: (end.status, end.reason) for index, end in store.ends.items()} == {
        0: (Status.CANCELED, Reason.NONE),
        1: (Status.FAILED, Reason.CANCELED),
        2: (Status.CANCELED, Reason.NONE),
    }
    assert not store.flushes[-1].rest


async def test_a_run_whose_flush_finds_the_operation_canceled_calls_nobody_more() -> None:
    store, providers = MemoryStore(canceled=True), Providers()
    await _run(JobRun(job_of(tokens(2_000)), parts_of(store, providers)))
    called = {int(token[1:]) for token in providers.tokens()}
    assert len(called) <= 2 * FLUSH_PUSHES + job_run.WIDTH
    assert {index for index, end in store.ends.items() if end.status is Status.SENT} == called
    assert {index for index, end in store.ends.items() if end.status is Status.CANCELED} == set(range(2_000)) - called


async def test_a_canceled_job_that_keeps_killing_workers_is_ended_and_not_split() -> None:
    store, providers = MemoryStore(), Providers()
    await _run(JobRun(job_of(tokens(4), canceled=True, lost=True, picks=MOST_PICKS + 1), parts_of(store, providers)))
    assert store.halved == 0
    assert {end.reason for end in store.ends.values()} == {Reason.OUTCOME_UNKNOWN}
