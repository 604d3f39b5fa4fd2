"""Dry runs: what a send would come to now, with nothing stored and no provider called."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Protocol
from uuid import UUID

import msgspec
from pharos.push.v1 import push_notifications_pb2 as pb

from server.api import delivery_errors
from server.api.convert import PROVIDER_NUMBERS, number
from server.domain.delivery import DeviceState, RecipientState
from server.domain.errors import Unavailable
from server.domain.jobs import Expansion
from server.domain.operations import BATCH_SIZE, NewOperation, Recipient
from server.domain.outcomes import Rejected
from server.domain.plan import Reach, plan
from server.domain.pushes import Content, Measured, Provider, Push
from server.domain.reasons import Reason
from server.domain.templates import ContentSource, RenderError

_EXAMPLES: Final = 10
_PROBLEMS: Final = 50
_NOTICEABLE: Final = 0.005  # seconds of the loop, for one recipient
_NO_ID: Final = UUID(int=0)  # a push gets its id when it is accepted
_decode_object = msgspec.json.Decoder(dict[str, Any]).decode


class Template(Protocol):
    """A send's texts, parsed. ``needed``: the names that they read and don't set themselves."""

    @property
    def needed(self) -> frozenset[str]: ...

    def render(self, variables: Mapping[str, Any]) -> Content: ...


class Renderer(Protocol):
    """Parses a send's texts."""

    def compile(self, source: ContentSource) -> Template: ...


class Devices(Protocol):
    """Where users' devices are looked up."""

    async def expand(self, account: UUID, app: UUID, recipients: Mapping[int, Recipient]) -> dict[int, Expansion]: ...


class Measure(Protocol):
    """Makes a provider's message of a push."""

    def __call__(self, provider: Provider, push: Push, /) -> Measured | Rejected: ...


class DryRuns:
    """Carries sends out up to the door: one at a time, since what a template costs is only known when it has run."""

    def __init__(self, devices: Devices, renderer: Renderer, measure: Measure, *, seconds: float = 20.0) -> None:
        self._devices = devices
        self._renderer = renderer
        self._measure = measure
        self._seconds = seconds
        self._turn = asyncio.Lock()

    async def run(
        self, account: UUID, new: NewOperation, usable: frozenset[Provider], now: datetime
    ) -> pb.DryRunReport:
        """Return the report. Raises ``Unavailable`` when it is not ready within ``seconds``."""
        try:
            async with asyncio.timeout(self._seconds), self._turn:
                return await self._run(account, new, usable, now)
        except TimeoutError:
            raise Unavailable("the dry run takes too long; try it with fewer recipients", retry_after=5.0) from None

    async def _run(
        self, account: UUID, new: NewOperation, usable: frozenset[Provider], now: datetime
    ) -> pb.DryRunReport:
        """Look at a batch of recipients at a time, and let others run half of the time."""
        report = _Report(len(new.recipients))
        template = self._renderer.compile(new.message.content)
        for first in range(0, len(new.recipients), BATCH_SIZE):
            batch = dict(enumerate(new.recipients[first : first + BATCH_SIZE], first))
            expansions = await self._devices.expand(account, new.app_id, batch)
            made = plan(batch, {}, expansions, Reach(usable, deleted=()))
            for end in made.ends:
                report.unaddressable(end.index, end.reason)
            for state in made.states:
                began = time.perf_counter()
                self._measure_all(report, new, state, template, now)
                took = time.perf_counter() - began
                await asyncio.sleep(took if took > _NOTICEABLE else 0)
            report.keep_first()
        return report.message()

    def _measure_all(
        self, report: _Report, new: NewOperation, state: RecipientState, template: Template, now: datetime
    ) -> None:
        text = new.recipients[state.index].variables
        try:
            variables = _decode_object(text) if text else {}
            content = template.render(variables)
        except RenderError as error:
            report.unrenderable(state.index, str(error))
            return
        if missing := template.needed - variables.keys():
            report.incomplete(state.index, missing)
        found = [(device, self._measure(device.provider, _push(new, device, content, now))) for device in state.devices]
        report.measured(state.index, found)


def _push(new: NewOperation, device: DeviceState, content: Content, now: datetime) -> Push:
    due = max(new.send_at or now, now)
    return Push(
        push_id=_NO_ID,
        token=device.token,
        content=content,
        presentation=new.message.presentation,
        expires_at=None if new.ttl is None else due + timedelta(seconds=new.ttl),
        at=due,
        overrides=new.message.overrides.of(device.provider),
    )


@dataclass(slots=True)
class _Messages:
    """The messages to one provider."""

    count: int = 0
    largest: int = 0
    limit: int = 0
    fit: bool = True

    def add(self, found: Measured | Rejected) -> None:
        self.count += 1
        if isinstance(found, Rejected):
            self.fit = False
        else:
            self.largest, self.limit = max(self.largest, found.size), found.limit
            self.fit = self.fit and found.fits


@dataclass(slots=True)
class _Report:
    recipients: int
    unaddressed: int = 0
    unrendered: int = 0
    messages: defaultdict[Provider, _Messages] = field(default_factory=lambda: defaultdict(_Messages))
    examples: list[pb.DryRunExample] = field(default_factory=list)
    problems: list[pb.DryRunProblem] = field(default_factory=list)
    lacking: int = 0
    incompletes: list[pb.DryRunIncomplete] = field(default_factory=list)

    def unaddressable(self, index: int, reason: Reason) -> None:
        self.unaddressed += 1
        self._problem(index, reason)

    def unrenderable(self, index: int, text: str) -> None:
        self.unrendered += 1
        self._problem(index, Reason.RENDER_ERROR, text)

    def incomplete(self, index: int, missing: Iterable[str]) -> None:
        self.lacking += 1
        self.incompletes.append(pb.DryRunIncomplete(recipient_index=index, missing=sorted(missing)))

    def measured(self, index: int, devices: Sequence[tuple[DeviceState, Measured | Rejected]]) -> None:
        """Take in a recipient's messages; it has a problem where no device would get one."""
        for device, found in devices:
            self.messages[device.provider].add(found)
            if isinstance(found, Measured) and len(self.examples) < _EXAMPLES:
                self.examples.append(_example(index, device, found))
        reasons = [_refusal(found) for _, found in devices]
        if all(reasons):
            self._problem(index, reasons[0])

    def keep_first(self) -> None:
        """Forget all but the first 50: what concerns a batch is not found in its order."""
        self.problems = sorted(self.problems, key=lambda problem: problem.recipient_index)[:_PROBLEMS]
        self.incompletes = sorted(self.incompletes, key=lambda each: each.recipient_index)[:_PROBLEMS]

    def message(self) -> pb.DryRunReport:
        return pb.DryRunReport(
            recipients=self.recipients,
            resolved=self.recipients - self.unaddressed,
            unaddressable=self.unaddressed,
            unrenderable=self.unrendered,
            providers=self._providers(),
            examples=self.examples,
            problems=self.problems,
            incomplete=self.lacking,
            incompletes=self.incompletes,
        )

    def _problem(self, index: int, reason: Reason, text: str = "") -> None:
        shown = text or delivery_errors.text(reason, None)
        self.problems.append(pb.DryRunProblem(recipient_index=index, reason=number(reason), message=shown))

    def _providers(self) -> Iterator[pb.DryRunProvider]:
        for provider, messages in sorted(self.messages.items()):
            yield pb.DryRunProvider(
                provider=PROVIDER_NUMBERS[provider],
                messages=messages.count,
                largest_bytes=messages.largest,
                limit_bytes=messages.limit,
                fits=messages.fit,
            )


def _example(index: int, device: DeviceState, found: Measured) -> pb.DryRunExample:
    return pb.DryRunExample(
        recipient_index=index,
        provider=PROVIDER_NUMBERS[device.provider],
        token=device.token,
        bytes=found.size,
        message_json=found.body,
    )


def _refusal(found: Measured | Rejected) -> Reason:
    """Return why the provider would not take the message, NONE where it would."""
    if isinstance(found, Rejected):
        return found.reason
    return Reason.NONE if found.fits else Reason.PAYLOAD_TOO_LARGE
