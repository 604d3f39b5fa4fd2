"""WebhookService: where an account wants its events posted. A secret is told when it is made, and never again."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol
from uuid import UUID

import grpc
from pharos.push.v1 import webhooks_pb2 as pb
from pharos.push.v1 import webhooks_pb2_grpc

from server.api import pages
from server.api.calls import current_account
from server.api.convert import BASE_PATH, id_in_path, number, timestamp
from server.api.requests import request_key, result_of
from server.domain import ids
from server.domain.errors import Invalid, Violation
from server.domain.ids import Kind
from server.domain.requests import Done, RequestKey
from server.domain.webhooks import Delivery, DeliveryStatus, NewWebhook, Webhook, seal_context

Context = grpc.aio.ServicerContext[Any, Any]

_SECRET_BYTES: Final = 32
_NOBODYS: Final = UUID(int=0)


class Webhooks(Protocol):
    """Where webhooks are kept. What names one that is not the account's raises ``NotFound``."""

    async def new_id(self) -> UUID: ...
    async def create(self, account: UUID, new: NewWebhook, key: RequestKey | None) -> Done[UUID]: ...
    async def get(self, account: UUID, webhook_id: UUID) -> Webhook: ...
    async def newest(self, account: UUID, first: UUID, limit: int) -> Sequence[Webhook]: ...
    async def delete(self, account: UUID, webhook_id: UUID) -> None: ...
    async def rotate(self, account: UUID, webhook_id: UUID, sealed: bytes, key: RequestKey | None) -> Done[UUID]: ...
    async def sealed_secret(self, account: UUID, webhook_id: UUID) -> bytes: ...
    async def pause(self, account: UUID, webhook_id: UUID, key: RequestKey | None) -> Done[UUID]: ...
    async def resume(self, account: UUID, webhook_id: UUID, key: RequestKey | None) -> Done[UUID]: ...
    async def deliveries(
        self, account: UUID, webhook_id: UUID, status: DeliveryStatus | None, first: UUID, limit: int
    ) -> Sequence[Delivery]: ...
    async def replay(
        self, account: UUID, webhook_id: UUID, deliveries: Sequence[UUID] | None, key: RequestKey | None
    ) -> Done[UUID]: ...


class Sealer(Protocol):
    """Encrypts secrets, each for one place."""

    def seal(self, plaintext: bytes, context: str) -> bytes: ...
    def open(self, sealed: bytes, context: str) -> bytes: ...


UrlCheck = Callable[[str], str | None]
"""Returns what is wrong with a webhook's URL, None for nothing."""


class WebhookServicer(webhooks_pb2_grpc.WebhookServiceServicer):
    def __init__(self, webhooks: Webhooks, sealer: Sealer, problem: UrlCheck) -> None:
        self._webhooks = webhooks
        self._sealer = sealer
        self._problem = problem

    async def CreateWebhook(self, request: pb.CreateWebhookRequest, context: Context) -> pb.CreateWebhookResponse:
        if problem := self._problem(request.url):
            raise Invalid(Violation("url", problem))
        account, webhook_id = current_account(), await self._webhooks.new_id()
        new = NewWebhook(
            webhook_id,
            request.url,
            sorted(set(request.event_types)),
            request.description,
            self._new_secret(account, webhook_id),
        )
        made = result_of(await self._webhooks.create(account, new, request_key(request)), context)
        return pb.CreateWebhookResponse(**_named(made), secret=await self._secret(account, made))

    async def GetWebhook(self, request: pb.GetWebhookRequest, context: Context) -> pb.GetWebhookResponse:
        found = await self._webhooks.get(current_account(), _id(request))
        return pb.GetWebhookResponse(webhook=_message(found))

    async def ListWebhooks(self, request: pb.ListWebhooksRequest, context: Context) -> pb.ListWebhooksResponse:
        account = current_account()
        found, pagination = await pages.newest_first(
            request,
            lambda first, limit: self._webhooks.newest(account, first, limit),
            lambda webhook: webhook.webhook_id,
        )
        return pb.ListWebhooksResponse(webhooks=map(_message, found), pagination=pagination)

    async def DeleteWebhook(self, request: pb.DeleteWebhookRequest, context: Context) -> pb.DeleteWebhookResponse:
        webhook_id = _id(request)
        await self._webhooks.delete(current_account(), webhook_id)
        return pb.DeleteWebhookResponse(**_named(webhook_id))

    async def RotateWebhookSecret(
        self, request: pb.RotateWebhookSecretRequest, context: Context
    ) -> pb.RotateWebhookSecretResponse:
        account, webhook_id = current_account(), _id(request)
        sealed = self._new_secret(account, webhook_id)
        result_of(await self._webhooks.rotate(account, webhook_id, sealed, request_key(request)), context)
        return pb.RotateWebhookSecretResponse(**_named(webhook_id), secret=await self._secret(account, webhook_id))

    async def PauseWebhook(self, request: pb.PauseWebhookRequest, context: Context) -> pb.PauseWebhookResponse:
        done = await self._webhooks.pause(current_account(), _id(request), request_key(request))
        return pb.PauseWebhookResponse(**_named(result_of(done, context)))

    async def ResumeWebhook(self, request: pb.ResumeWebhookRequest, context: Context) -> pb.ResumeWebhookResponse:
        done = await self._webhooks.resume(current_account(), _id(request), request_key(request))
        return pb.ResumeWebhookResponse(**_named(result_of(done, context)))

    async def ListWebhookDeliveries(
        self, request: pb.ListWebhookDeliveriesRequest, context: Context
    ) -> pb.ListWebhookDeliveriesResponse:
        account, webhook_id = current_account(), _id(request)
        status = DeliveryStatus(request.status) if request.status else None
        found, pagination = await pages.newest_first(
            request,
            lambda first, limit: self._webhooks.deliveries(account, webhook_id, status, first, limit),
            lambda delivery: delivery.delivery_id,
        )
        return pb.ListWebhookDeliveriesResponse(deliveries=map(_delivery_message, found), pagination=pagination)

    async def ReplayWebhookDeliveries(
        self, request: pb.ReplayWebhookDeliveriesRequest, context: Context
    ) -> pb.ReplayWebhookDeliveriesResponse:
        # A well-formed id that can't be one of ours is like one that is no longer kept.
        named = [ids.decode(Kind.WEBHOOK_DELIVERY, name) or _NOBODYS for name in request.delivery_ids]
        done = await self._webhooks.replay(current_account(), _id(request), named or None, request_key(request))
        return pb.ReplayWebhookDeliveriesResponse(**_named(result_of(done, context)))

    def _new_secret(self, account: UUID, webhook_id: UUID) -> bytes:
        """Sealed. The prefix and the form are those of Standard Webhooks."""
        secret = b"whsec_" + base64.b64encode(secrets.token_bytes(_SECRET_BYTES))
        return self._sealer.seal(secret, seal_context(account, webhook_id))

    async def _secret(self, account: UUID, webhook_id: UUID) -> str:
        """As it is stored: of a repeated request, too, the answer has the secret that is good."""
        sealed = await self._webhooks.sealed_secret(account, webhook_id)
        return self._sealer.open(sealed, seal_context(account, webhook_id)).decode()


class _OfWebhook(Protocol):
    @property
    def webhook_id(self) -> str: ...


def _id(request: _OfWebhook) -> UUID:
    return id_in_path(Kind.WEBHOOK, request.webhook_id)


def _named(webhook_id: UUID) -> dict[str, str]:
    name = ids.encode(Kind.WEBHOOK, webhook_id)
    return {"resource_id": name, "resource_location": f"{BASE_PATH}/Webhooks/{name}"}


def _message(webhook: Webhook) -> pb.Webhook:
    return pb.Webhook(
        id=ids.encode(Kind.WEBHOOK, webhook.webhook_id),
        url=webhook.url,
        event_types=webhook.event_types,
        description=webhook.description,
        status=number(webhook.status),
        failing_since=timestamp(webhook.failing_since),
        old_secret_expires_at=timestamp(webhook.old_until),
        created_at=timestamp(webhook.created_at),
        updated_at=timestamp(webhook.updated_at),
    )


def _delivery_message(delivery: Delivery) -> pb.WebhookDelivery:
    return pb.WebhookDelivery(
        id=ids.encode(Kind.WEBHOOK_DELIVERY, delivery.delivery_id),
        event_id=delivery.event_id,
        event_type=delivery.event_type,
        sequence=delivery.seq,
        status=number(delivery.status),
        attempts=delivery.attempts,
        last_attempt_at=timestamp(delivery.last_attempt_at),
        response_status=delivery.response_status,
        error=delivery.error,
        next_attempt_at=timestamp(delivery.next_attempt_at),
        created_at=timestamp(delivery.created_at),
    )
