"""What a receiver of webhooks gets: all that it wants, signed, again after failures, and once where all is well."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from standardwebhooks.webhooks import WebhookVerificationError

from server.domain import ids, webhooks
from server.domain.feed import FeedEntry
from server.domain.ids import Kind
from server.domain.webhooks import DeliveryStatus, WebhookStatus
from server.store import webhook_turns
from server.store.database import Database
from server.store.feed import Feed
from server.store.webhooks import Webhooks
from server.webhooks import turn
from tests.integration.store.sending import Sending
from tests.integration.webhooks.deliverers import SECRET, Deliverers, Owner
from tests.integration.webhooks.receiver import Receiver, answer, receiving

pytestmark = pytest.mark.usefixtures("quick")

_OTHER_SECRET = "whsec_" + "B" * 43 + "="
_CHANGED, _COMPLETED = "pharos.recipients.changed", "pharos.operation.completed"


async def test_a_send_arrives_as_signed_cloudevents(owner: Owner, deliverers: Deliverers, receiver: Receiver) -> None:
    webhook = await owner.webhook(receiver.url("/hook?of=shop"))
    operation = ids.encode(Kind.OPERATION, await owner.send(recipients=3))
    deliverers.start()
    by_type = {got.type: got for got in await receiver.arrived(2)}
    got = by_type[_CHANGED]
    event = got.verified(SECRET)
    assert got.target == "/hook?of=shop"
    assert got.headers["content-type"] == "application/cloudevents+json"
    assert got.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert event["specversion"] == "1.0"
    assert event["id"] == got.headers["webhook-id"]
    assert event["source"] == f"/accounts/{ids.encode(Kind.ACCOUNT, owner.account)}"
    assert (event["subject"], event["datacontenttype"]) == (operation, "application/json")
    assert [(each["recipientIndex"], each["status"]) for each in event["data"]["recipients"]] == [
        (0, "SENT"),
        (1, "SENT"),
        (2, "SENT"),
    ]
    assert event["data"]["recipients"][1]["to"] == {"token": "t1", "provider": "FCM"}
    assert event["data"]["recipients"][1]["devices"] == [
        {"provider": "FCM", "token": "t1", "status": "SENT", "attempts": 1, "providerMessageId": "m1"}
    ]
    assert event["data"]["recipients"][0]["pushNotificationId"].startswith("comms_pushnotification_")
    completed = by_type[_COMPLETED].verified(SECRET)
    assert completed["data"]["operation"]["stats"]["sent"] == 3
    assert completed["sequence"] == event["sequence"]
    assert completed["id"] != event["id"]
    log = await owner.settled(webhook, 2, DeliveryStatus.DELIVERED)
    assert {(each.event_id, each.attempts, each.response_status) for each in log} == {
        (event["id"], 1, 200),
        (completed["id"], 1, 200),
    }


async def test_a_wrong_secret_or_a_changed_body_is_noticed(
    owner: Owner, deliverers: Deliverers, receiver: Receiver
) -> None:
    await owner.webhook(receiver.url(), _CHANGED)
    await owner.send()
    deliverers.start()
    (got,) = await receiver.arrived(1)
    with pytest.raises(WebhookVerificationError):
        got.verified(_OTHER_SECRET)
    changed = replace(got, body=got.body.replace(b"SENT", b"DONE"))
    with pytest.raises(WebhookVerificationError):
        changed.verified(SECRET)


async def test_only_the_wanted_types_come_and_only_what_happened_since(
    owner: Owner, deliverers: Deliverers, receiver: Receiver
) -> None:
    await owner.send()
    await owner.webhook(receiver.url(), _COMPLETED)
    deliverers.start()
    operations = [ids.encode(Kind.OPERATION, await owner.send()) for _ in range(3)]
    got = await receiver.arrived(3)
    assert {(each.type, each.event["subject"]) for each in got} == {(_COMPLETED, operation) for operation in operations}


async def test_what_fails_is_tried_again_with_the_same_id_until_it_arrives(
    owner: Owner, deliverers: Deliverers, receiver: Receiver
) -> None:
    receiver.answers = [answer(500), answer(429, "retry-after: 0"), b"nonsense\r\n\r\n"]
    webhook = await owner.webhook(receiver.url(), _COMPLETED)
    await owner.send()
    deliverers.start()
    got = await receiver.arrived(4)
    assert len({each.headers["webhook-id"] for each in got}) == 1
    assert len({each.body for each in got}) == 1
    (delivery,) = await owner.settled(webhook, 1, DeliveryStatus.DELIVERED)
    assert delivery.attempts == 4
    assert (await owner.get(webhook)).failing_since is None


async def test_what_never_arrives_fails_and_is_replayed_by_name_and_all_together(
    owner: Owner, deliverers: Deliverers, receiver: Receiver
) -> None:
    receiver.always = answer(503)
    webhook = await owner.webhook(receiver.url(), _COMPLETED)
    for _ in range(3):
        await owner.send()
    deliverers.start()
    failed = await owner.settled(webhook, 3, DeliveryStatus.FAILED)
    assert {(each.attempts, each.response_status, each.error) for each in failed} == {(5, 503, "")}
    tries = len(receiver.got)
    receiver.always = None
    await owner.store.replay(owner.account, webhook, [failed[1].delivery_id], None)
    (delivered,) = await owner.settled(webhook, 1, DeliveryStatus.DELIVERED)
    assert (delivered.event_id, delivered.attempts) == (failed[1].event_id, 1)
    await owner.store.replay(owner.account, webhook, None, None)
    await owner.settled(webhook, 3, DeliveryStatus.DELIVERED)
    assert len(receiver.got) == tries + 3
    assert {each.headers["webhook-id"] for each in receiver.got[tries:]} == {each.event_id for each in failed}


async def test_an_event_that_always_fails_holds_up_no_other(
    owner: Owner, deliverers: Deliverers, receiver: Receiver
) -> None:
    webhook = await owner.webhook(receiver.url(), _COMPLETED)
    bad = ids.encode(Kind.OPERATION, await owner.send())
    receiver.refuses = lambda got: got.event["subject"] == bad
    for _ in range(5):
        await owner.send()
    deliverers.start()
    await owner.settled(webhook, 5, DeliveryStatus.DELIVERED)
    (failed,) = await owner.settled(webhook, 1, DeliveryStatus.FAILED)
    assert failed.attempts == 5


async def test_a_paused_webhook_gets_nothing_and_loses_nothing(
    owner: Owner, deliverers: Deliverers, receiver: Receiver
) -> None:
    paused = await owner.webhook(receiver.url("/paused"), _COMPLETED)
    other = await owner.webhook(receiver.url("/other"), _COMPLETED)
    await owner.store.pause(owner.account, paused, None)
    deliverers.start()
    for _ in range(3):
        await owner.send()
    await owner.settled(other, 3, DeliveryStatus.DELIVERED)
    assert {each.target for each in receiver.got} == {"/other"}
    assert (await owner.get(paused)).status is WebhookStatus.PAUSED
    await owner.store.resume(owner.account, paused, None)
    await owner.settled(paused, 3, DeliveryStatus.DELIVERED)


async def test_after_a_rotation_both_secrets_sign_and_after_a_second_one_the_first_no_more(
    owner: Owner, deliverers: Deliverers, receiver: Receiver
) -> None:
    webhook = await owner.webhook(receiver.url(), _COMPLETED)
    await owner.rotate(webhook, _OTHER_SECRET)
    deliverers.start()
    await owner.send()
    (first,) = await receiver.arrived(1)
    assert first.verified(SECRET) == first.verified(_OTHER_SECRET)
    assert (await owner.get(webhook)).old_until is not None
    await owner.given_back(webhook)
    await owner.rotate(webhook, "whsec_" + "C" * 43 + "=")
    await owner.send()
    second = (await receiver.arrived(2))[1]
    second.verified(_OTHER_SECRET)
    with pytest.raises(WebhookVerificationError):
        second.verified(SECRET)


async def test_the_old_secret_signs_for_a_day(owner: Owner, deliverers: Deliverers, receiver: Receiver) -> None:
    webhook = await owner.webhook(receiver.url(), _COMPLETED)
    await owner.rotate(webhook, _OTHER_SECRET)
    await owner.sending.fetch("update webhooks set old_until = old_until - interval '24 hours'")
    deliverers.start()
    await owner.send()
    (got,) = await receiver.arrived(1)
    got.verified(_OTHER_SECRET)
    with pytest.raises(WebhookVerificationError):
        got.verified(SECRET)
    assert (await owner.get(webhook)).old_until is None


async def test_days_of_nothing_but_failure_disable_a_webhook_until_it_is_resumed(
    owner: Owner, deliverers: Deliverers, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_turns, "DISABLE_AFTER", timedelta())
    receiver.always = answer(500)
    webhook = await owner.webhook(receiver.url(), _COMPLETED)
    for _ in range(3):
        await owner.send()
    deliverers.start()
    disabled = await owner.comes_to(webhook, WebhookStatus.DISABLED)
    assert disabled.failing_since is not None
    await owner.given_back(webhook)
    assert len(receiver.got) == webhook_turns.DISABLE_FAILURES
    receiver.always = None
    await owner.store.resume(owner.account, webhook, None)
    await owner.store.replay(owner.account, webhook, None, None)
    await owner.settled(webhook, 3, DeliveryStatus.DELIVERED)
    assert (await owner.get(webhook)).failing_since is None


async def test_a_disabled_webhook_goes_on_at_once_when_it_is_resumed(
    owner: Owner, deliverers: Deliverers, receiver: Receiver
) -> None:
    receiver.answers = [answer(410)]
    webhook = await owner.webhook(receiver.url(), _COMPLETED)
    await owner.send()
    deliverers.start()
    await owner.comes_to(webhook, WebhookStatus.DISABLED)
    await owner.given_back(webhook)
    await owner.sending.fetch("update webhooks set due_at = now() + interval '5 minutes'")  # it rests
    await owner.store.resume(owner.account, webhook, None)
    await owner.settled(webhook, 1, DeliveryStatus.DELIVERED)


async def test_a_webhook_with_all_that_may_be_pending_is_left_alone_until_one_is_due(
    owner: Owner, deliverers: Deliverers, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn, "MOST_PENDING", 3)
    monkeypatch.setattr(webhooks, "WAITS", (timedelta(hours=9),))
    monkeypatch.setattr(webhooks, "_PATIENCE", 9)
    receiver.always = answer(500)
    webhook = await owner.webhook(receiver.url(), _COMPLETED)
    for _ in range(5):
        await owner.send()
    deliverers.start()
    await receiver.arrived(2)
    await owner.given_back(webhook)
    served = "select served_at from webhooks where not follows and due_at > now()"
    before = await owner.sending.value(served)
    other = await owner.webhook(receiver.url("/other"), _COMPLETED)  # is served meanwhile
    await owner.send()
    await receiver.arrived(3)
    await owner.given_back(other)
    assert before is not None
    assert await owner.sending.value(f"{served} and webhook_id = $1", webhook) == before
    assert len(await owner.log(webhook)) == 2
    receiver.always = None
    await owner.store.replay(owner.account, webhook, [each.delivery_id for each in await owner.log(webhook)], None)
    await owner.settled(webhook, 6, DeliveryStatus.DELIVERED)


async def test_a_few_hours_of_failure_do_not_disable(owner: Owner, deliverers: Deliverers, receiver: Receiver) -> None:
    receiver.always = answer(500)
    webhook = await owner.webhook(receiver.url(), _COMPLETED)
    for _ in range(3):
        await owner.send()
    deliverers.start()
    await owner.settled(webhook, 3, DeliveryStatus.FAILED)
    assert len(receiver.got) > webhook_turns.DISABLE_FAILURES
    assert (await owner.get(webhook)).status is WebhookStatus.ACTIVE


async def test_an_endpoint_that_says_that_it_is_gone_is_disabled_at_once(
    owner: Owner, deliverers: Deliverers, receiver: Receiver
) -> None:
    receiver.always = answer(410)
    webhook = await owner.webhook(receiver.url(), _COMPLETED)
    await owner.send()
    deliverers.start()
    await owner.comes_to(webhook, WebhookStatus.DISABLED)
    assert len(receiver.got) == 1


async def test_a_slow_endpoint_delays_no_other(owner: Owner, deliverers: Deliverers, receiver: Receiver) -> None:
    async with receiving() as slow:
        slow.hold()
        await owner.webhook(slow.url(), _COMPLETED)
        quick = await owner.webhook(receiver.url(), _COMPLETED)
        deliverers.start()
        for number in range(1, 6):
            await owner.send()
            await owner.settled(quick, number, DeliveryStatus.DELIVERED)
        assert slow.most_at_once <= 4


async def test_a_long_backlog_is_worked_off_without_loss_or_repetition(
    owner: Owner, deliverers: Deliverers, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn, "MOST_PENDING", 8)
    webhook = await owner.webhook(receiver.url(), _COMPLETED)
    operations = [ids.encode(Kind.OPERATION, await owner.send()) for _ in range(40)]
    for _ in range(3):
        deliverers.start()
    await owner.settled(webhook, 40, DeliveryStatus.DELIVERED)
    assert sorted(each.event["subject"] for each in receiver.got) == sorted(operations)


async def test_a_backlog_is_read_once_by_the_page(
    owner: Owner, deliverers: Deliverers, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook = await owner.webhook(receiver.url(), _COMPLETED)
    for _ in range(30):
        await owner.send()
    reads, read = [], Feed.read

    async def counted(feed: Feed, account: UUID, after: int, *arguments: Any, **named: Any) -> list[FeedEntry]:
        reads.append(after)
        return await read(feed, account, after, *arguments, **named)

    monkeypatch.setattr(Feed, "read", counted)
    deliverers.start()
    await owner.settled(webhook, 30, DeliveryStatus.DELIVERED)
    assert reads == [0]


async def test_another_accounts_events_never_come(
    owner: Owner, deliverers: Deliverers, receiver: Receiver, database: Database
) -> None:
    other = Owner(await Sending.start(database))
    await owner.webhook(receiver.url("/own"), _COMPLETED)
    theirs = await other.webhook(receiver.url("/other"), _COMPLETED)
    deliverers.start()
    operation = ids.encode(Kind.OPERATION, await other.send())
    await other.settled(theirs, 1, DeliveryStatus.DELIVERED)
    assert [(got.target, got.event["subject"]) for got in receiver.got] == [("/other", operation)]


async def test_the_log_forgets_what_ended_days_ago(
    owner: Owner, deliverers: Deliverers, receiver: Receiver, database: Database
) -> None:
    webhook = await owner.webhook(receiver.url(), _COMPLETED)
    for _ in range(2):
        await owner.send()
    deliverers.start()
    old, recent = await owner.settled(webhook, 2, DeliveryStatus.DELIVERED)
    await owner.sending.fetch(
        "update webhook_deliveries set ended_at = now() - interval '73 hours' where delivery_id = $1", old.delivery_id
    )
    await Webhooks(database).expire()
    assert [each.delivery_id for each in await owner.log(webhook)] == [recent.delivery_id]
