"""Compiles a send's content once and renders it for each recipient."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from server.domain.pushes import Content
from server.domain.templates import ContentSource, RenderError, TemplateError, TemplateProblem
from server.rendering.images import NO_IMAGE, can_become_image, is_image
from server.rendering.limits import MAX_CONTENT_SOURCE_BYTES, MAX_SOURCE_BYTES, MAX_STEPS, Meter, PartsMeter
from server.rendering.parsing import Environment
from server.rendering.problems import Problem, UnusableTextError, explained
from server.rendering.template import Template

_PATHS = {
    "title": "content.title",
    "body": "content.body",
    "subtitle": "content.subtitle",
    "image": "image",
    "click_action": "clickAction",
}
"""Content's text attributes in its order, with their paths in the contract."""

_Key = TypeVar("_Key", int, str)


class Renderer:
    """Holds the Liquid environment: make one for the process."""

    def __init__(self) -> None:
        self._environment = Environment()

    def compile(self, source: ContentSource) -> ContentTemplate:
        """A template to render for many recipients.

        Raises TemplateError with the problems of all fields: what does not parse, unknown filters and tags, a field of
        more than 16 KiB (or 64 all together), more than 1,500 parts to parse, a field without variables that can't be
        rendered, and an image that can't become an https URL.
        """
        written = dict(_written(source))
        _check(_oversize(written))
        templates: dict[str, Template] = {}
        problems: list[TemplateProblem] = []
        parts, meter = PartsMeter(), Meter(MAX_STEPS // 2)  # both in one turn of the loop
        for path, field in written.items():
            try:
                templates[path] = Template(self._environment, field, parts, meter)
            except UnusableTextError as error:
                problems += (TemplateProblem(path, *problem) for problem in error.problems)
        problems += _image_problems(source.image, templates.get("image"))
        _check(problems)
        return ContentTemplate(source, templates)


class ContentTemplate:
    """``variables`` are the names that the fields read; ``is_constant`` says that every recipient gets the same.

    ``needed`` are the names without those that a field sets itself: what a recipient's variables should have.
    """

    __slots__ = ("_data", "_fixed", "_fixed_data", "_once", "_texts", "is_constant", "needed", "variables")

    def __init__(self, source: ContentSource, templates: Mapping[str, Template]) -> None:
        written = [templates.get(path) for path in _PATHS.values()]
        self._fixed = [None if template is None else template.constant for template in written]
        self._texts = _varying(zip(range(len(written)), _PATHS.values(), written, strict=True))
        data = {key: templates[f"data.{key}"] for key in source.data}
        self._fixed_data = {key: template.constant or "" for key, template in data.items()}
        self._data = _varying((key, f"data.{key}", template) for key, template in data.items())
        self.variables: frozenset[str] = frozenset().union(*(each.variables for each in templates.values()))
        self.needed: frozenset[str] = frozenset().union(*(each.needed for each in templates.values()))
        self.is_constant = not self._texts and not self._data
        self._once = self._render({}) if self.is_constant else None

    def render(self, variables: Mapping[str, object]) -> Content:
        """The content for one recipient, whose variables are JSON values. Raises RenderError."""
        return self._once or self._render(variables)

    def _render(self, variables: Mapping[str, object]) -> Content:
        meter = Meter()
        texts, data = self._fixed.copy(), self._fixed_data
        for place, path, template in self._texts:
            texts[place] = _rendered(path, template, variables, meter)
        if self._data:
            data = data | {key: _rendered(path, template, variables, meter) for key, path, template in self._data}
        title, body, subtitle, image, click_action = texts
        if image and not is_image(image):
            raise RenderError("image", NO_IMAGE)
        return Content(title, body, subtitle, image or None, click_action, data)  # an image may be for some only


def _varying(fields: Iterable[tuple[_Key, str, Template | None]]) -> tuple[tuple[_Key, str, Template], ...]:
    """The fields to render for each recipient."""
    return tuple((key, path, each) for key, path, each in fields if each is not None and each.constant is None)


def _rendered(path: str, template: Template, variables: Mapping[str, object], meter: Meter) -> str:
    try:
        return template.render(variables, meter)
    except Exception as error:
        raise RenderError(path, str(explained(error))) from error


def _image_problems(source: str | None, template: Template | None) -> Iterator[TemplateProblem]:
    if source is None or template is None:
        return
    fits = can_become_image(source) if template.constant is None else is_image(template.constant)
    if not fits:
        yield TemplateProblem("image", *Problem(NO_IMAGE))


def _written(source: ContentSource) -> Iterator[tuple[str, str]]:
    """The fields that are there, by their paths."""
    for name, path in _PATHS.items():
        if (written := getattr(source, name)) is not None:
            yield path, written
    for key, written in source.data.items():
        yield f"data.{key}", written


def _oversize(written: Mapping[str, str]) -> Iterator[TemplateProblem]:
    sizes = {path: len(field.encode(errors="surrogatepass")) for path, field in written.items()}
    for path, size in sizes.items():
        if size > MAX_SOURCE_BYTES:
            yield TemplateProblem(path, *Problem(f"a template of more than {MAX_SOURCE_BYTES // 1024} KiB"))
    if sum(sizes.values()) > MAX_CONTENT_SOURCE_BYTES:
        most = MAX_CONTENT_SOURCE_BYTES // 1024
        yield TemplateProblem("content", *Problem(f"templates of more than {most} KiB all together"))


def _check(problems: Iterator[TemplateProblem] | list[TemplateProblem]) -> None:
    if found := tuple(problems):
        raise TemplateError(*found)
