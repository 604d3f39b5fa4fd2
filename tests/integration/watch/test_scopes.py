"""What can be watched, what is left out, and what is told of each recipient."""

from __future__ import annotations

from uuid import UUID

import pytest

from server.domain.delivery import DeadDevice, DeviceState, End
from server.domain.errors import NotFound
from server.domain.feed import Changes, Checkpoint, Filter, Item, RecipientChange
from server.domain.feed import End as StreamEnd
from server.domain.notices import DevicesRemoved, RemovedDevice
from server.domain.operations import Recipient, Status
from server.domain.pushes import Provider
from server.domain.reasons import Reason
from server.store.jobs import Jobs
from tests.integration.store.sending import Sending, failed, flush_of, sent, users
from tests.integration.watch.processes import Process, told


async def _flush(sending: Sending, operation: UUID, *ends: End) -> None:
    """Record how recipients of one batch ended; the others are still to do."""
    jobs = Jobs(sending.database)
    await sending.make_due()
    for job in await sending.claim():
        if job.operation_id == operation:
            rest = [index for index in job.recipients if index not in {end.index for end in ends}]
            await jobs.flush(job, flush_of(ends, rest))


async def _account_events(process: Process, watched: Filter, count: int, token: str) -> list[Item]:
    """Messages behind the token until so many recipients were told of."""
    found: list[Item] = []
    async with process.items(watched, token) as items:
        while len(told(found)) < count:
            found.append(await anext(items))
    return found


def _recipients(items: list[Item]) -> list[RecipientChange]:
    return [change for item in items if isinstance(item, Changes) for change in item.recipients]


async def _token(process: Process, watched: Filter) -> str:
    async with process.items(watched) as items:
        token: str = (await anext(items)).token
        return token


async def test_i13_a_change_says_who_it_is_about_and_what_became_of_each_device(
    sending: Sending, process: Process
) -> None:
    watched = Filter(sending.account)
    token = await _token(process, watched)
    user = await sending.user("phone")
    operation = await sending.accept([*users(user), Recipient(token="raw", provider=Provider.FCM)])
    phone = DeviceState(Provider.FCM, "phone", Status.SENT, attempts=2, message_id="m")
    raw = DeviceState(Provider.FCM, "raw", Status.FAILED, Reason.UNREGISTERED, attempts=1, code="GONE")
    await _flush(
        sending,
        operation,
        End(0, user, Status.SENT, Reason.NONE, [phone]),
        End(1, None, Status.FAILED, Reason.UNREGISTERED, [raw]),
    )
    first, second = _recipients(await _account_events(process, watched, 2, token))
    assert (first.recipient, list(first.devices)) == (Recipient(user_id=user), [phone])
    assert (second.recipient, list(second.devices)) == (Recipient(token="raw", provider=Provider.FCM), [raw])
    assert first.seq == second.seq == await sending.value("select last_seq from feeds")


async def test_one_user_is_watched_through_all_sends(sending: Sending, process: Process) -> None:
    ada, bob = await sending.user("a"), await sending.user("b")
    watched = Filter(sending.account, user=ada)
    token = await _token(process, watched)
    one, two = await sending.accept(users(ada, bob)), await sending.accept(users(bob, ada))
    for operation, order in ((one, (ada, bob)), (two, (bob, ada))):
        await _flush(sending, operation, *(sent(n, f"d{n}", user) for n, user in enumerate(order)))
    items = await _account_events(process, watched, 2, token)
    assert told(items) == [(one, 0), (two, 1)]


async def test_one_app_is_watched_through_all_sends(sending: Sending, process: Process) -> None:
    watched = Filter(sending.account, app_name=sending.app_name)
    token = await _token(process, watched)
    elsewhere = await sending.accept(1, app_name="another")
    here = await sending.accept(1)
    await _flush(sending, elsewhere, sent(0))
    await _flush(sending, here, sent(0))
    items = await _account_events(process, watched, 1, token)
    assert told(items) == [(here, 0)]
    assert {o.operation_id for item in items if isinstance(item, Changes) for o in item.operations} == {here}


async def test_push_notifications_of_several_sends_are_watched_until_all_are_final(
    sending: Sending, process: Process
) -> None:
    one, two = await sending.accept(3), await sending.accept(3)
    watched = Filter(sending.account, places=frozenset({(one, 1), (two, 2)}))
    token = await _token(process, watched)
    await _flush(sending, one, sent(0), sent(1))
    async with process.items(watched, token) as items:
        assert isinstance(await anext(items), Checkpoint)  # it was resumed
        assert told([await anext(items)]) == [(one, 1)]
    await _flush(sending, two, failed(2))
    whole = await process.whole(watched)
    assert told(whole) == [(one, 1), (two, 2)]
    assert isinstance(whole[-1], StreamEnd)
    assert whole[-1].operation is None
    assert told(await process.whole(watched, token)) == [(one, 1), (two, 2)]
    assert [type(item) for item in await process.whole(watched, whole[-1].token)] == [StreamEnd]
    for missing in ((one, 3), (UUID(int=1 << 14), 0)):
        with pytest.raises(NotFound):
            await process.whole(Filter(sending.account, places=frozenset({(one, 1), missing})))


async def test_a_stream_may_begin_without_what_is_known(sending: Sending, process: Process) -> None:
    operation = await sending.accept(2)
    await _flush(sending, operation, sent(0))
    async with process.items(Filter(sending.account, operation), snapshot=False) as items:
        assert isinstance(await anext(items), Checkpoint)
        await _flush(sending, operation, sent(1))
        process.hints.announce_feed(sending.account)
        assert told([await anext(items)]) == [(operation, 1)]


@pytest.mark.parametrize(
    ("wanted", "indexes"),
    [
        ({"providers": frozenset({Provider.APN})}, [1]),
        ({"reasons": frozenset({Reason.EXPIRED})}, [2]),
        ({"reasons": frozenset({Reason.EXPIRED, Reason.NONE})}, [0, 1, 2]),
        ({"statuses": frozenset({Status.FAILED})}, [2, 3]),
        ({"statuses": frozenset({Status.FAILED}), "reasons": frozenset({Reason.UNREGISTERED})}, [3]),
    ],
)
async def test_i13_filtered_by_provider_reason_and_status(
    sending: Sending, process: Process, wanted: dict[str, frozenset[object]], indexes: list[int]
) -> None:
    operation = await sending.accept(4)
    watched = Filter(sending.account, operation, **wanted)  # type: ignore[arg-type]  # one of the three
    token = await _token(process, watched)
    apple = DeviceState(Provider.APN, "t1", Status.SENT, attempts=1, message_id="m")
    ends = [sent(0), End(1, None, Status.SENT, Reason.NONE, [apple]), failed(2, Reason.EXPIRED), failed(3)]
    await _flush(sending, operation, *ends)
    assert told(await process.whole(watched, token)) == [(operation, index) for index in indexes]
    assert told(await process.whole(watched)) == [(operation, index) for index in indexes]


async def test_i10_removed_devices_are_news_for_who_watches_their_user_app_or_account(
    sending: Sending, process: Process
) -> None:
    ada = await sending.user("dead")
    scopes = [
        Filter(sending.account),
        Filter(sending.account, user=ada),
        Filter(sending.account, app_name=sending.app_name),
    ]
    others = [Filter(sending.account, user=await sending.user("x")), Filter(sending.account, app_name="another")]
    tokens = [await _token(process, watched) for watched in scopes]
    operation = await sending.accept(users(ada))
    job = await sending.claim_one()
    gone = [DeadDevice(Provider.FCM, "dead", job.claimed_at)]
    await Jobs(sending.database).flush(job, flush_of([sent(0, "dead", ada)], dead=gone))
    removed = DevicesRemoved(operation, sending.app_name, [RemovedDevice(ada, Provider.FCM, "dead")])
    for watched, token in zip(scopes, tokens, strict=True):
        async with process.items(watched, token) as items:
            item = await anext(items)
            while not isinstance(item, Changes):
                item = await anext(items)
        assert [entry.notice for entry in item.notices] == [removed]
    assert not any(watched.watches_notice(removed) for watched in others)
    await sending.audit()
