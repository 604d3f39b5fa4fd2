"""The rendered content of each recipient. A send's templates are parsed once per worker, not once per batch."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any
from uuid import UUID

import msgspec

from server.dispatch.ports import ContentTemplate, Renderer
from server.domain.jobs import Job
from server.domain.pushes import Content
from server.domain.templates import RenderError, TemplateError

KEPT = 64  # operations whose templates are kept parsed

_decode_object = msgspec.json.Decoder(dict[str, Any]).decode


class Renderings:
    """Renders recipients of jobs."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self._templates: OrderedDict[UUID, ContentTemplate] = OrderedDict()

    def render(self, job: Job, index: int) -> Content:
        """Return the content for recipient ``index``. Raises ``RenderError``."""
        template = self._template(job)
        return template.render(_variables(job.recipients[index].variables) if template.variables else {})

    def _template(self, job: Job) -> ContentTemplate:
        template = self._templates.get(job.operation_id)
        if template is None:
            template = self._templates[job.operation_id] = self._compile(job)
            if len(self._templates) > KEPT:
                self._templates.popitem(last=False)
        else:
            self._templates.move_to_end(job.operation_id)
        return template

    def _compile(self, job: Job) -> ContentTemplate:
        try:
            return self._renderer.compile(job.message.content)
        except TemplateError as error:  # accepted by another version than this one
            raise RenderError(error.problems[0].field, error.problems[0].message) from error


def _variables(text: str | None) -> dict[str, Any]:
    try:
        return _decode_object(text) if text else {}
    except (msgspec.DecodeError, RecursionError) as error:  # how deep it may nest depends on who reads it
        raise RenderError("variables", "they can't be read") from error
