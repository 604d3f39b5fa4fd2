"""Notifications as the contract's messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

import msgspec
from google.protobuf.internal.containers import RepeatedCompositeFieldContainer
from pharos.push.v1 import operations_pb2, types_pb2
from pharos.push.v1 import push_notifications_pb2 as pb

from server.api import delivery_errors
from server.api.convert import PROVIDER_NUMBERS, number, timestamp
from server.domain import ids
from server.domain.delivery import DeviceState
from server.domain.ids import Kind
from server.domain.notifications import DeliveryError, Notification
from server.domain.operations import Recipient, Status
from server.domain.pushes import Content, Priority
from server.domain.templates import ContentSource, RenderError, TemplateError

_decode_object = msgspec.json.Decoder(dict[str, Any]).decode
_PRIORITIES: Final = {Priority.HIGH: pb.PRIORITY_HIGH, Priority.LOW: pb.PRIORITY_LOW}


class Template(Protocol):
    """A send's texts, parsed."""

    def render(self, variables: Mapping[str, Any]) -> Content: ...


class Renderer(Protocol):
    """Parses a send's texts."""

    def compile(self, source: ContentSource) -> Template: ...


def brief(notification: Notification) -> pb.PushNotification:
    """Return what lists have of it."""
    presentation = notification.message.presentation
    return pb.PushNotification(
        id=ids.encode(Kind.NOTIFICATION, ids.notification_uuid(notification.operation_id, notification.index)),
        sender=_sender(notification),
        to=recipient_message(notification.recipient),
        status=number(notification.status),
        priority=_PRIORITIES[presentation.priority],
        sound=presentation.sound,
        created_at=timestamp(notification.created_at),
        updated_at=timestamp(notification.updated_at),
        operation_id=ids.encode(Kind.OPERATION, notification.operation_id),
        tags=notification.tags,
    )


def full(notification: Notification, renderer: Renderer) -> pb.PushNotification:
    """Return it with its rendered content and its devices."""
    message = brief(notification)
    content = _content(notification, renderer)
    if content is not None:
        message.content.CopyFrom(content)
    add_devices(message.devices, notification.devices)
    return message


def error_message(error: DeliveryError) -> operations_pb2.OperationError:
    """Return an entry of an operation's errors."""
    addressed = error.status is not Status.UNADDRESSABLE
    notification = ids.notification_uuid(error.operation_id, error.index)
    failed = next((device for device in error.devices if device.reason == error.reason), None)
    return operations_pb2.OperationError(
        push_notification_id=ids.encode(Kind.NOTIFICATION, notification) if addressed else None,
        recipient_index=error.index,
        to=recipient_message(error.recipient),
        code=delivery_errors.code(error.reason),
        reason=number(error.reason),
        message=delivery_errors.text(error.reason, failed.code if failed else None),
        retryable=delivery_errors.retryable(error.reason),
        provider=PROVIDER_NUMBERS[failed.provider] if failed else types_pb2.PROVIDER_UNSPECIFIED,
        occurred_at=timestamp(error.occurred_at),
    )


def recipient_message(recipient: Recipient) -> types_pb2.Recipient:
    """Return the recipient as the send had it; its variables as JSON."""
    message = types_pb2.Recipient()
    write_recipient(message, recipient)
    return message


def write_recipient(message: types_pb2.Recipient, recipient: Recipient) -> None:
    """Write it into a message that has nothing yet."""
    if recipient.variables:
        message.variables_json = recipient.variables.encode()
    if recipient.user_id is not None:
        message.user_id = ids.encode(Kind.USER, recipient.user_id)
    elif recipient.token is not None and recipient.provider is not None:
        message.token = recipient.token
        message.provider = PROVIDER_NUMBERS[recipient.provider]


def _sender(notification: Notification) -> pb.Sender:
    sender = pb.Sender()
    if notification.fcm_credential is not None:
        sender.fcm = ids.encode(Kind.CREDENTIAL, notification.fcm_credential)
    if notification.apn_credential is not None:
        sender.apn = ids.encode(Kind.CREDENTIAL, notification.apn_credential)
    return sender


def _content(notification: Notification, renderer: Renderer) -> pb.Content | None:
    """None where it can't be rendered: then that is why the notification failed."""
    variables = notification.recipient.variables
    try:
        template = renderer.compile(notification.message.content)
        content = template.render(_decode_object(variables) if variables else {})
    except (RenderError, TemplateError, msgspec.DecodeError, RecursionError):
        return None
    return pb.Content(title=content.title, body=content.body, subtitle=content.subtitle)


def add_devices(messages: RepeatedCompositeFieldContainer[pb.DeviceResult], devices: Iterable[DeviceState]) -> None:
    """Add what became of a push on each device."""
    for device in devices:
        message = messages.add()
        message.provider = PROVIDER_NUMBERS[device.provider]
        message.token = device.token
        message.status = number(device.status)
        message.attempts = device.attempts
        if device.message_id is not None:
            message.provider_message_id = device.message_id
        if device.decided:  # before that it is what it might fail for
            message.error = number(device.reason)
        if device.status is Status.FAILED and device.code is not None:
            message.provider_error_code = device.code
