"""Deliverers that stop, die, or are taken for dead: nothing is lost, and nothing has two of them at a time."""

from __future__ import annotations

import asyncio

import pytest

from server.domain.webhooks import DeliveryStatus
from tests.integration.webhooks.deliverers import Deliverers, Owner
from tests.integration.webhooks.receiver import Receiver

pytestmark = pytest.mark.usefixtures("quick")

_COMPLETED = "pharos.operation.completed"


async def test_a_killed_deliverer_loses_nothing(owner: Owner, deliverers: Deliverers, receiver: Receiver) -> None:
    webhook = await owner.webhook(receiver.url(), _COMPLETED)
    receiver.hold()
    for _ in range(10):
        await owner.send()
    killed = deliverers.start()
    await receiver.arrived(4)
    await killed.kill()
    receiver.let_go()
    await owner.expire_leases()
    deliverers.start()
    log = await owner.settled(webhook, 10, DeliveryStatus.DELIVERED)
    arrived = [got.headers["webhook-id"] for got in receiver.got]
    assert {each.event_id for each in log} == set(arrived)
    assert len(arrived) == 10 + 4  # what was under way came again, with the same ids


async def test_a_dead_deliverers_webhook_waits_for_its_lease_and_no_longer(
    owner: Owner, deliverers: Deliverers, receiver: Receiver
) -> None:
    webhook = await owner.webhook(receiver.url(), _COMPLETED)
    receiver.hold()
    await owner.send()
    killed = deliverers.start()
    await receiver.arrived(1)
    await killed.kill()
    held = await owner.sending.fetch("select due_at - now() as left from webhooks where webhook_id = $1", webhook)
    assert 35 < held[0]["left"].total_seconds() <= 60  # a turn, its last attempt, and some seconds


async def test_several_deliverers_never_have_the_same_delivery(
    owner: Owner, deliverers: Deliverers, receiver: Receiver
) -> None:
    webhook = await owner.webhook(receiver.url(), _COMPLETED)
    receiver.hold()
    for _ in range(6):
        await owner.send()
    running = [deliverers.start() for _ in range(3)]
    await receiver.arrived(4)
    await owner.sending.fetch("select pg_sleep(0.2)")  # the others have looked for work many times meanwhile
    assert len(receiver.got) == 4
    receiver.let_go()
    await owner.settled(webhook, 6, DeliveryStatus.DELIVERED)
    for each in running:
        await each.stop()
    assert len(receiver.got) == len({got.headers["webhook-id"] for got in receiver.got}) == 6


async def test_who_lost_the_lease_writes_nothing(owner: Owner, deliverers: Deliverers, receiver: Receiver) -> None:
    webhook = await owner.webhook(receiver.url(), _COMPLETED)
    receiver.hold()
    await owner.send()
    late = deliverers.start()
    await receiver.arrived(1)
    await owner.expire_leases()
    held, receiver.held = receiver.held, None
    assert held is not None
    deliverers.start()
    (delivered,) = await owner.settled(webhook, 1, DeliveryStatus.DELIVERED)
    held.set()
    await late.stop()
    assert await owner.log(webhook) == [delivered]
    assert delivered.attempts == 1


async def test_a_stop_finishes_and_records_what_is_under_way(
    owner: Owner, deliverers: Deliverers, receiver: Receiver
) -> None:
    webhook = await owner.webhook(receiver.url(), _COMPLETED)
    receiver.hold()
    for _ in range(6):
        await owner.send()
    running = deliverers.start()
    await receiver.arrived(4)
    stopping = asyncio.ensure_future(running.stop())
    receiver.let_go()
    await stopping
    assert len(await owner.log(webhook, DeliveryStatus.DELIVERED)) == 4
    await owner.given_back(webhook)
    deliverers.start()
    await owner.settled(webhook, 6, DeliveryStatus.DELIVERED)
    assert len(receiver.got) == 6


async def test_a_webhook_that_is_deleted_while_it_is_delivered_to_harms_nobody(
    owner: Owner, deliverers: Deliverers, receiver: Receiver
) -> None:
    deleted = await owner.webhook(receiver.url("/deleted"), _COMPLETED)
    receiver.hold()
    await owner.send()
    running = deliverers.start()
    await receiver.arrived(1)
    await owner.store.delete(owner.account, deleted)
    receiver.let_go()
    other = await owner.webhook(receiver.url("/other"), _COMPLETED)
    await owner.send()
    await owner.settled(other, 1, DeliveryStatus.DELIVERED)
    assert not running.task.done()


async def test_a_secret_that_does_not_open_stops_its_webhook_alone(
    owner: Owner, deliverers: Deliverers, receiver: Receiver
) -> None:
    broken = await owner.webhook(receiver.url("/broken"), _COMPLETED)
    await owner.sending.fetch("update webhooks set sealed = 'nonsense' where webhook_id = $1", broken)
    sound = await owner.webhook(receiver.url("/sound"), _COMPLETED)
    await owner.send()
    deliverers.start()
    await owner.settled(sound, 1, DeliveryStatus.DELIVERED)
    assert {got.target for got in receiver.got} == {"/sound"}
