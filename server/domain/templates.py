"""A send's content before rendering, and what can be wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ContentSource:
    """The text fields as the caller wrote them: Liquid templates. In ``data`` the values are, the keys are not."""

    title: str | None = None
    body: str | None = None
    subtitle: str | None = None
    image: str | None = None
    click_action: str | None = None
    data: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TemplateProblem:
    """``field`` is its path in the contract: ``content.title``, ``data.url``. Line and column count from 1.

    ``excerpt`` is what stands there, where the problem is of a place.
    """

    field: str
    message: str
    line: int
    column: int
    excerpt: str = ""


class TemplateError(Exception):
    """The content has templates that can't be used; ``problems`` is never empty."""

    def __init__(self, *problems: TemplateProblem) -> None:
        super().__init__("; ".join(f"{problem.field}: {problem.message}" for problem in problems))
        self.problems = problems


class RenderError(Exception):
    """One recipient's variables don't fit the template, or rendering them would cost too much. Holds no values."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message
