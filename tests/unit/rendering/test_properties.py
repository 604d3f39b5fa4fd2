from __future__ import annotations

import unittest.mock
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from server.domain.templates import ContentSource, RenderError, TemplateError
from server.rendering import Renderer
from server.rendering.filters import FILTERS
from server.rendering.limits import MAX_STEPS, Meter, PartsMeter
from server.rendering.parsing import Environment
from server.rendering.problems import UnusableTextError, explained
from server.rendering.template import Template
from server.rendering.values import number_text
from tests.unit.rendering.grammar import (
    LITERALS,
    NAMES,
    PATHS,
    PLAIN,
    SCALARS,
    TEMPLATES,
    VALUES,
    VARIABLES,
    called,
)

ENVIRONMENT = Environment()
RENDERER = Renderer()


def parsed(body: str) -> Template:
    return Template(ENVIRONMENT, body, PartsMeter(), Meter())


FRAGMENTS = st.lists(
    st.sampled_from(["{{", "}}", "{%", "%}", "-", "'", '"', "\\", "raw", "endraw", " ", "a", "|", "if", "(", "[", "\n"])
).map("".join)


def outcome(body: str, variables: dict[str, Any]) -> str | None:
    """What is shown; None for an error that callers are told to expect."""
    try:
        return RENDERER.compile(ContentSource(body=body)).render(variables).body
    except (TemplateError, RenderError):
        return None


def complaint(body: str, variables: dict[str, Any]) -> str:
    try:
        RENDERER.compile(ContentSource(body=body)).render(variables)
    except (TemplateError, RenderError) as error:
        return str(error)
    return ""


@given(TEMPLATES, VARIABLES)
@settings(max_examples=400, deadline=None)
def test_nothing_but_the_documented_errors_comes_out(body: str, variables: dict[str, Any]) -> None:
    outcome(body, variables)


@given(TEMPLATES)
@settings(max_examples=100, deadline=None)
def test_filters_never_fail_unexpectedly_on_what_is_missing(body: str) -> None:
    assert "can't be rendered" not in complaint(body, {})


@given(st.text() | FRAGMENTS)
@settings(max_examples=400, deadline=None)
def test_any_text_is_either_shown_or_refused(body: str) -> None:
    outcome(body, {"a": 1})


@given(PLAIN)
def test_a_text_without_liquid_is_shown_as_it_is(body: str) -> None:
    assert outcome(body, {}) == body


STEADY = st.sampled_from(sorted(FILTERS.keys() - {"sample"}))
ARGUMENTS = st.lists(
    LITERALS | PATHS | st.sampled_from(["'%Y'", "'some sixteen characters'", "allow_false: true"]), max_size=3
)
FILTERED_PATHS = st.builds(lambda path, calls: path + "".join(calls), PATHS, st.lists(called(STEADY, ARGUMENTS)))
OUTPUTS = st.builds("{{{{{} {} {}}}}}".format, st.sampled_from(["", "-"]), FILTERED_PATHS, st.sampled_from(["", "-"]))
SHOWING = st.lists(PLAIN | OUTPUTS | st.just("{% raw %}{{ a }}{% endraw %}")).map("".join)
LONG = st.sampled_from([*(size * "x" for size in (15, 16, 16_384, 65_535, 65_536, 65_537)), "é" * 32_768, "é" * 32_769])
HALVES = st.text(st.characters(categories=["Cs"]), min_size=1, max_size=2)
ANY = st.dictionaries(NAMES, VALUES | LONG | HALVES | st.dictionaries(NAMES, LONG, max_size=2), max_size=5)


@given(SHOWING, ANY, st.integers(0, 200) | st.integers(0, MAX_STEPS))
@settings(max_examples=600, deadline=None)
def test_the_short_cut_can_not_be_told_from_the_interpreter(body: str, variables: dict[str, Any], steps: int) -> None:
    try:
        template = parsed(body)
    except UnusableTextError:
        assume(False)

    assert rendered(template.render, variables, steps) == rendered(template.interpreted, variables, steps)


@pytest.mark.parametrize(
    "body",
    [
        "{{ a | append: 'an argument of more than sixteen characters' }}",  # is paid for
        "{{ a }} {{ a | base64_decode }}",  # is refused, at its place
        "{{ none | json }}{{ void | json }}",
        "{{ none | times: 2 }}{{ void | times: 2 }}",
        "{{ a | split: '' }}{{ a | split: '' | first }}",
        "{{ a | default: none }}{{ none | default: a, allow_false: true }}",
    ],
)
def test_the_short_cut_can_not_be_told_where_chance_seldom_goes(body: str) -> None:
    template, variables = parsed(body), {"a": "!!", "void": None}

    assert rendered(template.render, variables, 100) == rendered(template.interpreted, variables, 100)


def rendered(render: Callable[[Mapping[str, object], Meter], str], variables: dict[str, Any], steps: int) -> object:
    """The text and the work that is left, or what is wrong."""
    meter = Meter(steps)
    try:
        return render(variables, meter), meter.left
    except Exception as error:  # noqa: BLE001  # the same one has to come from both
        return explained(error)


@given(st.lists(st.sampled_from(["{{ a }}", "{{ b.a }}", "é" * 100]), min_size=1).map("".join), st.integers(0, 70_000))
@settings(max_examples=50, deadline=None)
def test_the_short_cut_has_the_same_limit(body: str, length: int) -> None:
    template = parsed(body)
    long = {"a": "x" * length, "b": {"a": ["é" * (length // 2)]}}

    assert rendered(template.render, long, MAX_STEPS) == rendered(template.interpreted, long, MAX_STEPS)


@given(st.lists(PLAIN | NAMES.map("{{{{ {} }}}}".format)).map("".join), st.dictionaries(NAMES, SCALARS))
def test_plain_values_in_a_text_take_the_short_cut(body: str, variables: dict[str, Any]) -> None:
    template = parsed("{{ a }}" + body)
    with unittest.mock.patch.object(Template, "interpreted", side_effect=AssertionError):
        template.render(variables, Meter())


@given(
    NAMES, SCALARS, st.sampled_from(["default: 'you'", "upcase", "append: '!' | capitalize", "truncate: 9", "plus: 1"])
)
def test_plain_values_go_through_filters_on_the_short_cut(name: str, value: object, calls: str) -> None:
    template = parsed(f"Hi {{{{ {name} | {calls} }}}}")
    with unittest.mock.patch.object(Template, "interpreted", side_effect=AssertionError):
        template.render({name: value}, Meter())


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**80), 2**80))
def test_a_printed_number_reads_back_as_the_same(number: float) -> None:
    assert float(number_text(number)) == float(number)
