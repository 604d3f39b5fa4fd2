"""Our output against that of LiquidJS itself: liquidjs.json was written by LiquidJS 10.30.1."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from server.domain.templates import ContentSource, RenderError, TemplateError
from server.rendering import Renderer

RECORDED: dict[str, Any] = json.loads(Path(__file__).with_name("liquidjs.json").read_text(encoding="utf-8"))

DIFFERENT = [
    # Written to LiquidJS's letter these would be wrong for the reader: half an emoji has no UTF-8 form.
    ("{{ u | last }}", "\ude00", "😀"),
    ("{{ u | split: '' | size }}", "11", "10"),
    # Refusing what LiquidJS overlooks tells the author in time.
    ("{{ s | }}", "Hello World", None),
    ("{{ s upcase }}", "Hello World", None),
    ("{{ 5 5 }}", "5", None),
    ("{% if t == %}a{% endif %}", "", None),
    ("{{ 1 | plus }}", "NaN", None),
    ("{% echo 'a', 'b' %}", "a", None),
    # A recipient is not worth losing for a stray percent sign.
    ("{{ '%zz' | url_decode }}", None, "%zz"),
    # Left as python-liquid has it.
    ("{% if t %}a{% else %}b{% else %}c{% endif %}", None, "a"),
    ("{% if i != 42 %}y{% elsif i <> 41 %}z{% endif %}", "", "z"),
    ("{% for x in (1..fl2) %}{{x}}{% endfor %}", "1234", "123"),
    ("{% for a in aa %}{% for b in a %}{{ forloop.parentloop.index }}{% endfor %}{% endfor %}", "", "112"),
    ("{% capture 'c' %}q{% endcapture %}{{ c }}", "q", None),
    ("{% tablerow x in nums limit:1 %}{{ x }}{% endtablerow %}", '<tr class="row1"><td class="col1">3</td></tr>',
     '<tr class="row1">\n<td class="col1">3</td></tr>\n'),
    ("{% increment i %}|{{ i }}", "42|43", "0|42"),
    ("{{ objs | where_exp: 'x', 'x.p > 1' | size }}", "2", None),
    ("{{ i == 42 }}", "true", None),
    ("{{ sm | json }}", "1e-7", "1e-07"),
    ("{% if i > nil %}y{% else %}n{% endif %}", "n", "y"),
    ("{{ t | date: '%Y' }}", "1970", "true"),
]  # fmt: skip


def shown(renderer: Renderer, template: str) -> str | None:
    try:
        return renderer.compile(ContentSource(body=template)).render(RECORDED["variables"]).body
    except (TemplateError, RenderError):
        return None


def test_shows_what_liquidjs_shows(renderer: Renderer) -> None:
    found = [(template, shown(renderer, template)) for template, _ in RECORDED["cases"]]
    assert len(found) > 1500
    assert [pair for pair, wanted in zip(found, RECORDED["cases"], strict=True) if pair[1] != wanted[1]] == []


@pytest.mark.parametrize("template", RECORDED["refused"])
def test_refuses_what_liquidjs_refuses(renderer: Renderer, template: str) -> None:
    with pytest.raises(TemplateError):
        renderer.compile(ContentSource(body=template))


@pytest.mark.parametrize(("template", "liquidjs", "ours"), DIFFERENT)
def test_known_differences(renderer: Renderer, template: str, liquidjs: str | None, ours: str | None) -> None:
    assert liquidjs != ours
    assert shown(renderer, template) == ours
