"""`pharos send` and `pharos watch`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from pharos.push.v1.delivery_status_pb2 import WatchDeliveryStatusRequest
from pharos.push.v1.operations_pb2 import OperationStats
from pharos.push.v1.push_notifications_pb2 import Content, Sender, SendPushNotificationRequest

from client.connection import Connection
from client.push_client import PushClient
from client.recipients import parse_recipient, read_recipients
from client.watch_views import JsonLines, StreamView, account_view, operation_view

NOT_ALL_SENT = 3


class UsageError(ValueError):
    """The command line does not make sense."""


@dataclass(frozen=True, slots=True)
class SendOptions:
    """What `pharos send` was given."""

    to: Sequence[str]
    to_file: Path | None = None
    title: str | None = None
    body: str | None = None
    app_name: str | None = None
    data: Sequence[str] = ()
    watch: bool = False

    def request(self) -> SendPushNotificationRequest:
        """The request. Raises UsageError, RecipientError, and OSError for an unreadable file."""
        request = SendPushNotificationRequest(
            to=map(parse_recipient, self.to), data=dict(_pair(text) for text in self.data)
        )
        if self.to_file:
            request.to.extend(read_recipients(self.to_file))
        if not request.to:
            raise UsageError("no recipients: give --to or --to-file")
        if self.title is not None or self.body is not None:
            request.content.CopyFrom(Content(title=self.title, body=self.body))
        if self.app_name:
            request.sender.CopyFrom(Sender(app_name=self.app_name))
        return request


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """What `pharos watch` was given. Without an operation it watches the account."""

    operation_id: str | None = None
    as_json: bool = False
    resume_token: str = ""
    exit_status: bool = False

    def request(self) -> WatchDeliveryStatusRequest:
        """The request. Raises UsageError."""
        if self.resume_token and not self.as_json:
            raise UsageError("--resume-token goes with --json: the other views count from the beginning")
        request = WatchDeliveryStatusRequest(resume_token=self.resume_token)
        if self.operation_id is not None:
            request.operation_id = self.operation_id
        return request

    def view(self) -> StreamView:
        if self.as_json:
            return JsonLines()
        return account_view() if self.operation_id is None else operation_view()


async def send_once(options: SendOptions, env_file: Path | None) -> int:
    """Sends and prints the operation's id; follows the delivery if asked to. Returns the exit code."""
    request = options.request()
    async with PushClient.connect(Connection.find(env_file)) as client:
        operation_id = (await client.send(request)).operation_id
        _say(operation_id)
        return await _follow(client, WatchOptions(operation_id)) if options.watch else 0


async def watch(options: WatchOptions, env_file: Path | None) -> int:
    """Follows an operation to its end, or the account until interrupted. Returns the exit code."""
    async with PushClient.connect(Connection.find(env_file)) as client:
        return await _follow(client, options)


async def _follow(client: PushClient, options: WatchOptions) -> int:
    request, stats = options.request(), OperationStats()
    with options.view() as view:
        async with aclosing(client.watch(request, on_lost=view.lost)) as messages:
            async for message in messages:
                view.show(message)
                stats = message.end.operation.stats
    return NOT_ALL_SENT if options.exit_status and stats.sent < stats.recipients else 0


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not (name and separator):
        raise UsageError(f"--data {text!r} is not KEY=VALUE")
    return name, value


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
