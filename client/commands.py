"""`pharos send` and `pharos watch`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from pharos.push.v1.push_notifications_pb2 import Content, Sender, SendPushNotificationRequest

from client.connection import Connection
from client.live_view import AccountView, counted, progress_view, summary_lines
from client.push_client import PushClient
from client.recipients import parse_recipient, read_recipients
from client.tally import Tally


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


async def send_once(options: SendOptions, env_file: Path | None) -> None:
    """Sends and prints the operation's id; follows the delivery if asked to."""
    request = options.request()
    async with PushClient.connect(Connection.find(env_file)) as client:
        operation_id = (await client.send(request)).operation_id
        _say(operation_id)
        if options.watch:
            await _follow(client, operation_id)


async def watch_operation(operation_id: str, env_file: Path | None) -> None:
    """Follows an operation to its end."""
    async with PushClient.connect(Connection.find(env_file)) as client:
        await _follow(client, operation_id)


async def watch_account(env_file: Path | None) -> None:
    """Follows all operations of the account until interrupted."""
    async with PushClient.connect(Connection.find(env_file)) as client:
        with AccountView() as view:
            async with aclosing(client.watch()) as messages:
                async for message in messages:
                    for operation in message.changes.operations:
                        view.show(operation)


async def _follow(client: PushClient, operation_id: str) -> None:
    tally = Tally()
    with progress_view("delivering") as view:
        async with aclosing(client.watch(operation_id=operation_id)) as messages:
            async for message in messages:
                tally.add(message)
                view.show(len(tally.final), tally.recipients, counted(tally.by_status()))
    for line in summary_lines(tally):
        _say(line)


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not (name and separator):
        raise UsageError(f"--data {text!r} is not KEY=VALUE")
    return name, value


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
