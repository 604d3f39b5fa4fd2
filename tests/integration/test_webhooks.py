"""How an account manages its webhooks: secrets are told once, and nobody sees or changes another account's."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from pharos.push.v1 import webhooks_pb2 as pb

from server.domain import ids
from server.domain.ids import Kind
from server.store.database import Database
from tests.conftest import Caller, NewCaller, Refuse

if TYPE_CHECKING:
    from uuid import UUID

_URL = "https://hooks.example/pharos?of=shop"
_COMPLETED, _CHANGED = "pharos.operation.completed", "pharos.recipients.changed"
_UNKNOWN = "comms_webhook_01h9krwprkeee8fzqspvwy6nq8"


async def _create(caller: Caller, url: str = _URL, **fields: Any) -> pb.CreateWebhookResponse:
    return await caller.webhooks.CreateWebhook(pb.CreateWebhookRequest(url=url, **fields))


async def _get(caller: Caller, name: str) -> pb.Webhook:
    return (await caller.webhooks.GetWebhook(pb.GetWebhookRequest(webhook_id=name))).webhook


async def _log(caller: Caller, name: str, **fields: Any) -> list[pb.WebhookDelivery]:
    request = pb.ListWebhookDeliveriesRequest(webhook_id=name, **fields)
    return list((await caller.webhooks.ListWebhookDeliveries(request)).deliveries)


async def _add_deliveries(database: Database, name: str, *statuses: int) -> None:
    async with database.connection() as connection:
        for seq, status in enumerate(statuses, 1):
            await connection.execute(
                "insert into webhook_deliveries (account_id, webhook_id, epoch, seq, type, status, attempts, ended_at)"
                " select account_id, webhook_id, epoch, $2, $3, $4::smallint, 2,"
                " case when $4::smallint = 1 then null else now() end"
                " from webhooks where webhook_id = $1",
                _uuid(name),
                seq,
                _COMPLETED,
                status,
            )


def _uuid(name: str) -> UUID:
    found = ids.decode(Kind.WEBHOOK, name)
    assert found is not None
    return found


async def test_a_webhook_is_made_and_fetched_without_its_secret(api: Caller) -> None:
    made = await _create(api, event_types=[_COMPLETED, _CHANGED, _COMPLETED], description="the shop's")
    assert made.resource_location == f"/v1/PushNotifications/Webhooks/{made.resource_id}"
    prefix, _, encoded = made.secret.partition("_")
    assert (prefix, len(base64.b64decode(encoded, validate=True))) == ("whsec", 32)
    found = await _get(api, made.resource_id)
    assert (found.id, found.url, found.description) == (made.resource_id, _URL, "the shop's")
    assert list(found.event_types) == [_COMPLETED, _CHANGED]
    assert found.status == pb.WEBHOOK_STATUS_ACTIVE
    assert not found.HasField("failing_since")
    assert made.secret not in str(found)


async def test_no_secret_stands_in_the_database(api: Caller, database: Database) -> None:
    made = await _create(api, request_id="key")
    rotated = await api.webhooks.RotateWebhookSecret(pb.RotateWebhookSecretRequest(webhook_id=made.resource_id))
    async with database.connection() as connection:
        rows = [
            await connection.fetchval(f"select string_agg({table}::text, '') from {table}")  # noqa: S608 - constants
            for table in ("webhooks", "idempotency_keys")
        ]
    for secret in (made.secret, rotated.secret):
        plain = secret.encode()
        assert not any(form in row for row in rows for form in (secret, plain.hex()))


async def test_a_repeated_request_makes_one_webhook_and_has_its_secret(api: Caller) -> None:
    done = await asyncio.gather(*(_create(api, request_id="key") for _ in range(5)))
    assert len({(each.resource_id, each.secret) for each in done}) == 1
    assert len((await api.webhooks.ListWebhooks(pb.ListWebhooksRequest())).webhooks) == 1


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://hooks.example/",
        "http://hooks.example/",
        "https://",
        "https:///path",
        "https://user:password@hooks.example/",
        "https://hooks.example/#part",
        "https://hooks.example:99999/",
        "https://hooks example/",
        "https://hooks.example\\@127.0.0.1/",
        "https://hööks.example/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://169.254.169.254/latest/meta-data",
        "https://hooks.example/" + "x" * 2048,
    ],
)
async def test_a_url_that_can_be_no_webhooks_is_refused(api: Caller, refusal: Refuse, url: str) -> None:
    refused = await refusal(_create(api, url))
    assert refused.code == grpc.StatusCode.INVALID_ARGUMENT
    assert refused.fields.keys() == {"url"}


async def test_an_unknown_event_type_is_refused(api: Caller, refusal: Refuse) -> None:
    refused = await refusal(_create(api, event_types=[_COMPLETED, "pharos.everything"]))
    assert refused.fields.keys() == {"event_types[1]"}


async def test_an_account_has_ten_webhooks_at_most(api: Caller, new_caller: NewCaller, refusal: Refuse) -> None:
    made = [await _create(api) for _ in range(10)]
    assert (await refusal(_create(api))).fields.keys() == {"url"}
    await api.webhooks.DeleteWebhook(pb.DeleteWebhookRequest(webhook_id=made[0].resource_id))
    await _create(api)
    await _create(await new_caller())


async def test_webhooks_are_listed_newest_first_page_by_page(api: Caller, new_caller: NewCaller) -> None:
    await _create(await new_caller())
    made = [(await _create(api)).resource_id for _ in range(5)]
    found: list[str] = []
    token = ""
    while token or not found:
        page = await api.webhooks.ListWebhooks(pb.ListWebhooksRequest(page_size=2, page_token=token))
        found += [webhook.id for webhook in page.webhooks]
        token = page.pagination.next
    assert found == made[::-1]


async def test_pause_and_resume_can_be_repeated(api: Caller) -> None:
    name = (await _create(api)).resource_id
    for _ in range(2):
        await api.webhooks.PauseWebhook(pb.PauseWebhookRequest(webhook_id=name))
        assert (await _get(api, name)).status == pb.WEBHOOK_STATUS_PAUSED
    for _ in range(2):
        await api.webhooks.ResumeWebhook(pb.ResumeWebhookRequest(webhook_id=name))
        assert (await _get(api, name)).status == pb.WEBHOOK_STATUS_ACTIVE


async def test_a_rotation_tells_a_new_secret_and_how_long_the_old_one_is_good(api: Caller) -> None:
    made = await _create(api)
    request = pb.RotateWebhookSecretRequest(webhook_id=made.resource_id, request_id="key")
    rotated, again = [await api.webhooks.RotateWebhookSecret(request) for _ in range(2)]
    assert made.secret != rotated.secret == again.secret
    found = await _get(api, made.resource_id)
    assert found.old_secret_expires_at.seconds - found.updated_at.seconds == 24 * 3600


async def test_the_log_is_listed_newest_first_by_status_and_in_pages(api: Caller, database: Database) -> None:
    name = (await _create(api)).resource_id
    await _add_deliveries(database, name, 2, 3, 1, 3)
    assert [each.sequence for each in await _log(api, name)] == [4, 3, 2, 1]
    failed = await _log(api, name, status=pb.WEBHOOK_DELIVERY_STATUS_FAILED)
    assert [(each.sequence, each.attempts, each.event_type) for each in failed] == [
        (4, 2, _COMPLETED),
        (2, 2, _COMPLETED),
    ]
    assert not failed[0].HasField("next_attempt_at")
    (pending,) = await _log(api, name, status=pb.WEBHOOK_DELIVERY_STATUS_PENDING)
    assert pending.HasField("next_attempt_at")
    assert [each.sequence for each in await _log(api, name, page_size=3)] == [4, 3, 2]


async def test_replay_takes_the_named_ones_or_all_that_failed(api: Caller, database: Database) -> None:
    name = (await _create(api)).resource_id
    await _add_deliveries(database, name, 2, 3, 3, 2)
    log = await _log(api, name)
    replay = pb.ReplayWebhookDeliveriesRequest(webhook_id=name, delivery_ids=[log[0].id, log[1].id, _gone()])
    await api.webhooks.ReplayWebhookDeliveries(replay)
    pending = await _log(api, name, status=pb.WEBHOOK_DELIVERY_STATUS_PENDING)
    assert [(each.id, each.attempts) for each in pending] == [(log[0].id, 0), (log[1].id, 0)]
    await api.webhooks.ReplayWebhookDeliveries(pb.ReplayWebhookDeliveriesRequest(webhook_id=name))
    assert [each.sequence for each in await _log(api, name, status=pb.WEBHOOK_DELIVERY_STATUS_PENDING)] == [4, 3, 2]


def _gone() -> str:
    return "comms_webhook_delivery_01h9krwprkeee8fzqspvwy6nq8"


async def test_a_deleted_webhook_is_gone_with_its_log(api: Caller, database: Database, refusal: Refuse) -> None:
    name = (await _create(api)).resource_id
    await _add_deliveries(database, name, 1, 2)
    await api.webhooks.DeleteWebhook(pb.DeleteWebhookRequest(webhook_id=name))
    for refused in [await refusal(call) for call in _all_of(api, name)]:
        assert refused.code == grpc.StatusCode.NOT_FOUND
    async with database.connection() as connection:
        assert await connection.fetchval("select count(*) from webhook_deliveries") == 0


async def test_another_accounts_webhook_is_like_none(api: Caller, new_caller: NewCaller, refusal: Refuse) -> None:
    name, other = (await _create(api)).resource_id, await new_caller()
    theirs = [await refusal(call) for call in _all_of(other, name)]
    unknown = [await refusal(call) for call in _all_of(other, _UNKNOWN)]
    assert [(each.code, each.message) for each in theirs] == [(each.code, each.message) for each in unknown]
    found = await _get(api, name)
    assert (found.status, found.HasField("old_secret_expires_at")) == (pb.WEBHOOK_STATUS_ACTIVE, False)


def _all_of(caller: Caller, name: str) -> list[Any]:
    service = caller.webhooks
    return [
        service.GetWebhook(pb.GetWebhookRequest(webhook_id=name)),
        service.RotateWebhookSecret(pb.RotateWebhookSecretRequest(webhook_id=name)),
        service.PauseWebhook(pb.PauseWebhookRequest(webhook_id=name)),
        service.ResumeWebhook(pb.ResumeWebhookRequest(webhook_id=name)),
        service.ListWebhookDeliveries(pb.ListWebhookDeliveriesRequest(webhook_id=name)),
        service.ReplayWebhookDeliveries(pb.ReplayWebhookDeliveriesRequest(webhook_id=name)),
        service.DeleteWebhook(pb.DeleteWebhookRequest(webhook_id=name)),
    ]
