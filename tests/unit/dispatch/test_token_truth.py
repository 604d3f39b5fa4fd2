"""A job whose devices die or belong elsewhere: whom it calls with which credential, and what its flushes say of it."""

from __future__ import annotations

import asyncio
import copy
import time
from uuid import UUID, uuid4

import pytest

from server.dispatch import job_run, recording
from server.dispatch.clock import Clock
from server.dispatch.findings import Findings
from server.dispatch.job_run import JobRun
from server.dispatch.lanes import Lanes
from server.dispatch.removals import LEAST
from server.domain.credentials import CredentialType, SealedCredential
from server.domain.delivery import DeviceState, LearnedEnvironment, RecipientState
from server.domain.devices import Environment
from server.domain.jobs import Expansion, Flush, Flushed, Job, LeaseLost, UserDevice
from server.domain.notices import RemovalsStopped
from server.domain.operations import Recipient, Status
from server.domain.outcomes import Accepted, CredentialRefused, NotSent, Outcome, Rejected
from server.domain.pushes import Provider, Push
from server.domain.reasons import Reason
from server.domain.routes import Routes
from tests.unit.dispatch.scripted import APN, FCM, MemoryStore, Providers, job_of, parts_of, tokens

SANDBOX = SealedCredential("account", uuid4(), 1, CredentialType.APN_SANDBOX, b"")
_BAD = Rejected(Reason.INVALID_TOKEN, "BadDeviceToken", device_dead=True)
_GONE = Rejected(Reason.UNREGISTERED, "UNREGISTERED", device_dead=True)


async def _run(run: JobRun) -> None:
    async with asyncio.timeout(20):
        await run.run()


def _store(environment: Environment | None = None, *credentials: SealedCredential) -> MemoryStore:
    """An app with one user, who has an Apple device."""
    expansion = Expansion(known=True, deleted=False, devices=[UserDevice(Provider.APN, "a0", environment)])
    return MemoryStore({0: expansion}, credentials or (APN, SANDBOX))


def _to_the_user() -> Job:
    return job_of([Recipient(user_id=uuid4())])


async def _refused(credential: SealedCredential) -> Lanes:
    """Lanes of which this credential's rests."""
    lanes = Lanes()
    lane = lanes.of(credential, None)
    await lane.enter(urgent=True)
    lane.leave(CredentialRefused("403"), time.monotonic())
    return lanes


def _used(providers: Providers) -> list[SealedCredential]:
    known = {each.credential_id: each for each in (FCM, APN, SANDBOX)}
    return [known[call.credential] for call in providers.calls]


@pytest.mark.parametrize(
    ("environment", "order", "learned"),
    [
        (None, [APN, SANDBOX], Environment.DEVELOPMENT),
        (Environment.PRODUCTION, [APN, SANDBOX], Environment.DEVELOPMENT),
        (Environment.DEVELOPMENT, [SANDBOX, APN], Environment.PRODUCTION),
    ],
)
async def test_a_token_of_the_other_environment_gets_its_push_there_at_once_and_is_remembered(
    environment: Environment | None, order: list[SealedCredential], learned: Environment
) -> None:
    store, providers = _store(environment), Providers()
    providers.script("a0", _BAD)
    await _run(JobRun(_to_the_user(), parts_of(store, providers)))
    assert _used(providers) == order
    assert len({call.push.push_id for call in providers.calls}) == 1
    assert store.ends[0].status is Status.SENT
    (flush,) = store.flushes
    assert (flush.learned, flush.dead) == ([LearnedEnvironment("a0", learned)], [])


async def test_a_token_that_both_environments_refuse_is_dead() -> None:
    store, providers = _store(), Providers()
    providers.script("a0", _BAD, _BAD, Accepted("never"))
    await _run(JobRun(_to_the_user(), parts_of(store, providers)))
    assert _used(providers) == [APN, SANDBOX]
    assert (store.ends[0].status, store.ends[0].reason) == (Status.FAILED, Reason.INVALID_TOKEN)
    assert store.ends[0].devices[0].attempts == 2
    (flush,) = store.flushes
    assert ([dead.token for dead in flush.dead], flush.learned) == (["a0"], [])


async def test_a_bare_token_gets_its_second_try_and_nothing_is_remembered() -> None:
    store, providers = _store(), Providers()
    providers.script("t0", _BAD)
    await _run(JobRun(job_of(tokens(1, Provider.APN)), parts_of(store, providers)))
    assert _used(providers) == [APN, SANDBOX]
    assert store.ends[0].status is Status.SENT
    assert store.flushes[0].learned == []


async def test_a_device_of_development_is_called_there_first_and_taught_nothing_new() -> None:
    store, providers = _store(Environment.DEVELOPMENT), Providers()
    await _run(JobRun(_to_the_user(), parts_of(store, providers)))
    assert _used(providers) == [SANDBOX]
    assert store.flushes[0].learned == []


async def test_a_second_try_that_does_not_get_through_is_kept_with_its_environment() -> None:
    store, providers = _store(), Providers()
    providers.script("a0", _BAD, NotSent("CONNECT"))
    job = _to_the_user()
    await _run(JobRun(job, parts_of(store, providers)))
    (state,) = store.flushes[-1].begun
    assert (state.devices[0].refused_in, state.devices[0].tries) == (Environment.PRODUCTION, 1)
    state.devices[0].not_before = None
    again = job_of(list(job.recipients.values()), begun={0: state})
    await _run(JobRun(again, parts_of(store, providers)))
    assert _used(providers) == [APN, SANDBOX, SANDBOX]
    assert store.flushes[-1].learned == [LearnedEnvironment("a0", Environment.DEVELOPMENT)]


class _HoldingSandbox(Providers):
    """Keeps calls with the sandbox credential waiting for ``answered``."""

    def __init__(self) -> None:
        super().__init__()
        self.answered = asyncio.Event()

    async def take(self, push: Push, credential: UUID) -> Outcome:
        if credential == SANDBOX.credential_id:
            await self.answered.wait()
        return await super().take(push, credential)


async def test_i8_a_flush_between_the_two_tries_has_the_first_one() -> None:
    """After a kill -9 the device goes on in its second environment."""
    store, providers = _store(), _HoldingSandbox()
    providers.script("a0", _BAD)
    kept: list[RecipientState] = []

    async def look(job: Job, flush: Flush) -> Flushed:
        kept.extend(copy.deepcopy(flush.begun))
        providers.answered.set()
        return await MemoryStore.flush(store, job, flush)

    store.flush = look  # type: ignore[method-assign]  # the test's own
    await _run(JobRun(_to_the_user(), parts_of(store, providers)))
    (device,) = kept[0].devices
    assert (device.status, device.refused_in, device.attempts) == (Status.QUEUED, Environment.PRODUCTION, 1)


@pytest.mark.parametrize("resting", [False, True])
async def test_a_sandbox_credential_that_is_refused_holds_no_work_and_removes_nobody(*, resting: bool) -> None:
    store, providers = _store(), Providers()
    providers.script("a0", _BAD, CredentialRefused("403"))
    lanes = await _refused(SANDBOX) if resting else Lanes()
    await _run(JobRun(_to_the_user(), parts_of(store, providers, lanes)))
    end = store.ends[0]
    assert (end.status, end.reason, end.devices[0].code) == (Status.FAILED, Reason.INVALID_TOKEN, "BadDeviceToken")
    assert (store.flushes[-1].dead, store.flushes[-1].held_by) == ([], None)


async def test_a_run_that_learns_of_the_cancel_meanwhile_makes_no_second_try() -> None:
    store, providers = _store(), Providers()
    providers.script("a0", _BAD)
    providers.open.clear()
    run = JobRun(_to_the_user(), parts_of(store, providers))
    running = asyncio.ensure_future(_run(run))
    await providers.reached(1)
    run._record.canceled = True  # noqa: SLF001  # as a flush would find it
    providers.open.set()
    await running
    assert _used(providers) == [APN]
    assert (store.ends[0].status, store.ends[0].reason) == (Status.FAILED, Reason.CANCELED)


async def test_i10_a_send_whose_devices_all_die_removes_none_and_tells_it() -> None:
    store, providers = MemoryStore(), Providers()
    providers.answer(FCM.credential_id, _GONE)
    job = job_of(tokens(400))
    await _run(JobRun(job, parts := parts_of(store, providers)))
    assert {end.reason for end in store.ends.values()} == {Reason.UNREGISTERED}
    assert [dead for flush in store.flushes for dead in flush.dead] == []
    (notice,) = [notice for flush in store.flushes for notice in flush.notices]
    assert notice == RemovalsStopped(job.operation_id, FCM.credential_id, "UNREGISTERED", notice.devices)
    assert notice.devices >= LEAST
    other = job_of(tokens(400), operation_id=job.operation_id)
    await _run(JobRun(other, parts))
    assert [len(flush.notices) for flush in store.flushes].count(1) == 1  # once in this process


async def test_i10_truly_bad_tokens_of_a_large_send_are_removed_though_the_sandbox_refuses_all_that_it_gets() -> None:
    store, providers = _store(), Providers()
    for n in range(0, 400, 8):
        providers.script(f"t{n}", _BAD, _BAD)
    await _run(JobRun(job_of(tokens(400, Provider.APN)), parts_of(store, providers)))
    assert len([dead for flush in store.flushes for dead in flush.dead]) == 50


async def test_what_a_void_flush_had_to_tell_is_told_by_the_next_one() -> None:
    async def lost() -> None:
        raise LeaseLost

    store, providers = MemoryStore(before_flush=lost), Providers()
    providers.answer(FCM.credential_id, _GONE)
    job, parts = job_of(tokens(LEAST)), parts_of(store, providers)
    with pytest.raises(LeaseLost):
        await _run(JobRun(job, parts))
    store.before_flush = None
    await _run(JobRun(job, parts))
    assert [len(flush.notices) for flush in store.flushes] == [1]


async def test_a_stop_records_the_deaths_that_waited_for_more_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their recipients ended in an earlier flush, and nothing else is new."""
    monkeypatch.setattr(job_run, "WIDTH", 1)
    monkeypatch.setattr(recording, "FLUSH_PUSHES", 3)
    store, providers = MemoryStore(), Providers()
    providers.script("t0", _GONE)
    others = [Recipient(token=f"a{n}", provider=Provider.APN) for n in range(9)]
    run = JobRun(job_of([*tokens(3), *others]), parts_of(store, providers, await _refused(APN)))

    async def stop() -> None:
        run.stop()

    store.before_flush = stop
    await _run(run)
    assert [[dead.token for dead in flush.dead] for flush in store.flushes] == [[], ["t0"]]
    assert [(len(flush.ends), flush.keep) for flush in store.flushes] == [(3, True), (0, False)]


async def test_i10_a_send_by_the_sandbox_credential_does_not_remove_what_is_unknown_there() -> None:
    store, providers = _store(None, SANDBOX), Providers()
    providers.script("a0", _BAD)
    job = job_of([Recipient(user_id=uuid4())], apn_credential=SANDBOX.credential_id)
    await _run(JobRun(job, parts_of(store, providers)))
    assert _used(providers) == [SANDBOX]
    assert (store.ends[0].status, store.flushes[-1].dead) == (Status.FAILED, [])


async def test_a_regular_flush_that_finds_all_ended_records_the_deaths_that_waited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There is no other one: the job is gone with it."""
    monkeypatch.setattr(recording, "FLUSH_SECONDS", 0.0)
    store, flushed = MemoryStore(), asyncio.Event()
    parts = parts_of(store, Providers())
    job = job_of(tokens(1))
    findings = Findings(job, parts.guard)
    record = recording.Recording(job, store, parts.announcer, parts.lease, findings)
    device = DeviceState(Provider.FCM, "t0")
    state = RecipientState(0, None, [device])
    record.wait_for(state)
    device.fail(Reason.UNREGISTERED)
    findings.add(Routes([FCM]), state, device, _GONE)
    record.answered()
    record.end_if_decided(state)

    async def note() -> None:
        flushed.set()

    store.before_flush = note
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(record.keep_up())
        await flushed.wait()
        record.stop()
    await record.finish(Clock(job.claimed_at))
    assert [([dead.token for dead in flush.dead], flush.keep) for flush in store.flushes] == [(["t0"], True)]
