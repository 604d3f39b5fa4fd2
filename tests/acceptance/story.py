"""What the status stream told about one operation, and whether everything else tells the same."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Self

from pharos.push.v1.delivery_status_pb2 import RecipientStatus, WatchDeliveryStatusResponse
from pharos.push.v1.operations_pb2 import Operation, OperationStatus
from pharos.push.v1.push_notifications_pb2 import ListPushNotificationsRequest
from pharos.push.v1.types_pb2 import DeliveryStatus

from client.push_client import PushClient
from tests.acceptance.sandbox_port import Push

_PASSING = {DeliveryStatus.DELIVERY_STATUS_SCHEDULED, DeliveryStatus.DELIVERY_STATUS_QUEUED}


def short(status: DeliveryStatus.ValueType) -> str:
    """`SENT`, as REST writes it."""
    return DeliveryStatus.Name(status).removeprefix("DELIVERY_STATUS_")


@dataclass
class Story:
    """`final` holds each recipient's last word by its index, `told` how often it was said to be final."""

    final: dict[int, RecipientStatus] = field(default_factory=dict)
    told: Counter[int] = field(default_factory=Counter)
    end: Operation | None = None

    def hear(self, message: WatchDeliveryStatusResponse) -> None:
        for recipient in (*message.snapshot.recipients, *message.changes.recipients):
            if recipient.status not in _PASSING:
                self.final[recipient.recipient_index] = recipient
                self.told[recipient.recipient_index] += 1
        if message.HasField("end"):
            self.end = message.end.operation

    @property
    def statuses(self) -> dict[int, str]:
        return {index: short(recipient.status) for index, recipient in self.final.items()}

    @property
    def counts(self) -> Counter[str]:
        return Counter(self.statuses.values())


class Listener:
    """Listens to one operation's stream in the background. Use it with `async with`."""

    def __init__(self, client: PushClient, operation_id: str) -> None:
        self.operation_id = operation_id
        self.story = Story()
        self._messages = client.watch(operation_id=operation_id)
        self._heard = asyncio.Condition()

    async def __aenter__(self) -> Self:
        self._listening = asyncio.create_task(self._listen(self._messages))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)

    async def final(self, recipients: int) -> int:
        """Waits until so many recipients are final; how many there are then."""
        async with self._heard:
            await self._heard.wait_for(lambda: len(self.story.final) >= recipients or self._listening.done())
        if self._listening.done():
            self._listening.result()
        return len(self.story.final)

    async def end(self) -> Story:
        """Waits for the stream's end."""
        await self._listening
        assert self.story.end is not None
        return self.story

    async def _listen(self, messages: AsyncGenerator[WatchDeliveryStatusResponse, None]) -> None:
        async with aclosing(messages):
            async for message in messages:
                async with self._heard:
                    self.story.hear(message)
                    self._heard.notify_all()


async def follow(client: PushClient, operation_id: str) -> Story:
    """The whole story of an operation."""
    async with Listener(client, operation_id) as listener:
        return await listener.end()


@dataclass(frozen=True)
class Expected:
    """What has to become of one recipient: its status, and the devices that get the push."""

    status: str
    tokens: Sequence[str] = ()


async def assert_agreement(
    client: PushClient, story: Story, expected: Sequence[Expected], pushes: Mapping[str, Sequence[Push]]
) -> None:
    """Stream, counts, list and the providers' ledger say the same about every recipient, and it is as expected."""
    assert story.end is not None
    assert story.statuses == {index: each.status for index, each in enumerate(expected)}
    assert not {index: times for index, times in story.told.items() if times != 1}, "told more or less than once"
    _assert_counts(story.end, Counter(each.status for each in expected))
    assert await client.get_operation(story.end.id) == story.end
    assert await _listed(client, story.end.id) == {
        recipient.push_notification_id: each.status
        for recipient, each in zip((story.final[index] for index in range(len(expected))), expected, strict=True)
        if each.status != "UNADDRESSABLE"
    }
    assert set(pushes) == {token for each in expected for token in each.tokens}


def _assert_counts(operation: Operation, counts: Counter[str]) -> None:
    assert operation.status == OperationStatus.OPERATION_STATUS_COMPLETED
    stats = operation.stats
    assert (stats.sent, stats.failed, stats.unaddressable, stats.recipients) == (
        counts["SENT"],
        counts["FAILED"],
        counts["UNADDRESSABLE"],
        counts.total(),
    )
    assert stats.total == stats.recipients - stats.unaddressable
    assert (stats.scheduled, stats.queued, stats.canceled) == (0, 0, 0)


async def _listed(client: PushClient, operation_id: str) -> dict[str, str]:
    filters = ListPushNotificationsRequest(operation_id=operation_id, page_size=1000)
    listed = [(each.id, short(each.status)) async for each in client.list_push_notifications(filters)]
    assert len(listed) == len(dict(listed)), "listed twice"
    return dict(listed)


def repeated(pushes: Mapping[str, Sequence[Push]]) -> dict[str, Sequence[Push]]:
    """Devices that got more than one push, all of which must be the same one."""
    more = {token: got for token, got in pushes.items() if len(got) > 1}
    different = {token for token, got in more.items() if len({push.push_id for push in got}) > 1}
    assert not different, f"{len(different)} devices got another push than before"
    return more
