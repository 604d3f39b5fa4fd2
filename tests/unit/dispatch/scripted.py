"""What the worker works with, scripted: providers that answer as told, and a store that keeps what is recorded."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from server.dispatch.job_run import Parts
from server.dispatch.lanes import Lanes
from server.dispatch.rendering import Renderings
from server.domain.credentials import CredentialType, SealedCredential
from server.domain.delivery import End
from server.domain.jobs import Expansion, Flush, Flushed, Job, Lease
from server.domain.operations import Message, Recipient
from server.domain.outcomes import Accepted, Outcome
from server.domain.pushes import Presentation, Provider, Push
from server.domain.templates import ContentSource
from server.rendering.renderer import Renderer

FCM = SealedCredential("account", uuid4(), 1, CredentialType.FCM, b"")
APN = SealedCredential("account", uuid4(), 1, CredentialType.APN, b"")


@dataclass(frozen=True)
class Call:
    """One push that reached a provider; ``at`` is in seconds of the monotonic clock."""

    push: Push
    credential: UUID
    at: float


class Providers:
    """Answers each token's calls with its script, one outcome after the other, and accepts when that is used up."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.under_way = 0
        self.most_under_way = 0
        self.open = asyncio.Event()  # closed, calls wait
        self.open.set()
        self._called = asyncio.Condition()
        self.broken: dict[str, Exception] = {}  # raised once a token's call is under way
        self._scripts: dict[str, deque[Outcome]] = defaultdict(deque)
        self._of_credentials: dict[UUID, Outcome] = {}

    def script(self, token: str, *outcomes: Outcome) -> None:
        self._scripts[token].extend(outcomes)

    def answer(self, credential: UUID, outcome: Outcome | None) -> None:
        """Answer every push with this credential so; None: by the tokens' scripts again."""
        if outcome is None:
            self._of_credentials.pop(credential, None)
        else:
            self._of_credentials[credential] = outcome

    def get(self, credential: SealedCredential) -> _Sender:
        return _Sender(self, credential.credential_id)

    def tokens(self) -> list[str]:
        """The tokens called, in order."""
        return [call.push.token for call in self.calls]

    def of(self, token: str) -> list[Call]:
        return [call for call in self.calls if call.push.token == token]

    async def reached(self, calls: int) -> None:
        """Return once so many calls were begun."""
        async with asyncio.timeout(20), self._called:
            await self._called.wait_for(lambda: len(self.calls) >= calls)

    async def take(self, push: Push, credential: UUID) -> Outcome:
        known = self._of_credentials.get(credential)
        if known is not None and not getattr(known, "called", True):
            return known  # found out without asking anybody, and so without waiting
        async with self._called:
            self.calls.append(Call(push, credential, time.monotonic()))
            self._called.notify_all()
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await asyncio.sleep(0)  # as a network does: the caller waits at least a turn of the loop
            if push.token in self.broken:
                raise self.broken[push.token]
            await self.open.wait()
        finally:
            self.under_way -= 1
        if credential in self._of_credentials:
            return self._of_credentials[credential]
        script = self._scripts[push.token]
        return script.popleft() if script else Accepted(f"projects/demo/messages/{push.push_id}")


@dataclass(frozen=True)
class _Sender:
    providers: Providers
    credential: UUID
    project: None = None

    async def send(self, push: Push) -> Outcome:
        return await self.providers.take(push, self.credential)


class Announcements:
    """Hears what is announced."""

    def __init__(self) -> None:
        self.feeds: list[UUID] = []
        self.jobs = 0

    def announce_feed(self, account_id: UUID) -> None:
        self.feeds.append(account_id)

    def announce_jobs(self) -> None:
        self.jobs += 1


@dataclass
class MemoryStore:
    """Keeps the flushes of one job."""

    expansions: Mapping[int, Expansion] = field(default_factory=dict)
    sealed: Sequence[SealedCredential] = (FCM, APN)
    flushes: list[Flush] = field(default_factory=list)
    given_back: int = 0
    halved: int = 0
    canceled: bool = False  # what flushes say of the operation
    before_flush: Callable[[], Any] | None = None  # awaited first; may raise

    @property
    def ends(self) -> dict[int, End]:
        return {end.index: end for flush in self.flushes for end in flush.ends}

    async def claim(self, small: int, bulk: int, lease: timedelta) -> list[Job]:  # noqa: ARG002 - as the port has it
        return []

    async def credentials(self, job: Job) -> list[SealedCredential]:  # noqa: ARG002 - as the port has it
        return list(self.sealed)

    async def expand(
        self,
        account: UUID,  # noqa: ARG002 - as the port has it
        app: UUID,  # noqa: ARG002
        recipients: Mapping[int, Recipient],  # noqa: ARG002
    ) -> dict[int, Expansion]:
        return dict(self.expansions)

    async def flush(self, job: Job, flush: Flush) -> Flushed:  # noqa: ARG002 - as the port has it
        if self.before_flush is not None:
            await self.before_flush()
        self.flushes.append(flush)
        return Flushed(None, self.canceled)

    async def extend(self, leases: Sequence[Lease], lease: timedelta) -> set[UUID]:  # noqa: ARG002 - as the port has it
        return {held.lease for held in leases}

    async def give_back(self, job: Job) -> None:  # noqa: ARG002 - as the port has it
        self.given_back += 1

    async def split(self, job: Job) -> None:  # noqa: ARG002 - as the port has it
        self.halved += 1


def parts_of(store: Any, providers: Providers, lanes: Lanes | None = None) -> Parts:
    return Parts(
        store, providers, Renderings(Renderer()), lanes or Lanes(), Announcements(), lease=timedelta(seconds=30)
    )


def job_of(recipients: Sequence[Recipient], **fields: Any) -> Job:
    """A job claimed just now, of a send that is due since then and for a day."""
    now = datetime.now(UTC)
    base: dict[str, Any] = {
        "lease": Lease(uuid4(), uuid4(), uuid4()),
        "operation_id": UUID("01890a5d-ac96-774b-bcce-b30209980000"),
        "app_id": uuid4(),
        "fcm_credential": None,
        "apn_credential": None,
        "message": Message(ContentSource(title="News", body="Hello {{ name }}"), Presentation()),
        "ttl": None,
        "due_at": now,
        "deadline": now + timedelta(days=1),
        "claimed_at": now,
        "picks": 1,
        "small": True,
        "recipients": dict(enumerate(recipients)),
    }
    return Job(**{**base, **fields})


def tokens(count: int, provider: Provider = Provider.FCM) -> list[Recipient]:
    return [Recipient(token=f"t{n}", provider=provider) for n in range(count)]
