"""What the worker needs from the store, the providers, the renderer and the hints, and nothing more."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Protocol
from uuid import UUID

from server.domain.credentials import SealedCredential
from server.domain.jobs import Expansion, Flush, Flushed, Job, Lease
from server.domain.operations import Recipient
from server.domain.outcomes import Outcome
from server.domain.projects import Project
from server.domain.pushes import Content, Push
from server.domain.templates import ContentSource


class JobStore(Protocol):
    """The queue, as ``server.store.jobs`` keeps it."""

    async def claim(self, small: int, bulk: int, lease: timedelta) -> list[Job]: ...
    async def credentials(self, job: Job) -> list[SealedCredential]: ...
    async def expand(self, account: UUID, app: UUID, recipients: Mapping[int, Recipient]) -> dict[int, Expansion]: ...
    async def flush(self, job: Job, flush: Flush) -> Flushed: ...
    async def extend(self, leases: Sequence[Lease], lease: timedelta) -> set[UUID]: ...
    async def give_back(self, job: Job) -> None: ...
    async def split(self, job: Job) -> None: ...


class HealthStore(Protocol):
    """What is known against credentials, as ``server.store.health`` keeps it. Both answer whether it was news."""

    async def unwell(
        self, account_id: UUID, credential_id: UUID, version: int, code: str, seconds: float | None
    ) -> bool: ...
    async def well(self, account_id: UUID, credential_id: UUID, version: int) -> bool: ...


class Schedule(Protocol):
    """The sends that wait for their time, as ``server.store.schedule`` keeps them."""

    async def begin_due(self) -> set[UUID]: ...
    async def next_due(self) -> timedelta | None: ...


class Sender(Protocol):
    """Sends with one credential, whose pushes count for ``project``; None: for nothing but the credential."""

    @property
    def project(self) -> Project | None: ...

    async def send(self, push: Push) -> Outcome:
        """Never raises for what a provider or the network does."""


class Senders(Protocol):
    """Opens a credential's seal once and keeps its connections."""

    def get(self, credential: SealedCredential) -> Sender: ...


class ContentTemplate(Protocol):
    """A send's texts, parsed. ``variables`` are the names that they read."""

    variables: frozenset[str]

    def render(self, variables: Mapping[str, Any]) -> Content: ...


class Renderer(Protocol):
    """Parses a send's texts."""

    def compile(self, source: ContentSource) -> ContentTemplate: ...


class Announcer(Protocol):
    """Tells other processes that an account's feed has grown, or that there are jobs. Hints: they may get lost."""

    def announce_feed(self, account_id: UUID) -> None: ...
    def announce_jobs(self) -> None: ...


class JobSignal(Protocol):
    """Calls its listeners when there may be new jobs. A hint: it may come for nothing, or not at all."""

    def subscribe(self, listener: Callable[[], object]) -> None: ...
