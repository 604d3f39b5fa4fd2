"""Compares templates made by chance with what LiquidJS renders, and reports. Run: ``make liquid-fuzz``.

The report has no verdict: much of what chance writes, nobody would. It is read for differences that are not listed in
docs/personalization.md yet.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import HealthCheck, Phase, given, seed, settings

from server.domain.templates import ContentSource, RenderError, TemplateError
from server.rendering import Renderer
from server.rendering.filters import VOLATILE
from tests.unit.rendering.grammar import TEMPLATES, VARIABLES
from tools.liquidjs.expectations import HERE, version

REPORT = HERE.parent.parent / "docs/personalization_fuzz.md"
_SHOWN = 30
_LONGEST = 60  # characters of a template or text in the report
_WORDS = re.compile(r"\|\s*(\w+)|\{%-?\s*(\w+)")


class Case(NamedTuple):
    """``ours`` and ``theirs`` are what was rendered, None where the template or its variables were refused."""

    template: str
    variables: dict[str, Any]
    ours: str | None
    theirs: str | None


class LiquidJS:
    """A Node process that renders."""

    def __init__(self, node: subprocess.Popen[str]) -> None:
        self._node = node

    def render(self, template: str, variables: dict[str, Any]) -> str | None:
        assert self._node.stdin is not None
        assert self._node.stdout is not None
        self._node.stdin.write(json.dumps({"template": template, "variables": variables}) + "\n")
        self._node.stdin.flush()
        shown: str | None = json.loads(self._node.stdout.readline())
        return shown


@contextmanager
def liquidjs() -> Iterator[LiquidJS]:
    command = ["node", str(HERE / "answers.mjs")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, env=os.environ | {"TZ": "UTC"}, **pipes) as node:
        yield LiquidJS(node)
        assert node.stdin is not None
        node.stdin.close()


def cases(count: int, start: int) -> list[Case]:
    """So many different ones; the same ``start`` makes the same."""
    renderer = Renderer()
    found: dict[str, Case] = {}
    with liquidjs() as theirs:

        @seed(start)
        @settings(
            max_examples=count,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(TEMPLATES, VARIABLES)
        def compare(template: str, variables: dict[str, Any]) -> None:
            if _is_comparable(template, variables):
                ours = _ours(renderer, template, variables)
                found[f"{template} {variables}"] = Case(template, variables, ours, theirs.render(template, variables))

        compare()
    return list(found.values())


def _is_comparable(template: str, variables: dict[str, Any]) -> bool:
    """Whether both can be asked: JSON has no NaN, Python's integers are longer than JavaScript's, and some vary."""
    try:
        text = json.dumps(variables, allow_nan=False)
    except ValueError:
        return False
    return not re.search(r"\d{16}", text) and not any(name in template for name in VOLATILE)


def _ours(renderer: Renderer, template: str, variables: dict[str, Any]) -> str | None:
    try:
        return renderer.compile(ContentSource(body=template)).render(variables).body
    except (TemplateError, RenderError):
        return None


def report(compared: list[Case], start: int) -> str:
    """A page: how many are equal, which words stand in the others, and the shortest of these."""
    different = sorted((case for case in compared if case.ours != case.theirs), key=lambda case: len(case.template))
    equal = len(compared) - len(different)
    refused = sum(case.theirs is None and case.ours is None for case in compared)
    words = Counter(word for case in different for word in {a or b for a, b in _WORDS.findall(case.template)})
    lines = [
        "# Templates by chance against LiquidJS",
        f"Written by `make liquid-fuzz` on {datetime.now(UTC).date()}: LiquidJS {version()}, seed {start}.",
        "",
        f"{len(compared):,} templates with variables: {equal:,} equal ({equal / len(compared):.1%}), {refused:,} of",
        f"them refused by both; {len(different):,} different. In these stand most often:",
        ", ".join(f"`{word}` {count}" for word, count in words.most_common(20)) + ".",
        "",
        f"The {_SHOWN} shortest differences (null: refused):",
        "",
        "| template | variables | Pharos | LiquidJS |",
        "|---|---|---|---|",
        *(_row(case) for case in different[:_SHOWN]),
    ]
    return "\n".join(lines) + "\n"


def _row(case: Case) -> str:
    used = {name: value for name, value in case.variables.items() if name in case.template}
    cells = [case.template, used, case.ours, case.theirs]
    return f"| {' | '.join(map(_cell, cells))} |"


def _cell(value: object) -> str:
    text = json.dumps(value)
    return "`" + (text if len(text) <= _LONGEST else text[:_LONGEST] + "…").replace("|", "\\|").replace("`", "'") + "`"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    page = report(cases(options.count, options.seed), options.seed)
    Path(REPORT).write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
