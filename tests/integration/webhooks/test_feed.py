"""What a webhook gets of the feed: what it has, what it no longer has, and as soon as somebody says so."""

from __future__ import annotations

import pytest

from server.domain import ids
from server.domain.delivery import DeadDevice
from server.domain.ids import Kind
from server.domain.pushes import Provider
from server.domain.webhooks import DeliveryStatus
from server.store.jobs import Jobs
from server.webhooks import deliverer, turn
from tests.integration.store.sending import flush_of, sent, users
from tests.integration.webhooks.deliverers import SECRET, Deliverers, Owner
from tests.integration.webhooks.receiver import Receiver

pytestmark = pytest.mark.usefixtures("quick")

_OTHER_SECRET = "whsec_" + "B" * 43 + "="
_CHANGED, _COMPLETED = "pharos.recipients.changed", "pharos.operation.completed"


async def test_events_that_went_before_they_were_delivered_are_told_as_missed(
    owner: Owner, deliverers: Deliverers, receiver: Receiver
) -> None:
    webhook = await owner.webhook(receiver.url(), _COMPLETED)
    await owner.send()
    last = await owner.sending.value("select last_seq from feeds where account_id = $1", owner.account)
    await owner.sending.fetch("delete from events")
    kept = ids.encode(Kind.OPERATION, await owner.send())
    deliverers.start()
    await owner.settled(webhook, 2, DeliveryStatus.DELIVERED)
    events = {got.type: got.verified(SECRET) for got in receiver.got}
    assert events["pharos.events.missed"]["data"] == {"after": 0, "through": last}
    assert events[_COMPLETED]["subject"] == kept


async def test_a_restored_feed_is_told_as_missed_too(owner: Owner, deliverers: Deliverers, receiver: Receiver) -> None:
    webhook = await owner.webhook(receiver.url(), _COMPLETED)
    await owner.sending.fetch("update feeds set epoch = gen_random_uuid(), last_seq = 7")
    deliverers.start()
    await owner.settled(webhook, 1, DeliveryStatus.DELIVERED)
    assert receiver.got[0].event["data"] == {"after": 0, "through": 7}


async def test_an_event_that_went_before_it_was_delivered_or_replayed_is_told_as_missed(
    owner: Owner, deliverers: Deliverers, receiver: Receiver
) -> None:
    webhook = await owner.webhook(receiver.url(), _COMPLETED)
    await owner.send()
    running = deliverers.start()
    (delivery,) = await owner.settled(webhook, 1, DeliveryStatus.DELIVERED)
    await running.stop()
    await owner.sending.fetch("delete from events")
    await owner.store.replay(owner.account, webhook, [delivery.delivery_id], None)
    deliverers.start()
    got = (await receiver.arrived(2))[1].verified(SECRET)
    assert (got["type"], got["data"]) == ("pharos.events.missed", {"after": delivery.seq - 1, "through": delivery.seq})
    (told,) = await owner.settled(webhook, 1, DeliveryStatus.DELIVERED)
    assert (told.delivery_id, told.event_id, told.attempts) == (delivery.delivery_id, got["id"], 1)
    assert (await owner.get(webhook)).failing_since is None
    assert len(receiver.got) == 2


async def test_a_hint_is_enough_and_the_poll_is_only_the_net(
    owner: Owner, deliverers: Deliverers, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliverer, "POLL_SECONDS", 3600.0)
    monkeypatch.setattr(deliverer, "NET_SECONDS", 3600.0)
    webhook = await owner.webhook(receiver.url(), _COMPLETED)
    await owner.send()
    running = deliverers.start()  # looks for what there is when it begins
    await owner.settled(webhook, 1, DeliveryStatus.DELIVERED)
    await owner.given_back(webhook)
    await owner.send()
    running.hints.tell(owner.account)
    await owner.settled(webhook, 2, DeliveryStatus.DELIVERED)


async def test_a_hint_that_came_while_the_webhook_was_held_is_not_lost(
    owner: Owner, deliverers: Deliverers, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliverer, "POLL_SECONDS", 1.0)
    monkeypatch.setattr(deliverer, "NET_SECONDS", 3600.0)
    webhook = await owner.webhook(receiver.url(), _COMPLETED)
    await owner.sending.fetch("update webhooks set follows = false")  # as while somebody holds it
    running = deliverers.start()
    await owner.send()
    running.hints.tell(owner.account)
    await running.hints.taken.wait()
    await owner.sending.fetch("update webhooks set follows = true")
    await owner.settled(webhook, 1, DeliveryStatus.DELIVERED)


async def test_a_webhook_whose_feed_has_more_is_given_back_as_due(
    owner: Owner, deliverers: Deliverers, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliverer, "NET_SECONDS", 3600.0)
    monkeypatch.setattr(turn, "MOST_PENDING", 2)
    webhook = await owner.webhook(receiver.url(), _COMPLETED)
    for _ in range(2):
        await owner.send()
    receiver.hold()
    running = deliverers.start()
    await receiver.arrived(1)
    running.deliverer.stop()  # the turn ends with what is under way
    receiver.let_go()
    await running.stop()
    due = "select due_at <= now() and follows from webhooks where webhook_id = $1"
    assert await owner.sending.value(due, webhook)


async def test_removed_devices_are_an_event(owner: Owner, deliverers: Deliverers, receiver: Receiver) -> None:
    await owner.webhook(receiver.url(), "pharos.devices.removed")
    ada = await owner.sending.user("dead")
    operation = await owner.sending.accept(users(ada))
    job = await owner.sending.claim_one()
    gone = [DeadDevice(Provider.FCM, "dead", job.claimed_at)]
    await Jobs(owner.sending.database).flush(job, flush_of([sent(0, "dead", ada)], dead=gone))
    deliverers.start()
    (got,) = await receiver.arrived(1)
    event = got.verified(SECRET)
    assert event["subject"] == ids.encode(Kind.OPERATION, operation)
    assert event["data"] == {
        "operationId": event["subject"],
        "appName": owner.sending.app_name,
        "devices": [{"userId": ids.encode(Kind.USER, ada), "provider": "FCM", "token": "dead"}],
    }
