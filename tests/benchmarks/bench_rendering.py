"""CPU time of compiling a content and of rendering it once. Run: python tests/benchmarks/bench_rendering.py"""

from __future__ import annotations

import time
from collections.abc import Callable

from server.domain.templates import ContentSource
from server.rendering import Renderer

RENDERS = 10_000
COMPILES = 300
VARIABLES = {"name": "Ada", "count": "3", "city": "Ankara", "items": [{"n": "tea", "p": 2.5}, {"n": "cup", "p": 4}] * 5}

CONTENTS = {
    "constant": ContentSource("Hello", "Your order is on its way."),
    "3 variables": ContentSource("Hi {{ name }}", "You have {{ count }} messages from {{ city }}."),
    "default and upcase": ContentSource("Hi {{ name | default: 'you' }}", "{{ city | upcase }} has {{ count }}."),
    "if and 4 filters": ContentSource(
        "Hi {{ name | strip | capitalize }}",
        "{% if count > 1 %}{{ count | plus: 1 }} messages{% else %}a message{% endif %} from {{ city | upcase }}",
    ),
    "date": ContentSource("Hi {{ name }}", "It is {{ '2026-03-05T14:07:09Z' | date: '%d %B %Y' }}"),
    "loop of 10": ContentSource("Hi {{ name }}", "{% for i in items %}{{ i.n }} {{ i.p }}, {% endfor %}"),
}


def microseconds(work: Callable[[], object], times: int) -> float:
    """The best of three passes."""
    passes = []
    for _ in range(3):
        started = time.process_time()
        for _ in range(times):
            work()
        passes.append((time.process_time() - started) / times * 1e6)
    return min(passes)


def measured(renderer: Renderer, source: ContentSource) -> tuple[float, float]:
    """Microseconds to compile and to render."""
    template = renderer.compile(source)
    return (
        microseconds(lambda: renderer.compile(source), COMPILES),
        microseconds(lambda: template.render(VARIABLES), RENDERS),
    )


def main() -> None:
    renderer = Renderer()
    print(f"{'content (title and body)':28}{'compile, µs':>12}{'render, µs':>12}{'s per 10,000':>14}")  # its output
    for name, source in CONTENTS.items():
        compiling, rendering = measured(renderer, source)
        print(f"{name:28}{compiling:12.0f}{rendering:12.2f}{rendering / 100:14.3f}")  # its output


if __name__ == "__main__":
    main()
