"""How much of the suite comes out as in LiquidJS: python-liquid as it is, and as Pharos has it. Prints a table."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import liquid

from server.domain.templates import ContentSource
from server.rendering import Renderer

SUITE = Path(__file__).parent.parent.parent / "tests/unit/rendering/liquidjs.json"
Render = Callable[[str], str | None]


def stock(variables: dict[str, Any]) -> Render:
    """python-liquid with everything that it can do beyond its defaults."""
    environment = liquid.Environment(extra=True, strict_filters=False)
    return lambda template: environment.from_string(template).render(**variables)


def ours(variables: dict[str, Any]) -> Render:
    renderer = Renderer()
    return lambda template: renderer.compile(ContentSource(body=template)).render(variables).body


def _equal(render: Render, template: str, wanted: str | None) -> bool:
    try:
        return render(template) == wanted
    except Exception:  # noqa: BLE001  # python-liquid lets others out than its own
        return wanted is None


def main() -> None:
    """Print a line for each group."""
    suite = json.loads(SUITE.read_text(encoding="utf-8"))
    engines = (stock(suite["variables"]), ours(suite["variables"]))
    total, equal = 0, [0, 0]
    print(f"{'against ' + suite['made_with'].split(',')[0]:28}{'templates':>10}{'python-liquid':>16}{'Pharos':>10}")
    for group, cases in suite["groups"].items():
        counts = [sum(_equal(render, *case) for case in cases) for render in engines]
        total, equal = total + len(cases), [sum(pair) for pair in zip(equal, counts, strict=True)]
        print(_line(group, len(cases), counts))
    print(_line("all", total, equal))


def _line(group: str, cases: int, counts: list[int]) -> str:
    python_liquid, pharos = (f"{count / cases:.1%}" for count in counts)
    return f"{group:28}{cases:10}{python_liquid:>16}{pharos:>10}"


if __name__ == "__main__":
    main()
