"""The pages of the gateway in a browser that has no network but the service."""

from __future__ import annotations

import json
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import httpx

from tests.acceptance.stack import Stack
from tests.external.outside import run

_OFFLINE = (
    "--headless",
    "--no-sandbox",  # its own sandbox, which root can't have
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    "--enable-logging=stderr",
    "--virtual-time-budget=20000",  # milliseconds by the page's clock, which runs on at once where nothing happens
)


@dataclass(frozen=True)
class Visit:
    """What became of a page once it had settled: its text, its console's lines, and the URLs that it asked for."""

    text: str
    console: list[str]
    asked: set[str]


class _Text(HTMLParser):
    """What stands in a page, without what stands between its elements."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self._parts: list[str] = []
        self.feed(page)
        self.whole = "".join(self._parts)

    def handle_data(self, data: str) -> None:
        self._parts.append(data)


def _visit(url: str, folder: Path) -> Visit:
    net_log = folder / "net.json"
    options = (*_OFFLINE, f"--user-data-dir={folder / 'profile'}", f"--log-net-log={net_log}")
    visited = run("chromium", *options, "--dump-dom", url)
    console = [line for line in visited.stderr.splitlines() if ":CONSOLE:" in line]
    return Visit(_Text(visited.stdout).whole, console, _asked_by_page(json.loads(net_log.read_text("utf-8"))))


def _asked_by_page(net_log: dict[str, list[dict[str, dict[str, str]]]]) -> set[str]:
    """Requests that the page began, or that fetched it. Those that the browser makes for itself have no origin."""
    events = [event["params"] for event in net_log["events"] if "initiator" in event.get("params", {})]
    return {
        event["url"]
        for event in events
        if event["initiator"] != "not an origin" or event["request_type"] == "main frame"
    }


def test_the_reference_shows_every_operation_offline(stack: Stack, tmp_path: Path) -> None:
    document = httpx.get(f"{stack.url}/openapi.json", timeout=60).raise_for_status().json()
    operations = [
        f"{method.upper()}{path}{operation['summary']}"
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    assert len(operations) > 20

    visit = _visit(f"{stack.url}/docs", tmp_path)

    assert [operation for operation in operations if operation not in visit.text] == []
    assert visit.console == []
    files = ("swagger-ui.css", "style.css", "swagger-ui-bundle.js", "api.js")
    expected = ("docs", "openapi.json", *(f"docs/assets/{name}" for name in files))
    assert visit.asked == {f"{stack.url}/{name}" for name in expected}


def test_the_error_page_is_whole_offline(stack: Stack, tmp_path: Path) -> None:
    visit = _visit(f"{stack.url}/docs/errors", tmp_path)

    assert "20404" in visit.text
    assert visit.console == []
    assert visit.asked == {f"{stack.url}/docs/errors", f"{stack.url}/docs/assets/style.css"}
