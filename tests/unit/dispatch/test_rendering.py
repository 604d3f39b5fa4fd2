"""Templates are parsed once for an operation, and who can't be rendered is told apart from a broken job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

import pytest

from server.dispatch import rendering
from server.dispatch.rendering import Renderings
from server.domain.operations import Message, Recipient
from server.domain.pushes import Content, Presentation, Provider
from server.domain.templates import ContentSource, RenderError
from server.rendering.renderer import Renderer
from tests.unit.dispatch.scripted import job_of, tokens


class _Template:
    variables = frozenset({"name"})

    def render(self, variables: Mapping[str, Any]) -> Content:
        return Content(body=str(variables))


class _Counting:
    compiled = 0

    def compile(self, source: ContentSource) -> _Template:  # noqa: ARG002 - as the port has it
        self.compiled += 1
        return _Template()


async def test_the_jobs_of_one_operation_parse_its_templates_once() -> None:
    renderer = _Counting()
    renderings = Renderings(renderer)
    operation = uuid4()
    for _ in range(3):
        await renderings.render(job_of(tokens(2), operation_id=operation), 1)
    assert renderer.compiled == 1


async def test_i14_templates_kept_parsed_are_few_and_the_oldest_are_given_up() -> None:
    renderer = _Counting()
    renderings = Renderings(renderer)
    operations = [UUID(int=n) for n in range(rendering.KEPT + 1)]
    for operation in [*operations, operations[-1]]:
        await renderings.render(job_of(tokens(1), operation_id=operation), 0)
    assert renderer.compiled == rendering.KEPT + 1
    await renderings.render(job_of(tokens(1), operation_id=operations[0]), 0)
    assert renderer.compiled == rendering.KEPT + 2


async def test_each_recipient_is_rendered_with_its_own_variables() -> None:
    to = [Recipient(token="a", provider=Provider.FCM, variables=f'{{"name":"{name}"}}') for name in ("Ada", "Bo")]
    job = job_of([*to, *tokens(1)])
    renderings = Renderings(Renderer())
    assert [(await renderings.render(job, n)).body for n in range(3)] == ["Hello Ada", "Hello Bo", "Hello "]


@pytest.mark.parametrize("variables", ['{"a":' + "[" * 9_999 + "]" * 9_999 + "}", "[]", '{"a":1', '{"a":"\\ud800"}'])
async def test_variables_that_can_not_be_read_are_the_recipients_error(variables: str) -> None:
    job = job_of([Recipient(token="a", provider=Provider.FCM, variables=variables)])
    with pytest.raises(RenderError):
        await Renderings(Renderer()).render(job, 0)


async def test_variables_that_nothing_shows_are_not_read() -> None:
    message = Message(ContentSource(body="News"), Presentation())
    job = job_of([Recipient(token="a", provider=Provider.FCM, variables='{"a":1')], message=message)
    assert await Renderings(Renderer()).render(job, 0) == Content(body="News")


async def test_templates_that_another_version_accepted_are_a_render_error_too() -> None:
    job = job_of(tokens(1), message=Message(ContentSource(body="{% nonsense %}"), Presentation()))
    with pytest.raises(RenderError):
        await Renderings(Renderer()).render(job, 0)
