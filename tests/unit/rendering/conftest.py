from __future__ import annotations

from collections.abc import Callable

import pytest

from server.domain.templates import ContentSource
from server.rendering import Renderer

Show = Callable[..., str | None]


@pytest.fixture(scope="session")
def renderer() -> Renderer:
    return Renderer()


@pytest.fixture(scope="session")
def show(renderer: Renderer) -> Show:
    """What a body shows for these variables."""

    def rendered(body: str, **variables: object) -> str | None:
        return renderer.compile(ContentSource(body=body)).render(variables).body

    return rendered
