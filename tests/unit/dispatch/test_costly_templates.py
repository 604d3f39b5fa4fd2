"""What a push that waits for its turn to be rendered must not do, and whom a costly template must not hold up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from server.dispatch.job_run import JobRun, Parts
from server.dispatch.lanes import Lanes
from server.dispatch.rendering import COSTLY, Renderings
from server.domain.jobs import Job
from server.domain.operations import Message
from server.domain.outcomes import Scope, Throttled
from server.domain.pushes import Content, Presentation
from server.domain.templates import ContentSource, RenderError, TemplateError, TemplateProblem
from tests.unit.dispatch.scripted import FCM, MemoryStore, Providers, job_of, parts_of, tokens

_COST = 0.01  # seconds


class _Template:
    """Uses CPU for as long as its operation is to; ``rendered`` counts."""

    variables = frozenset[str]()

    def __init__(self, cost: float) -> None:
        self.cost = cost
        self.rendered = 0
        self._awaited: dict[int, asyncio.Event] = {}

    def times(self, rendered: int) -> asyncio.Event:
        """Set once it has been rendered so often."""
        return self._awaited.setdefault(rendered, asyncio.Event())

    def render(self, _variables: Mapping[str, Any]) -> Content:
        self.rendered += 1
        until = time.perf_counter() + self.cost
        while time.perf_counter() < until:
            pass
        if self.rendered in self._awaited:
            self._awaited[self.rendered].set()
        return Content(body="x")


class _Compiled:
    """Gives out a template by the body's text; ``asked`` counts."""

    def __init__(self, **templates: _Template | Exception) -> None:
        self._templates = templates
        self.asked = 0

    def compile(self, source: ContentSource) -> _Template:
        self.asked += 1
        found = self._templates[source.body or ""]
        if isinstance(found, Exception):
            raise found
        return found


def _parts(providers: Providers, store: MemoryStore, template: _Template) -> Parts:
    return replace(
        parts_of(store, providers, Lanes()), renderings=Renderings(_Compiled(**{"Hello {{ name }}": template}))
    )


def _bulk(count: int, **fields: Any) -> Job:
    return job_of(tokens(count), small=False, **fields)


async def test_i9_no_push_begins_behind_its_deadline_after_waiting_for_its_turn() -> None:
    providers, store = Providers(), MemoryStore(sealed=(FCM,))
    deadline = datetime.now(UTC) + timedelta(seconds=0.3)
    end = time.monotonic() + 0.3
    run = JobRun(_bulk(150, deadline=deadline), _parts(providers, store, _Template(_COST)))
    await run.run()
    assert providers.calls
    assert [call for call in providers.calls if call.at > end] == []


async def test_a_run_that_stops_begins_no_push_that_waited_for_its_turn() -> None:
    providers, store, template = Providers(), MemoryStore(sealed=(FCM,)), _Template(_COST)
    run = JobRun(_bulk(500), _parts(providers, store, template))
    running = asyncio.ensure_future(run.run())
    await template.times(3).wait()
    run.stop()
    begun, rendered = len(providers.calls), template.rendered
    await running
    assert len(providers.calls) <= begun + 1
    assert template.rendered <= rendered + 1


async def test_what_waited_for_its_turn_is_not_sent_on_a_credential_that_rests_meanwhile() -> None:
    providers, store = Providers(), MemoryStore(sealed=(FCM,))
    providers.answer(FCM.credential_id, Throttled("QUOTA", 60.0, Scope.CREDENTIAL))
    await JobRun(_bulk(150), _parts(providers, store, _Template(_COST))).run()
    assert len(providers.calls) <= 2


async def test_an_error_of_ours_in_rendering_says_nothing_against_the_credential() -> None:
    class _Broken(_Template):
        def render(self, _variables: Mapping[str, Any]) -> Content:
            raise ValueError("a mistake")

    providers, store = Providers(), MemoryStore(sealed=(FCM,))
    parts = _parts(providers, store, _Broken(0))
    await JobRun(_bulk(200), parts).run()
    assert providers.calls == []
    assert parts.lanes.of(FCM, None).rest(urgent=True) is None


async def test_a_template_that_another_version_accepted_is_compiled_once_for_all_of_an_operation() -> None:
    refused = TemplateError(TemplateProblem("content.body", "no", 1, 1))
    compiled = _Compiled(**{"Hello {{ name }}": refused})
    renderings = Renderings(compiled)
    job = _bulk(10)
    for index in range(10):
        with pytest.raises(RenderError):
            await renderings.render(job, index)
    assert compiled.asked == 1


async def test_who_was_interrupted_once_is_soon_rendered_at_once_again() -> None:
    template = _Template(_COST)
    renderings = Renderings(_Compiled(**{"Hello {{ name }}": template}))
    job = _bulk(2)
    await renderings.render(job, 0)
    kept = renderings._templates[job.operation_id]  # noqa: SLF001 - nobody else can see how costly it is held to be
    assert kept.cost > COSTLY
    template.cost = 0.0
    for _ in range(50):
        await renderings.render(job, 1)
    assert kept.cost < COSTLY


async def test_turns_are_by_time_not_by_number() -> None:
    """An operation a little above the limit does not wait a costly one's whole time for each of its recipients."""
    cheap, costly = _Template(COSTLY * 1.5), _Template(COSTLY * 30)
    renderings = Renderings(_Compiled(cheap=cheap, costly=costly))
    jobs = {name: _named(name) for name in ("cheap", "costly")}

    async def render(name: str) -> None:
        while True:
            await renderings.render(jobs[name], 0)

    for job in jobs.values():
        for _ in range(3):
            await renderings.render(job, 0)
    tasks = [asyncio.ensure_future(render(name)) for name in ("costly", "cheap", "costly", "cheap")]
    before = cheap.rendered, costly.rendered
    await costly.times(before[1] + 5).wait()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert cheap.rendered - before[0] >= 30
    async with asyncio.timeout(10):
        await renderings.render(jobs["cheap"], 0)  # who left while they waited keep nobody out


def _named(name: str) -> Job:
    return _bulk(1, operation_id=uuid4(), message=Message(ContentSource(body=name), Presentation()))
