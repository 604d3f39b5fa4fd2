"""The rendered content of each recipient. A send's templates are parsed once per worker, not once per batch.

Templates run in the worker's event loop, bounded by what they may do. Costly ones take turns besides, one at a time in
the whole worker, and after each the others have as long as it took: however many such sends there are, they take half.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from uuid import UUID

import msgspec

from server.dispatch.ports import ContentTemplate, Renderer
from server.domain.jobs import Job
from server.domain.pushes import Content
from server.domain.templates import RenderError, TemplateError

KEPT = 128  # operations whose templates are kept parsed: more than have a job under way in a worker

COSTLY = 0.0005  # seconds for one recipient, of late: several times what a push costs otherwise
_SHARE = 1 / 8  # of the last recipient in that: one that was interrupted soon counts for nothing

_decode_object = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass(slots=True, eq=False)
class _Kept:
    """An operation's template, or why it has none. ``cost`` and ``used`` are in seconds, ``used`` as turns count it.

    Its recipients queue for ``turn`` while they are costly.
    """

    template: ContentTemplate | RenderError
    cost: float = 0.0
    used: float = 0.0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def render(self, job: Job, index: int) -> Content:
        if isinstance(self.template, RenderError):
            raise self.template
        began = time.perf_counter()
        try:
            return self.template.render(_variables(job.recipients[index].variables) if self.template.variables else {})
        finally:
            took = time.perf_counter() - began
            self.cost += (took - self.cost) * _SHARE
            self.used += took


class _Turns:
    """One at a time: of those who wait, who has used the least. Who comes anew begins where the others are."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = count()
        self._taken = False
        self._at = 0.0  # what the last one had used when its turn came

    async def take(self, kept: _Kept) -> None:
        """Wait for a turn; ``end`` it."""
        kept.used = max(kept.used, self._at)
        if self._taken:
            await self._wait(kept.used)
        self._taken, self._at = True, kept.used

    async def _wait(self, used: float) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (used, next(self._numbers), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._next()
            raise

    def end(self, rest: float) -> None:
        """Let the next one in after so many seconds."""
        asyncio.get_running_loop().call_later(rest, self._next)

    def _next(self) -> None:
        while self._waiting:
            _, _, turn = heapq.heappop(self._waiting)
            if not turn.done():
                turn.set_result(None)
                return
        self._taken = False


class Renderings:
    """Renders recipients of jobs."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self._templates: OrderedDict[UUID, _Kept] = OrderedDict()
        self._turns = _Turns()

    async def render(self, job: Job, index: int, wanted: Callable[[], bool] = lambda: True) -> Content | None:
        """Return the content for recipient ``index``, at once unless it is costly. Raises ``RenderError``.

        None where it is no longer ``wanted`` when its turn comes.
        """
        kept = self._kept(job)
        if kept.cost <= COSTLY:
            return kept.render(job, index)
        async with kept.turn:
            await self._turns.take(kept)
            began = time.perf_counter()
            try:
                return kept.render(job, index) if wanted() else None
            finally:
                self._turns.end(time.perf_counter() - began)

    def _kept(self, job: Job) -> _Kept:
        kept = self._templates.get(job.operation_id)
        if kept is None:
            kept = self._templates[job.operation_id] = _Kept(self._compiled(job))
            if len(self._templates) > KEPT:
                self._templates.popitem(last=False)
        else:
            self._templates.move_to_end(job.operation_id)
        return kept

    def _compiled(self, job: Job) -> ContentTemplate | RenderError:
        try:
            return self._renderer.compile(job.message.content)
        except TemplateError as error:  # accepted by another version than this one
            return RenderError(error.problems[0].field, error.problems[0].message)


def _variables(text: str | None) -> dict[str, Any]:
    try:
        return _decode_object(text) if text else {}
    except (msgspec.DecodeError, RecursionError) as error:  # how deep it may nest depends on who reads it
        raise RenderError("variables", "they can't be read") from error
