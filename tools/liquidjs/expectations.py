"""Writes down anew what LiquidJS renders for every template of the suite. Run: ``make liquid-expectations``.

The templates and their variables stay as they are in ``tests/unit/rendering/liquidjs.json``; a text of null means that
LiquidJS refuses the template.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SUITE = HERE.parent.parent / "tests/unit/rendering/liquidjs.json"


def rendered(templates: list[str], variables: dict[str, Any] | list[dict[str, Any]]) -> list[str | None]:
    """What LiquidJS makes of the templates, with the same variables for all or a list of one for each."""
    work = json.dumps({"templates": templates, "variables": variables})
    environment = os.environ | {"TZ": "UTC"}
    done = subprocess.run(
        ["node", HERE / "render.mjs"], input=work, env=environment, capture_output=True, text=True, check=True
    )
    shown: list[str | None] = json.loads(done.stdout)
    return shown


def version() -> str:
    """LiquidJS's, as installed."""
    package = json.loads((HERE / "node_modules/liquidjs/package.json").read_text(encoding="utf-8"))
    return str(package["version"])


def _lines(suite: dict[str, Any]) -> Iterator[str]:
    """JSON with a line for each template, so that a change is read as one."""
    yield "{"
    yield f'"made_with": {json.dumps(suite["made_with"])},'
    yield f'"variables": {json.dumps(suite["variables"], ensure_ascii=False)},'
    yield '"groups": {'
    last = list(suite["groups"])[-1]
    for group, cases in suite["groups"].items():
        shown = rendered([template for template, _ in cases], suite["variables"])
        yield f"{json.dumps(group)}: ["
        made = [_line(template, text) for (template, _), text in zip(cases, shown, strict=True)]
        yield ",\n".join(made)
        yield "]" if group == last else "],"
    yield "}\n}"


def _line(template: str, text: str | None) -> str:
    line = json.dumps([template, text], ensure_ascii=False)
    return line if _is_encodable(line) else json.dumps([template, text])


def _is_encodable(line: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in line)


def main() -> None:
    """Read the suite and write it again."""
    suite = json.loads(SUITE.read_text(encoding="utf-8"))
    suite["made_with"] = f"LiquidJS {version()}, strictFilters, TZ=UTC"
    SUITE.write_text("\n".join(_lines(suite)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
