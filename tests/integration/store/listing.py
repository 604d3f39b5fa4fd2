"""An account with a bit of everything, what its lists should hold by the plainest reading, and the lists themselves."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from server.domain.delivery import DeviceState, End
from server.domain.jobs import Job
from server.domain.notifications import Notification, NotificationFilter, Place
from server.domain.operations import Operation, OperationFilter, OperationStatus, Recipient, Status
from server.domain.periods import Period
from server.domain.pushes import Provider
from server.domain.reasons import Reason
from server.store.jobs import Jobs
from server.store.notifications import Notifications
from server.store.operations import Operations
from tests.integration.store.sending import Sending, flush_of

_FINAL = (Status.SENT, Status.FAILED, Status.UNADDRESSABLE)
_PROVIDERS = tuple(Provider)
_BITS = {Provider.FCM: 1, Provider.APN: 2}


async def all_pages(sending: Sending, size: int, wanted: NotificationFilter) -> list[list[Notification]]:
    pages: list[list[Notification]] = []
    place: Place | None = Place()
    while place is not None:
        found, place = await Notifications(sending.database).page(sending.account, place, size, wanted)
        pages.append(found)
    return pages


async def listed(sending: Sending, size: int, wanted: NotificationFilter) -> list[tuple[UUID, int]]:
    return [(each.operation_id, each.index) for page in await all_pages(sending, size, wanted) for each in page]


async def all_operation_pages(sending: Sending, size: int, wanted: OperationFilter) -> list[list[Operation]]:
    pages: list[list[Operation]] = []
    begin: UUID | None = UUID(int=(1 << 128) - 1)
    while begin is not None:
        found, begin = await Operations(sending.database).page(sending.account, begin, size, wanted)
        pages.append(found)
    return pages


@dataclass(frozen=True)
class Row:
    """A recipient as the tables have it."""

    operation: UUID
    index: int
    user: UUID | None
    providers: int
    status: Status
    tags: dict[str, str]
    accepted: datetime

    def meets(self, wanted: NotificationFilter) -> bool:
        return (
            self.status is not Status.UNADDRESSABLE
            and wanted.operation in {None, self.operation}
            and wanted.status in {None, self.status}
            and wanted.user in {None, self.user}
            and (wanted.provider is None or bool(self.providers & _BITS[wanted.provider]))
            and wanted.tags.items() <= self.tags.items()
            and within(self.accepted, wanted.accepted)
        )


def within(at: datetime, period: Period) -> bool:
    return (period.start is None or period.start <= at) and (period.end is None or at < period.end)


class World:
    """Sends of all sizes and states to the same few users and to tokens, some carried out in part."""

    def __init__(self, sending: Sending, seed: int) -> None:
        self.sending = sending
        self.random = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self.users: list[UUID] = []

    async def make(self, *sizes: int) -> None:
        self.users = [await self.sending.user() for _ in range(3)]
        for size in sizes:
            tags = {"kind": self.random.choice(["news", "offer"])} | self.random.choice([{}, {"lang": "en"}])
            await self.sending.accept([self._recipient() for _ in range(size)], tags=tags)
        for job in await self.sending.claim():
            if self.random.random() < 0.7:
                await self._carry_out(job)
        await self._schedule_and_cancel()

    async def rows(self) -> list[Row]:
        """All recipients in the order of lists, read one by one."""
        return [_row(row) for row in await self.sending.fetch(_ROWS, self.sending.account)]

    def filters(self, rows: list[Row], count: int) -> list[NotificationFilter]:
        """Each filter alone, and ``count`` combinations."""
        times = sorted({row.accepted for row in rows})
        choices: dict[str, list[Any]] = {
            "operation": sorted({row.operation for row in rows})[:3],
            "status": list(Status),
            "user": [*self.users, UUID(int=7)],
            "provider": list(_PROVIDERS),
            "tags": [{"kind": "news"}, {"kind": "offer", "lang": "en"}, {"kind": "none"}],
            "accepted": [Period(times[2]), Period(None, times[-2]), Period(times[1], times[-1])],
        }
        alone = [NotificationFilter(**{name: value}) for name, values in choices.items() for value in values]
        of_users = [
            NotificationFilter(user=user, **{name: value})
            for user in self.users
            for name in ("tags", "accepted")
            for value in choices[name]
        ]
        return [NotificationFilter(), *alone, *of_users, *(self._combination(choices) for _ in range(count))]

    def _combination(self, choices: dict[str, list[Any]]) -> NotificationFilter:
        names = self.random.sample(list(choices), self.random.randint(2, 4))
        return NotificationFilter(**{name: self.random.choice(choices[name]) for name in names})

    def _recipient(self) -> Recipient:
        if self.random.random() < 0.3:
            return Recipient(user_id=self.random.choice(self.users))
        return Recipient(token=f"t{self.random.random()}", provider=self.random.choice(_PROVIDERS))

    async def _carry_out(self, job: Job) -> None:
        part = self.random.choice([1.0, 0.5, 0.01])
        done = [index for index in job.recipients if self.random.random() < part]
        rest = [index for index in job.recipients if index not in set(done)]
        ends = [self._end(index, job.recipients[index]) for index in done]
        await Jobs(self.sending.database).flush(job, flush_of(ends, rest, wait=timedelta(hours=1)))

    def _end(self, index: int, recipient: Recipient) -> End:
        status = self.random.choice(_FINAL)
        tried = (
            [recipient.provider] if recipient.provider else self.random.sample(_PROVIDERS, self.random.randint(1, 2))
        )
        devices = [DeviceState(provider, "t", status, attempts=1) for provider in tried]
        untried = status is Status.UNADDRESSABLE or self.random.random() < 0.3
        return End(index, recipient.user_id, status, Reason.NONE, [] if untried else devices)

    async def _schedule_and_cancel(self) -> None:
        """As the scheduler and a cancellation leave it."""
        fresh = await self.sending.fetch(
            "select operation_id from operations where sent + failed + unaddressable = 0 order by operation_id"
        )
        for row in fresh[::2]:
            await self.sending.fetch("update operations set status = 1 where operation_id = $1", row["operation_id"])
        for row in fresh[1::4]:
            await self.sending.fetch(_CANCEL, row["operation_id"])
            await self.sending.fetch("delete from jobs where operation_id = $1", row["operation_id"])


def _row(row: Any) -> Row:
    waiting = Status.SCHEDULED if row["send_status"] == OperationStatus.SCHEDULED else Status.QUEUED
    return Row(
        row["operation_id"],
        row["index"],
        row["user_id"],
        (row["tried"] or 0) | (row["provider"] or 0),
        waiting if row["status"] is None else Status(row["status"]),
        dict(row["tags"]),
        row["created_at"],
    )


_ROWS = """
select b.operation_id, b.first_index + r.position::integer - 1 as index, r.user_id, r.provider, n.providers as tried,
       n.status, o.status as send_status, o.created_at,
       array(select array[key, value] from jsonb_each_text(o.tags)) as tags
from batches b
join operations o using (account_id, operation_id)
cross join unnest(b.user_ids, b.providers) with ordinality as r (user_id, provider, position)
left join notifications n on n.operation_id = b.operation_id and n.index = b.first_index + r.position - 1
where b.account_id = $1
order by b.operation_id desc, index
"""
_CANCEL = """
with canceled as (
  insert into notifications (account_id, operation_id, index, status, reason, user_id, providers, devices)
  select account_id, operation_id, first_index + r.position::integer - 1, 5, 0, r.user_id, 0, '[]'
  from batches, unnest(user_ids) with ordinality as r (user_id, position) where operation_id = $1)
update operations set status = 4, canceled = recipients, canceled_at = now(), ended_at = now() where operation_id = $1
"""
