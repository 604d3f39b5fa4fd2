"""Real deliverers on a real database, and the account whose webhooks they serve."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from uuid import UUID

from server.domain.notifications import NEWEST
from server.domain.webhooks import Delivery, DeliveryStatus, NewWebhook, Webhook, WebhookStatus, seal_context
from server.providers.sealing import Sealer
from server.store.database import Database
from server.store.feed import Feed
from server.store.hints import Signal
from server.store.jobs import Jobs
from server.store.webhook_turns import WebhookTurns
from server.store.webhooks import Webhooks
from server.webhooks.addresses import AddressRules
from server.webhooks.deliverer import Deliverer
from server.webhooks.dialing import Resolve, look_up
from server.webhooks.posting import Poster
from server.webhooks.turn import Parts
from tests.integration.store.sending import Sending, all_sent, eventually

SEALER = Sealer([bytes(32)])
LOOPBACK = AddressRules((ip_network("127.0.0.0/8"),))
SECRET = "whsec_" + "A" * 42 + "8="


class Hinted:
    """Hints that a test gives; without any a deliverer has to find what there is by itself."""

    def __init__(self) -> None:
        self.feeds = Signal()
        self._grown: set[UUID] = set()
        self.taken = asyncio.Event()

    def tell(self, account: UUID) -> None:
        self._grown.add(account)
        self.feeds.ring()

    def take_grown(self) -> set[UUID] | None:
        grown, self._grown = self._grown, set()
        if grown:
            self.taken.set()
        return grown


@dataclass
class Running:
    """A deliverer and its task."""

    deliverer: Deliverer
    task: asyncio.Task[None]
    poster: Poster
    hints: Hinted

    async def stop(self) -> None:
        """Ask it to stop, and wait until it has."""
        self.deliverer.stop()
        async with asyncio.timeout(20):
            await asyncio.wait([self.task])

    async def kill(self) -> None:
        """End it at once, as far as the database can see: what it holds stays under its lease."""
        self.task.cancel()
        await asyncio.wait([self.task])
        await self.poster.aclose()


@dataclass
class Deliverers:
    """Starts deliverers."""

    group: asyncio.TaskGroup
    database: Database
    running: list[Running] = field(default_factory=list)

    def start(self, rules: AddressRules = LOOPBACK, ca_file: Path | None = None, resolve: Resolve = look_up) -> Running:
        turns, poster, hints = WebhookTurns(self.database), Poster(rules, ca_file, resolve), Hinted()
        deliverer = Deliverer(turns, Parts(turns, Feed(self.database), SEALER, poster), hints, hints.feeds)
        started = Running(deliverer, self.group.create_task(deliverer.run()), poster, hints)
        self.running.append(started)
        return started

    async def kill_all(self) -> None:
        for each in self.running:
            await each.kill()


@dataclass
class Owner:
    """An account that has webhooks."""

    sending: Sending

    @property
    def account(self) -> UUID:
        return self.sending.account

    @property
    def store(self) -> Webhooks:
        return Webhooks(self.sending.database)

    async def webhook(self, url: str, *event_types: str, secret: str = SECRET) -> UUID:
        webhook_id = await self.store.new_id()
        new = NewWebhook(webhook_id, url, event_types, "", self.sealed(webhook_id, secret))
        return (await self.store.create(self.account, new, None)).value

    def sealed(self, webhook_id: UUID, secret: str) -> bytes:
        return SEALER.seal(secret.encode(), seal_context(self.account, webhook_id))

    async def rotate(self, webhook_id: UUID, secret: str) -> None:
        await self.store.rotate(self.account, webhook_id, self.sealed(webhook_id, secret), None)

    async def send(self, recipients: int = 1) -> UUID:
        """Accept a send and carry it out."""
        operation = await self.sending.accept(recipients)
        for job in await self.sending.claim():
            await Jobs(self.sending.database).flush(job, all_sent(job))
        assert await self.sending.completed(operation)
        return operation

    async def get(self, webhook_id: UUID) -> Webhook:
        return await self.store.get(self.account, webhook_id)

    async def log(self, webhook_id: UUID, status: DeliveryStatus | None = None) -> Sequence[Delivery]:
        """The deliveries, oldest first."""
        return (await self.store.deliveries(self.account, webhook_id, status, NEWEST, 1_000))[::-1]

    async def settled(self, webhook_id: UUID, number: int, status: DeliveryStatus) -> Sequence[Delivery]:
        """Wait until so many deliveries have come to the status."""

        async def check() -> Sequence[Delivery]:
            found = await self.log(webhook_id, status)
            return found if len(found) >= number else []

        return await eventually(check)

    async def comes_to(self, webhook_id: UUID, status: WebhookStatus) -> Webhook:
        """Wait until the webhook has the status."""

        async def check() -> Webhook | None:
            found = await self.get(webhook_id)
            return found if found.status is status else None

        found = await eventually(check)
        assert found is not None
        return found

    async def expire_leases(self) -> None:
        """Let every lease run out."""
        await self.sending.fetch("update webhooks set due_at = now() - interval '1 second' where lease is not null")

    async def given_back(self, webhook_id: UUID) -> None:
        """Wait until nobody holds the webhook."""
        await eventually(
            lambda: self.sending.value("select lease is null from webhooks where webhook_id = $1", webhook_id)
        )
