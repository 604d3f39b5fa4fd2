"""PushNotificationService: sends, and what became of each recipient."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import grpc
from pharos.push.v1 import push_notifications_pb2 as pb
from pharos.push.v1 import push_notifications_pb2_grpc

from server.api import filters, notification_messages, pages, sends
from server.api.broken import sound_part
from server.api.calls import current_account
from server.api.convert import BASE_PATH, id_in_path
from server.api.dry_runs import DryRuns
from server.api.problems import Problems
from server.api.requests import request_key, result_of
from server.api.senders import Sender, SenderStore, resolve_sender
from server.api.validation import broken_rules
from server.domain import ids
from server.domain.credentials import CredentialType
from server.domain.errors import Invalid, NotFound, Violation
from server.domain.ids import Kind
from server.domain.notifications import Notification, NotificationFilter, Place
from server.domain.operations import NewOperation, Recipient
from server.domain.requests import Done, RequestKey

Context = grpc.aio.ServicerContext[Any, Any]


class Operations(SenderStore, Protocol):
    """Where sends are accepted."""

    async def now(self) -> datetime: ...
    async def accept(self, account: UUID, new: NewOperation, key: RequestKey | None = None) -> Done[UUID]: ...
    async def repeated(self, account: UUID, key: RequestKey) -> Done[UUID] | None: ...


class Notifications(Protocol):
    """Where recipients are read back."""

    async def get(self, account: UUID, operation_id: UUID, index: int) -> Notification | None: ...
    async def page(
        self, account: UUID, begin: Place, limit: int, wanted: NotificationFilter
    ) -> tuple[list[Notification], Place | None]: ...


class Announcer(Protocol):
    """Tells workers and watchers. Hints: they may get lost."""

    def announce_jobs(self) -> None: ...
    def announce_feed(self, account_id: UUID) -> None: ...


class PushNotificationServicer(push_notifications_pb2_grpc.PushNotificationServiceServicer):
    def __init__(
        self,
        operations: Operations,
        notifications: Notifications,
        renderer: notification_messages.Renderer,
        dry_runs: DryRuns,
        announcer: Announcer,
    ) -> None:
        self._operations = operations
        self._notifications = notifications
        self._renderer = renderer
        self._dry_runs = dry_runs
        self._announcer = announcer

    async def SendPushNotification(
        self, request: pb.SendPushNotificationRequest, context: Context
    ) -> pb.SendPushNotificationResponse:
        account = current_account()
        if request.dry_run:
            return pb.SendPushNotificationResponse(dry_run=await self._try(account, request))
        operation_id = result_of(await self._accept(account, request), context)
        name = ids.encode(Kind.OPERATION, operation_id)
        return pb.SendPushNotificationResponse(operation_id=name, operation_location=f"{BASE_PATH}/Operations/{name}")

    async def GetPushNotification(
        self, request: pb.GetPushNotificationRequest, context: Context
    ) -> pb.GetPushNotificationResponse:
        operation, index = ids.split_notification(id_in_path(Kind.NOTIFICATION, request.push_notification_id))
        notification = await self._notifications.get(current_account(), operation, index)
        if notification is None:
            raise NotFound("there is no such push notification")
        return pb.GetPushNotificationResponse(
            push_notification=notification_messages.full(notification, self._renderer)
        )

    async def ListPushNotifications(
        self, request: pb.ListPushNotificationsRequest, context: Context
    ) -> pb.ListPushNotificationsResponse:
        wanted = filters.notification_filter(request)
        token = pages.Token.of(request)
        place = _place(token.decode(request.page_token))
        limit = request.page_size or pages.DEFAULT_SIZE
        found, following = await self._notifications.page(current_account(), place, limit, wanted)
        return pb.ListPushNotificationsResponse(
            notifications=[notification_messages.brief(notification) for notification in found],
            pagination=token.pagination(request.page_token, _key(following)),
        )

    async def _accept(self, account: UUID, request: pb.SendPushNotificationRequest) -> Done[UUID]:
        """Carry the request out, or find what an earlier equal one came to, however things have changed since then."""
        rules = broken_rules(request)
        key = None if rules else request_key(request)
        earlier = await self._operations.repeated(account, key) if key else None
        if earlier is not None:
            return earlier
        new, _ = await self._new_operation(account, request, rules)
        done = await self._operations.accept(account, new, key)
        self._announcer.announce_jobs()
        self._announcer.announce_feed(account)
        return done

    async def _try(self, account: UUID, request: pb.SendPushNotificationRequest) -> pb.DryRunReport:
        new, types = await self._new_operation(account, request, broken_rules(request))
        return await self._dry_runs.run(account, new, sends.usable_providers(types), await self._operations.now())

    async def _new_operation(
        self, account: UUID, request: pb.SendPushNotificationRequest, rules: Sequence[Violation]
    ) -> tuple[NewOperation, frozenset[CredentialType]]:
        """Check everything before anything is stored, and report all problems at once, broken ``rules`` among them.

        Answers the types of the credentials that the send can use, too. Raises ``Invalid``.
        """
        request = sound_part(request, rules)
        problems = Problems(rules)
        message = problems.collect(lambda: sends.message(request, self._renderer))
        now = await self._operations.now() if request.HasField("schedule") else None
        send_at = problems.collect(lambda: sends.send_at(request, now)) if now else None
        recipients: list[Recipient] | None = problems.collect(lambda: sends.recipients(request))
        sender: Sender | None = None
        try:
            if not any(violation.field.startswith("sender") for violation in rules):
                sender = await resolve_sender(self._operations, account, request.sender)
        except Invalid as error:
            problems.add(error)
        if sender and recipients:
            problems.violations.extend(sends.unreachable_tokens(recipients, sender.types))
        problems.raise_any()
        assert message is not None and recipients is not None and sender is not None  # noqa: PT018 # no problems
        new = NewOperation(
            app_id=sender.app_id,
            app_name=sender.app_name,
            fcm_credential=sender.fcm,
            apn_credential=sender.apn,
            message=message,
            tags=dict(request.tags),
            ttl=request.ttl if request.HasField("ttl") else None,
            recipients=recipients,
            send_at=send_at,
        )
        return new, sender.types


def _place(key: tuple[str, ...] | None) -> Place:
    if key is None:
        return Place()
    operation, index = pages.fields(key, 2)
    try:
        return Place(UUID(hex=operation), pages.index(index))
    except ValueError as error:
        raise pages.refused() from error


def _key(place: Place | None) -> tuple[str, ...] | None:
    return None if place is None else (place.operation_id.hex, str(place.index))
