"""Our output against that of LiquidJS itself, which `make liquid-expectations` writes down in liquidjs.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from server.domain.templates import ContentSource, RenderError, TemplateError
from server.rendering import Renderer

HERE = Path(__file__).parent
SUITE: dict[str, Any] = json.loads((HERE / "liquidjs.json").read_text(encoding="utf-8"))
DIFFERENCES: dict[str, list[tuple[str, str | None]]] = json.loads((HERE / "differences.json").read_text("utf-8"))
"""By their reasons, what we render otherwise."""

DOCUMENT = (HERE.parents[2] / "docs/personalization.md").read_text(encoding="utf-8")
GROUPS: dict[str, list[tuple[str, str | None]]] = SUITE["groups"]
CASES = {template: shown for cases in GROUPS.values() for template, shown in cases}
OURS = {template: shown for cases in DIFFERENCES.values() for template, shown in cases}


def shown(renderer: Renderer, template: str) -> str | None:
    """The text, None where the template or its render is refused."""
    try:
        return renderer.compile(ContentSource(body=template)).render(SUITE["variables"]).body
    except (TemplateError, RenderError):
        return None


@pytest.mark.parametrize("group", GROUPS)
def test_shows_what_liquidjs_shows(renderer: Renderer, group: str) -> None:
    found = {template: shown(renderer, template) for template, _ in GROUPS[group]}
    wanted = {template: OURS.get(template, text) for template, text in GROUPS[group]}
    assert [
        (template, found[template], wanted[template]) for template in found if found[template] != wanted[template]
    ] == []


def test_the_suite_is_wide_and_nearly_all_is_equal() -> None:
    assert len(CASES) > 1_800
    assert len(OURS) < 0.05 * len(CASES)


def test_an_ordinary_message_shows_no_difference() -> None:
    assert len(GROUPS["ordinary"]) >= 60
    assert OURS.keys().isdisjoint(template for template, _ in GROUPS["ordinary"])


def test_every_difference_is_one_and_is_documented() -> None:
    assert [template for template, text in OURS.items() if template not in CASES or CASES[template] == text] == []
    assert [reason for reason in DIFFERENCES if reason not in DOCUMENT] == []
