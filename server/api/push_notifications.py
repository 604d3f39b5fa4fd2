"""PushNotificationService: sends, and what became of each recipient."""

from __future__ import annotations

from typing import Any, Protocol
from uuid import UUID

import grpc
from pharos.push.v1 import push_notifications_pb2 as pb
from pharos.push.v1 import push_notifications_pb2_grpc

from server.api import filters, notification_messages, pages, sends
from server.api.calls import current_account
from server.api.convert import BASE_PATH, id_in_path
from server.api.problems import Problems
from server.api.requests import request_key, result_of
from server.api.senders import Sender, SenderStore, resolve_sender
from server.api.sends import Renderer
from server.domain import ids
from server.domain.errors import Invalid, NotFound
from server.domain.ids import Kind
from server.domain.notifications import Notification, NotificationFilter, Place
from server.domain.operations import NewOperation, Recipient
from server.domain.requests import Done, RequestKey

Context = grpc.aio.ServicerContext[Any, Any]


class Operations(SenderStore, Protocol):
    """Where sends are accepted."""

    async def accept(self, account: UUID, new: NewOperation, key: RequestKey | None = None) -> Done[UUID]: ...


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
        announcer: Announcer,
    ) -> None:
        self._operations = operations
        self._notifications = notifications
        self._renderer = renderer
        self._announcer = announcer

    async def SendPushNotification(
        self, request: pb.SendPushNotificationRequest, context: Context
    ) -> pb.SendPushNotificationResponse:
        account = current_account()
        sends.refuse_unfinished(request)
        new = await self._new_operation(account, request, self._renderer)
        operation_id = result_of(await self._operations.accept(account, new, request_key(request)), context)
        self._announcer.announce_jobs()
        self._announcer.announce_feed(account)
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

    async def _new_operation(
        self, account: UUID, request: pb.SendPushNotificationRequest, renderer: Renderer
    ) -> NewOperation:
        """Check everything before anything is stored, and report all problems at once. Raises ``Invalid``."""
        problems = Problems()
        message = problems.collect(lambda: sends.message(request, renderer))
        recipients: list[Recipient] | None = problems.collect(lambda: sends.recipients(request))
        sender: Sender | None = None
        try:
            sender = await resolve_sender(self._operations, account, request.sender)
        except Invalid as error:
            problems.add(error)
        if sender and recipients:
            problems.violations.extend(sends.unreachable_tokens(recipients, sender.types))
        problems.raise_any()
        assert message is not None and recipients is not None and sender is not None  # noqa: PT018 # no problems
        return NewOperation(
            app_id=sender.app_id,
            app_name=sender.app_name,
            fcm_credential=sender.fcm,
            apn_credential=sender.apn,
            message=message,
            tags=dict(request.tags),
            ttl=request.ttl if request.HasField("ttl") else None,
            recipients=recipients,
        )


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
