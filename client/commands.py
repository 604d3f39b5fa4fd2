"""`pharos send` and `pharos watch`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from pharos.push.v1.operations_pb2 import OperationStats
from pharos.push.v1.push_notifications_pb2 import Content, Sender, SendPushNotificationRequest

from client.connection import Connection
from client.errors import UsageError
from client.push_client import PushClient
from client.recipients import parse_recipient, read_recipients
from client.watch_options import WatchOptions

NOT_ALL_SENT = 3


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


async def send_once(options: SendOptions, env_file: Path | None) -> int:
    """Sends and prints the operation's id; follows the delivery if asked to. Returns the exit code."""
    request = options.request()
    async with PushClient.connect(Connection.find(env_file)) as client:
        operation_id = (await client.send(request)).operation_id
        _say(operation_id)
        return await _follow(client, WatchOptions(operation_id)) if options.watch else 0


async def watch(options: WatchOptions, env_file: Path | None) -> int:
    """Follows what ends to its end, and the rest until interrupted. Returns the exit code. Raises UsageError."""
    options.request()  # what is wrong with it is told before anything is looked for
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
