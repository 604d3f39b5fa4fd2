"""CPU time of one push between its claim and the bytes for its provider: texts, id and message.

Beside ours, what python-liquid as it comes takes for the same texts, without bounds and not always to the same result.

Run: python tests/benchmarks/bench_rendering.py
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from functools import partial
from uuid import UUID

import liquid
import msgspec

from server.domain.pushes import Presentation, Provider, Push, push_id
from server.domain.templates import ContentSource
from server.providers.apns import message as apns
from server.providers.fcm import message as fcm
from server.rendering import Renderer

CALLS = 10_000
COMPILES = 300
VARIABLES = {
    "name": "Ada",
    "order": "A-1042",
    "count": "3",
    "city": "Ankara",
    "items": [{"n": "tea", "p": 2.5}, {"n": "cup", "p": 4}] * 5,
}
NOW = 1_800_000_000
OPERATION = UUID("01920000-0000-7000-8000-000000000000")
PLAIN = ContentSource("Hi {{ name }}", "Order {{ order }} is on its way.")

CONTENTS = {
    "constant": ContentSource("Hello", "Your order is on its way."),
    "2 variables": PLAIN,
    "3 variables": ContentSource("Hi {{ name }}", "You have {{ count }} messages from {{ city }}."),
    "default and upcase": ContentSource("Hi {{ name | default: 'you' }}", "{{ city | upcase }} has {{ count }}."),
    "if and 3 filters": ContentSource(
        "Hi {{ name | capitalize }}",
        "{% if count > 1 %}{{ count | plus: 1 }} messages{% else %}a message{% endif %} from {{ city | upcase }}",
    ),
    "date": ContentSource("Hi {{ name }}", "It is {{ '2026-03-05T14:07:09Z' | date: '%d %B %Y' }}"),
    "loop of 10": ContentSource("Hi {{ name }}", "{% for i in items %}{{ i.n }} {{ i.p }}, {% endfor %}"),
}
RENDER_TARGETS = {"2 variables": 4, "3 variables": 4, "if and 3 filters": 20}  # microseconds
PUSH_TARGET = 12


def microseconds(work: Callable[[], object], times: int) -> float:
    """The best of five passes."""
    passes = []
    for _ in range(5):
        started = time.process_time()
        for _ in range(times):
            work()
        passes.append((time.process_time() - started) / times * 1e6)
    return min(passes)


def report_contents(renderer: Renderer) -> None:
    stock = liquid.Environment(extra=True, strict_filters=False)
    columns = f"{'compile, µs':>12}{'render, µs':>12}{'target':>8}{'python-liquid, render, µs':>28}"
    print(f"{'content (title and body)':28}{columns}")
    for name, source in CONTENTS.items():
        template = renderer.compile(source)
        compiling = microseconds(partial(renderer.compile, source), COMPILES)
        rendering = microseconds(partial(template.render, VARIABLES), CALLS)
        besides = as_it_comes(stock, source)
        print(f"{name:28}{compiling:12.0f}{rendering:12.2f}{RENDER_TARGETS.get(name, ''):>8}{besides:>28}")


def as_it_comes(stock: liquid.Environment, source: ContentSource) -> str:
    texts = [stock.from_string(text) for text in (source.title, source.body) if text is not None]
    try:
        return f"{microseconds(lambda: [text.render(**VARIABLES) for text in texts], CALLS // 10):.2f}"
    except liquid.exceptions.LiquidError:
        return "fails"


def report_pushes(renderer: Renderer) -> None:
    template = renderer.compile(PLAIN)
    presentation = Presentation(sound="default")
    expires_at = dt.datetime.fromtimestamp(NOW + 3600, dt.UTC)
    decode = msgspec.json.Decoder(dict[str, object]).decode
    variables = msgspec.json.encode(VARIABLES).decode()
    overrides = {"android": {"direct_boot_ok": True}}

    def push(provider: Provider, token: str) -> Push:
        content = template.render(decode('{"name":"Ada","order":"A-1042"}'))
        own = push_id(OPERATION, 7, provider, token)
        return Push(own, token, content, presentation, expires_at)

    to_fcm, to_apns = push(Provider.FCM, "x" * 152), push(Provider.APN, "a" * 64)
    overridden = Push(to_fcm.push_id, to_fcm.token, to_fcm.content, presentation, overrides=overrides)
    parts: dict[str, Callable[[], object]] = {
        "variables of 10 items": lambda: decode(variables),
        "push id": lambda: push_id(OPERATION, 7, Provider.FCM, to_fcm.token),
        "FCM message, alone": lambda: fcm.compose(to_fcm, NOW),
        "FCM message, of a send": lambda: fcm.body(to_fcm, NOW),
        "FCM message, with overrides": lambda: fcm.body(overridden, NOW),
        "APNs payload": lambda: apns.payload(to_apns),
        "FCM, from variables to bytes": lambda: fcm.body(push(Provider.FCM, to_fcm.token), NOW),
        "APNs, from variables to bytes": lambda: apns.payload(push(Provider.APN, to_apns.token)),
    }
    print(f"{'push':28}{'CPU, µs':>12}{'target':>8}")
    for name, work in parts.items():
        print(f"{name:28}{microseconds(work, CALLS):12.2f}{PUSH_TARGET if 'to bytes' in name else '':>8}")


def main() -> None:
    renderer = Renderer()
    report_contents(renderer)
    print()
    report_pushes(renderer)


if __name__ == "__main__":
    main()
