"""The rendered content of each recipient. A send's templates are parsed once per worker, not once per batch.

Templates run in the worker's event loop, none longer than 20 ms. Costly ones take turns besides, one at a time in the
whole worker, and after each the others have as long as it took: however many such sends there are, they take half.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec

from server.dispatch.ports import ContentTemplate, Renderer
from server.domain.jobs import Job
from server.domain.pushes import Content
from server.domain.templates import RenderError, TemplateError

KEPT = 64  # operations whose templates are kept parsed

COSTLY = 0.0005  # seconds for one recipient: several times what a push costs otherwise

_decode_object = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass(slots=True)
class _Kept:
    """An operation's template. Once a recipient was costly, its recipients queue for ``turn``."""

    template: ContentTemplate
    is_costly: bool = False
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Renderings:
    """Renders recipients of jobs."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self._templates: OrderedDict[UUID, _Kept] = OrderedDict()
        self._turn = asyncio.Lock()

    async def render(self, job: Job, index: int) -> Content:
        """Return the content for recipient ``index``. Raises ``RenderError``."""
        kept = self._kept(job)
        if not kept.is_costly:
            return _timed(kept, job, index)
        async with kept.turn, self._turn:  # the worker's turn has one of each operation waiting, so they alternate
            began = time.perf_counter()
            try:
                return _timed(kept, job, index)
            finally:
                await asyncio.sleep(time.perf_counter() - began)

    def _kept(self, job: Job) -> _Kept:
        kept = self._templates.get(job.operation_id)
        if kept is None:
            kept = self._templates[job.operation_id] = _Kept(self._compile(job))
            if len(self._templates) > KEPT:
                self._templates.popitem(last=False)
        else:
            self._templates.move_to_end(job.operation_id)
        return kept

    def _compile(self, job: Job) -> ContentTemplate:
        try:
            return self._renderer.compile(job.message.content)
        except TemplateError as error:  # accepted by another version than this one
            raise RenderError(error.problems[0].field, error.problems[0].message) from error


def _timed(kept: _Kept, job: Job, index: int) -> Content:
    template = kept.template
    began = time.perf_counter()
    try:
        return template.render(_variables(job.recipients[index].variables) if template.variables else {})
    finally:
        kept.is_costly = kept.is_costly or time.perf_counter() - began > COSTLY


def _variables(text: str | None) -> dict[str, Any]:
    try:
        return _decode_object(text) if text else {}
    except (msgspec.DecodeError, RecursionError) as error:  # how deep it may nest depends on who reads it
        raise RenderError("variables", "they can't be read") from error
